"""Windows that go on until they are precise, on a session whose service times are known."""

import itertools

import numpy as np
import pytest

from harness.adapters.base import RowRequest
from harness.measure.drive import Driver, StopRule
from harness.measure.samples import Samples
from harness.measure.stages import Precision, run_stages
from harness.measure.summary import Window
from harness.schema.workload import SloLimit
from tests.measure.virtual import KnownSession, VirtualClock

ROWS = [RowRequest(np.full(2, i, dtype=np.float32)) for i in range(8)]


def limit(percentile: float = 90, limit_s: float = 1.0) -> SloLimit:
    return SloLimit(metric="latency", percentile=percentile, limit_s=limit_s)


def staged(
    service_s, precision: Precision, *, most_s: float, first=None, rate: float | None = None
):
    """Return samples and ending of a window on a session with `service_s()` as service times."""
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: service_s())
    driver = Driver(session, ROWS, clock, 1)
    stages = []

    def drive(stop: StopRule, sent: int) -> Samples:
        stages.append((stop, sent))
        if rate is None:
            return driver.closed(stop, sent=sent)
        return driver.open(rate, stop, sent=sent)

    samples, ending = run_stages(
        drive,
        first or StopRule(1.0, 1.0, 1),
        precision,
        clock,
        most_s=most_s,
        window_of=lambda each: Window(each, [0.0] * len(ROWS)),
    )
    return samples, ending, stages


def lognormal(sigma: float, median_s: float = 0.01):
    rng = np.random.default_rng(2)
    return lambda: float(median_s * np.exp(rng.normal(0, sigma)))


def test_a_steady_latency_is_precise_at_the_first_look():
    _, ending, stages = staged(lambda: 0.01, Precision(0.05, (limit(),)), most_s=60)
    assert (ending.why, len(stages)) == ("precise", 1)
    assert ending.supports is None


def test_a_scattered_latency_takes_more_stages_until_its_interval_is_narrow():
    precision = Precision(0.05, (limit(),))
    samples, ending, stages = staged(lognormal(1.0), precision, most_s=1000)
    assert ending.why == "precise"
    assert len(stages) > 2
    assert precision.reached(Window(samples, [0.0] * len(ROWS)))
    assert [sent for _, sent in stages] == sorted({sent for _, sent in stages})


def test_the_time_box_ends_it_and_says_what_the_window_supports():
    samples, ending, _ = staged(lognormal(1.0), Precision(0.001, (limit(),)), most_s=8)
    assert ending.why == "time_box"
    assert "p90 of latency: known to within" in ending.supports
    assert "not 0.100 %" in ending.supports
    assert Window(samples, [0.0] * len(ROWS)).duration_s <= 8.5


def test_a_time_box_too_short_for_a_percentile_says_how_far_it_reaches():
    _, ending, _ = staged(lambda: 0.01, Precision(0.05, (limit(99.9),)), most_s=1)
    assert ending.why == "time_box"
    assert "3688 needed" in ending.supports
    assert "it supports percentiles up to p95" in ending.supports


def test_a_decided_promise_ends_the_window_at_once():
    wide = lognormal(0.5)
    _, met, stages = staged(wide, Precision(0.001, (limit(90, 1.0),), decide=True), most_s=60)
    assert (met.why, len(stages)) == ("precise", 1)
    _, missed, stages = staged(
        lognormal(0.5), Precision(0.001, (limit(90, 0.001),), decide=True), most_s=60
    )
    assert (missed.why, len(stages)) == ("precise", 1)


def test_failures_are_slower_than_any_limit():
    def refuse() -> float:
        raise RuntimeError("broken")

    _, ending, _ = staged(refuse, Precision(0.05, (limit(),), decide=True), most_s=30, rate=200)
    assert ending.why == "precise"  # clearly missed


def test_later_stages_go_on_in_inputs_and_arrivals():
    precision = Precision(0.0, (limit(),))
    samples, _, stages = staged(lognormal(0.3, 0.001), precision, most_s=4, rate=50)
    assert len(stages) == 3
    rows = samples.columns()
    counts = np.bincount(rows["input"], minlength=len(ROWS))
    assert counts.max() - counts.min() <= 1
    scheduled = rows["scheduled_ns"]
    assert (np.diff(scheduled) >= 0).all()
    gaps = np.diff(scheduled) / 1e9
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.25)


def test_mlperf_certifies_by_early_stopping_or_its_fixed_count():
    slo = (limit(90, 1.0),)
    certified = Precision(0.0, slo, decide=True, certify=True)
    first = StopRule(1.0, 1.0, 1)
    samples, ending, _ = staged(lambda: 0.01, certified, most_s=60, first=first)
    assert ending.why == "precise"
    assert len(samples.rows) >= 44  # what no miss at all takes for p90
    number = itertools.count()
    # A share of 0.097: within the limit, but certified only by about 20,000 requests.
    samples, ending, _ = staged(
        lambda: 2.0 if next(number) * 97 % 1000 < 97 else 0.0001,
        certified,
        most_s=1e9,
        first=first,
    )
    assert ending.why == "precise"
    assert len(samples.rows) >= 10_000


def test_an_offline_window_with_answers_in_flight_has_a_rate() -> None:
    """After a warm-up is cut, answers to earlier requests count: more answers than requests."""
    clock = VirtualClock()
    samples = Driver(KnownSession(clock, lambda n: 0.01), ROWS, clock, 1).closed_loop(
        4, StopRule(1.0, 1.0, 1)
    )
    window = Window(samples, [0.0] * len(ROWS)).since(int(0.5e9))
    assert window.ended_s.size > window.latency_s.size
    assert Precision(0.5, ()).reached(window)
