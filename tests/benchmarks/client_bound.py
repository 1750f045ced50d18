"""Is every point that the client limits flagged client-bound, and no server that is really slow?

Overloaded points: more requests or tokens than one process can take, and lighter loads with a
client that is held back: replies that take long to read on its event loop, threads of the same
process that keep the interpreter, other processes on the only core that it may use. The server's
own log says what it did (same clock, `time.perf_counter_ns`): a point is overloaded if at least
15 % of the median time to the first token that the client saw is not in that log, or less than 85 %
of the requested rate was sent. `missed`: those that were not flagged. `fine` points of the sweep
turned out to be no overload, and count nowhere.

Slow servers: slow to begin, slow between tokens, one worker and a queue, a limit of requests a
second. `false`: those that were flagged. Servers have processes of their own; they share the cores
with the client, and with whatever else runs: on a busy machine a slow server's times are in part
the client's, and `load_average` says so.

`python -m tests.benchmarks.client_bound [--fast]`
"""

import json
import multiprocessing
import os
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.adapters.base import TextRequest
from harness.adapters.http.adapter import endpoint_of, make_codec
from harness.adapters.http.client import Client
from harness.adapters.http.secrets import Secret
from harness.adapters.http.session import HttpSession
from harness.measure.client_watch import ClientWatch
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.summary import Window, summarise
from harness.schema.workload import SloLimit
from tests.adapters.http.served import make_served
from tests.servers.process import Queueing, Reference

OVERLOADED_SHARE = 0.15
SLO = (SloLimit(metric="ttft", percentile=99, limit_s=2.0),)


@dataclass(frozen=True)
class Case:
    """A load, `users` in a closed loop or `rate` a second, and what holds the client back.

    `reading_s`: how long reading a reply keeps the event loop. `threads`: how many of this process
    compute. `hogs`: processes that compute on the one core that is then left to this process.
    """

    name: str
    options: str
    users: int | None = None
    rate: float | None = None
    tokens: int = 1
    reading_s: float = 0.0
    threads: int = 0
    hogs: int = 0


def overloads():
    """Return the sweep: 30 points, each harder than the one before it in its row."""
    closed = [Case("users", "ttft_s=0.001", users=n) for n in (64, 128, 192, 256)]
    tokens = [
        Case("tokens", "ttft_s=0.001,itl_s=0.001", users=n, tokens=64) for n in (96, 160, 224)
    ]
    opened = [Case("rate", "ttft_s=0.002", rate=n) for n in (12e3, 16e3, 24e3, 32e3)]
    parse = [
        Case("reading", "ttft_s=0.02", users=32, reading_s=s)
        for s in (0.001, 0.0015, 0.002, 0.003, 0.004, 0.008)
    ]
    parse += [Case("reading", "ttft_s=0.01", rate=300, reading_s=s) for s in (0.0035, 0.005, 0.01)]
    spun = [
        Case("threads", f"ttft_s={ttft},itl_s=0.002", users=16, tokens=8, threads=n)
        for ttft, n in ((0.002, 1), (0.005, 1), (0.002, 2), (0.005, 2), (0.01, 3), (0.02, 4))
    ]
    shared = [
        Case("shared core", "ttft_s=0.005,itl_s=0.002", users=32, tokens=n, hogs=h)
        for n, h in ((1, 2), (8, 2), (1, 4), (8, 4))
    ]
    return [*closed, *tokens, *opened, *parse, *spun, *shared]


def slow_servers():
    """Return (server class, its arguments, case) of servers that are slow by themselves."""
    reference = Reference, ("--loop", "uvloop")
    return [
        (*reference, Case("slow to begin", "ttft_s=0.4", users=1)),
        (*reference, Case("slow to begin", "ttft_s=0.4", users=32)),
        (*reference, Case("slow to begin", "ttft_s=0.5", rate=20)),
        (*reference, Case("slow to begin", "ttft_s=0.5", rate=100)),
        (*reference, Case("slow tokens", "ttft_s=0.2,itl_s=0.05", users=1, tokens=16)),
        (*reference, Case("slow tokens", "ttft_s=0.2,itl_s=0.05", users=32, tokens=16)),
        (*reference, Case("slow tokens", "ttft_s=0.3,itl_s=0.1", rate=10, tokens=8)),
        (Queueing, ("--service-s", "0.05"), Case("one worker", "", users=16)),
        (Queueing, ("--service-s", "0.05"), Case("one worker", "", rate=40)),
        (Queueing, ("--service-s", "0.02"), Case("one worker", "", rate=200)),
        (Queueing, ("--limit-per-s", "20"), Case("rate limit", "", rate=60)),
        (
            Queueing,
            ("--limit-per-s", "20", "--service-s", "0.05"),
            Case("rate limit, one worker", "", rate=60),
        ),
    ]


class SlowReader(HttpSession):
    """A session that reads each reply on the event loop, for `reading_s`."""

    reading_s = 0.0

    def _hand_over(self, query, request, reply):
        end_s = time.perf_counter() + self.reading_s
        while time.perf_counter() < end_s:
            pass
        super()._hand_over(query, request, reply)

    def rehearse(self):
        """Return the rehearsal with as slow a reader."""
        return slowed(super().rehearse(), self.reading_s)


