import pytest

from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.catalog import Catalog
from harness.documents import load
from harness.measure import cell
from harness.measure.clock import RealClock
from harness.measure.disturbance import Disturbance
from harness.measure.job import Job, Reporter
from harness.schema import Workload, content_hash
from harness.schema.record import Cell
from tests.factories import make_target, make_workload
from tests.measure.virtual import KnownSession, VirtualClock

SERVICE_S = 0.008
BUSY = Disturbance(1.0, 0.0, 1.0, None, cores=2.0)
QUIET = Disturbance(0.0, 0.0, 1.0, 0.0, cores=2.0)


class KnownAdapter:
    api_version = 1

    def __init__(self, clock: VirtualClock) -> None:
        self.session = KnownSession(clock, lambda number: SERVICE_S)

    def open(self, target, model):
        return self.session


class Silent(Reporter):
    def __init__(self) -> None:
        pass

    def _write(self, event) -> None:
        pass


def measured(tmp_path, monkeypatch, disturbed):
    """Return the result of a cell whose latency is exactly 8 ms, of a limit of 10 ms."""
    monkeypatch.setattr(cell, "disturbance", lambda before, after, elsewhere, threads: disturbed)
    entry = Catalog.find(None).entry("workload", "fraud-detection")
    workload = load(entry.path, Workload).document.model_copy(update={"quality": ()})
    job = make_job(workload, make_target(), "single_stream", tmp_path, entry.path.parent)
    clock = VirtualClock()
    return cell.measure(job, KnownAdapter(clock), Silent(), clock)


def make_job(workload, target, scenario, tmp_path, data):
    identity = Cell(
        id="0" * 16,
        workload=workload.name,
        workload_version=workload.version,
        workload_hash=content_hash(workload),
        target=target.name,
        target_hash=content_hash(target),
        scenario=workload.scenario(scenario),
        profile="quick",
        seed=0,
    )
    return Job(
        cell=identity,
        workload=workload,
        target=target,
        data=data,
        cache=tmp_path / "cache",
        folder=tmp_path,
    )


def test_a_quiet_cell_keeps_its_intervals(tmp_path, monkeypatch) -> None:
    result = measured(tmp_path, monkeypatch, QUIET)
    assert result.verdict.state == "valid", result.verdict
    (point,) = result.points
    assert point.slo_state == "met"
    assert point.metrics["latency_s.p90"].widened == 0.0


def test_a_disturbed_cell_leaves_wider_intervals_and_proves_less(tmp_path, monkeypatch) -> None:
    result = measured(tmp_path, monkeypatch, BUSY)
    assert [reason.code for reason in result.verdict.reasons] == ["foreign-load", "widened"]
    (point,) = result.points
    latency = point.metrics["latency_s.p90"]
    assert latency.widened == 1.0
    assert latency.high == pytest.approx(2 * SERVICE_S)
    assert point.slo_state == "unproven"
    assert result.headline == 0
    assert result.session["disturbance"]["foreign_cores"] == 1.0


def test_a_session_with_threads_of_its_own_tells_what_the_harness_used(tmp_path) -> None:
    scenarios = [{"kind": "closed_loop", "concurrency": 3}]
    workload = make_workload(scenarios=scenarios)
    runtime = {"adapter": "onnxruntime", "options": {"threads": 1, "continuous": 2}}
    target = make_target(runtime=runtime)
    job = make_job(workload, target, "closed_loop", tmp_path, tmp_path)
    result = cell.measure(job, OnnxRuntimeAdapter(), Silent(), RealClock())
    (point,) = result.points
    assert point.metrics["throughput_output_tokens_per_s"].value > 0
    assert result.session["max_concurrency"] == 2
    assert isinstance(result.session["disturbance"]["harness_cores"], float)
