from pathlib import Path

import numpy as np
import pytest

from harness.errors import MeasurementError
from harness.measure import roofline as module
from harness.measure.roofline import Measurement, assess, is_above, measurement, most_together
from harness.measure.samples import Samples
from harness.measure.verdict import judge_roofline
from harness.models.build import build_model
from harness.models.inputs import draw_requests
from harness.schema.record import Reason, Roofline, Verdict
from harness.schema.scenario import ClosedLoop, MultiStream, SingleStream, Trace
from harness.schema.tasks import AgentTask
from tests.factories import make_fraud_workload, make_point, make_target, make_workload
from tests.measure.test_ceilings import made

WORKLOADS = Path(__file__).parents[2] / "workloads"
SINGLE = SingleStream(kind="single_stream")
CHAT = make_workload()


@pytest.fixture
def machine(monkeypatch):
    """A processor of a known 1 GB/s and 3 GFLOP/s without a cache; `again` finds it faster."""
    asked = []

    def ceilings(cache, threads, *, again=False):
        asked.append((threads, again))
        return made(5e8 if not again else 5e9, cache_bytes=0.0, threads=threads)

    monkeypatch.setattr(module, "ceilings", ceilings)
    return asked


def measured(workload=CHAT, scenario=SINGLE, together=1.0, rate=10.0, **changes):
    point = make_point(workload, rate=rate, **changes)
    return Measurement(scenario, point, draw_requests(workload), together)


def drawn(tmp_path, found, workload=CHAT, target=None, **described):
    model = build_model(workload.model, workload.task, cache=tmp_path, data=WORKLOADS)
    return assess(found, model, target or make_target(), {"threads": 3, **described}, tmp_path)


def test_a_record_says_what_share_of_the_limit_it_reached(tmp_path, machine) -> None:
    found = drawn(tmp_path, measured())
    assert machine == [(3, False)]
    assert (found.unit, found.bound) == ("output tokens", "memory")
    assert found.achieved_per_s == 80
    assert found.limit_per_s == pytest.approx(1e9 / found.bytes_per_unit)
    assert found.share == pytest.approx(80 / found.limit_per_s)
    assert found.step_s == pytest.approx(0.1 / 20)
    assert found.step_share == pytest.approx(found.step_limit_s / found.step_s)
    assert "measured with 3 threads" in found.source
    assert found.reason is None


def test_rows_and_clips_have_units_of_their_own(tmp_path, machine) -> None:
    fraud = make_fraud_workload()
    found = drawn(tmp_path, measured(fraud), fraud)
    assert found.unit == "rows"
    assert found.operations_per_unit == 2 * (30 * 128 + 128 * 64 + 64)
    assert found.achieved_per_s == 10
    assert found.step_share is None


def test_above_the_limit_it_is_measured_once_more(tmp_path, machine) -> None:
    limit = drawn(tmp_path, measured()).limit_per_s
    machine.clear()
    found = drawn(tmp_path, measured(rate=2 * limit / 8))
    assert machine == [(3, False), (3, True)]
    assert not is_above(found), "the second time the machine was found to be faster"
    machine.clear()
    still = drawn(tmp_path, measured(rate=20 * limit / 8))
    assert is_above(still)
    assert still.share == pytest.approx(2, rel=0.01)


def test_a_figure_above_the_roofline_is_no_figure() -> None:
    noisy = Verdict(state="noisy", reasons=(Reason(code="short", text="short"),))
    share = {"source": "a test", "limit_per_s": 1.0}
    judged = judge_roofline(noisy, Roofline(share=1.06, **share))
    assert judged.state == "invalid"
    assert [reason.code for reason in judged.reasons] == ["above-roofline", "short"]
    assert judge_roofline(noisy, Roofline(share=1.05, **share)) == noisy
    stepped = judge_roofline(noisy, Roofline(share=0.5, step_share=1.2, **share))
    assert [r.code for r in stepped.reasons] == ["above-roofline", "short"]
    assert judge_roofline(noisy, Roofline(reason="not known")) == noisy


