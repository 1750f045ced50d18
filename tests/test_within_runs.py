import math

import numpy as np
import pytest

from harness import bootstrap
from harness.bootstrap import ratio_of_runs, resampled_percentile, resampled_rate
from harness.compare import Side, compare
from harness.compare.within import Windows, within_runs
from harness.measure.chains import EXTRA
from harness.measure.samples import COLUMNS, Samples
from tests.benchmarks.interval_coverage import autoregressive
from tests.factories import make_metric, make_point, make_record, make_target, make_workload

WORKLOAD = make_workload()


def latencies(seed: int, factor: float = 1.0, count: int = 2_000, rho: float = 0.0):
    rng = np.random.default_rng(seed)
    noise = autoregressive(rng, count, rho) if rho else rng.standard_normal(count)
    return factor * 0.1 * np.exp(0.3 * noise)


def rows_of(latency_s, point=0):
    """Return the rows of a single stream with these latencies."""
    ended_ns = np.cumsum(np.round(latency_s * 1e9)).astype(np.int64)
    started_ns = np.concatenate(([0], ended_ns[:-1]))
    samples = Samples(point, 0)
    for start, end in zip(started_ns.tolist(), ended_ns.tolist(), strict=True):
        samples.rows.append((point, 0, start, start, -1, end, 0, 0, 1, 0))
    return samples.columns()


def side(target: str, values, number: int, **point):
    points = (make_point(WORKLOAD, latency_s=0.1).model_copy(update=point),)
    record = make_record(
        WORKLOAD, make_target(target), scenario="single_stream", points=points, number=number
    )
    return record, rows_of(values)


def test_one_run_against_one_run_shows_the_noise_and_gets_no_verdict() -> None:
    old, slow = side("old", latencies(1), 1), side("new", latencies(2, 1.2), 2)
    rows = {record.id: table for record, table in (old, slow)}
    answer = compare(
        Side("old", (old[0],)),
        Side("new", (slow[0],)),
        metrics=("latency_s.p50", "throughput_requests_per_s", "error_rate"),
        samples_of=lambda record: rows[record.id],
    )
    found = {each.metric: each for each in answer.cells[0].metrics}
    median = found["latency_s.p50"]
    assert median.outcome == "indicative"
    assert "1 run a side" in (median.lacks or "")
    assert median.within.low < 1.2 < median.within.high
    assert median.within.low > 1.1
    rate = found["throughput_requests_per_s"].within
    assert rate.low < 1 / 1.2 < rate.high < 0.9


def test_without_samples_there_is_no_noise_to_show() -> None:
    old, slow = side("old", latencies(1), 1), side("new", latencies(2), 2)
    answer = compare(Side("old", (old[0],)), Side("new", (slow[0],)), metrics=("latency_s.p50",))
    assert answer.cells[0].metrics[0].within is None
    assert answer.cells[0].metrics[0].without_within == "a run kept no samples"


def test_the_samples_of_a_run_are_read_once_for_all_figures() -> None:
    old, slow = side("old", latencies(1), 1), side("new", latencies(2), 2)
    rows = {record.id: table for record, table in (old, slow)}
    read = []

    def samples_of(record):
        read.append(record.id)
        return rows[record.id]

    answer = compare(
        Side("old", (old[0],)),
        Side("new", (slow[0],)),
        metrics=("latency_s.p50", "latency_s.p99", "throughput_requests_per_s"),
        samples_of=samples_of,
    )
    assert len(answer.cells[0].metrics) == 3
    assert sorted(read) == sorted(rows)


def test_energy_is_no_figure_of_single_requests() -> None:
    old, slow = side("old", latencies(1), 1), side("new", latencies(2), 2)
    pairs = [[(record, record.points[0])] for record, _ in (old, slow)]
    assert within_runs("energy_j_per_request@node", *pairs, Windows(lambda record: old[1])) is None


