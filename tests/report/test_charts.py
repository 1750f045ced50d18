import re

import pytest

from harness.report import render
from harness.report.charts import SHAPES, curve_charts
from harness.report.view import workload_views
from tests.factories import make_metric
from tests.report.answered import answered
from tests.report.markup import read


@pytest.fixture(scope="module")
def views():
    return workload_views(*answered())


@pytest.fixture(scope="module")
def drawings():
    return [
        svg for svg in read(render(*answered())).all("svg") if svg.attributes["class"] == "chart"
    ]


@pytest.fixture(scope="module")
def chat(views):
    return curve_charts(views[0])


def test_there_is_a_chart_for_each_promise(chat, views):
    assert [chart.heading for chart in chat] == [
        "Time to first token p90 against throughput",
        "Time per output token p90 against throughput",
    ]
    assert len(curve_charts(views[1])) == 1


def test_every_path_is_one_and_stays_on_the_drawing(drawings):
    assert len(drawings) == 13
    for svg in drawings:
        paths = [e.attributes["d"] for e in svg.all("path")]
        assert len(paths) >= 8
        for path in paths:
            assert re.fullmatch(r"(M[\d.]+ [\d.]+[-\d. VHLhmlavz]*)+", path), path
            for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path):
                assert 0 <= float(x) <= 806
                assert 0 <= float(y) <= 331


def test_every_target_has_a_shape_of_its_own():
    assert len(set(SHAPES)) == len(SHAPES) >= 11


def test_text_stays_text_and_names_every_target(drawings):
    texts = [e.text.strip() for e in drawings[0].all("text")]
    assert {
        "Acme CPU, 16 cores",
        "Acme CPU, 16 cores, int8",
        "Owned server with one accel…",
        "Far cloud, small instance",
        "limit 200 ms",
        "Throughput, requests a second",
        "Time to first token p90",
    } <= set(texts)


def test_the_description_holds_the_figures(chat):
    told = chat[0].description
    assert told.startswith("Limit 200 ms. Acme CPU, 16 cores: 3.60 requests/s at 117 ms (met)")
    assert "6.30 requests/s at 400 ms (missed)" in told


def test_a_point_lies_where_it_was_measured_and_one_that_misses_is_drawn_hollow(chat):
    first = chat[1].curves[0]
    assert first.line.count("L") == 3
    assert (first.kept.count("z"), first.others.count("z")) == (3, 1)
    # 3.60 requests/s on an axis from 0 to 17.64 + 5 %, and so on: the line goes right and up.
    places = [tuple(map(float, p.split())) for p in first.line[1:].split("L")]
    assert places == sorted(places)
    assert places[-1][1] < places[0][1]
    assert first.others.startswith(f"M{first.line.rpartition('L')[2]}m")


def test_the_choice_and_the_runner_up_have_their_capacity_and_proven_rate(chat, drawings):
    assert chat[0].has_capacity
    assert chat[0].has_proven
    for curve in chat[0].curves:
        strong = curve.standing in ("chosen", "runner_up")
        assert (curve.band is not None) == strong
        assert bool(curve.proven) == strong
    chosen = chat[0].curves[0]
    # Capacity 9.96/s +- 4 %: the band begins left of the rate above it and right of 9.60/s.
    proven_x = float(chosen.proven[1:].split()[0])
    assert float(chosen.band.x) < proven_x + float(chosen.band.width)
    assert float(chosen.band.x) + float(chosen.band.width) > proven_x
    assert len([e for e in drawings[0].all("rect") if "band" in e.attributes["class"]]) == 2


def test_a_record_without_a_capacity_has_no_band():
    decision, records = answered()
    plain = [r.model_copy(update={"capacity": None, "headline": None}) for r in records]
    (chart,) = curve_charts(workload_views(decision, plain)[2])
    assert not chart.has_capacity
    assert not chart.has_proven


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
    told = chart.description
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
