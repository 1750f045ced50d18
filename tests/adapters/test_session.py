import pytest

from harness.adapters import options
from harness.adapters.session import RowSession, default_threads, read_options
from harness.hardware import Detected
from tests.factories import make_target


@pytest.mark.parametrize(
    ("physical", "quota", "threads"),
    [(8, None, 8), (8, 2.0, 2), (8, 3.5, 3), (8, 0.5, 1), (8, 64.0, 8), (None, None, 6)],
)
def test_threads_are_the_cores_that_this_process_has(monkeypatch, physical, quota, threads):
    facts = {"physical_cores": physical, "cpu_quota_cores": quota}
    detected = {name: Detected(value, "test") for name, value in facts.items()}
    monkeypatch.setattr(options, "detect", lambda: detected)
    monkeypatch.setattr(options.os, "sched_getaffinity", lambda pid: set(range(6)))
    assert default_threads() == threads
    assert read_options(make_target()).threads == threads


def test_given_options_win():
    target = make_target(runtime={"adapter": "x", "options": {"threads": 3, "max_batch": 7}})
    read = read_options(target)
    assert (read.threads, read.max_batch) == (3, 7)


def test_what_is_known_late_is_described_as_it_is_when_asked_for():
    held = [1]
    session = RowSession(lambda rows: rows[:, 0], 4, {"held": 0}, late=lambda: {"held": held[0]})
    assert session.describe()["held"] == 1
    held[0] = 2
    assert session.describe() == {"held": 2, "max_batch": 4}
