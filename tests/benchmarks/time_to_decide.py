"""How often the quick profile picks the right one of two targets that differ by 10 % at the SLO.

Simulated targets with lognormal service times (cv 0.3), one request at a time, Poisson arrivals,
runs that differ from each other by a cv of 1 %.
The driver, the search for the highest rate within the SLO, the stop rule, the metrics and the
mapper are the real ones; the clock is virtual. The truth comes from a queue of a million requests.
MLPerf's Server scenario takes 270,336 queries a system to promise a p99.

`python -m tests.benchmarks.time_to_decide [--fast]`
"""

import json
import statistics
import sys
from pathlib import Path

import numpy as np

from harness.adapters.base import RowRequest
from harness.cli.output import table
from harness.mapper import decide
from harness.measure.drive import Driver, StopRule
from harness.measure.job import Job
from harness.measure.profile import PROFILES
from harness.measure.scenario import ScenarioRunner, find_headline
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_record,
    make_stored,
    make_target,
)
from tests.measure.virtual import KnownSession, VirtualClock

PAIRS = 100
MLPERF_QUERIES = 270_336
SERVICE_S = 0.002
CV = 0.3
RUN_CV = 0.01
LIMIT_S = 0.020
GAP = 1.10
TARGETS = {name: make_target(name, runtime={"adapter": "fake", "device": "other"})
           for name in ("quick", "slow")}  # fmt: skip
WORKLOAD = make_fraud_workload(
    slo=[{"metric": "latency", "percentile": 99, "limit_s": LIMIT_S}],
    scenarios=[{"kind": "server"}],
    # So many that whole numbers of units do not make two targets equal.
    demand={"requests_per_month": 1e13},
)
ROWS = [RowRequest(np.zeros(2, dtype=np.float32))]


class NoEnergy:
    """A simulated target draws nothing."""

    def begin(self):
        pass

    def end(self):
        return []


def draw_service(rng, service_s, size):
    sigma = np.sqrt(np.log1p(CV**2))
    return service_s * np.exp(rng.normal(-(sigma**2) / 2, sigma, size))


def true_capacity(service_s, size):
    """Return the highest rate whose p99 is within the limit: Lindley's recursion, bisection."""
    rng = np.random.default_rng(99)
    service, gaps = draw_service(rng, service_s, size), rng.exponential(1.0, size)
    low, high = 0.1 / service_s, 1.0 / service_s
    for _ in range(20):
        rate = (low + high) / 2
        steps = np.concatenate(([0.0], (service - gaps / rate)[:-1])).cumsum()
        latency = steps - np.minimum.accumulate(steps) + service
        low, high = (rate, high) if np.quantile(latency, 0.99) <= LIMIT_S else (low, rate)
    return low


def slower_service(size):
    """Return the service time of the target whose capacity at the SLO is lower by GAP."""
    wanted = true_capacity(SERVICE_S, size) / GAP
    low, high = SERVICE_S, 1.2 * SERVICE_S
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if true_capacity(middle, size) > wanted else (low, middle)
    return low


def measure(target, service_s, number, seed, repeat, profile):
    """Return the record of one simulated cell, its queries and the seconds of its virtual clock."""
    clock = VirtualClock()
    began_ns = clock.now_ns()
    rng = np.random.default_rng([seed, number, repeat])
    service = iter(draw_service(rng, service_s * np.exp(rng.normal(0, RUN_CV)), 500_000))
    session = KnownSession(clock, lambda n: float(next(service)))
    record = make_record(WORKLOAD, target, number=100 * seed + 10 * number + repeat, repeat=repeat)
    cell = record.cell.model_copy(update={"seed": seed, "profile": profile.name})
    nowhere = Path("nowhere")
    job = Job(
        cell=cell, workload=WORKLOAD, target=target, data=nowhere, cache=nowhere, folder=nowhere
    )
    driver = Driver(session, ROWS, clock, seed)
    driver.closed(StopRule(profile.warmup_s, profile.warmup_limit_s / 2, profile.warmup_queries))
    runner = ScenarioRunner(job, session, NoEnergy(), ROWS, clock, lambda text: None)
    points = tuple(each.point for each in runner.run())
    changes = {
        "cell": cell,
        "points": points,
        "headline": find_headline(points),
        "capacity": runner.capacity,
    }
    spent_s = (clock.now_ns() - began_ns) / 1e9
    return record.model_copy(update=changes), len(session.batches), spent_s


def trial(pairs, slow_s, repeats):
    """Return how many decisions of 100 came out how, and what they took."""
    profile = PROFILES["quick"]
    brief = make_brief(WORKLOAD.name)
    found, queries, spent_s = [], [], []
    for seed in range(pairs):
        stored = []
        for number, (name, service_s) in enumerate((("quick", SERVICE_S), ("slow", slow_s)), 1):
            runs = [
                measure(TARGETS[name], service_s, number, seed, repeat, profile)
                for repeat in range(repeats)
            ]
            stored += [make_stored(record) for record, _, _ in runs]
            queries.append(sum(count for _, count, _ in runs))
            spent_s.append(sum(seconds for _, _, seconds in runs))
        (answer,) = decide(brief, [WORKLOAD], TARGETS.values(), stored).workloads
        found.append((answer.choice.target if answer.choice else None, bool(answer.clear)))
    scale = 100 / pairs
    return {
        "right_per_100": scale * sum(choice == "quick" for choice, _ in found),
        "wrong_per_100": scale * sum(choice == "slow" for choice, _ in found),
        "clear_per_100": scale * sum(clear for _, clear in found),
        "wrong_but_clear_per_100": scale * sum(each == ("slow", True) for each in found),
        "queries_median": statistics.median(queries),
        "seconds_median": round(statistics.median(spent_s), 1),
    }


def main(arguments):
    fast = "--fast" in arguments
    pairs, size = (10, 200_000) if fast else (PAIRS, 1_000_000)
    slow_s = slower_service(size)
    capacity = true_capacity(SERVICE_S, size)
    print(
        f"p99 within {LIMIT_S * 1e3:g} ms: {capacity:.0f} and {capacity / GAP:.0f}/s; "
        f"quick profile, {pairs} pairs; MLPerf takes {MLPERF_QUERIES:,} queries a target"
    )
    results = {repeats: trial(pairs, slow_s, repeats) for repeats in ((1,) if fast else (1, 3))}
    header = ["repeats", *(name.replace("_", " ") for name in results[1])]
    rows = [
        [str(repeats), *(f"{value:,.10g}" for value in row.values())]
        for repeats, row in results.items()
    ]
    print(table(rows, header=header))
    result = {**results[1], "queries_mlperf": MLPERF_QUERIES, "pairs": pairs}
    if 3 in results:
        result["right_per_100_with_3_repeats"] = results[3]["right_per_100"]
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
