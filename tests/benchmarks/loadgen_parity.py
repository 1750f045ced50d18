"""The same targets driven by MLPerf LoadGen and by the harness: do both tell the same latencies?

Targets answer at once, or sleep 2 or 20 ms, one query at a time. In Server the harness replays the
very arrivals that LoadGen drew, so that both queues are the same; `exact` is what a target that
takes exactly its sleep would show on them. Both sides add the lateness of the machine's timers,
LoadGen that of its scheduler too, so a sleeping target's p50 and p90 must agree within 10 %; on the
target that answers at once only the difference means anything.

`es_equal`: LoadGen's early stopping and percentiles, and ours of the very latencies in its trace,
are the same numbers.  `python -m tests.benchmarks.loadgen_parity [--fast]`
"""

import json
import os
import statistics as medians
import sys
import time
from dataclasses import dataclass

import numpy as np

from harness import statistics
from harness.early_stopping import latency_estimate, passes
from harness.measure.calibrate import INPUTS, OUTPUT
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.garbage import no_garbage_collection
from tests.benchmarks import loadgen

TOLERANCE = 0.10
SERVER_PERCENT = 90.0


class SleepSession:
    """Answers one query at a time, `service_s` after it was submitted."""

    max_batch = 1
    max_concurrency = 1

    def __init__(self, service_s):
        self.service_s = service_s

    def describe(self):
        return {"runtime": "sleep", "simulated": True}

    def submit(self, query):
        if self.service_s:
            time.sleep(self.service_s)
        query.done(0, OUTPUT)

    def close(self):
        pass


@dataclass(frozen=True)
class Case:
    """A target in a scenario; `rate` 0 is SingleStream."""

    service_s: float
    queries: int
    rate: float = 0.0

    @property
    def scenario(self):
        return "Server" if self.rate else "SingleStream"

    @property
    def target(self):
        return f"{self.service_s * 1e3:g} ms" if self.service_s else "null"

    @property
    def order(self):
        # A limit that some queries of Server exceed and others meet.
        limit_s = 1.1 * self.service_s or 1e-4
        percentile = SERVER_PERCENT / 100
        return loadgen.Order(
            self.scenario,
            self.queries,
            self.rate,
            self.service_s,
            limit_s=limit_s,
            percentile=percentile,
        )


