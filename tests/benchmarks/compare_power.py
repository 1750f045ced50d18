"""How often `harness compare` calls a difference that is not there, and misses one that is.

Simulated runs of 5,000 requests (lognormal latency, cv 0.3), runs that differ from each other by a
cv of 1 %, through the real path: percentiles, rates, records, comparison of the default metrics
(p50 and p99, which the SLO promises, and throughput). A/A: both sides alike; "better" or "worse" on
any metric is a false call. Slower: the new side takes 5 % longer; found if the comparison ends with
exit status 1. The single metrics are shown beside.

`python -m tests.benchmarks.compare_power [--fast]`
"""

import json
import sys

import numpy as np

from harness.cli.output import table
from harness.compare import Side, compare
from harness.statistics import histogram, percentile, rate
from tests.factories import make_point, make_record, make_target, make_workload, ulid

PAIRS = 100
RUNS = 5
REQUESTS = 5_000
CV = 0.3
METRICS = ("latency_s.p50", "latency_s.p99", "throughput_requests_per_s")
WORKLOAD = make_workload(
    slo=[{"metric": "latency", "percentile": p, "limit_s": 1.0} for p in (50, 99)]
)
BASE_POINT = make_point(WORKLOAD, latency_s=0.1)

# Correlation between neighbouring requests, cv between runs, drift over the session.
CASES = {
    "independent": (0.0, 0.01, 0.0),
    "independent, drift 10 %": (0.0, 0.01, 0.10),
    "AR(1) 0.9": (0.9, 0.01, 0.0),
}


def latencies(rng, correlation, size):
    """Return latencies around 10 ms whose logs are an AR(1) series of unit-free spread CV."""
    sigma = np.sqrt(np.log1p(CV**2))
    noise = rng.normal(0, 1, size)
    if correlation:
        series = np.empty(size)
        series[0] = noise[0]
        step = np.sqrt(1 - correlation**2)
        for i in range(1, size):
            series[i] = correlation * series[i - 1] + step * noise[i]
        noise = series
    return 0.01 * np.exp(sigma * noise)


def run(rng, target, number, repeat, run_id, factor, correlation, run_cv):
    values = latencies(rng, correlation, REQUESTS) * factor * np.exp(rng.normal(0, run_cv))
    ended = values.cumsum()
    metrics = {
        **{f"latency_s.p{p}": percentile(values, p) for p in (50, 99)},
        METRICS[2]: rate(np.ones(values.size), ended, float(ended[-1]), unit="requests/s"),
    }
    point = BASE_POINT.model_copy(
        update={"metrics": metrics, "latency": histogram(values), "requests": REQUESTS}
    )
    return make_record(
        WORKLOAD,
        target,
        scenario="single_stream",
        number=number,
        repeat=repeat,
        run=run_id,
        points=(point,),
    )


def outcomes(rng, factor, *, correlation, run_cv, drift, interleaved, runs):
    """Return the outcome of each metric for one pair of targets, measured as `--repeats` does."""
    old, new = make_target("old"), make_target("new")
    sides = {"old": [], "new": []}
    order = [t for i in range(runs) for t in ((old, new) if i % 2 == 0 else (new, old))]
    for place, target in enumerate(order):
        mine = sides[target.name]
        slow = factor if target is new else 1.0
        slow *= 1 + drift * place / (len(order) - 1)
        run_id = ulid(20_000 if interleaved else 20_000 + (target is new))
        mine.append(run(rng, target, place + 1, len(mine), run_id, slow, correlation, run_cv))
    answer = compare(Side("old", tuple(sides["old"])), Side("new", tuple(sides["new"])))
    (cell,) = answer.cells
    assert cell.paired is interleaved
    found = {each.metric: each.outcome for each in cell.metrics}
    for each in cell.missing:
        found.setdefault(each.metric, "not compared")
    return {**found, "regression": bool(answer.regressions)}


def trial(case, pairs, *, interleaved=True, runs=RUNS, seed=1):
    correlation, run_cv, drift = CASES[case]
    setting = {
        "correlation": correlation,
        "run_cv": run_cv,
        "drift": drift,
        "interleaved": interleaved,
        "runs": runs,
    }
    rng = np.random.default_rng(seed)
    same = [outcomes(rng, 1.0, **setting) for _ in range(pairs)]
    slower = [outcomes(rng, 1.05, **setting) for _ in range(pairs)]
    scale = 100 / pairs
    return {
        "false_calls_per_100": scale
        * sum(bool({"better", "worse"} & set(found.values())) for found in same),
        "found_per_100": scale * sum(found["regression"] for found in slower),
        "found_p99_per_100": scale * sum(found[METRICS[1]] == "worse" for found in slower),
        "found_p50_per_100": scale * sum(found[METRICS[0]] == "worse" for found in slower),
        "wrong_way_per_100": scale * sum("better" in found.values() for found in slower),
    }


def main(arguments):
    pairs = 20 if "--fast" in arguments else PAIRS
    rows = [
        ("independent", True, 5),
        ("independent", False, 5),
        ("independent", True, 3),
        ("independent", True, 8),
        ("independent, drift 10 %", True, 5),
        ("independent, drift 10 %", False, 5),
        ("AR(1) 0.9", True, 5),
    ]
    if "--fast" in arguments:
        rows = rows[:2]
    results = {}
    for case, interleaved, runs in rows:
        name = f"{case}, {runs} v {runs}, {'paired' if interleaved else 'not paired'}"
        results[name] = trial(case, pairs, interleaved=interleaved, runs=runs)
    print(f"{pairs} pairs a row; runs differ by a cv of 1 %; {REQUESTS:,} requests a run")
    header = ["per 100", "false calls", "5 % found", "by p99", "by p50", "wrong way"]
    print(
        table(
            [[name, *(f"{value:.0f}" for value in row.values())] for name, row in results.items()],
            header=header,
        )
    )
    first = next(iter(results.values()))
    print(json.dumps({**first, "pairs": pairs, "rows": results}))


if __name__ == "__main__":
    main(sys.argv[1:])
