import threading
from datetime import UTC, datetime, timedelta

import pytest

from harness.errors import MeasurementError
from harness.measure import ceilings as module
from harness.measure.calibrate import host_digest
from harness.measure.ceilings import ceilings, fastest, last_level_cache, measure_apart, spread
from harness.schema.calibration import MachineCeilings


def made(rate=1e9, **changes) -> MachineCeilings:
    return MachineCeilings(
        **{
            "host": host_digest(),
            "threads": 1,
            "array_bytes": 1000,
            "cache_bytes": 100.0,
            "cache_source": "test",
            "read_bytes_per_s": rate,
            "add_bytes_per_s": 2 * rate,
            "operations_per_s": 3 * rate,
            "measured_at": datetime.now(UTC),
            **changes,
        }
    )


@pytest.fixture
def taken(monkeypatch):
    """Measurements that are not taken but handed out, in this order."""
    queue = []
    monkeypatch.setattr(module, "measure_apart", lambda threads: queue.pop(0))
    return queue


def test_this_machine_moves_and_multiplies() -> None:
    found = measure_apart(1)
    # No machine that runs this is slower; none with one thread is faster.
    assert 1e8 < found.read_bytes_per_s < 1e12
    assert 1e8 < found.add_bytes_per_s < 1e12
    assert 1e8 < found.operations_per_s < 1e13
    assert found.bytes_per_s == max(found.read_bytes_per_s, found.add_bytes_per_s)
    assert found.host == host_digest()


def test_it_is_measured_once_and_kept(tmp_path, taken) -> None:
    taken += [made(1e9)]
    first = ceilings(tmp_path, 1)
    assert ceilings(tmp_path, 1) == first
    taken += [made(2e9, threads=2)]
    assert ceilings(tmp_path, 2).threads == 2, "another number of threads is another ceiling"


def test_measured_again_the_higher_counts(tmp_path, taken) -> None:
    taken += [made(1e9), made(5e8), made(3e9)]
    ceilings(tmp_path, 1)
    lower = ceilings(tmp_path, 1, again=True)
    assert (lower.read_bytes_per_s, lower.operations_per_s) == (1e9, 3e9)
    assert ceilings(tmp_path, 1, again=True).read_bytes_per_s == 3e9
    assert ceilings(tmp_path, 1).read_bytes_per_s == 3e9


@pytest.mark.parametrize("age", [timedelta(days=31), timedelta(days=-1)])
def test_an_old_one_is_not_taken(age, tmp_path, taken) -> None:
    taken += [made(9e9, measured_at=datetime.now(UTC) - age), made(1e9)]
    ceilings(tmp_path, 1)
    assert ceilings(tmp_path, 1).read_bytes_per_s == 1e9


def test_a_damaged_file_is_measured_again(tmp_path, taken) -> None:
    taken += [made(1e9), made(2e9)]
    ceilings(tmp_path, 1)
    (file,) = (tmp_path / "ceilings").iterdir()
    file.write_text(file.read_text()[:40])
    assert ceilings(tmp_path, 1).read_bytes_per_s == 2e9


def test_a_measurement_that_fails_says_why(monkeypatch) -> None:
    with pytest.raises(MeasurementError, match=r"cannot be measured: .*Error"):
        measure_apart(0)


def test_every_thread_works_in_every_round() -> None:
    seen = []
    spent = fastest(lambda number: seen.append((number, threading.get_ident())), 3, 0.0)
    assert 0 < spent < 1
    assert sorted(number for number, _ in seen) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({thread for _, thread in seen}) == 3


def test_whole_cores_come_before_their_second_halves(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    for cpu, pair in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(pair)
    assert spread(2, tmp_path) == [0, 2]
    assert spread(5, tmp_path) == [0, 2, 1, 3, 0]


def test_the_last_level_is_counted_once_for_those_who_share_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: {0, 1, 2})
    for cpu, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3")):
        for level, size in ((2, "512K"), (3, "16M")):
            folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cache/index{level}"
            folder.mkdir(parents=True)
            (folder / "level").write_text(f"{level}\n")
            (folder / "size").write_text(f"{size}\n")
            (folder / "shared_cpu_list").write_text(str(cpu) if level == 2 else shared)
    assert last_level_cache(tmp_path)[0] == 2 * 16 * 2**20
    assert last_level_cache(tmp_path / "none") == (256e6, None)
