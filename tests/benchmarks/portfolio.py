"""How near to the best a shared fleet of a large market comes, and how fast.

`gap_pct` is how far the plan is above the bound of the full linear relaxation, which no plan can be
below; `proved_gap_pct` the same by the best bound proved; `seconds` the whole search. Beside it
stands plain HiGHS on the same program, stopped after 10 s: `plain_highs_gap_pct` is null where it
found no plan. `greedy_gap_pct` is that of the plan that needs no solver. Every plan is re-checked
row by row. The markets: N + 1, a limit on stacks, caps on purchases and power within 3 % of a found
plan, 40 % of the pairs feasible (tests/mapper/portfolios.py).

The bar: 50 x 50 at most 2 % in 15 s, 200 x 100 at most 1 % in 30 s.

`python -m tests.benchmarks.portfolio [--fast]`
"""

import json
import sys
import time

from harness.cli.output import table
from harness.mapper.portfolio.check import broken, rows
from harness.mapper.portfolio.highs import fleet_from, solve
from harness.mapper.portfolio.problem import yearly_usd
from harness.mapper.portfolio.program import program_of
from harness.mapper.portfolio.solve import plan_fleet
from tests.mapper.portfolios import make_market

SIZES = ((50, 50, 6, 15.0, 2.0), (200, 100, 8, 30.0, 1.0))
"""Workloads, targets, stacks, seconds allowed, gap in per cent."""

FAST = ((20, 20, 4, 15.0, 2.0),)
SEEDS = (1, 2, 3)
PLAIN_S = 10.0


def percent(value, bound):
    return None if value is None else round(100 * (value - bound) / bound, 3)


def plain(problem):
    """Return the yearly cost that HiGHS alone finds on the whole program in 10 s, or None."""
    program = program_of(problem)
    found = solve(program, time_limit_s=PLAIN_S, gap=1e-3, nodes=10**9)
    if found.columns is None:
        return None
    fleet = fleet_from(problem, program, found.columns)
    return None if fleet is None else yearly_usd(problem, fleet)


def figures(workloads, targets, stacks, seed, limit_s):
    problem = make_market(workloads, targets, seed, stacks=stacks)
    began = time.perf_counter()
    answer = plan_fleet(problem, time_limit_s=limit_s)
    seconds = time.perf_counter() - began
    assert answer.fleet is not None
    assert not broken(problem, answer.fleet)
    bound = answer.lp_bound_usd_per_year
    return {
        "pairs": int(problem.serves.sum()),
        "gap_pct": percent(answer.usd_per_year, bound),
        "proved_gap_pct": round(100 * answer.gap, 3),
        "greedy_gap_pct": percent(answer.greedy_usd_per_year, bound),
        "plain_highs_gap_pct": percent(plain(problem), bound),
        "seconds": round(seconds, 2),
        "timed_out": answer.timed_out,
        "binding": sorted(
            {
                row.kind
                for row in rows(problem, answer.fleet)
                if row.kind in ("budget", "power", "stacks") and row.room <= 0.03
            }
        ),
    }


def shown(value):
    return "none" if value is None else f"{value:.2f} %"


def main(arguments):
    result, lines, kept = {}, [], True
    for workloads, targets, stacks, limit_s, bar in FAST if "--fast" in arguments else SIZES:
        for seed in SEEDS:
            found = figures(workloads, targets, stacks, seed, limit_s)
            result[f"{workloads}x{targets}_seed{seed}"] = found
            within = found["gap_pct"] <= bar and found["seconds"] <= limit_s
            kept &= within
            lines.append(
                [
                    f"{workloads} x {targets}",
                    str(seed),
                    str(found["pairs"]),
                    shown(found["gap_pct"]),
                    shown(found["proved_gap_pct"]),
                    shown(found["greedy_gap_pct"]),
                    shown(found["plain_highs_gap_pct"]),
                    f"{found['seconds']:.1f} s",
                    ", ".join(found["binding"]),
                    f"<= {bar:g} % in {limit_s:g} s: {'kept' if within else 'missed'}",
                ]
            )
    header = ["size", "seed", "pairs", "above LP bound", "above proved", "greedy", "plain HiGHS"]
    print(table(lines, header=[*header, "time", "binds", "bar"]))
    print(json.dumps({**result, "bars_kept": kept}))


if __name__ == "__main__":
    main(sys.argv[1:])
