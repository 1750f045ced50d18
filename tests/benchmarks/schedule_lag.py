"""How late Poisson arrivals are answered by a target of no work: harness, LoadGen, asyncio.sleep.

Figures are scheduled time to completion, which all three can tell, and which a user would feel.
Every round runs all contestants at all rates; a figure is the median over the rounds.
`python -m tests.benchmarks.schedule_lag [--fast]`
"""

import asyncio
import gc
import json
import os
import statistics
import sys
import time

import numpy as np

from harness.measure.calibrate import INPUTS, NullSession
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.traffic import poisson_arrivals
from tests.benchmarks import loadgen

RATES = (1_000, 5_000, 20_000)


def ours(rate, duration_s, seed):
    stop = StopRule(duration_s, duration_s, 1)
    columns = Driver(NullSession(), INPUTS, RealClock(), seed).open(rate, stop).columns()
    if not (columns["status"] == 0).all():
        return None
    return (columns["ended_ns"] - columns["scheduled_ns"]) / 1e3


def with_asyncio(rate, duration_s, seed):
    arrivals = poisson_arrivals(rate, duration_s, seed)
    session, now = NullSession(), time.perf_counter_ns

    async def drive():
        late = np.empty(arrivals.size)
        start = now() + 1_000_000
        for index, arrival in enumerate(arrivals):
            due = start + int(arrival * 1e9)
            left = due - now()
            if left > 0:
                await asyncio.sleep(left / 1e9)
            session.answer(INPUTS[0])
            late[index] = (now() - due) / 1e3
        return late

    return asyncio.run(drive())


def percentiles(late_us):
    ordered = np.sort(late_us)
    return float(ordered[ordered.size // 2]), float(ordered[int(ordered.size * 0.99)])


def main(fast):
    rounds, duration_s = (2, 0.5) if fast else (7, 2.0)
    reason = loadgen.absent()
    load = [os.getloadavg()[0]]
    late = {(name, rate): [] for name in ("ours", "loadgen", "asyncio") for rate in RATES}
    behind = []
    gc.collect()
    gc.disable()
    for number in range(rounds):
        for rate in RATES:

            def run_ours(rate=rate, number=number):
                found = ours(rate, duration_s, number)
                if found is None:
                    behind.append((rate, number))
                else:
                    late["ours", rate].append(percentiles(found))

            def run_theirs(rate=rate):
                if reason is None:
                    found = loadgen.null_target("Server", int(rate * duration_s), rate)
                    late["loadgen", rate].append((found["p50_us"], found["p99_us"]))

            def run_asyncio(rate=rate, number=number):
                late["asyncio", rate].append(percentiles(with_asyncio(rate, duration_s, number)))

            steps = [run_ours, run_theirs, run_asyncio]
            for step in steps[number % 3 :] + steps[: number % 3]:
                step()
    gc.enable()
    load.append(os.getloadavg()[0])

    def figure(name, rate, which):
        pairs = late[name, rate]
        return round(statistics.median(p[which] for p in pairs), 2) if pairs else None

    print(f"{rounds} rounds of {duration_s} s; load average {load[0]:.2f} to {load[1]:.2f}")
    print(f"{'rate/s':>7}  {'contestant':<12} {'p50 us':>9} {'p99 us':>9}")
    found = {}
    for rate in RATES:
        found[f"{rate // 1000}k"] = {
            f"{name}_{label}_us": figure(name, rate, which)
            for name in ("ours", "loadgen", "asyncio")
            for which, label in enumerate(("p50", "p99"))
        }
        for name, title in (("ours", "harness"), ("loadgen", "LoadGen"), ("asyncio", "asyncio")):
            cells = [figure(name, rate, which) for which in (0, 1)]
            text = " ".join("   absent" if c is None else f"{c:>9.2f}" for c in cells)
            print(f"{rate:>7,}  {title:<12} {text}")
    found |= {
        "windows_behind": len(behind),
        "loadgen_absent": reason,
        "rounds": rounds,
        "load_average": [round(value, 2) for value in load],
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main("--fast" in sys.argv[1:])
