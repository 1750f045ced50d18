"""How many requests a second one client process can issue: 32 streams, 1 token, no server delay.

The server has a process of its own, so that on two cores the client has one. Ours keeps arrivals
and decodes after the run, as a measurement does (`ours_rps`; `ours_decode_us` is what decoding then
takes for a request); `ours_inline_rps` decodes each reply as it ends, on the event loop. aiohttp
only reads. All take turns on one server and the median of the rounds counts. Where the server is
busier than the client (`server_share` near 1), the figure is the server's ceiling and ours is
higher: `ours_cpu_us` says what a request costs us.

`ours_rps_2_processes` is ours with two client processes, which says something only with more than
two cores (`cores`): there are then a parent that hands over, two that ask, and the server.
`stream_cpu_us` is what a reply of 32 tokens, each in a block of its own, costs the one process,
and `stream_cpu_us_2_processes` what is left of that to the parent, which is the next limit.

`python -m tests.benchmarks.client_ceiling [--fast] [--aiperf COMMAND] [--guidellm COMMAND]`
"""

import json
import os
import sys
import time
from statistics import median

from tests.benchmarks.client_load import (
    WHY_NO_PEER,
    by_aiohttp,
    by_command,
    decoded,
    ours,
    peers,
)
from tests.servers.process import Reference

STREAMS = 32
TWO = "ours x 2"
STREAMED = {"tokens": 32, "options": "ttft_s=0.005,itl_s=0.005"}


def main(rounds, window_s, commands):
    rows, decode_us, shares = {"ours": [], "ours inline": [], "aiohttp": [], TWO: []}, [], []
    stream_us = {1: [], 2: []}
    load = {"streams": STREAMS, "tokens": 1, "window_s": window_s}
    with Reference("--loop", "uvloop", "--no-truth") as server:
        for _ in range(rounds):
            began_s, cpu_s = time.perf_counter(), server.stats()["cpu_s"]
            kept = ours(server.port, **load, keep=2_000)
            shares.append((server.stats()["cpu_s"] - cpu_s) / (time.perf_counter() - began_s))
            rows["ours"].append(kept)
            began_s = time.perf_counter()
            for row in kept.rows:
                decoded(row.chunks)
            decode_us.append((time.perf_counter() - began_s) / len(kept.rows) * 1e6)
            rows["ours inline"].append(ours(server.port, **load, decode=True))
            rows["aiohttp"].append(by_aiohttp(server.port, **load))
            rows[TWO].append(ours(server.port, **load, processes=2))
            for count, cpu_us in stream_us.items():
                streamed = ours(server.port, **{**load, **STREAMED}, processes=count)
                cpu_us.append(streamed.cpu_s * 1e6)
        told = {
            name: by_command(server, command) if command else None
            for name, command in commands.items()
        }
    print(f"{STREAMS} streams, 1 token, {rounds} rounds of {window_s:g} s on one server process")
    print(f"{'client':<14}{'requests/s':>12}{'CPU us/request':>16}   rounds")
    for name, loads in rows.items():
        rates = [each.rate for each in loads]
        cpu_us = median(each.cpu_s for each in loads) * 1e6
        shown = ", ".join(f"{rate:,.0f}" for rate in rates)
        print(f"{name:<14}{median(rates):>12,.0f}{cpu_us:>16.1f}   {shown}")
    for name, rate in told.items():
        print(
            f"{name:<14}{'none':>12}   {WHY_NO_PEER}"
            if rate is None
            else f"{name:<14}{rate:>12,.0f}"
        )
    one_us, two_us = (median(cpu_us) for cpu_us in stream_us.values())
    print(
        f"32 tokens: {one_us:.0f} us of CPU a reply, {two_us:.0f} us in the parent of 2 processes"
    )
    rate = {name: median(each.rate for each in loads) for name, loads in rows.items()}
    found = {
        "ours_rps": rate["ours"],
        "ours_inline_rps": rate["ours inline"],
        "aiohttp_rps": rate["aiohttp"],
        "ours_rps_2_processes": rate[TWO],
        "stream_cpu_us": median(stream_us[1]),
        "stream_cpu_us_2_processes": median(stream_us[2]),
        "cores": os.cpu_count(),
        "aiperf_rps": told["aiperf"],
        "guidellm_rps": told["guidellm"],
        "ours_cpu_us": median(each.cpu_s for each in rows["ours"]) * 1e6,
        "aiohttp_cpu_us": median(each.cpu_s for each in rows["aiohttp"]) * 1e6,
        "ours_decode_us": median(decode_us),
        "times_aiohttp": rate["ours"] / rate["aiohttp"],
        "server_share": median(shares),
        "load_average": os.getloadavg()[0],  # this run is about 2; more is somebody else
        "peers_absent": {name: WHY_NO_PEER for name, value in told.items() if value is None},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    fast = "--fast" in sys.argv
    main(1 if fast else 3, 1.0 if fast else 4.0, peers(sys.argv))
