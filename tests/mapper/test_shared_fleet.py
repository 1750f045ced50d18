"""The shared fleet of a brief: from records to a plan, its words, and what a brief gets wrong."""

import numpy as np
import pytest
from pydantic import ValidationError

from harness.cli.portfolio_text import portfolio_text
from harness.cli.verdict_text import verdict_lines
from harness.errors import SpecError
from harness.mapper import decide
from harness.mapper.portfolio.market import hour_classes
from harness.report.fleet import fleet_lines, in_short
from harness.schema import canonical_json
from harness.schema.portfolio import Portfolio
from harness.schema.record import EnvironmentField
from tests.factories import (
    make_brief,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)

RATE = 50.0
"""Requests/s at the SLO of the first target for the first workload."""


def rent(usd_per_hour, **changes):
    return {
        "kind": "rent",
        "sale_unit": "1 instance",
        "usd_per_hour": usd_per_hour,
        "source": "price list",
        "date": "2026-10-01",
        **changes,
    }


def purchase(purchase_usd):
    return {
        "kind": "purchase",
        "sale_unit": "1 server",
        "purchase_usd": purchase_usd,
        "life_years": 4.0,
        "source": "quote",
        "date": "2026-10-01",
    }


def market(prices=(1.0, 1.7), workloads=("chat-a", "chat-b"), measured=None):
    """Return workloads, targets of a vendor each, and records of every pair in `measured`."""
    asked = [make_workload(name) for name in workloads]
    targets = [
        make_target(
            f"box-{j}",
            price=price if isinstance(price, dict) else rent(price),
            hardware={"chip": f"chip {j}", "vendor": f"Vendor {j}", "kind": "gpu"},
        )
        for j, price in enumerate(prices)
    ]
    records = []
    for workload in asked:
        for j, target in enumerate(targets):
            if measured is None or (workload.name, target.name) in measured:
                point = make_point(workload, rate=RATE * (1 + j))
                record = make_record(workload, target, number=len(records) + 1, points=(point,))
                records.append(make_stored(record))
    return asked, targets, records


def plan(found=None, *, volumes=(1e8, 1e8), **portfolio):
    asked, targets, records = found or market()
    rows = [
        {"workload": w.name, "demand": {"requests_per_month": v, "peak_factor": 1.0}}
        for w, v in zip(asked, volumes, strict=True)
    ]
    brief = make_brief(workloads=rows, portfolio=portfolio)
    return decide(brief, asked, targets, records)


def test_a_brief_without_a_portfolio_has_none_in_its_decision_and_neither_says_so():
    asked, targets, records = market()
    found = decide(make_brief("chat-a", "chat-b"), asked, targets, records)

    assert found.portfolio is None
    assert "portfolio" not in canonical_json(found)


def test_found_cpus_of_one_maker_are_one_vendor_with_what_declares_it():
    asked, targets, _ = market((1.0, 1.7, 9.0), workloads=("chat-a",))
    found = {"chip": "this CPU", "vendor": "detected", "kind": "cpu", "detect": True}
    targets[0] = targets[0].model_copy(update={"hardware": make_target(hardware=found).hardware})
    declared = make_target(hardware={**found, "vendor": "AMD", "detect": False}).hardware
    targets[1] = targets[1].model_copy(update={"hardware": declared})
    environment = {"cpu_model": EnvironmentField(value="AMD EPYC 7R13")}
    records = [
        make_stored(
            make_record(
                asked[0],
                target,
                number=1 + j,
                points=(make_point(asked[0], rate=RATE),),
                environment=environment,
            )
        )
        for j, target in enumerate(targets)
    ]
    plain = plan((asked, targets, records), volumes=(1e8,)).portfolio
    assert {unit.vendor for unit in plain.units} == {"AMD"}
    two = plan((asked, targets, records), volumes=(1e8,), second_source=["chat-a"]).portfolio
    # The third is dear, and the only one of another maker.
    assert {unit.vendor for unit in two.units} == {"AMD", "Vendor 2"}


def test_two_workloads_share_units_that_each_alone_would_not_fill():
    found = plan(volumes=(1e8, 1.6e8)).portfolio

    # 38.05 and 60.88 requests/s; a unit of box-0 carries 50 x 0.7 = 35, one of box-1 70 for $1.70.
    # Alone: box-1 and box-1, $3.40 an hour; 98.93 together: box-1 and box-0, $2.70.
    assert {unit.target: unit.bought for unit in found.units} == {"box-0": 1, "box-1": 1}
    assert found.state == "optimal"
    assert found.usd_per_year == pytest.approx(2.7 * 8760)
    assert found.own_fleets_usd_per_year == pytest.approx(3.4 * 8760)
    assert found.saving_usd_per_year == pytest.approx(0.7 * 8760)
    load = sum(unit.load for unit in found.units if unit.target == "box-0")
    assert 98.93 - 70 <= load * 35 <= 35
    assert found.checks > 10


def test_a_workload_alone_on_a_target_costs_what_its_own_choice_says():
    asked, targets, records = market((1.0,), workloads=("chat-a",))
    brief = make_brief(
        workloads=[{"workload": "chat-a", "demand": {"requests_per_month": 3e8}}],
        constraints={"spare_units": 1},
        economics={
            **make_brief().economics.model_dump(),
            "staff_usd_per_year": 1000.0,
            "integration_weeks_per_stack": 2.0,
            "integration_usd_per_week": 5000.0,
        },
        portfolio={},
    )
    found = decide(brief, asked, targets, records)

    own = found.workloads[0].choice
    assert found.portfolio.usd_per_year == pytest.approx(own.cost_per_year_usd)
    assert found.portfolio.units[0].bought == own.replicas
    assert found.portfolio.units[0].spare == 1
    assert found.portfolio.saving_usd_per_year == pytest.approx(0, abs=1e-6)
    parts = (
        found.portfolio.units_usd_per_year
        + found.portfolio.use_usd_per_year
        + found.portfolio.integration_usd_per_year
        + found.portfolio.staff_usd_per_year
    )
    assert parts == pytest.approx(found.portfolio.usd_per_year)


