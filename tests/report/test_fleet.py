"""The shared fleet on the page."""

import pytest

from harness import units
from harness.cli.portfolio_text import portfolio_text
from harness.report import render
from harness.report.fleet import fleet
from harness.report.view import workload_views
from harness.schema.portfolio import FleetRelaxation, PortfolioPlan
from harness.schema.target import DETECTED
from tests.report.markup import read
from tests.report.test_page import section, tables
from tests.report.whole import whole


@pytest.fixture(scope="module")
def tree():
    return read(render(*whole()))


def test_the_plan_says_what_to_buy_who_runs_where_and_what_binds(tree):
    plan = whole()[0].portfolio
    found = tables(section(tree, "fleet"))
    shares = found["Which part of each workload runs on which target"]
    assert shares[0] == ["Workload", *(unit.title for unit in plan.units)]
    fraud = next(row for row in shares if row[0] == "Card fraud")
    own = [each.share for each in plan.shares if each.workload == "fraud"]
    assert [cell for cell in fraud[1:] if cell != "–"] == [units.percent(share) for share in own]
    bought = found["What the shared fleet is made of"][1:]
    assert [row[3] for row in bought] == [str(unit.bought) for unit in plan.units]
    limits = found["The limits of the shared fleet, and which of them bind"][1:]
    assert {row[-1] for row in limits} <= {"● binds", "○ has room"}
    assert limits[0][2] == "80 %"


def test_a_vendor_that_is_detected_is_said_to_be_that_of_the_cpu_found():
    decision, records = whole()
    plan = decision.portfolio
    units = tuple(unit.model_copy(update={"vendor": DETECTED}) for unit in plan.units)
    found = plan.model_copy(update={"units": units})
    page = render(decision.model_copy(update={"portfolio": found}), records)
    bought = tables(section(read(page), "fleet"))["What the shared fleet is made of"][1:]
    assert {row[1] for row in bought} == {"that of the CPU found"}
    assert any("  that of the CPU found  " in line for line in portfolio_text(found))


def test_the_saving_and_the_gap_stand_in_words_and_the_cost_on_the_first_screen(tree):
    plan = whole()[0].portfolio
    text = section(tree, "fleet").text
    assert f"{units.usd(plan.saving_usd_per_year)} a year, " in text
    assert "less than each workload on a fleet of its own" in text
    assert "✓ The cheapest plan that keeps every limit" in text
    assert f"{units.usd(plan.usd_per_year)} a year, 14.9 % less" in tree.all("header")[0].text


def test_a_plan_with_a_gap_is_not_called_the_cheapest():
    plan = whole()[0].portfolio.model_copy(update={"state": "feasible", "gap_share": 0.02})
    shown = fleet(plan, workload_views(*whole()))
    assert shown.sign == "≈"
    assert "At most 2 % above the cheapest possible" in shown.lines[-1]


def test_no_plan_says_why_and_what_would_make_one():
    way = FleetRelaxation(
        limits=("yearly_budget",),
        text="$12,000 a year instead of $5,000",
        present=(5000.0,),
        needed=(12000.0,),
        least=False,
    )
    none = PortfolioPlan(state="infeasible", reason="the budget is too small", relaxations=(way,))
    decision, records = whole()
    tree = read(render(decision.model_copy(update={"portfolio": none}), records))
    text = section(tree, "fleet").text
    assert "✕ No plan can keep the limits" in text
    assert "$12,000 a year instead of $5,000 (or less)" in text
    assert tables(section(tree, "fleet")) == {}
    assert "No plan can keep the limits" in tree.all("header")[0].text