def cases(fast):
    share = 4 if fast else 1
    return [
        Case(0.0, 20_000 // share),
        Case(0.002, 1_200 // share),
        Case(0.020, 280 // share),
        Case(0.0, 600 // share, 100.0),
        Case(0.002, 600 // share, 100.0),
        Case(0.020, 160 // share, 20.0),
    ]


def ours(case, due_s):
    """Return the harness's latencies in ns, in order of issue; `due_s` are Server's arrivals."""
    driver = Driver(SleepSession(case.service_s), INPUTS, RealClock(), seed=0)
    with no_garbage_collection():
        if case.rate:
            # Every arrival is sent, however far behind a busy machine falls.
            columns = driver.offer(due_s, window_s=float(due_s[-1]) + 10.0).columns()
        else:
            columns = driver.closed(StopRule(0.0, loadgen.PATIENCE_S, case.queries)).columns()
    return columns["ended_ns"] - columns["scheduled_ns"]


def exact_ns(due_s, service_s):
    """Return each latency in ns of one server that takes exactly `service_s` (Lindley 1952)."""
    free_s, latency_s = 0.0, []
    for due in due_s:
        free_s = max(free_s, due) + service_s
        latency_s.append(free_s - due)
    return np.array(latency_s) * 1e9


def differences(case, driven):
    """Return what we make otherwise of LoadGen's own latencies than LoadGen does, in words."""
    ordered, detail = np.sort(driven.latency_ns), driven.detail
    pairs = [("queries", ordered.size, detail["result_query_count"])]
    for percent in (50.0, 90.0):
        value = statistics.percentile(driven.latency_ns.astype(np.float64), percent).value
        if value is not None:  # else refused: queues make few samples worth fewer still
            told = detail[f"result_{percent:.2f}_percentile_latency_ns"]
            pairs.append((f"p{percent:g}", value, told))
    if case.rate:
        over = int((ordered > round(case.order.limit_s * 1e9)).sum())
        pairs.append(("over the limit", over, detail["result_overlatency_query_count"]))
        proven = passes(ordered.size, over, SERVER_PERCENT)
        pairs.append(("proven", proven, detail["early_stopping_met"]))
    else:
        for percent, key in ((90, "ss"), (99, "ms")):
            told = detail[f"early_stopping_latency_{key}"]
            # LoadGen writes 0 where it has no estimate.
            pairs.append((f"estimate p{percent}", latency_estimate(ordered, percent) or 0, told))
    return [f"{name}: ours {a}, LoadGen {b}" for name, a, b in pairs if a != b]


def ranks(latency_ns):
    ordered = np.sort(latency_ns)
    return [float(ordered[int(ordered.size * q)]) / 1e6 for q in (0.5, 0.9)]


def pairs(at, mine, theirs):
    return [m[at] / t[at] for m, t in zip(mine, theirs, strict=True)]


def compare(case, rounds):
    """Return the figures of one case: medians over the rounds, latencies in ms."""
    mine, theirs, exact, wrong = [], [], [], []
    due_s = None
    for number in range(rounds):
        # LoadGen's seeds are fixed: every run draws the same arrivals.
        if number % 2 and due_s is not None:
            mine.append(ranks(ours(case, due_s)))
        driven = loadgen.drive(case.order)
        due_s = driven.due_s
        theirs.append(ranks(driven.latency_ns))
        wrong += differences(case, driven)
        if not number % 2:
            mine.append(ranks(ours(case, due_s)))
        exact.append(ranks(exact_ns(due_s, case.service_s if case.rate else 0.0)))
    found = {}
    for at, name in enumerate(("p50", "p90")):
        us, them = (medians.median(each[at] for each in side) for side in (mine, theirs))
        true = medians.median(each[at] for each in exact) if case.rate else case.service_s * 1e3
        found[name] = {
            "ours_ms": round(us, 4),
            "loadgen_ms": round(them, 4),
            "exact_ms": round(true, 4),
            "ratio": round(medians.median(pairs(at, mine, theirs)), 4),
        }
    found["es_equal"] = not wrong
    if wrong:
        found["es_differs"] = sorted(set(wrong))
    return found


def main(fast):
    reason, rounds = loadgen.absent(), 1 if fast else 5
    found = {"loadgen_absent": reason, "rounds": rounds, "tolerance": TOLERANCE}
    load = [os.getloadavg()[0]]
    within, equal = [], []
    if reason:
        print(f"LoadGen is absent: {reason}")
    else:
        head = ("ours", "LoadGen", "exact", "ratio")
        print(f"{rounds} rounds; latencies in ms; medians over the rounds")
        print(f"{'scenario':<13} {'target':<6} {'':<4}" + "".join(f"{h:>10}" for h in head))
        for case in cases(fast):
            one = compare(case, rounds)
            found[f"{case.scenario}.{case.target}".replace(" ", "_")] = one
            equal.append(one["es_equal"])
            for name in ("p50", "p90"):
                figures = one[name]
                if case.service_s:
                    within.append(abs(figures["ratio"] - 1) <= TOLERANCE)
                cells = "".join(
                    f"{figures[f'{k}_ms']:>10.3f}" for k in ("ours", "loadgen", "exact")
                )
                line = f"{case.scenario:<13} {case.target:<6} {name:<4}{cells}"
                print(f"{line}{figures['ratio']:>10.3f}")
            print(f"{'':<20} early stopping and percentiles equal: {one['es_equal']}")
    load.append(os.getloadavg()[0])
    found |= {
        "within_tolerance": all(within) if within else None,
        "es_equal": all(equal) if equal else None,
        "load_average": [round(value, 2) for value in load],
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main("--fast" in sys.argv[1:])