def test_the_warm_up_and_other_points_stay_out() -> None:
    warm = np.where(np.arange(2_000) < 200, 3.0, 1.0)
    old = side("old", latencies(1), 1)
    other = side("new", latencies(1) * warm, 2, warm_up_requests=200)
    foreign = rows_of(latencies(3, 50.0), point=1)
    rows = {
        old[0].id: old[1],
        other[0].id: {name: np.concatenate((other[1][name], foreign[name])) for name in COLUMNS},
    }
    pairs = [[(record, record.points[0])] for record, _ in (old, other)]
    for metric in ("latency_s.p90", "throughput_requests_per_s"):
        found = within_runs(metric, *pairs, Windows(lambda record: rows[record.id]))
        assert found.value == pytest.approx(1.0, abs=0.03)


def test_a_resampled_percentile_is_that_of_the_resampled_requests() -> None:
    values = latencies(5, count=1_000, rho=0.9)
    found = resampled_percentile(values, 90.0, 20, 3)
    rng = np.random.default_rng(3)
    block, blocks = found.block, math.ceil(1_000 / found.block)
    for drawn in found.drawn:
        starts = rng.integers(1_000, size=blocks)
        again = np.concatenate([np.arange(s, s + block) for s in starts])[:1_000] % 1_000
        assert drawn == np.sort(values[again])[900]


@pytest.mark.parametrize("rho", [0.0, 0.9])
@pytest.mark.parametrize("percent", [50.0, 90.0])
def test_alike_runs_are_told_apart_in_one_of_twenty(rho: float, percent: float) -> None:
    hits = 0
    for seed in range(100):
        a, b = (
            resampled_percentile(latencies(2 * seed + i, rho=rho), percent, 200, i) for i in (0, 1)
        )
        interval = ratio_of_runs([b], [a])
        hits += interval.low <= 1.0 <= interval.high
    assert hits >= 87  # 95 nominal; blocks miss a little of what is correlated


def test_several_runs_a_side_narrow_the_noise() -> None:
    runs = [resampled_rate(np.ones(2_000), latencies(i), 300, i) for i in range(8)]
    one, four = ratio_of_runs(runs[:1], runs[4:5]), ratio_of_runs(runs[:4], runs[4:])
    assert (four.high - four.low) < 0.7 * (one.high - one.low)
    assert four.value == pytest.approx(
        math.prod(r.value for r in runs[:4]) ** 0.25 / math.prod(r.value for r in runs[4:]) ** 0.25
    )


def test_too_few_requests_have_a_ratio_and_no_interval() -> None:
    few = resampled_percentile(latencies(1, count=10), 50.0, 100, 0)
    interval = ratio_of_runs([few], [few])
    assert (interval.value, interval.low, interval.high) == (1.0, None, None)
    assert "10 requests, 16 needed" in (interval.reason or "")


@pytest.mark.parametrize("percent", [50.0, 99.0])
@pytest.mark.parametrize("rho", [0.0, 0.95])
def test_many_requests_are_resampled_on_a_lattice_with_the_same_spread(
    monkeypatch, percent, rho
) -> None:
    values = latencies(5, count=60_001, rho=rho)
    assert values.size > bootstrap.EXACT_MOST
    found = {}
    for name, most in (("lattice", bootstrap.EXACT_MOST), ("exact", values.size)):
        monkeypatch.setattr(bootstrap, "EXACT_MOST", most)
        run = resampled_percentile(values, percent, 1_000, seed=1)
        found[name] = (run.value, *np.quantile(run.drawn / run.value - 1, (0.025, 0.5, 0.975)))
    assert found["lattice"][0] == found["exact"][0]
    low, middle, high = found["exact"][1:]
    assert found["lattice"][1:] == pytest.approx((low, middle, high), abs=0.08 * (high - low))


def test_values_that_are_nearly_all_alike_keep_their_percentile() -> None:
    values = np.ones(60_000)
    values[::1_000] = 2.0
    run = resampled_percentile(values, 50.0, 200, seed=1)
    assert run.value == 1.0
    assert set(run.drawn) == {1.0}


