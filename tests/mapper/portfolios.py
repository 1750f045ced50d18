"""Markets for tests and benchmarks of the portfolio: small and odd, or large and tight."""

from dataclasses import replace

import numpy as np

from harness.mapper.portfolio.greedy import Prices, greedy
from harness.mapper.portfolio.problem import Limits, Unit, make_problem


def make_units(costs, **changes):
    """Return one unit for each yearly cost, of stacks and vendors of their own."""
    return tuple(
        Unit(
            **{
                "target": f"t{j}",
                "stack": f"s{j}",
                "vendor": f"v{j}",
                "site": "hall",
                "usd_per_year": float(usd),
                **changes,
            }
        )
        for j, usd in enumerate(costs)
    )


def make_market(workloads, targets, seed, *, stacks, tightness=0.03):
    """Return a large market: N + 1, few stacks, 40 % of the pairs feasible, tight caps.

    Loads spread over two orders of magnitude; a dearer chip is faster, more or less. The caps on
    purchases and power are within `tightness` of what a plan that ignores them takes.
    """
    rng = np.random.default_rng([seed, workloads, targets])
    speed = rng.lognormal(0.0, 0.7, targets)
    usd = 20_000 * speed * rng.lognormal(0.0, 0.25, targets)
    units = tuple(
        Unit(
            target=f"t{j}",
            stack=f"s{j}",
            vendor=f"v{j % 5}",
            site="hall",
            usd_per_year=float(usd[j]),
            capex_usd=float(3 * usd[j] * rng.uniform(0.6, 1.4)),
            power_kw=float(4 * speed[j] * rng.uniform(0.6, 1.4)),
            spare=1,
        )
        for j in range(targets)
    )
    demand = rng.lognormal(0.0, 0.9, workloads)
    affinity = rng.lognormal(0.0, 0.3, (workloads, targets))
    load = demand[:, None] / speed[None, :] * affinity
    fit = rng.normal(0, 1, targets)[None, :] + rng.normal(0, 1, workloads)[:, None]
    fit = fit + rng.normal(0, 1, load.shape)
    able = fit > np.quantile(fit, 0.6)
    for i in range(workloads):
        if not able[i].any():
            able[i, int(rng.integers(targets))] = True
    load = np.where(able, load, np.nan)
    problem = make_problem(
        tuple(f"w{i}" for i in range(workloads)),
        units,
        load,
        limits=Limits(stacks_max=stacks),
    )
    order = list(np.argsort(-able.sum(axis=0), kind="stable"))
    # A plan that is careful with purchases and power, so that the cheapest runs into both caps.
    found, _ = greedy(problem, order, Prices(capex=0.1, kw=(("hall", 2000.0),)))
    assert found is not None
    spent = sum(u.capex_usd * n for u, n in zip(units, found.units, strict=True))
    drawn = sum(u.power_kw * n for u, n in zip(units, found.units, strict=True))
    limits = replace(
        problem.limits,
        budget_usd=float(spent * (1 + tightness)),
        power_kw=float(drawn * (1 + tightness)),
    )
    return replace(problem, limits=limits)


def make_small(seed):
    """Return a market of up to 5 x 5 with few units, and some of every limit: odd on purpose."""
    rng = np.random.default_rng(seed)
    workloads, targets = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    usd = rng.uniform(0.6, 3.0, targets) * 1000
    stacks = rng.integers(0, targets, targets)
    units = tuple(
        Unit(
            target=f"t{j}",
            stack=f"s{stacks[j]}",
            vendor=f"v{stacks[j] % 3}",
            site=f"hall-{j % 2}",
            usd_per_year=float(usd[j]),
            capex_usd=float(usd[j] * rng.uniform(1, 3)),
            power_kw=float(rng.uniform(0.5, 2)),
            spare=int(rng.integers(0, 2)),
            stock=int(rng.integers(1, 4)) if rng.random() < 0.2 else None,
        )
        for j in range(targets)
    )
    load = rng.uniform(0.1, 1.4, (workloads, targets)) / (1 + 0.3 * workloads)
    load[rng.random(load.shape) < 0.35] = np.nan
    for i in range(workloads):
        if np.isnan(load[i]).all():
            load[i, int(rng.integers(targets))] = rng.uniform(0.1, 0.6)
    paid = rng.random() < 0.3
    hours = None
    if rng.random() < 0.4:
        hours = rng.uniform(0.1, 1.0, (3, workloads))
        hours[rng.integers(3, size=workloads), np.arange(workloads)] = 1.0
    names = tuple(f"w{i}" for i in range(workloads))
    limits = Limits(
        budget_usd=float(rng.uniform(2000, 12_000)) if rng.random() < 0.3 else None,
        budget_usd_per_year=float(rng.uniform(2000, 9_000)) if rng.random() < 0.2 else None,
        power_kw=float(rng.uniform(1, 6)) if rng.random() < 0.3 else None,
        stacks_max=int(rng.integers(1, 4)) if rng.random() < 0.5 else None,
        vendor_share_max=0.7 if rng.random() < 0.15 and not paid else None,
        second_source=names[:1] if rng.random() < 0.15 else (),
        targets_per_workload_max=2 if rng.random() < 0.6 else 1,
    )
    if limits.second_source:
        limits = replace(limits, targets_per_workload_max=2)
    return make_problem(
        names,
        units,
        load,
        share_usd=rng.uniform(0, 500, load.shape) if paid else None,
        pair_usd=rng.uniform(0, 100, load.shape) if paid else None,
        hours=hours,
        stack_usd={f"s{s}": float(rng.uniform(0, 800)) for s in range(targets)},
        limits=limits,
    )
