"""On the page no figure loses on the way how it is known: by text and by shape, not by colour."""

import pytest

from harness.report import render
from harness.report.bars import cost_bars
from harness.report.charts import curve_charts
from harness.report.latency import latency_drawings
from harness.report.view import workload_views
from tests.report.answered import workloads
from tests.report.kinds import all_kinds
from tests.report.markup import read

REMARKS = {
    "Far cloud, small instance": "claimed",
    "Acme CPU, 16 cores, int8": "imported, noisy",
    "Acme CPU, 16 cores": "",
    "Owned server with one accelerator card": "projected",
}


@pytest.fixture(scope="module")
def fraud():
    return workload_views(*all_kinds())[2]


@pytest.fixture(scope="module")
def tree():
    return read(render(*all_kinds()))


def test_each_target_knows_what_is_to_be_said_of_its_figures(fraud):
    told = {row.title: row.remark for row in fraud.rows if row.record is not None}
    assert told == REMARKS


def test_a_cost_bar_says_it_and_is_hatched(fraud):
    bars = cost_bars(fraud).bars
    assert [bar.figure.partition(", ")[2] for bar in bars] == [
        REMARKS[row.title] for row in fraud.rows if row.option is not None
    ]
    assert [bar.hatched for bar in bars] == [True, True, False, True]
    assert "(0.000357–0.000357), claimed; Acme" in cost_bars(fraud).description


def test_a_latency_row_says_it_and_is_hollow(fraud, tree):
    (drawing,) = latency_drawings(fraud)
    told = {row.label: row.key_figure.partition(", ")[2] for row in drawing.rows}
    assert told["Far cloud, small instance"] == "claimed"
    assert told["Acme CPU, 16 cores, int8"] == "imported, noisy"
    assert told["Acme CPU, 16 cores"] == ""
    hollow = [g for g in tree.all("g") if "doubtful" in g.attributes.get("class", "").split()]
    assert len(hollow) >= 3 * len(workloads())


def test_a_curve_that_is_noisy_is_hollow_and_one_not_measured_here_is_dashed(fraud):
    (chart,) = curve_charts(fraud)
    assert [curve.dashed for curve in chart.curves] == [True, True, False, True]
    assert [bool(curve.kept) for curve in chart.curves] == [True, False, True, True]
    assert chart.remarks[:2] == (
        "Far cloud, small instance: claimed",
        "Acme CPU, 16 cores, int8: imported, noisy",
    )
    assert "Acme CPU, 16 cores, int8 (imported, noisy): " in chart.description


def test_the_page_tells_it_below_each_drawing_and_in_the_table_of_costs(tree):
    notes = [" ".join(p.text.split()) for p in tree.all("p")]
    assert any("Acme CPU, 16 cores, int8: imported, noisy" in note for note in notes)
    tables = {t.all("caption")[0].text: t for t in tree.all("table")}
    cost = tables["Cost, Card fraud: the fleet of the first year"]
    heads = [" ".join(h.text.split()) for h in cost.all("th")]
    assert "Far cloud, small instance ● Chosen claimed" in heads


def test_a_share_of_the_roofline_and_a_gap_say_how_they_are_known(tree):
    tables = {t.all("caption")[0].text: t for t in tree.all("table")}
    shares = tables["Share of what the hardware can do, Card fraud"]
    heads = [" ".join(h.text.split()) for h in shares.all("th")]
    assert "Acme CPU, 16 cores, int8 imported, noisy" in heads
    assert "Far cloud, small instance claimed" in heads
    gaps = tables["Compiler gap: which operators run on the target's own runtime"]
    marks = [" ".join(e.text.split()) for e in gaps.classed("state")]
    assert set(marks) == {"? not told", "≈ some"}
