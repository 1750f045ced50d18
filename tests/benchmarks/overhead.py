"""What the harness adds to a query, beside MLPerf LoadGen and a bare loop, on a target of no work.

The three run one after the other in every round; a figure is the median over the rounds. Garbage
collection is off for the first two, as it is while the harness measures.
`python -m tests.benchmarks.overhead [--fast]`
"""

import gc
import json
import os
import statistics
import sys

import numpy as np

from harness.measure.calibrate import INPUTS, NullSession, bare_loop
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from tests.benchmarks import loadgen


def ours(driver, queries):
    """Return median latency in us, median time between issues in us, and queries/s."""
    columns = driver.closed(StopRule(0.0, 60.0, queries)).columns()
    latency = float(np.median(columns["ended_ns"] - columns["issued_ns"])) / 1e3
    apart = float(np.median(np.diff(columns["issued_ns"]))) / 1e3
    return latency, apart, columns["ended_ns"].size / (float(columns["ended_ns"].max()) / 1e9)


def bare(session, clock, queries):
    """Return the median time in us and queries/s."""
    start = clock.now_ns()
    spent = bare_loop(session, clock, queries)
    return float(np.median(spent)) * 1e6, queries / ((clock.now_ns() - start) / 1e9)


def main(fast):
    rounds, queries = (3, 20_000) if fast else (9, 100_000)
    reason = loadgen.absent()
    session, clock = NullSession(), RealClock()
    driver = Driver(session, INPUTS, clock, seed=0)
    load = [os.getloadavg()[0]]
    gc.collect()
    gc.disable()
    bare_us, bare_rate, ours_us, apart_us, ours_rate, theirs = [], [], [], [], [], []
    ours(driver, 1000)
    for number in range(rounds):

        def run_bare():
            median, rate = bare(session, clock, queries)
            bare_us.append(median)
            bare_rate.append(rate)

        def run_ours():
            latency, apart, rate = ours(driver, queries)
            ours_us.append(latency)
            apart_us.append(apart)
            ours_rate.append(rate)

        def run_theirs():
            if reason is None:
                theirs.append(loadgen.null_target("SingleStream", queries))

        steps = [run_bare, run_ours, run_theirs]
        for step in steps[number % 3 :] + steps[: number % 3]:
            step()
    gc.enable()
    load.append(os.getloadavg()[0])

    def over_bare(values):
        return round(statistics.median(v - b for v, b in zip(values, bare_us, strict=True)), 4)

    loadgen_us = [one["p50_us"] for one in theirs]
    loadgen_rate = [one["rate"] for one in theirs]
    found = {
        "in_band_over_bare_us": over_bare(ours_us),
        "out_of_band_us": round(
            statistics.median(a - o for a, o in zip(apart_us, ours_us, strict=True)), 4
        ),
        "rate": round(statistics.median(ours_rate)),
        "loadgen_over_bare_us": over_bare(loadgen_us) if theirs else None,
        "loadgen_rate": round(statistics.median(loadgen_rate)) if theirs else None,
        "rate_ratio_to_loadgen": (
            round(statistics.median(o / t for o, t in zip(ours_rate, loadgen_rate, strict=True)), 3)
            if theirs
            else None
        ),
        "loadgen_absent": reason,
        "rounds": rounds,
        "queries": queries,
        "load_average": [round(value, 2) for value in load],
        "cores": len(os.sched_getaffinity(0)),
    }
    print(f"{rounds} rounds of {queries:,} queries; load average {load[0]:.2f} to {load[1]:.2f}")
    print(f"{'contestant':<12} {'median us':>10} {'over bare':>10} {'queries/s':>11}")
    rows = [("bare loop", bare_us, bare_rate), ("harness", ours_us, ours_rate)]
    if theirs:
        rows.append(("LoadGen", loadgen_us, loadgen_rate))
    for name, latency, rate in rows:
        median = statistics.median(latency)
        line = f"{name:<12} {median:>10.3f} {over_bare(latency):>10.3f}"
        print(f"{line} {statistics.median(rate):>11,.0f}")
    if reason:
        print(f"{'LoadGen':<12} absent: {reason}")
    print(json.dumps(found))


if __name__ == "__main__":
    main("--fast" in sys.argv[1:])
