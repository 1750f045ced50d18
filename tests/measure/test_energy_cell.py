"""A whole cell over a device of known power: idle levels, slope, proportionality."""

import pytest

from harness import plugins
from harness.catalog import Catalog
from harness.documents import load
from harness.measure import cell
from harness.measure.disturbance import Disturbance
from harness.measure.job import Job, Reporter
from harness.schema import Workload, content_hash
from harness.schema.record import Cell
from harness.schema.scenario import Server
from tests.factories import make_target
from tests.measure.known_power import (
    BUSY_W,
    OFF_W,
    WARM_W,
    Absent,
    Device,
    PoweredAdapter,
    PowerMeter,
)
from tests.measure.virtual import VirtualClock

SERVICE_S = 0.002
QUIET = Disturbance(0.0, 0.0, 1.0, 0.0, cores=2.0)
TDP = {"value": 100.0, "source": "data sheet", "date": "2026-11-01"}


class Heard(Reporter):
    def __init__(self) -> None:
        self.phases: list[str] = []

    def _write(self, event) -> None:
        if event["event"] == "phase":
            self.phases.append(event["name"])


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Return a function that measures a cell and returns its result, and the phases it heard."""

    def run(*, works=True, scenario=None, profile="quick", **hardware):
        monkeypatch.setattr(cell, "disturbance", lambda before, after, elsewhere, threads: QUIET)
        entry = Catalog.find(None).entry("workload", "fraud-detection")
        workload = load(entry.path, Workload).document.model_copy(update={"quality": ()})
        tree = {"chip": "Chip", "vendor": "Acme", "kind": "cpu", **hardware}
        target = make_target(hardware=tree)
        identity = Cell(
            id="0" * 16,
            workload=workload.name,
            workload_version=workload.version,
            workload_hash=content_hash(workload),
            target=target.name,
            target_hash=content_hash(target),
            scenario=scenario or workload.scenario("single_stream"),
            profile=profile,
            seed=0,
        )
        job = Job(
            cell=identity,
            workload=workload,
            target=target,
            data=entry.path.parent,
            cache=tmp_path / "cache",
            folder=tmp_path,
        )
        clock = VirtualClock()
        device = Device(clock)
        meter = PowerMeter(device) if works else Absent()
        monkeypatch.setattr(plugins, "meter", lambda n: meter if n == "rapl" else Absent())
        heard = Heard()
        result = cell.measure(job, PoweredAdapter(device, SERVICE_S), heard, clock)
        return result, heard.phases

    return run


def test_the_three_idle_levels_are_those_of_the_device(measure):
    result, phases = measure()

    metrics = result.energy.metrics
    assert metrics["idle_off_w@package"].value == pytest.approx(OFF_W)
    assert metrics["idle_warm_w@package"].value == pytest.approx(WARM_W)
    assert metrics["loaded_w@package"].value == pytest.approx(BUSY_W)
    assert result.points[0].metrics["power_w@package"].value == pytest.approx(BUSY_W)
    # Clocks fall and caches cool while nothing is asked: it is warmed up again.
    names = [name for name in phases if name in ("idle", "open", "warm-up", "measure")]
    assert names == ["idle", "open", "warm-up", "idle", "warm-up", "measure"]


@pytest.mark.parametrize(
    ("profile", "window_s", "short"), [("quick", 2.0, True), ("rigorous", 60.0, False)]
)
def test_a_short_idle_window_is_flagged_widened_and_said(measure, profile, window_s, short):
    result, _ = measure(profile=profile)

    (warm,) = result.energy.warm
    assert warm.duration_s == pytest.approx(window_s)
    assert ("short_window" in warm.flags) == short
    assert warm.parts["drift"] > (0.1 if short else 0.03)
    level = result.energy.metrics["idle_warm_w@package"]
    assert ("below 1 min 0 s" in level.method) == short
    assert level.high == pytest.approx(WARM_W * (1 + warm.uncertainty))


def test_the_slope_is_the_energy_of_one_more_request(measure):
    scenario = Server(kind="server", load=(0.1, 0.25, 0.5, 0.75))

    result, _ = measure(scenario=scenario)

    truth_j = (BUSY_W - WARM_W) * SERVICE_S
    for name in ("marginal_j_per_request@package", "above_idle_j_per_request@package"):
        metric = result.energy.metrics[name]
        assert metric.value == pytest.approx(truth_j, rel=1e-3), name
        assert metric.low < truth_j < metric.high
        assert metric.unit == "J/request"


def test_power_in_a_straight_line_has_the_proportionality_of_its_ends(measure):
    scenario = Server(kind="server", load=(0.1, 0.25, 0.5, 0.75))

    result, _ = measure(scenario=scenario)

    top = result.points[result.headline].metrics["power_w@package"].value
    span = result.energy.metrics["dynamic_range@package"]
    found = result.energy.metrics["energy_proportionality@package"]
    assert span.value == pytest.approx(WARM_W / top)
    assert found.value == pytest.approx(1 - WARM_W / top, rel=1e-3)
    assert found.low < found.value < found.high
    assert found.better == "higher"
    assert "metered at 0 %, " in found.method
    assert ", 100 % of the highest rate" in found.method


def test_one_load_has_levels_and_no_slope(measure):
    result, _ = measure()

    for name in ("marginal_j_per_request", "energy_proportionality", "dynamic_range"):
        metric = result.energy.metrics[f"{name}@package"]
        assert metric.value is None
        assert "one load only" in metric.reason
    above = result.energy.metrics["above_idle_j_per_request@package"]
    assert above.value == pytest.approx((BUSY_W - WARM_W) * SERVICE_S)


def test_without_a_meter_nothing_is_waited_for_and_nothing_reported(measure):
    result, phases = measure(works=False)

    assert "idle" not in phases
    assert phases.count("warm-up") == 1
    assert result.energy is None
    assert not [name for name in result.points[0].metrics if "@" in name]


def test_modelled_joules_are_marked_and_never_give_a_proportionality(measure):
    scenario = Server(kind="server", load=(0.1, 0.25, 0.5, 0.75))

    result, phases = measure(works=False, scenario=scenario, tdp_w=TDP)

    assert "idle" not in phases
    metrics = result.energy.metrics
    assert metrics["loaded_w@package"].method.startswith("model, modelled")
    assert (result.energy.off, result.energy.warm) == ((), ())
    for name in (
        "marginal_j_per_request",
        "above_idle_j_per_request",
        "energy_proportionality",
        "dynamic_range",
    ):
        assert metrics[f"{name}@package"].value is None
        assert "modelled" in metrics[f"{name}@package"].reason
    assert metrics["idle_warm_w@package"].value is None
