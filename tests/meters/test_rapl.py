"""The RAPL meter over a tree of real files."""

import os
from pathlib import Path

import pytest

from harness.meters.base import Mark, MeterInfo, Unmeasurable
from harness.meters.rapl import RaplMeter

SPAN_UJ = 262_143_328_850


def zone(root: Path, name: str, label: str, energy_uj: int) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text(f"{SPAN_UJ}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl:2", "package-1", 2_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    return tmp_path


def started(root: Path, seconds_ago: float = 1.0) -> tuple[RaplMeter, Mark]:
    meter = RaplMeter(root)
    assert isinstance(meter.probe(), MeterInfo)
    mark = meter.begin()
    return meter, Mark(mark.at_ns - round(seconds_ago * 1e9), mark.counters)


def add(root: Path, name: str, joules: float) -> None:
    path = root / name / "energy_uj"
    path.write_text(f"{(int(path.read_text()) + round(joules * 1e6)) % SPAN_UJ}\n")


def test_packages_are_summed_and_nothing_that_overlaps_them(tree: Path) -> None:
    meter, mark = started(tree)
    for name, joules in {
        "intel-rapl:0": 30,
        "intel-rapl:2": 12,
        "intel-rapl:1": 70,
        "intel-rapl:0:0": 20,
        "intel-rapl-mmio:0": 30,
    }.items():
        add(tree, name, joules)
    reading = meter.end(mark)
    assert reading.joules == pytest.approx(42)
    assert reading.boundary == "package"
    assert reading.covers == ("package-0", "package-1")
    assert reading.provenance == "counter"
    assert reading.uncertainty is not None
    assert reading.uncertainty >= 0.05
    assert reading.flags == ()


def test_a_wrap_is_corrected(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", SPAN_UJ - 10_000_000)
    meter, mark = started(tmp_path)
    add(tmp_path, "intel-rapl:0", 60)
    reading = meter.end(mark)
    assert reading.joules == pytest.approx(60)
    assert reading.flags == ("wrap_corrected",)


def test_a_reset_is_no_energy(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000_000)
    meter, mark = started(tmp_path)
    path.write_text("1000000\n")
    reading = meter.end(mark)
    assert reading.joules is None
    assert reading.flags == ("counter_reset",)
    assert "reset" in (reading.reason or "")


@pytest.mark.parametrize("content", ["", "nonsense\n"])
def test_a_counter_that_turns_unreadable_gives_a_reason(tmp_path: Path, content: str) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    meter, mark = started(tmp_path)
    path.write_text(content)
    reading = meter.end(mark)
    assert reading.joules is None
    assert "unreadable" in (reading.reason or "")


def test_what_cannot_be_measured_says_why_and_what_to_do(tmp_path: Path) -> None:
    nothing = RaplMeter(tmp_path / "none").probe()
    assert isinstance(nothing, Unmeasurable)
    assert "no powercap" in nothing.reason
    empty = RaplMeter(tmp_path).probe()
    assert isinstance(empty, Unmeasurable)
    assert empty.remedy
    path = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    path.write_text("nonsense")
    assert isinstance(RaplMeter(tmp_path).probe(), Unmeasurable)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_missing_permission_names_the_remedy(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    path.chmod(0)
    found = RaplMeter(tmp_path).probe()
    assert isinstance(found, Unmeasurable)
    assert "permission" in found.reason
    assert "chmod" in found.remedy
