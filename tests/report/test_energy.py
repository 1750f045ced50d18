"""Energy in the report: compared within one boundary only, marked where modelled, never guessed."""

from dataclasses import replace

import pytest

from harness.economics import NoPower, Power
from harness.mapper.footprint import energy_lines
from harness.report import render
from harness.report.bars import energy_bars
from harness.report.energy import against, coverage, requests, year, year_in_short
from harness.report.view import workload_views
from harness.schema.base import Interval
from harness.schema.target import Hardware
from tests.mapper.metered import reading
from tests.report.answered import answered
from tests.report.markup import read
from tests.test_economics import make_economics, make_purchase, make_rent

CPU = Hardware(chip="CPU", vendor="Acme", kind="cpu")


@pytest.fixture(scope="module")
def answer():
    return answered()


def option_with(answer, value, boundary="package", target="one", width=0.05, **changes):
    option = answer[0].workloads[0].options[0]
    figure = (
        None
        if value is None
        else Interval(value=value, low=value * (1 - width), high=value * (1 + width))
    )
    tree = {"target": target, "energy_j_per_request": figure, "energy_boundary": boundary}
    return option.model_copy(update={**tree, **changes})


def test_overlapping_intervals_are_said_to_overlap(answer):
    choice = option_with(answer, 10.0)

    text = against(option_with(answer, 10.5, target="two"), choice)
    assert text == "not separated: the intervals overlap"


def test_separate_intervals_give_the_difference(answer):
    choice = option_with(answer, 10.0)

    text = against(option_with(answer, 5.0, target="two"), choice)
    assert text == "50 % less; the intervals do not overlap"


def test_energy_across_boundaries_is_not_compared(answer):
    choice = option_with(answer, 10.0, "node")

    text = against(option_with(answer, 1.0, "chip", target="two"), choice)
    assert text.startswith("not compared: metered at the chip here and at the node for the choice")
    assert "%" not in text


def test_energy_that_is_not_measured_is_not_compared(answer):
    measured, absent = option_with(answer, 10.0), option_with(answer, None, target="two")

    assert against(absent, measured) == "not compared: not measured"
    assert against(measured, absent) == "not compared: that of the choice is not measured"


def test_a_modelled_side_is_named(answer):
    choice = option_with(answer, 10.0)

    text = against(option_with(answer, 5.0, "package (modelled)", target="two"), choice)
    assert "modelled on at least one side" in text


def year_of(answer, power, price):
    lines = energy_lines(power, 2, price, make_economics(), CPU)
    return option_with(answer, 1.0, energy_lines=lines)


def test_a_year_names_each_line_with_its_assumption(answer):
    rows = {r.name: r for r in year(year_of(answer, Power(1000.0, "metered"), make_purchase()))}

    assert rows["Energy of the machines"].figure == "17,520 kWh"
    assert rows["Energy of the facility"].basis == "IT energy x PUE 1.30"
    assert rows["Electricity"].figure == "$2,733"
    assert not rows["Electricity"].modelled


def test_what_is_not_known_is_one_line_with_each_reason_and_remedy_once(answer):
    option = year_of(answer, NoPower("not known: only chip was metered", "meter it"), make_rent())
    *rest, unknown = year(option)

    assert [row.figure for row in rest] == ["in the rent"]
    assert unknown.figure == "not known"
    assert unknown.name.startswith("Energy of the machines, energy of the facility")
    assert unknown.basis.startswith("only chip was metered; the brief states no carbon intensity")
    assert unknown.basis.count("meter it") == 1
    assert year_in_short(option) == ("kWh and kgCO2e a year: not known",)


def test_a_modelled_year_is_marked(answer):
    option = year_of(answer, Power(1000.0, "modelled", modelled=True), make_purchase())

    assert all(row.modelled for row in year(option) if row.known)
    assert "modelled*" in year_in_short(option)[0]


def test_the_coverage_says_what_was_metered(answer):
    decision, records = answer
    rows = {row.target: row for row in coverage(workload_views(decision, records)[0])}

    states = {target: [state for state, _ in row.parts] for target, row in rows.items()}
    none = "not_metered"
    assert states["Acme CPU, 16 cores"] == [none] * 5
    assert states["Acme CPU, 16 cores, int8"] == [none, none, none, "metered", none]
    assert states["Owned server with one accelerator card"] == ["metered", *[none] * 4]
    assert states["Far cloud, small instance"] == [none, "modelled", none, none, none]


def with_energy(answer, boundary):
    """Return the answer with the runner-up's energy of a request at `boundary`."""
    decision, records = answer
    first = decision.workloads[0]
    changed = option_with(answer, 3.0, boundary, target=first.runner_up.target)
    options = tuple(changed if o.target == changed.target else o for o in first.options)
    answer = first.model_copy(update={"options": options, "runner_up": changed})
    return decision.model_copy(update={"workloads": (answer,)}), records


def test_modelled_bars_are_hatched_and_marked(answer):
    decision, records = with_energy(answer, "package (modelled)")
    drawings = dict(energy_bars(workload_views(decision, records)[0]))

    assert drawings["package"].bars[0].modelled
    assert drawings["package"].bars[0].figure == "3.00 J*"
    assert "modelled" in drawings["package"].description
    assert not drawings["chip"].modelled
    tree = read(render(decision, records))
    assert len(tree.all("pattern")) == 1
    hatched = [r for r in tree.all("rect") if "modelled" in r.attributes.get("class", "")]
    assert [r.attributes["fill"] for r in hatched] == [
        f"url(#{tree.all('pattern')[0].attributes['id']})"
    ]


def test_a_machine_without_counters_says_so_everywhere(answer):
    decision, records = answer
    tree = read(render(decision, records))
    part = next(s for s in tree.all("section") if s.attributes["id"] == "workload-1")

    why = "not measured: no powercap tree on this machine. To enable it: run on bare metal"
    assert part.text.count(why) == 2
    assert "Energy takes no part in the choice" in part.text
    assert "0 J" not in part.text.split()


def test_energy_is_no_part_of_the_order_of_the_rows(answer):
    decision, records = answer
    view = workload_views(decision, records)[0]

    assert [r.row.outcome.target for r in requests(view)] == [
        o.target for o in decision.workloads[0].options
    ]
    assert requests(view)[0].figure == "not measured"


def test_partly_covered_readings_are_said_to_be_so(answer):
    decision, records = answer
    view = workload_views(decision, records)[0]
    row = view.rows[0]
    part = reading(5.0, "node", flags=("partial_coverage",))
    point = row.point.model_copy(update={"energy": (part,)})
    (found,) = coverage(replace(view, rows=(replace(row, point=point),)))
    assert found.parts[3] == ("partial", "in part")
