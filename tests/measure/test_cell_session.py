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


def test_the_commonest_error_of_the_requests_is_kept_first(tmp_path, monkeypatch) -> None:
    submit, calls = KnownSession.submit, []

    def failing(self, query):
        calls.append(query)
        if len(calls) % 4:
            submit(self, query)
        else:
            query.fail(RuntimeError("a rare one" if len(calls) % 16 == 0 else "the usual"))

    monkeypatch.setattr(KnownSession, "submit", failing)
    result = measured(tmp_path, monkeypatch, QUIET)
    assert result.session["errors"] == ["RuntimeError: the usual", "RuntimeError: a rare one"]
