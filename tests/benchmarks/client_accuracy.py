"""How true the client's times are: 64 streams, 32 tokens, first after 5 ms, then one each 5 ms.

Truth is the server's log of when it received each request and wrote each token, on the same clock
(`time.perf_counter_ns` is one for all processes of a machine); requests are matched by their id.
The server has a process of its own. `rate_share` is the achieved over the ideal rate of 400
requests/s, `ttft_p50_error_ms` the p50 that the client saw less the p50 of the log,
`itl_mean_error_pct` the same of the mean gap between tokens, in percent of the log's. aiohttp is
beside ours; it decodes nothing.

`python -m tests.benchmarks.client_accuracy [--fast] [--aiperf COMMAND] [--guidellm COMMAND]`
"""

import json
import os
import sys
from statistics import median

import numpy as np

from harness.adapters.http.sse import read_events
from tests.benchmarks.client_load import WHY_NO_PEER, by_aiohttp, by_command, ours, peers
from tests.servers.process import Reference

STREAMS, TOKENS, TTFT_S, ITL_S = 64, 32, 0.005, 0.005
OPTIONS = f"ttft_s={TTFT_S},itl_s={ITL_S}"
IDEAL = STREAMS / (TTFT_S + (TOKENS - 1) * ITL_S)
KEYS = ("rate_share", "ttft_p50_error_ms", "itl_mean_error_pct")


def errors(load, truth):
    """Return the figures of `load` against the rows of the server's log."""
    rows = {row["id"]: row for row in truth}
    seen_ttft, true_ttft, seen_itl, true_itl = [], [], [], []
    for request in load.rows:
        row = rows[request.name]
        times = [event.at_ns for event in read_events(request.chunks).events]
        assert len(times) == len(row["writes_ns"]) == TOKENS
        writes = row["writes_ns"]
        seen_ttft.append(times[0] - request.sent_ns)
        true_ttft.append(writes[0] - row["received_ns"])
        seen_itl.append((times[-1] - times[0]) / (TOKENS - 1))
        true_itl.append((writes[-1] - writes[0]) / (TOKENS - 1))
    return {
        "rate_share": load.rate / IDEAL,
        "ttft_p50_error_ms": float(np.median(seen_ttft) - np.median(true_ttft)) / 1e6,
        "itl_mean_error_pct": float(np.mean(seen_itl) / np.mean(true_itl) - 1) * 100,
        "true_ttft_p50_ms": float(np.median(true_ttft)) / 1e6,
        "true_itl_mean_ms": float(np.mean(true_itl)) / 1e6,
        "cpu_us": load.cpu_s * 1e6,
        "requests": len(load.rows),
    }


def main(rounds, window_s, commands):
    load = {"streams": STREAMS, "tokens": TOKENS, "window_s": window_s, "options": OPTIONS}
    found = {"ours": [], "aiohttp": []}
    with Reference("--loop", "uvloop") as server:
        for _ in range(rounds):
            for name, run in (("ours", ours), ("aiohttp", by_aiohttp)):
                server.truth()
                done = run(server.port, **load, keep=1_000_000, named=True)
                found[name].append(errors(done, server.truth()))
        shares = {
            name: by_command(server, command, OPTIONS) / IDEAL if command else None
            for name, command in commands.items()
        }
    print(f"{STREAMS} streams, {TOKENS} tokens, {OPTIONS}: ideal {IDEAL:.0f} requests/s;")
    print(f"{rounds} rounds of {window_s:g} s")
    print(
        f"{'client':<10}"
        + "".join(f"{title:>20}" for title in (*KEYS, "true_ttft_p50_ms", "cpu_us"))
    )
    middle = {
        name: {key: median(each[key] for each in rows) for key in rows[0]}
        for name, rows in found.items()
    }
    for name, row in middle.items():
        shown = (row[key] for key in (*KEYS, "true_ttft_p50_ms", "cpu_us"))
        print(f"{name:<10}" + "".join(f"{value:>20.3f}" for value in shown))
    for name, share in shares.items():
        print(
            f"{name:<10}{'none':>20}  {WHY_NO_PEER}"
            if share is None
            else f"{name:<10}{share:>20.3f}"
        )
    print(
        json.dumps(
            {
                **middle["ours"],
                **{f"aiohttp_{key}": middle["aiohttp"][key] for key in (*KEYS, "cpu_us")},
                **{f"{name}_rate_share": share for name, share in shares.items()},
                "load_average": os.getloadavg()[0],  # this run is below 2; more is somebody else
                "peers_absent": {n: WHY_NO_PEER for n, share in shares.items() if share is None},
            }
        )
    )


if __name__ == "__main__":
    fast = "--fast" in sys.argv
    main(1 if fast else 3, 2.0 if fast else 5.0, peers(sys.argv))
