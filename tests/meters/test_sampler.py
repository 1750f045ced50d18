"""When power is sampled, and what the integral of the samples is worth."""

import itertools
import math
import threading
import time

import pytest

from harness.meters.base import PowerTrace
from harness.meters.sampler import Sampler, gaps_s, integral

SECOND = 1_000_000_000


def trace(samples: dict[float, float]) -> PowerTrace:
    return PowerTrace([round(at_s * SECOND) for at_s in samples], list(samples.values()))


def every(period_s: float, watts, duration_s: float) -> PowerTrace:
    times = [i * period_s for i in range(round(duration_s / period_s) + 1)]
    return trace({at_s: watts(at_s) for at_s in times})


def test_samples_come_at_most_ten_a_second_at_changing_distances() -> None:
    gaps = list(itertools.islice(gaps_s(), 1000))
    assert min(gaps) >= 0.1
    assert max(gaps) <= 0.2
    assert max(gaps) - min(gaps) > 0.09
    assert gaps == list(itertools.islice(gaps_s(0), 1000))
    assert gaps != list(itertools.islice(gaps_s(1), 1000))


def test_a_load_with_the_period_of_the_sampling_is_seen_whole() -> None:
    # 25 % of 100 ms at 500 W, else 100 W: a fixed 10 Hz would see one or the other, always.
    at_s, times = 0.0, [0.0]
    for gap in itertools.islice(gaps_s(), 400):
        at_s += gap
        times.append(at_s)
    seen = trace({t: 500.0 if t % 0.1 < 0.025 else 100.0 for t in times})
    found = integral(seen, 0, round(at_s * SECOND))
    truth_j = 200 * at_s
    assert found.joules == pytest.approx(truth_j, rel=0.15)
    assert abs(found.joules - truth_j) <= found.statistical * found.joules
    assert found.statistical > 0.05


def test_a_constant_power_has_no_statistical_uncertainty() -> None:
    found = integral(every(0.1, lambda t: 50.0, 10), 0, 10 * SECOND)
    assert found.joules == pytest.approx(500)
    assert (found.statistical, found.peak, found.flags) == (0.0, pytest.approx(1.0), ())


def test_a_ramp_is_nearly_free_of_uncertainty() -> None:
    found = integral(every(0.1, lambda t: 100 + 50 * t, 10), 0, 10 * SECOND)
    assert found.joules == pytest.approx(3500)
    assert 0 < found.statistical < 0.005
    assert found.peak == pytest.approx(600 / 350)


def test_the_ends_of_the_window_hold_the_nearest_sample() -> None:
    found = integral(trace({0.2: 100.0, 0.8: 100.0}), 0, SECOND)
    assert found.joules == pytest.approx(100)


@pytest.mark.parametrize("bad", [-42.0, 9e6, math.nan, math.inf])
def test_a_sample_that_is_no_power_is_dropped_and_flagged(bad: float) -> None:
    found = integral(trace({0: 100.0, 0.4: bad, 0.5: 100.0, 1: 100.0}), 0, SECOND, 1000.0)
    assert found.joules == pytest.approx(100)
    assert found.flags == ("negative_sample",)


def test_a_long_gap_is_flagged_and_is_as_uncertain_as_the_rest_scatters() -> None:
    samples = {0.1 * i: 100.0 + 100 * (i % 2) for i in range(61)}
    whole = integral(trace(samples), 0, 6 * SECOND)
    hole = {at_s: watts for at_s, watts in samples.items() if not 2.05 < at_s < 4.15}
    found = integral(trace(hole), 0, 6 * SECOND)
    assert found.flags == ("gaps",)
    assert found.statistical > 2 * whole.statistical
    assert abs(found.joules - 900) <= found.statistical * found.joules


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ({}, "0 valid power samples"),
        ({0.5: 100.0}, "1 valid power sample"),
        ({0: -1.0, 0.5: -1.0, 1: 100.0}, "1 valid power samples of 3"),
        ({0: 100.0, 1: 100.0, 9: 100.0, 10: 100.0}, "no valid power samples in 8.0 s"),
        ({0: 0.0, 5: 0.0, 10: 0.0}, "no valid power samples in 10.0 s"),
        ({i / 2: 0.0 for i in range(21)}, "0 W throughout"),
    ],
)
def test_too_few_samples_give_a_reason_and_no_joules(
    samples: dict[float, float], reason: str
) -> None:
    found = integral(trace(samples), 0, 10 * SECOND)
    assert found.joules is None
    assert reason in (found.reason or "")


def test_samples_outside_the_window_do_not_count() -> None:
    samples = {-1: 900.0, 0: 100.0, 1: 100.0, 2: 900.0}
    assert integral(trace(samples), 0, SECOND).joules == pytest.approx(100)


def test_a_failed_read_is_left_out_and_the_thread_ends() -> None:
    reads = iter([100.0, OSError("gone"), ValueError("empty")])

    def read() -> float:
        value = next(reads, 100.0)
        if isinstance(value, Exception):
            raise value
        return value

    sampler = Sampler(read)
    sampler.start()
    sampler.sample()
    sampler.resume()
    deadline_s = time.monotonic() + 10
    while len(sampler.trace.watts) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    sampler.stop()
    assert set(sampler.trace.watts) == {100.0}
    assert sampler.trace.at_ns == sorted(sampler.trace.at_ns)
    assert not any(thread.name == "power-sampler" for thread in threading.enumerate())