@contextmanager
def slowed(rehearsal, reading_s):
    with rehearsal as found:
        found.http.__class__ = SlowReader
        found.http.reading_s = reading_s
        yield found


def spin(ended):
    while not ended.is_set():
        pass


def hog(core):
    os.sched_setaffinity(0, {core})
    while True:
        pass


@contextmanager
def held_back(case):
    """Hold this process back as `case` says."""
    ended, allowed = threading.Event(), os.sched_getaffinity(0)
    threads = [threading.Thread(target=spin, args=(ended,)) for _ in range(case.threads)]
    core = min(allowed)
    context = multiprocessing.get_context("spawn")
    hogs = [context.Process(target=hog, args=(core,), daemon=True) for _ in range(case.hogs)]
    if hogs:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
    try:
        for each in (*threads, *hogs):
            each.start()
        yield
    finally:
        ended.set()
        for each in hogs:
            each.kill()
        for each in (*threads, *hogs):
            each.join()
        os.sched_setaffinity(0, allowed)


def session_on(server, case):
    address = make_served(server.url(case.options), timeout_s=20.0).server
    secret = Secret()
    client = Client(endpoint_of(address), connections=address.connections)
    made = SlowReader(address, secret, make_codec(address, secret), client, {})
    made.reading_s = case.reading_s
    return made


def measured(server, case, window_s):
    """Return the point of `case` with its trust block, and the share that is not the server's."""
    session, clock = session_on(server, case), RealClock()
    request = TextRequest(np.zeros(8, dtype=np.int64), case.tokens)
    driver = Driver(session, [request], clock, 1)
    stop = StopRule(window_s, window_s, 0)
    try:
        session.prepare_requests([request])
        with held_back(case):
            watch = ClientWatch(session, clock, SLO)
            watch.begin()
            if case.rate is None:
                samples = driver.closed_loop(case.users, stop)
            else:
                samples = driver.open(case.rate, stop)
            point = summarise(
                Window(samples, [0.0]),
                task="text_generation",
                scenario="server" if case.rate else "closed_loop",
                slo=SLO,
                energy=(),
                requested_rate=case.rate,
            )
            point = watch.end(samples, point)
            (point,) = watch.calibrate([(samples, point)])
    finally:
        session.close()
    columns = samples.columns()
    answered = columns["status"] == 0
    if not answered.any():
        raise RuntimeError(f"{case}: no request was answered: {samples.errors[:1]}")
    seen_s = (columns["first_ns"] - columns["scheduled_ns"])[answered] / 1e9
    return point, float(np.median(seen_s))


def overloaded(server, case, point, seen_s):
    """Return the share of the median that the server's log does not explain, and if that is much.

    Of an open loop also whether the rate was not sent.
    """
    rows = [row for row in server.truth() if row["writes_ns"]]
    true_s = float(np.median([row["writes_ns"][0] - row["received_ns"] for row in rows])) / 1e9
    share = 1 - true_s / seen_s
    received = sorted(row["received_ns"] for row in rows)
    sent = 1.0
    if case.rate is not None:
        sent = (len(received) - 1) / ((received[-1] - received[0]) / 1e9) / case.rate
    return share, share >= OVERLOADED_SHARE or sent < 1 - OVERLOADED_SHARE


def row(kind, case, point, share):
    load = f"{case.users} users" if case.users else f"{case.rate:,.0f}/s"
    signs = "; ".join(sign.text for sign in point.trust.client_bound) or "-"
    shown = "" if share is None else f"{share:.0%}"
    print(f"{kind:<11}{case.name:<24}{load:>10}{shown:>8}   {signs}", flush=True)


def main(fast, window_s):
    sweep, slow = overloads(), slow_servers()
    if fast:
        sweep, slow = sweep[1::3], slow[1::3]
    missed = false = hit = fine = 0
    print(f"{'kind':<11}{'case':<24}{'load':>10}{'not its':>8}   why flagged")
    with ExitStack() as stack:
        server = stack.enter_context(Reference("--loop", "uvloop"))
        for case in sweep:
            server.truth()
            point, seen_s = measured(server, case, window_s)
            share, over = overloaded(server, case, point, seen_s)
            hit, fine = hit + over, fine + (not over)
            missed += over and not point.client_bound
            row("overloaded" if over else "fine", case, point, share)
    for kind, arguments, case in slow:
        with kind(*arguments) as server:
            point, _ = measured(server, case, max(window_s, 1.5))
        false += point.client_bound
        row("slow", case, point, None)
    found = {
        "missed": missed,
        "false": false,
        "overloaded": hit,
        "fine": fine,
        "slow": len(slow),
        "load_average": os.getloadavg()[0],  # this run is about 2; more is somebody else
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main("--fast" in sys.argv, 0.8 if "--fast" in sys.argv else 1.5)
