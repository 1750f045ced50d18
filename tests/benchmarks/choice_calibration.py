"""How often a choice called "P(best) = x" is the cheapest in truth: x of the time is the promise.

Simulated markets of 2 to 6 options, rented and purchased, some of them sharing a chip or a price
list. The truth is drawn, then what the buyer is told: throughputs measured with an error, with the
interval that goes with it; prices, volume, growth and peak off by their stated spreads. A choice is
right when no other option is cheaper at the true inputs. True costs of a unit of work are spread
evenly over a factor of four (in the logarithm), wide against the errors: the mapper knows nothing
but what it is told.

500 markets cannot show 5 points: a decile of 50 has a standard error of up to 7. So there are
20,000; `off` is the largest difference in a decile of 30 or more.

`python -m tests.benchmarks.choice_calibration [--fast]`
"""

import json
import sys

import numpy as np

from harness.cli.output import table
from harness.mapper.draws import Z_95, _stream
from harness.mapper.uncertainty import SAME
from tests.mapper.candidates import MONTH_S, make_bought, make_candidate, make_contest

MARKETS, FAST = 20_000, 300
ENOUGH = 30
SPREAD = {
    "price": 0.1,
    "volume": 0.2,
    "peak_factor": 0.1,
    "growth": 0.1,
    "electricity": 0.0,
    "unit_to_unit": 0.05,
}


def contest_of(options, rate, growth, peak_factor, seed, spread):
    """Return the contest of options (throughput, its bounds, USD a year, chip, list, rented)."""
    rows = []
    for number, (throughput, usd, chip, source, rented) in enumerate(options):
        common = {"throughput": throughput, "chip": chip, "source": source}
        if rented:
            rows.append(make_candidate(f"t{number}", price=usd / 8760, **common))
        else:
            rows.append(make_bought(f"t{number}", usd_per_year=usd, **common))
    contest = make_contest(rows, rate=rate, utilisation_max=0.7, seed=seed, **spread)
    demand = contest.future.demand.model_copy(
        update={
            "requests_per_month": rate * MONTH_S,
            "growth_per_year": growth,
            "peak_factor": peak_factor,
        }
    )
    future = contest.future.__class__("chat", demand, contest.future.spread)
    return contest.__class__(contest.candidates, future, 0.7, 0, 0.0)


def market(rng, seed):
    """Return the P(best) that is stated for the choice, and whether it is the cheapest."""
    count = int(rng.integers(2, 7))
    rate = float(np.exp(rng.uniform(np.log(100), np.log(20_000))))
    growth, peak_factor = float(rng.uniform(-0.1, 0.5)), float(rng.uniform(1.5, 4))
    chips, lists = rng.integers(0, count, count), rng.integers(0, count, count)
    off_chip = SPREAD["unit_to_unit"] * rng.standard_normal(count)
    off_list = SPREAD["price"] * rng.standard_normal(count)
    true, told = [], []
    for number in range(count):
        throughput = float(np.exp(rng.uniform(np.log(50), np.log(800))))
        usd = throughput * 100 * float(np.exp(rng.uniform(0, np.log(4))))
        own = float(rng.uniform(0.01, 0.1))
        measured = throughput * np.exp(own * rng.standard_normal() + off_chip[chips[number]])
        bound = np.exp(Z_95 * own)
        names = (f"chip {chips[number]}", f"list {lists[number]}", bool(rng.integers(2)))
        true.append(((throughput, throughput, throughput), usd, *names))
        stated = (float(measured), float(measured / bound), float(measured * bound))
        told.append((stated, usd * float(np.exp(off_list[lists[number]])), *names))
    told_rate = rate * float(np.exp(SPREAD["volume"] * rng.standard_normal()))
    told_growth = max(growth + SPREAD["growth"] * rng.standard_normal(), -0.9)
    told_peak = 1 + (peak_factor - 1) * float(np.exp(SPREAD["peak_factor"] * rng.standard_normal()))

    choice = contest_of(told, told_rate, told_growth, told_peak, seed, SPREAD).odds()[0]
    exact = contest_of(true, rate, growth, peak_factor, seed, {"draws": 100})
    costs = exact.costs(exact.cases())[:, 0]
    right = costs[int(choice.target[1:])] <= costs.min() * (1 + SAME)
    return choice.p_best, bool(right)


def main(arguments):
    markets = FAST if "--fast" in arguments else MARKETS
    rng = np.random.default_rng(20)
    found = []
    for seed in range(markets):
        found.append(market(rng, seed))
        # Each market has a seed of its own: nothing of it is asked again.
        _stream.cache_clear()
    stated, right = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    deciles, rows = [], []
    for decile in range(10):
        inside = np.minimum((stated * 10).astype(int), 9) == decile
        count = int(inside.sum())
        if not count:
            continue
        row = {
            "stated": round(float(stated[inside].mean()), 3),
            "right": round(float(right[inside].mean()), 3),
            "count": count,
        }
        deciles.append(row)
        rows.append([f"{decile * 10}-{decile * 10 + 10} %", *(f"{v:.10g}" for v in row.values())])
    print(table(rows, header=["P(best) stated", "mean", "right", "markets"]))
    off = [abs(d["stated"] - d["right"]) for d in deciles if d["count"] >= ENOUGH]
    result = {"deciles": deciles, "markets": markets, "off": round(max(off, default=0.0), 3)}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