def test_an_infeasible_budget_says_what_would_do_and_that_does():
    found = plan(budget_usd_per_year=5000.0).portfolio

    assert found.state == "infeasible"
    assert found.usd_per_year is None
    (way,) = found.relaxations
    assert way.limits == ("yearly_budget",)
    assert "instead of $5,000" in found.reason
    enough = plan(budget_usd_per_year=way.needed[0]).portfolio
    assert enough.state == "optimal"
    assert plan(budget_usd_per_year=way.needed[0] - 2).portfolio.state == "infeasible"
    assert any("make a plan possible" in line for line in portfolio_text(found))


def test_a_workload_without_a_target_is_left_out_and_named():
    measured = {("chat-a", "box-0"), ("chat-a", "box-1")}
    found = plan(market(measured=measured)).portfolio

    assert found.left_out == ("chat-b",)
    assert {share.workload for share in found.shares} == {"chat-a"}
    assert any("for want of a target: chat-b" in line for line in portfolio_text(found))


def test_without_any_target_there_is_no_plan_and_it_says_why():
    found = plan(market(measured=set())).portfolio

    assert found.state == "infeasible"
    assert found.reason == "no workload has a target that can serve it"
    assert found.left_out == ("chat-a", "chat-b")


def test_where_power_is_limited_a_purchase_of_unknown_power_is_not_in_the_fleet():
    found = plan(market((purchase(10_000.0), 1.7)), power_kw=5.0).portfolio

    assert {unit.target for unit in found.units} == {"box-1"}
    assert found.warnings == (
        "box-0 is not in the shared fleet: its power is not known, and there is a limit on it",
    )


def test_a_limit_on_purchases_turns_to_rent():
    prices = (purchase(10_000.0), 1.7)
    free, capped = plan(market(prices)).portfolio, plan(market(prices), budget_usd=0.0).portfolio

    assert {unit.target for unit in free.units} == {"box-0"}
    assert free.capex_usd == 10_000.0 * free.units[0].bought
    assert any("the cost of energy is not known" in text for text in free.warnings)
    assert {unit.target for unit in capped.units} == {"box-1"}
    (limit,) = capped.limits
    assert (limit.limit, limit.number, limit.most, limit.binds) == ("budget", 0.0, 0.0, True)


def test_the_text_names_units_shares_limits_and_the_bound():
    text = "\n".join(portfolio_text(plan(stacks_max=1).portfolio))

    for part in ("one fleet of", "runs on", "limit on stacks: 1.00 of 1.00, binds", "how good:"):
        assert part in text
    assert "above the bound of the linear relaxation" in text


def test_a_cost_that_is_not_known_is_said_wherever_the_plans_cost_is():
    found = plan(market((rent(1.0, egress_usd_per_gb=0.09), 1.7), measured={("chat-a", "box-0")}))
    known = plan()

    assert found.portfolio.without == "egress"
    assert " a year without egress; " in found.portfolio.reason
    assert found.portfolio.warnings == (
        "box-0: the cost of egress is not known and not in the plan",
    )
    assert " a year without egress" in in_short(found.portfolio)
    assert " a year without egress (units " in fleet_lines(found.portfolio, {})[0]
    text = "\n".join(portfolio_text(found.portfolio))
    assert " a year without egress (units " in text.partition("cost: $")[2]
    assert "as one shared fleet $" in verdict_lines(found)[1]
    assert verdict_lines(found)[1].endswith(" a year without egress")
    assert (known.portfolio.without, "without" in canonical_json(known.portfolio)) == ("", False)


@pytest.mark.parametrize(
    ("portfolio", "named"),
    [
        ({"second_source": ("chess",)}, "chess"),
        ({"stock": [{"target": "moon", "units": 1}]}, "moon"),
    ],
)
def test_a_name_that_the_brief_does_not_have_is_an_error(portfolio, named):
    with pytest.raises(SpecError, match=named):
        plan(**portfolio)


@pytest.mark.parametrize(
    "tree",
    [
        {"second_source": ("a",), "targets_per_workload_max": 1},
        {"second_source": ("a", "a")},
        {"stock": ({"target": "a", "units": 1}, {"target": "a", "units": 2})},
        {"vendor_share_max": 0.0},
        {"stacks_max": 0},
    ],
)
def test_a_portfolio_that_contradicts_itself_is_refused(tree):
    with pytest.raises(ValidationError):
        Portfolio.model_validate(tree)


def test_the_same_brief_gives_the_same_bytes_whatever_the_order():
    asked, targets, records = market()
    first = plan((asked, targets, records))
    second = plan((asked, targets[::-1], records[::-1]))

    assert canonical_json(first) == canonical_json(second)


def test_hours_are_the_profile_over_its_peak_and_what_may_wait_is_spread():
    day = (*[1.0] * 12, *[3.0] * 12)
    base = make_workload().demand
    profiled = base.model_copy(update={"hourly_profile": day, "peak_factor": 1.5})
    waiting = profiled.model_copy(update={"batchable_share": 0.5})

    found = hour_classes([base, profiled, waiting])

    assert found.shape == (24, 3)
    assert np.all(found[:, 0] == 1)
    assert found[0, 1] == pytest.approx(1 / 3)
    assert found[23, 1] == pytest.approx(1.0)
    # (0.5 x 0.5 + 0.5) / (0.5 x 1.5 + 0.5)
    assert found[0, 2] == pytest.approx(0.75 / 1.25)
