"""Cost against volume on the page: steps, marks, numbered turns, and the table beside."""

import csv
import dataclasses
import re

import pytest

from harness import units
from harness.report import render
from harness.report.export import export
from harness.report.supply import supply
from harness.report.view import workload_views
from harness.report.volume import MOST_TURNS, numbered, turns, volume
from harness.schema.volume import VolumeCosts, VolumeLine
from tests.report.kinds import all_kinds
from tests.report.markup import read
from tests.report.test_page import section, tables
from tests.report.whole import whole


@pytest.fixture(scope="module")
def view():
    return workload_views(*whole())[0]


@pytest.fixture(scope="module")
def tree():
    return read(render(*whole()))


def with_costs(view, **changes):
    costs = view.decision.volume_costs.model_copy(update=changes)
    decision = view.decision.model_copy(update={"volume_costs": costs})
    return dataclasses.replace(view, decision=decision)


def test_each_option_compared_has_a_line_with_a_mark_of_its_own_and_its_name(view):
    (chart,) = volume(view)
    drawn = chart.curves.curves
    assert [c.standing for c in drawn] == ["chosen", "runner_up", "feasible", "feasible"]
    marks = {re.split(r"M[0-9.]+ [0-9.]+", c.key)[1] for c in drawn}
    assert len(marks) == len(drawn)
    assert [(c.kept or c.others).count("M") for c in drawn] == [5, 5, 5, 5]
    assert [bool(c.kept) for c in drawn] == [True, False, True, True]
    assert chart.curves.axes == "Both axes are logarithmic."


def test_a_step_is_drawn_upright_and_level(view):
    (chart,) = volume(view)
    cloud, _, api, _ = chart.curves.curves
    assert re.match(r"M[0-9.]+ [0-9.]+H[0-9.]+V[0-9.]+H[0-9.]+V[0-9.]+H", cloud.line)
    assert "V" not in api.line


def test_a_long_line_is_not_cut_on_the_page(view):
    count = 400
    line = VolumeLine(
        target=view.decision.choice.target,
        requests_per_month=tuple(1e5 * 1.02**i for i in range(count)),
        units=(1,) * count,
        usd_per_year=tuple(1e4 * (1 + i % 2) for i in range(count)),
    )
    costs = VolumeCosts(planned=1e6, lines=(line,))
    decision, records = whole()
    first = view.decision.model_copy(update={"volume_costs": costs, "break_evens": ()})
    page = render(decision.model_copy(update={"workloads": (first,)}), records)
    (drawn,) = re.findall(r'<path class="line" d="([^"]{2001,})"', page)
    assert drawn.count("L") > 380


def test_the_table_has_the_planned_volume_and_two_factors_of_ten_to_either_side(tree, view):
    heads, *lines = tables(section(tree, "workload-1"))[
        "Cost of the first year by volume, Customer chat"
    ]
    assert heads[1:3] == ["Acme CPU, 16 cores", "Acme CPU, 16 cores, int8 (noisy)"]
    assert [line[0] for line in lines] == [
        "100,000", "1,000,000", "10,000,000, planned", "100,000,000", "1,000,000,000"
    ]  # fmt: skip
    choice = view.decision.choice
    usd = units.usd(choice.cost_per_year_usd)
    assert lines[2][1] == f"{usd} for {units.count(choice.replicas)} units"
    assert lines[0][1].endswith(" for 1 unit")
    api = heads.index("Language model as a service")
    assert "unit" not in "".join(line[api] for line in lines)


def test_the_turns_of_the_chart_have_the_numbers_of_the_table_of_turns(tree, view):
    pairs = view.decision.break_evens
    found = turns(view.decision)
    assert [turn.number for turn in found] == [1, 2]
    for turn in found:
        crossing = pairs[turn.pair].crossings[turn.crossing]
        assert turn.requests_per_month == crossing.requests_per_month
        line = next(x for x in view.decision.volume_costs.lines if x.target == "model-api")
        rising = zip(line.requests_per_month, line.usd_per_year, strict=True)
        api = min(rising, key=lambda point: abs(point[0] - turn.requests_per_month))[1]
        assert turn.usd_per_year == pytest.approx(api, rel=1e-4)
    _, *lines = tables(section(tree, "workload-1"))[
        "Break-even of each pair of kinds, Customer chat"
    ]
    assert [line[2].partition(":")[0] for line in lines[:2]] == ["1", "2"]
    part = section(tree, "workload-1")
    assert [e.text for e in part.classed("turn") if e.tag == "text"] == ["1", "2"]
    (chart,) = volume(view)
    assert chart.curves.upright.label == "planned"
    # Of the call transcription nothing turns, and its legend does not speak of turns.
    (speech,) = volume(workload_views(*whole())[1])
    assert [shape for shape, _ in speech.legend] == ["upright"]


