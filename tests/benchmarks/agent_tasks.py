"""How long tasks of several calls take, and how often the upper bound of their p99 holds it.

Calls are lognormal. The first table has the p99 of a sequential task over its mean, worked out from
a histogram of the calls and from simulated tasks; the percentile of a call that a parallel task
needs stands beside it. The second draws small samples of calls and counts how often the upper bound
of the task's p99 is at least the true one: 97.5 % is the promise.

`python -m tests.benchmarks.agent_tasks [--fast]`
"""

import json
import math
import sys
from statistics import NormalDist

import numpy as np

from harness.mapper.agentic import task_quantile
from harness.mapper.task_latency import Calls, per_call, sequential, tasks_of
from harness.schema.demand import Agent
from harness.statistics import HISTOGRAM_GROWTH, histogram, minimum_samples

SIGMA = 0.6
COUNTS = (1, 10, 20, 50)
SAMPLES = ((5, 2000), (10, 4000), (20, 8000))
NORMAL = NormalDist()


def calls_in(values):
    counts = histogram(values).counts
    return Calls(
        seconds=np.array([HISTOGRAM_GROWTH ** (bucket + 0.5) for bucket, _ in counts]),
        shares=np.array([count / values.size for _, count in counts]),
        n_eff=float(values.size),
        count=values.size,
        margin=math.sqrt(HISTOGRAM_GROWTH),
    )


def simulated(generator, sigma, count, tasks):
    """Return the sums of the calls of simulated tasks."""
    chunk = max(1, 2_000_000 // count)
    sums = [
        generator.lognormal(0, sigma, (min(chunk, tasks - start), count)).sum(axis=1)
        for start in range(0, tasks, chunk)
    ]
    return np.concatenate(sums)


def ratios(generator, tasks):
    even = (np.arange(200_000) + 0.5) / 200_000
    smooth = calls_in(np.exp(SIGMA * np.array([NORMAL.inv_cdf(u) for u in even])))
    rows = []
    for count in COUNTS:
        found = sequential(smooth, count)
        drawn = simulated(generator, SIGMA, count, tasks)
        rows.append(
            {
                "calls": count,
                "p99_over_mean": round(found.quantile(0.99) / found.mean_s, 3),
                "simulated": round(float(np.quantile(drawn, 0.99) / drawn.mean()), 3),
                "per_call_percentile": round(per_call(99, count), 3),
                "calls_needed": minimum_samples(0.99 ** (1 / count)),
            }
        )
    return rows


def covered(generator, order, sigma, count, size, runs, tasks):
    agent = Agent(calls_per_task=count, order=order)
    truth = math.exp(sigma * NORMAL.inv_cdf(0.99 ** (1 / count)))
    if order == "sequential":
        truth = float(np.quantile(simulated(generator, sigma, count, tasks), 0.99))
    held, over = 0, []
    for _ in range(runs):
        calls = calls_in(generator.lognormal(0, sigma, size))
        high = task_quantile(calls, tasks_of(calls, agent), agent, 99).high_s
        held += high is None or high >= truth
        if high is not None:
            over.append(high / truth)
    return {
        "order": order,
        "sigma": sigma,
        "calls": count,
        "sample": size,
        "held_pct": round(100 * held / runs, 1),
        "bound_over_truth": round(float(np.median(over)), 3),
    }


def main(fast):
    generator = np.random.default_rng(1)
    runs, tasks = (40, 200_000) if fast else (200, 1_000_000)
    table = ratios(generator, tasks)
    print(
        "calls  p99/mean  simulated  a parallel task needs of each call  independent calls needed"
    )
    for row in table:
        print(
            f"{row['calls']:5}  {row['p99_over_mean']:8}  {row['simulated']:9}  "
            f"{'p' + format(row['per_call_percentile'], 'g'):>34}  {row['calls_needed']:24,}"
        )
    coverage = [
        covered(generator, order, sigma, count, size, runs, tasks)
        for order in ("sequential", "parallel")
        for sigma in (SIGMA, 1.2)
        for count, size in SAMPLES
    ]
    print("\norder       sigma  calls  sample  bound holds the true p99  bound / true p99 (median)")
    for row in coverage:
        print(
            f"{row['order']:10}  {row['sigma']:5}  {row['calls']:5}  {row['sample']:6}  "
            f"{row['held_pct']:22} %  {row['bound_over_truth']:25}"
        )
    print(json.dumps({"ratios": table, "coverage": coverage, "runs": runs}))


if __name__ == "__main__":
    main("--fast" in sys.argv[1:])
