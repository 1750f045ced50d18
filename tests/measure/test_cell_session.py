"""What a cell keeps of its session's own account."""

from tests.measure.test_cell import QUIET, measured
from tests.measure.virtual import KnownSession


def test_what_a_session_knows_only_at_the_end_is_recorded(tmp_path, monkeypatch) -> None:
    held = []

    def describe(self):
        held.append(len(held) + 1)
        return {"runtime": "known", "peak_memory_bytes": 100 * len(held)}

    monkeypatch.setattr(KnownSession, "describe", describe)
    result = measured(tmp_path, monkeypatch, QUIET)
    assert len(held) == 2
    assert result.session["peak_memory_bytes"] == 200
    assert result.session["runtime"] == "known"
