"""The shared fleet: against brute force, published figures, and what must hold for any market."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.mapper.portfolio.check import broken, rows
from harness.mapper.portfolio.greedy import greedy
from harness.mapper.portfolio.highs import relax
from harness.mapper.portfolio.problem import (
    Fleet,
    Limits,
    Unit,
    fleet_of,
    make_problem,
    yearly_usd,
)
from harness.mapper.portfolio.program import program_of
from harness.mapper.portfolio.relaxation import relaxations
from harness.mapper.portfolio.solve import plan_fleet
from tests.mapper.brute_force import cheapest
from tests.mapper.portfolios import make_market, make_small, make_units

FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(min_value=0, max_value=100_000)


def feasible_small(seed):
    """Return the first small market from `seed` on that has a plan, without limits on money."""
    while True:
        problem = make_small(seed)
        limits = replace(problem.limits, budget_usd_per_year=None, vendor_share_max=None)
        problem = replace(problem, limits=limits)
        answer = plan_fleet(problem, time_limit_s=60)
        if answer.fleet is not None:
            return problem, answer
        seed += 1


# ---- brute force


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_no_fleet_of_all_is_cheaper_than_the_one_found_on_200_small_markets(first):
    for seed in range(first, first + 20):
        problem = make_small(seed)
        least = cheapest(problem)
        answer = plan_fleet(problem, time_limit_s=60)
        if least is None:
            assert answer.infeasible, seed
            assert answer.fleet is None, seed
            continue
        assert answer.optimal, seed
        assert answer.usd_per_year == pytest.approx(least, rel=1e-6), seed
        assert broken(problem, answer.fleet) == [], seed
        assert yearly_usd(problem, answer.fleet) == answer.usd_per_year, seed
        assert answer.lp_bound_usd_per_year <= least * (1 + 1e-9), seed
        assert answer.bound_usd_per_year <= answer.usd_per_year, seed
        if answer.greedy_usd_per_year is not None:
            assert answer.greedy_usd_per_year >= least * (1 - 1e-9), seed


# ---- published figures


def melange(slices):
    """Return Melange's published example, its four buckets cut into `slices` each.

    tyler-griggs/melange-release d46ab43, melange/config/example.json: 30 requests/s in 2 x 2
    buckets of lengths, two accelerators with their throughputs and hourly prices. Its README
    answers 3 A10G and 1 A100 for $6.70 an hour, with 1 slice.
    """
    rates = 30 * np.array([0.2, 0.1, 0.5, 0.2])
    a10g, a100 = np.array([2, 1, 5, 2]), np.array([20, 20, 40, 20])
    load = np.repeat(np.column_stack([rates / a10g, rates / a100]) / slices, slices, axis=0)
    names = tuple(f"bucket-{n}" for n in range(len(load)))
    return make_problem(names, make_units([1.01, 3.67]), load)


def test_melanges_example_costs_6_70_an_hour_whole_and_4_68_with_shares():
    whole = melange(1)
    one = replace(whole, limits=Limits(targets_per_workload_max=1))

    found = plan_fleet(one)
    assert found.usd_per_year == pytest.approx(6.70)
    assert found.fleet.units.tolist() == [3, 1]

    shared = plan_fleet(whole)
    assert shared.usd_per_year == pytest.approx(4.68)
    assert shared.fleet.units.tolist() == [1, 1]


def test_melanges_example_costs_5_69_an_hour_in_two_slices():
    problem = replace(melange(2), limits=Limits(targets_per_workload_max=1))

    assert plan_fleet(problem).usd_per_year == pytest.approx(5.69)


# ---- by hand


def test_the_spare_unit_is_bought_once_for_all_workloads_of_a_target():
    problem = make_problem(("a", "b"), make_units([10.0], spare=1), np.array([[0.6], [0.7]]))

    found = plan_fleet(problem)

    # 1.3 units of load and one spare: three, where fleets of their own take two and two.
    assert found.fleet.units.tolist() == [3]
    assert found.usd_per_year == 30.0


def test_peaks_at_different_hours_share_units():
    load = np.array([[1.0], [1.0]])
    together = make_problem(("a", "b"), make_units([10.0]), load)
    apart = make_problem(
        ("a", "b"), make_units([10.0]), load, hours=np.array([[1.0, 0.1], [0.1, 1.0], [0.1, 0.1]])
    )

    assert len(apart.hours) == 2  # The quiet hour binds nothing.
    assert plan_fleet(together).usd_per_year == 20.0
    assert plan_fleet(apart).usd_per_year == 20.0  # 1.1 units in either peak: two.
    calm = replace(apart, hours=np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert plan_fleet(calm).usd_per_year == 10.0


def test_a_stack_is_taken_up_once_and_only_if_it_is_worth_it():
    units = make_units([10.0, 9.0])
    load = np.array([[1.0, 1.0], [1.0, np.nan]])
    free = make_problem(("a", "b"), units, load)
    paid = replace(free, stack_usd={"s0": 5.0, "s1": 5.0})

    assert plan_fleet(free).fleet.units.tolist() == [1, 1]
    found = plan_fleet(paid)
    assert found.fleet.units.tolist() == [2, 0]
    assert found.usd_per_year == 25.0


def test_a_second_source_is_another_vendor_and_not_only_another_target():
    units = (
        Unit("a1", "s", "A", "hall", 10.0),
        Unit("a2", "s", "A", "hall", 11.0),
        Unit("b1", "s", "B", "hall", 50.0),
    )
    problem = make_problem(("w",), units, np.full((1, 3), 1.5), limits=Limits(second_source=("w",)))

    found = plan_fleet(problem)

    assert found.fleet.units[2] == 1
    assert found.fleet.units[:2].sum() == 1
    assert found.usd_per_year == 60.0


def test_no_vendor_has_more_than_its_share_of_the_cost():
    units = make_units([10.0, 12.0])
    free = make_problem(("w",), units, np.full((1, 2), 9.5))
    capped = replace(free, limits=Limits(vendor_share_max=0.6))

    assert plan_fleet(free).fleet.units.tolist() == [10, 0]
    found = plan_fleet(capped)
    spend = found.fleet.units * np.array([10.0, 12.0])
    assert spend.max() / spend.sum() <= 0.6
    assert found.usd_per_year == pytest.approx(cheapest(capped))


def test_a_contract_that_is_paid_by_use_needs_no_units():
    units = (
        Unit("own", "s", "A", "hall", 100.0),
        Unit("api", "t", "B", "cloud", 0.0, metered=True),
    )
    problem = make_problem(("w",), units, np.array([[0.4, 0.0]]), share_usd=np.array([[0.0, 30.0]]))

    found = plan_fleet(problem)

    assert found.usd_per_year == 30.0
    assert found.fleet.shares.tolist() == [[0.0, 1.0]]


def test_of_fleets_that_cost_the_same_the_one_without_needless_splits_is_taken():
    problem = make_problem(("a", "b"), make_units([10.0, 10.0]), np.array([[1.0, 1.0], [1.0, 1.0]]))

    shares = plan_fleet(problem).fleet.shares

    assert sorted(shares.ravel().tolist()) == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("loads", [[0.9, 0.01, 0.4], [0.01, 0.9, 0.4], [0.4, 0.9, 0.01]])
def test_of_targets_that_cost_the_same_the_one_with_the_most_room_is_taken(loads):
    problem = make_problem(("a",), make_units([10.0, 10.0, 10.0]), np.array([loads]))

    fleet = plan_fleet(problem).fleet

    assert fleet.units.tolist() == [int(load == 0.01) for load in loads]


# ---- the independent check


def test_the_check_finds_each_broken_promise():
    limits = Limits(
        budget_usd=10.0,
        budget_usd_per_year=10.0,
        power_kw=1.0,
        stacks_max=1,
        vendor_share_max=0.5,
        second_source=("b",),
        targets_per_workload_max=1,
    )
    units = make_units([10.0, 10.0], capex_usd=10.0, power_kw=1.0, stock=1)
    load = np.array([[1.0, 3.0], [1.0, np.nan]])
    problem = make_problem(("a", "b"), units, load, limits=limits)
    fleet = Fleet(np.array([[0.98, 0.01], [0.5, 0.5]]), np.array([2, 0]))

    kinds = {row.kind for row in broken(problem, fleet)}

    assert kinds >= {
        "share",
        "pair",
        "load",
        "stock",
        "budget",
        "yearly_budget",
        "power",
        "vendor_share",
        "targets",
    }
    stacks = Fleet(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([2, 1]))
    assert {"stacks", "second_source", "idle"} <= {r.kind for r in broken(problem, stacks)}


def test_a_share_of_less_than_the_least_is_no_plan():
    problem = make_problem(("a",), make_units([1.0, 1.0]), np.ones((1, 2)))

    assert broken(problem, fleet_of(problem, np.array([[0.95, 0.05]]))) == []
    assert [r.kind for r in broken(problem, fleet_of(problem, np.array([[0.97, 0.03]])))] == [
        "pair"
    ]


# ---- no plan


def infeasible(**limits):
    units = make_units([10.0, 12.0], capex_usd=30.0, power_kw=2.0)
    load = np.array([[1.5, np.nan], [np.nan, 2.5]])
    problem = make_problem(("a", "b"), units, load, limits=Limits(**limits))
    assert plan_fleet(problem).infeasible
    return relaxations(problem)


@pytest.mark.parametrize(
    ("limits", "kind", "needed"),
    [
        ({"budget_usd": 149.0}, "budget", 150.0),
        ({"budget_usd_per_year": 40.0}, "yearly_budget", 56.0),
        ({"power_kw": 9.0}, "power", 10.0),
        ({"stacks_max": 1}, "stacks", 2.0),
    ],
)
def test_a_limit_that_no_fleet_keeps_is_named_with_the_least_that_would_do(limits, kind, needed):
    (found,) = infeasible(**limits)

    assert found.limits == (kind,)
    assert found.least
    assert [row.number for row in found.broken] == [pytest.approx(needed)]


def test_limits_that_only_together_let_a_plan_in_are_named_together():
    (found,) = infeasible(budget_usd=100.0, stacks_max=1, power_kw=20.0)

    assert found.limits == ("budget", "stacks")
    assert [row.number for row in found.broken] == [pytest.approx(150.0), 2]


def test_a_vendor_share_that_cannot_be_kept_is_named_with_one_that_can():
    (found,) = infeasible(vendor_share_max=0.5)

    # 20 of 56 and 36 of 56: nothing else can be bought.
    assert found.limits == ("vendor_share",)
    assert found.broken[0].number == pytest.approx(36 / 56, abs=1e-6)


def test_a_stock_that_is_too_small_and_a_single_vendor_are_named():
    units = make_units([10.0], stock=1)
    problem = make_problem(("a",), units, np.array([[2.5]]), limits=Limits(second_source=("a",)))

    assert plan_fleet(problem).infeasible
    (found,) = relaxations(problem)
    assert found.limits == ("second_source", "stock")
    assert {row.kind: row.number for row in found.broken} == {"second_source": 1, "stock": 3}


@FEW
@given(SEEDS)
def test_what_a_relaxation_says_is_enough_and_no_less_is(seed):
    problem = make_small(seed)
    if plan_fleet(problem, time_limit_s=60).fleet is not None:
        return
    for found in relaxations(problem):
        limits = problem.limits
        if found.limits == ("budget",):
            needed = found.broken[0].number
            enough = replace(problem, limits=replace(limits, budget_usd=needed * (1 + 1e-9)))
            less = replace(problem, limits=replace(limits, budget_usd=needed * (1 - 1e-4)))
        elif found.limits == ("stacks",):
            needed = found.broken[0].number
            enough = replace(problem, limits=replace(limits, stacks_max=needed))
            less = replace(problem, limits=replace(limits, stacks_max=needed - 1))
        else:
            continue
        assert plan_fleet(enough, time_limit_s=60).fleet is not None
        if found.least:
            assert plan_fleet(less, time_limit_s=60).fleet is None


# ---- what must hold for any market


@FEW
@given(SEEDS, st.integers(0, 4), st.floats(1.01, 3.0))
def test_a_dearer_chip_is_never_bought_more(seed, place, factor):
    problem, before = feasible_small(seed)
    place %= len(problem.units)
    units = list(problem.units)
    units[place] = replace(units[place], usd_per_year=units[place].usd_per_year * factor)

    after = plan_fleet(replace(problem, units=tuple(units)), time_limit_s=60)

    # From c x' + d n' <= c x + d n and c x <= c x': n' <= n.
    assert after.fleet.units[place] <= before.fleet.units[place]
    assert after.usd_per_year >= before.usd_per_year * (1 - 1e-9)


@FEW
@given(SEEDS, st.integers(0, 4), st.integers(0, 4))
def test_a_pair_that_a_stricter_promise_forbids_never_makes_the_plan_cheaper(seed, row, column):
    problem, before = feasible_small(seed)
    row, column = row % len(problem.workloads), column % len(problem.units)
    load = problem.load.copy()
    load[row, column] = math.nan

    after = plan_fleet(replace(problem, load=load), time_limit_s=60)

    assert after.fleet is None or after.usd_per_year >= before.usd_per_year * (1 - 1e-9)


@FEW
@given(SEEDS, st.floats(1.0, 2.0))
def test_more_money_power_or_stacks_never_cost_more(seed, factor):
    problem = make_small(seed)
    limits = problem.limits
    before = plan_fleet(problem, time_limit_s=60)
    wider = replace(
        limits,
        budget_usd=None if limits.budget_usd is None else limits.budget_usd * factor,
        power_kw=None if limits.power_kw is None else limits.power_kw * factor,
        stacks_max=None if limits.stacks_max is None else limits.stacks_max + 1,
    )

    after = plan_fleet(replace(problem, limits=wider), time_limit_s=60)

    if before.fleet is not None:
        assert after.usd_per_year <= before.usd_per_year * (1 + 1e-9)


@FEW
@given(SEEDS, st.sampled_from([1e-3, 100.0, 1e6]))
def test_the_unit_of_money_and_power_does_not_change_the_answer(seed, factor):
    problem, before = feasible_small(seed)
    limits = problem.limits
    scaled = replace(
        problem,
        units=tuple(
            replace(
                u,
                usd_per_year=u.usd_per_year * factor,
                capex_usd=u.capex_usd * factor,
                power_kw=u.power_kw * factor,
            )
            for u in problem.units
        ),
        share_usd=problem.share_usd * factor,
        pair_usd=problem.pair_usd * factor,
        stack_usd={k: v * factor for k, v in problem.stack_usd.items()},
        limits=replace(
            limits,
            budget_usd=None if limits.budget_usd is None else limits.budget_usd * factor,
            power_kw=None if limits.power_kw is None else limits.power_kw * factor,
        ),
    )

    after = plan_fleet(scaled, time_limit_s=60)

    assert after.usd_per_year == pytest.approx(before.usd_per_year * factor, rel=1e-7)


# ---- large


def test_a_large_market_has_a_checked_plan_between_its_bound_and_the_greedy_one():
    problem = make_market(20, 20, 1, stacks=4)
    assert 100 < problem.serves.sum() <= 200
    bound = relax(program_of(problem))

    answer = plan_fleet(problem, time_limit_s=120)

    assert broken(problem, answer.fleet) == []
    assert answer.lp_bound_usd_per_year == pytest.approx(bound.bound * program_of(problem).scale)
    assert answer.lp_bound_usd_per_year <= answer.bound_usd_per_year <= answer.usd_per_year
    assert answer.usd_per_year <= answer.greedy_usd_per_year
    assert answer.lp_gap <= 0.05


def test_a_market_too_large_to_solve_whole_is_pruned_and_the_same_each_time():
    problem = make_market(24, 24, 2, stacks=4)
    assert problem.serves.sum() > 200

    first, second = (plan_fleet(problem, time_limit_s=120) for _ in range(2))

    assert first.fleet.units.tolist() == second.fleet.units.tolist()
    assert first.usd_per_year == second.usd_per_year
    assert broken(problem, first.fleet) == []
    assert first.lp_bound_usd_per_year <= first.usd_per_year <= first.greedy_usd_per_year
    assert first.gap <= 0.05
    assert not first.optimal


def test_the_greedy_plan_keeps_every_promise():
    problem = make_market(30, 20, 3, stacks=5, tightness=0.3)

    fleet, used = greedy(problem, list(range(20)))

    assert broken(problem, fleet) == []
    assert sorted(np.flatnonzero(fleet.units).tolist()) == sorted(used)
    assert all(row.kept for row in rows(problem, fleet))
