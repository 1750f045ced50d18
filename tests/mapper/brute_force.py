"""The cheapest fleet by trying them all: no matrix, no branch and bound, for small markets only."""

import itertools
import math

import numpy as np
from scipy.optimize import linprog


def cheapest(problem):
    """Return the least yearly cost in USD of a fleet that keeps every promise; None: none does.

    Every vector of units is tried in the order of its cost, and for each the ways to put the
    workloads on targets. Where shares are divided, a linear program says if they fit.
    """
    limits = problem.limits
    most = [problem.most_units(j) for j in range(len(problem.units))]
    choices = [
        [0, *range(unit.fewest, bound + 1)] for unit, bound in zip(problem.units, most, strict=True)
    ]
    vectors = []
    for units in itertools.product(*choices):
        if fits(problem, units):
            vectors.append((fixed_cost(problem, units), units))
    best = None
    for cost, units in sorted(vectors):
        if best is not None and cost >= best - 1e-9:
            break
        rest = cheapest_shares(problem, units)
        if rest is None:
            continue
        total = cost + rest
        if limits.budget_usd_per_year is not None and total > limits.budget_usd_per_year + 1e-6:
            continue
        best = total if best is None else min(best, total)
    return best


def fixed_cost(problem, units):
    opened = {problem.units[j].stack for j, n in enumerate(units) if n}
    return (
        problem.fixed_usd
        + sum(n * problem.units[j].usd_per_year for j, n in enumerate(units))
        + sum(problem.stack_usd.get(stack, 0.0) for stack in opened)
    )


def fits(problem, units):
    """Whether the limits that look at units alone hold."""
    limits = problem.limits
    bought = [(problem.units[j], n) for j, n in enumerate(units) if n]
    spent = sum(u.capex_usd * n for u, n in bought)
    if limits.budget_usd is not None and spent > limits.budget_usd + 1e-6:
        return False
    if limits.power_kw is not None:
        for site in {u.site for u, _ in bought}:
            if sum(u.power_kw * n for u, n in bought if u.site == site) > limits.power_kw + 1e-6:
                return False
    if limits.stacks_max is not None and len({u.stack for u, _ in bought}) > limits.stacks_max:
        return False
    if limits.vendor_share_max is not None:
        total = sum(u.usd_per_year * n for u, n in bought)
        for vendor in {u.vendor for u, _ in bought}:
            part = sum(u.usd_per_year * n for u, n in bought if u.vendor == vendor)
            if part > limits.vendor_share_max * total + 1e-6:
                return False
    return True


def cheapest_shares(problem, units):
    """Return the least cost of shares and pairs on so many units; None: they do not fit."""
    limits = problem.limits
    opened = [j for j, n in enumerate(units) if n]
    ways = []
    for i, workload in enumerate(problem.workloads):
        able = [j for j in opened if problem.serves[i, j]]
        mine = [
            subset
            for size in range(1, limits.targets_per_workload_max + 1)
            for subset in itertools.combinations(able, size)
            if workload not in limits.second_source
            or len({problem.units[j].vendor for j in subset}) > 1
        ]
        if not mine:
            return None
        ways.append(mine)
    if limits.targets_per_workload_max > 1 and not fits_loosely(problem, units, opened):
        return None
    best = None
    for way in itertools.product(*ways):
        cost = shares_on(problem, units, opened, way)
        if cost is not None and (best is None or cost < best):
            best = cost
        if best is not None and not problem.share_usd.any() and not problem.pair_usd.any():
            break
    return best


def fits_loosely(problem, units, opened):
    """Whether the load fits when shares may be divided at will: if not, no way fits."""
    pairs = [(i, j) for i in range(len(problem.workloads)) for j in opened if problem.serves[i, j]]
    return divided(problem, units, opened, pairs, 0.0) is not None


def shares_on(problem, units, opened, way):
    pairs = [(i, j) for i, subset in enumerate(way) for j in subset]
    if limits_idle(problem) and {j for _, j in pairs} != set(opened):
        return None
    fixed = math.fsum(float(problem.pair_usd[i, j]) for i, j in pairs)
    if all(len(subset) == 1 for subset in way):
        for hours in problem.hours:
            for j in opened:
                users = [i for i, k in pairs if k == j]
                load = sum(float(hours[i] * problem.load[i, j]) for i in users)
                if users and load + problem.units[j].spare > units[j] + 1e-6:
                    return None
        if limits_idle(problem):
            for j in opened:
                load = sum(float(problem.load[i, k]) for i, k in pairs if k == j)
                if units[j] > load + problem.units[j].spare + 1 + 1e-6:
                    return None
        return fixed + math.fsum(float(problem.share_usd[i, j]) for i, j in pairs)
    found = divided(problem, units, opened, pairs, problem.limits.share_least)
    return None if found is None else fixed + found


def limits_idle(problem):
    return problem.limits.vendor_share_max is not None


def divided(problem, units, opened, pairs, least):
    rows, high = [], []
    for hours in problem.hours:
        for j in opened:
            rows.append([hours[i] * problem.load[i, j] if k == j else 0.0 for i, k in pairs])
            high.append(units[j] - problem.units[j].spare)
    if limits_idle(problem) and least:
        for j in opened:
            rows.append([-problem.load[i, j] if k == j else 0.0 for i, k in pairs])
            high.append(problem.units[j].spare + 1 - units[j])
    each = [[float(i == row) for i, _ in pairs] for row in range(len(problem.workloads))]
    found = linprog(
        [float(problem.share_usd[i, j]) for i, j in pairs],
        A_ub=np.array(rows),
        b_ub=np.array(high) + 1e-7,
        A_eq=np.array(each),
        b_eq=np.ones(len(problem.workloads)),
        bounds=[(least, 1.0)] * len(pairs),
    )
    return float(found.fun) if found.status == 0 else None
