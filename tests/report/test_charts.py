import re

import pytest

from harness.report.charts import COLOURS, curve_charts
from harness.report.view import workload_views
from tests.factories import make_metric
from tests.report.answered import answered
from tests.report.markup import read


@pytest.fixture(scope="module")
def views():
    return workload_views(*answered())


@pytest.fixture(scope="module")
def chat(views):
    return curve_charts(views[0])


def test_there_is_a_chart_for_each_promise(chat, views):
    assert [chart.heading for chart in chat] == [
        "Time to first token p90 against throughput",
        "Time per output token p90 against throughput",
    ]
    assert len(curve_charts(views[1])) == 1


def test_it_is_one_well_formed_drawing_in_the_colours_of_the_page(chat):
    for chart in chat:
        tree = read(f"<!DOCTYPE html>{chart.svg}")
        (svg,) = tree.elements
        assert svg.tag == "svg"
        used = set(re.findall(r"var\((--\w+)\)", chart.svg))
        assert {"--ink", "--muted", "--accent", "--second", "--bad", "--font"} <= used
        assert not any(sentinel in chart.svg for sentinel in COLOURS.values())
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", chart.svg)) <= set()
        assert "DejaVu" not in chart.svg
        assert "metadata" not in chart.svg


def test_text_stays_text_and_names_every_target(chat):
    texts = [e.text.strip() for e in read(f"<!DOCTYPE html>{chat[0].svg}").all("text")]
    assert {
        "Acme CPU, 16 cores",
        "Acme CPU, 16 cores, int8",
        "Owned server with one accel…",
        "Far cloud, small instance",
        "limit 200 ms",
        "Throughput, requests a second",
    } <= set(texts)
    assert not any("label-of-curve" in text for text in texts)


def test_the_description_holds_the_figures(chat):
    told = read(f"<!DOCTYPE html>{chat[0].svg}").all("desc")[0].text
    assert told.startswith("Limit 200 ms. Acme CPU, 16 cores: 3.60 requests/s at 117 ms (met)")
    assert "6.30 requests/s at 400 ms (missed)" in told


def test_a_point_without_a_figure_is_named_and_not_drawn():
    decision, records = answered()
    blind = []
    for record in records:
        if (record.cell.workload, record.cell.target) == ("fraud", "acme-cpu-16") and (
            record.cell.scenario.kind == "server"
        ):
            first = record.points[0]
            metrics = {**first.metrics, "latency_s.p99": make_metric(None)}
            points = (first.model_copy(update={"metrics": metrics}), *record.points[1:])
            record = record.model_copy(update={"points": points})
        blind.append(record)
    (chart,) = curve_charts(workload_views(decision, blind)[2])
    assert chart.left_out == ("Acme CPU, 16 cores at load 30 %: not supported by n",)
    told = read(f"<!DOCTYPE html>{chart.svg}").all("desc")[0].text
    assert "Acme CPU, 16 cores: 450 requests/s at 9.60 ms (met), 720 requests/s" in told


def test_far_figures_are_said_to_be_on_a_logarithmic_axis():
    decision, records = answered()
    # Without the load that breaks every SLO, which is far from the others by itself.
    records = [r.model_copy(update={"points": r.points[:3]}) for r in records]
    stretched = []
    for record in records:
        if record.cell.target == "far-cloud" and record.cell.scenario.kind == "server":
            points = tuple(
                p.model_copy(
                    update={
                        "metrics": {
                            n: m.model_copy(update={"value": 100.0, "low": 90.0, "high": 110.0})
                            if n.startswith("ttft_s")
                            else m
                            for n, m in p.metrics.items()
                        }
                    }
                )
                for p in record.points
            )
            record = record.model_copy(update={"points": points})
        stretched.append(record)
    charts = curve_charts(workload_views(decision, stretched)[0])
    assert charts[0].axes == "The axis of latency is logarithmic."
    assert charts[1].axes == "Both axes are linear."