# ---- tasks

TASKS = make_workload(
    scenarios=[{"kind": "single_stream"}],
    agent={"calls_per_task": 3, "order": "sequential"},
)


def task_side(target: str, values, number: int, factor: float = 1.0):
    """Return a run of one task of three calls after another, each of a third of `values`."""
    record = make_record(
        TASKS,
        make_target(target),
        scenario="single_stream",
        points=(make_point(TASKS, latency_s=0.1),),
        number=number,
    )
    (point,) = record.points
    figures = {
        "task_latency_s.p90": (factor, "s"),
        "task_latency_s.mean": (factor, "s"),
        "throughput_tasks_per_s": (1 / factor, "tasks/s"),
        "goodput_tasks_per_s": (1 / factor, "tasks/s"),
    }
    metrics = {
        name: make_metric(value, unit=unit, better="lower" if unit == "s" else "higher")
        for name, (value, unit) in figures.items()
    }
    record = record.model_copy(
        update={"points": (point.model_copy(update={"metrics": {**point.metrics, **metrics}}),)}
    )
    samples, start = Samples(0, 0, extra=EXTRA), 0
    for task, value_s in enumerate(values):
        for turn in range(3):
            end = start + round(value_s / 3 * 1e9)
            samples.rows.append((0, 0, start, start, -1, end, 0, 0, 1, 0, task, turn))
            start = end
    return record, samples.columns()


def compared_tasks(first, second, metrics):
    rows = {record.id: table for record, table in (first, second)}
    answer = compare(
        Side("old", (first[0],)),
        Side("new", (second[0],)),
        metrics=metrics,
        samples_of=lambda record: rows[record.id],
    )
    return {each.metric: each for each in answer.cells[0].metrics}


def test_the_figures_of_tasks_are_resampled_task_by_task() -> None:
    metrics = ("task_latency_s.p90", "task_latency_s.mean", "throughput_tasks_per_s")
    values = latencies(1, count=600)
    found = compared_tasks(
        task_side("old", values, 1), task_side("new", 1.3 * latencies(2, count=600), 2), metrics
    )

    for name in metrics:
        within = found[name].within
        factor = 1 / 1.3 if name.startswith("throughput") else 1.3
        assert within.n == 1_200, name
        assert within.low < factor < within.high
        assert (within.low - 1) * (within.high - 1) > 0
    # The mean of a resample of tasks varies as that of its tasks does: cv / sqrt(tasks) a side.
    mean = found["task_latency_s.mean"].within
    width = math.log(mean.high / mean.low) / 2
    cv = values.std() / values.mean()
    assert width == pytest.approx(1.96 * cv * math.sqrt(2 / 600), rel=0.25)
    assert found["task_latency_s.p90"].better == "lower"
    assert found["throughput_tasks_per_s"].better == "higher"


def test_a_figure_without_an_interval_says_why() -> None:
    few = compared_tasks(
        task_side("old", latencies(1, count=9), 1),
        task_side("new", latencies(2, count=9), 2),
        ("task_latency_s.p90", "goodput_tasks_per_s"),
    )

    assert few["task_latency_s.p90"].within.reason == "not supported by n: 9 tasks, 16 needed"
    assert few["goodput_tasks_per_s"].within is None
    assert few["goodput_tasks_per_s"].without_within == "no figure of single requests or tasks"


def test_samples_that_do_not_know_their_tasks_have_no_interval_of_tasks() -> None:
    first, second = task_side("old", latencies(1), 1), task_side("new", latencies(2), 2)
    plain = [(r, {name: rows[name] for name in COLUMNS}) for r, rows in (first, second)]
    found = compared_tasks(*plain, ("task_latency_s.p90", "throughput_requests_per_s"))

    assert found["task_latency_s.p90"].without_within == (
        "the samples of a run do not say which calls are of one task"
    )