def test_of_a_pair_that_turns_often_the_first_and_the_last_are_numbered(view):
    pair = view.decision.break_evens[0]
    often = pair.model_copy(update={"crossings": pair.crossings * 6, "found": 6})
    assert numbered(often) == (0, 5)
    assert numbered(often.model_copy(update={"found": 30})) == (0,)
    assert len(numbered(pair)) <= MOST_TURNS
    decision = view.decision.model_copy(update={"break_evens": (often,)})
    (told,) = supply(dataclasses.replace(view, decision=decision))
    first, last, more = told.rows[0][2].split("; ")
    assert (first[:3], last[:3], more) == ("1: ", "2: ", "and 4 between")
    (chart,) = volume(dataclasses.replace(view, decision=decision))
    one, two = chart.curves.numbered
    assert (one.x, one.y) == (two.x, two.y)
    assert float(one.label_y) - float(two.label_y) == pytest.approx(10)


def test_without_the_curves_the_turns_have_no_numbers(view):
    decision = view.decision.model_copy(update={"volume_costs": None})
    bare = dataclasses.replace(view, decision=decision)
    assert volume(bare) == ()
    assert turns(decision) == ()
    (told,) = supply(bare)
    assert not told.rows[0][2].startswith("1:")


def test_what_is_not_measured_or_not_whole_is_said_beside_the_chart(view):
    (chart,) = volume(view)
    assert "Acme CPU, 16 cores, int8: noisy." in chart.note
    assert "With modelled* energy: Owned server with one accelerator card." in chart.note
    (left,) = volume(with_costs(view, left_out=("far-cloud",)))
    assert "a part of the cost is not known: Far cloud, small instance." in left.note
    kinds = workload_views(*all_kinds())[2]
    (chart,) = volume(kinds)
    evidence = {o.target: o.evidence for o in kinds.decision.options}
    drawn = zip(kinds.decision.volume_costs.lines, chart.curves.curves, strict=True)
    for line, curve in drawn:
        assert curve.dashed == (evidence[line.target] != "measured")
    assert any(curve.dashed for curve in chart.curves.curves)


def test_large_costs_are_counted_in_thousands_or_millions_so_that_they_fit(view):
    (line,) = view.decision.volume_costs.lines[:1]
    for factor, name in ((1, "USD"), (10, "thousand USD"), (1e4, "million USD")):
        dear = line.model_copy(
            update={"usd_per_year": tuple(factor * usd for usd in line.usd_per_year)}
        )
        (chart,) = volume(with_costs(view, lines=(dear,)))
        assert chart.curves.up == f"First year, {name}"
        assert max(len(tick.label) for tick in chart.curves.up_ticks) <= 9


def test_the_export_has_every_point_with_its_evidence(tmp_path):
    decision, records = whole()
    export(decision, records, tmp_path / "out", command="x", figures=False)
    with (tmp_path / "out" / "volume_costs.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(
        len(line.units) for each in decision.workloads for line in each.volume_costs.lines
    )
    choice = decision.workloads[0].choice
    (planned,) = [
        row for row in rows
        if (row["workload"], row["target"], row["planned"]) == ("chat", choice.target, "True")
    ]  # fmt: skip
    assert float(planned["usd_per_year"]) == pytest.approx(choice.cost_per_year_usd, rel=1e-5)
    assert planned["units"] == str(choice.replicas)
    assert {row["validity"] for row in rows if row["target"] == "acme-cpu-16-int8"} == {"noisy"}
    assert {row["modelled"] for row in rows if row["target"] == "owned-gpu"} == {"True"}