def test_what_cannot_be_drawn_says_why(tmp_path, machine, monkeypatch) -> None:
    assert "simulated" in drawn(tmp_path, measured(), simulated=True).reason
    assert "no point" in drawn(tmp_path, None).reason
    trace = Trace(kind="trace", file="trace.csv")
    assert "trace" in drawn(tmp_path, measured(scenario=trace)).reason
    assert machine == [], "nothing is measured for nothing"

    def fails(*arguments, **options):
        raise MeasurementError("the ceilings cannot be measured: declared")

    monkeypatch.setattr(module, "ceilings", fails)
    assert "declared" in drawn(tmp_path, measured()).reason


def test_in_eight_bits_only_memory_bounds(tmp_path, machine) -> None:
    eight = make_target(runtime={"adapter": "fake", "precision": "int8"})
    found, full = drawn(tmp_path, measured(), target=eight), drawn(tmp_path, measured())
    assert found.bytes_per_unit == pytest.approx(full.bytes_per_unit / 4)
    assert found.operations_per_s is None
    assert "fp32 only" in found.notes[0]


def fact(value):
    return {"value": value, "source": "data sheet", "date": "2026-01-01"}


def gpu(**facts):
    hardware = {"chip": "G", "vendor": "V", "kind": "gpu", **facts}
    runtime = {"adapter": "fake", "precision": "fp16", "device": "cuda"}
    return make_target(hardware=hardware, runtime=runtime)


def test_another_device_is_held_against_its_declared_facts(tmp_path, machine) -> None:
    import datetime

    facts = {
        name: {**fact(value), "date": datetime.date(2026, 1, 1)}
        for name, value in (("bandwidth_gb_per_s", 3000), ("bf16_dense_tflops", 900))
    }
    found = drawn(tmp_path, measured(), target=gpu(count=2, **facts))
    assert machine == []
    assert found.bandwidth_bytes_per_s == 6e12
    assert found.operations_per_s == 1.8e15
    # The model is smaller than any such chip's cache may be.
    assert (found.bound, found.cache_bytes) == ("compute", 512e6)
    assert found.source == "data sheet, 2026-01-01"
    bare = drawn(tmp_path, measured(), target=gpu())
    assert bare.share is None
    assert "declares no 'bandwidth_gb_per_s'" in bare.reason


class Shape:
    def __init__(self, max_batch, max_concurrency) -> None:
        self.max_batch, self.max_concurrency = max_batch, max_concurrency


@pytest.mark.parametrize(
    ("scenario", "session", "wanted"),
    [
        (SINGLE, Shape(64, None), 1),
        (MultiStream(kind="multi_stream", samples=8), Shape(64, 1), 8),
        (MultiStream(kind="multi_stream", samples=8), Shape(1, 1), 1),
        (ClosedLoop(kind="closed_loop", concurrency=6), Shape(1, None), 6),
        (CHAT.scenario("offline"), Shape(64, 2), 128),
        (CHAT.scenario("server"), Shape(1, None), np.inf),
    ],
)
def test_no_more_share_a_reading_than_can_be_in_flight(scenario, session, wanted) -> None:
    assert most_together(scenario, session) == wanted


@pytest.mark.parametrize(("order", "wanted"), [("parallel", 8), ("sequential", 1)])
def test_the_calls_of_a_task_that_come_at_once_may_share_a_reading(order, wanted) -> None:
    """One user's ten parallel calls form batches: held to one a reading they would be invalid."""
    agent = AgentTask(calls_per_task=10, order=order)
    found = measurement(SINGLE, Shape(8, 1), make_point(CHAT), Samples(0, 0), [], agent)
    assert found.together == wanted
    assert most_together(ClosedLoop(kind="closed_loop", concurrency=3), Shape(64, 1), 10) == 30
