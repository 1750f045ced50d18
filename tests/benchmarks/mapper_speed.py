"""How long the mapper takes to choose for 20 workloads among 60 targets with 2,000 draws.

`choose_20x60_s` is the choice under uncertainty alone: drawing the inputs, pricing all options in
all draws, P(best) and regret. `decide_20x60_s` is the whole decision from records: rules, operating
points, sizes, energy, choice, flip values, swings and break-even. Half of the targets are
purchased, with metered power, so that energy has to be worked out in every draw.

`python -m tests.benchmarks.mapper_speed [--fast]`
"""

import json
import sys
import time

import numpy as np

from harness.cli.output import table
from harness.mapper import decide
from harness.mapper.draws import _stream
from harness.schema.base import Interval
from tests.factories import make_brief, make_record, make_stored, make_target, make_workload
from tests.mapper.candidates import make_bought, make_candidate, make_contest
from tests.mapper.metered import metered, reading

WORKLOADS, TARGETS = 20, 60
SPREAD = {
    "price": 0.1,
    "volume": 0.2,
    "peak_factor": 0.1,
    "growth": 0.1,
    "electricity": 0.15,
    "throughput_open": 0.35,
    "unit_to_unit": 0.03,
}


def contests(workloads, targets):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(workloads):
        rows = []
        for number in range(targets):
            rate = float(rng.uniform(20, 500))
            common = {
                "throughput": (rate, 0.9 * rate, 1.1 * rate),
                "chip": f"chip {number // 3}",
                "source": f"list {number // 5}",
            }
            if number % 2:
                common |= {
                    "rates": (0.0, rate),
                    "watts": (100.0, 400.0),
                    "power": Interval(value=300.0, low=250.0, high=350.0),
                    "usd_per_watt": 1.4,
                }
                cost = float(rng.uniform(1000, 40_000))
                rows.append(make_bought(f"target-{number}", usd_per_year=cost, **common))
            else:
                price = float(rng.uniform(0.2, 5))
                rows.append(make_candidate(f"target-{number}", price=price, **common))
        found.append(make_contest(rows, rate=float(rng.uniform(50, 5000)), **SPREAD))
    return found


def documents(workloads, targets):
    """Return the brief, workloads, targets and records of the same market."""
    rng = np.random.default_rng(1)
    asked = [make_workload(f"chat-{n}") for n in range(workloads)]
    machines, stored = [], []
    for number in range(targets):
        price = {
            "kind": "rent",
            "sale_unit": "1 instance",
            "usd_per_hour": float(rng.uniform(0.2, 5)),
            "source": f"list {number // 5}",
            "date": "2026-10-01",
        }
        if number % 2:
            price |= {"kind": "purchase", "life_years": 4.0, "purchase_usd": 20_000.0}
            del price["usd_per_hour"]
        hardware = {"chip": f"chip {number // 3}", "vendor": "Acme", "kind": "gpu"}
        machines.append(make_target(f"target-{number}", price=price, hardware=hardware))
    for workload in asked:
        for target in machines:
            point = metered(reading(3000.0, "node"), rate=float(rng.uniform(20, 500)))
            stored.append(
                make_stored(make_record(workload, target, number=len(stored) + 1, points=(point,)))
            )
    demand = {"requests_per_month": 1e9}
    brief = make_brief(workloads=[{"workload": w.name, "demand": demand} for w in asked])
    return brief, asked, machines, stored


def main(arguments):
    workloads, targets = (4, 20) if "--fast" in arguments else (WORKLOADS, TARGETS)
    asked = contests(workloads, targets)
    began = time.perf_counter()
    odds = [contest.odds() for contest in asked]
    choose_s = time.perf_counter() - began
    _stream.cache_clear()
    inputs = documents(workloads, targets)
    began = time.perf_counter()
    decision = decide(*inputs)
    decide_s = time.perf_counter() - began
    size = f"{workloads} x {targets}"
    rows = [
        ["choice under uncertainty", size, f"{choose_s:.2f} s"],
        ["the whole decision", size, f"{decide_s:.2f} s"],
    ]
    print(table(rows, header=["what", "workloads x targets", "time"]))
    result = {
        f"choose_{workloads}x{targets}_s": round(choose_s, 3),
        f"decide_{workloads}x{targets}_s": round(decide_s, 3),
        "draws": asked[0].future.spread.draws,
        "robust": sum(bool(w.confidence and w.confidence.robust) for w in decision.workloads),
        "options": sum(len(each) for each in odds),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
