import re
import struct
from xml.etree import ElementTree

import pytest

from harness.report.charts import curves
from harness.report.figures import figures
from harness.report.view import workload_views
from tests.report.answered import answered
from tests.report.kinds import all_kinds
from tests.report.test_page import hostile_answer


def drawn(decision, records, workloads=None):
    views = workload_views(decision, records)
    return dict(figures(views if workloads is None else views[workloads]))


@pytest.fixture(scope="module")
def files():
    return drawn(*all_kinds(), slice(2, 3))


SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    root = ElementTree.fromstring(svg)
    return [" ".join("".join(e.itertext()).split()) for e in root.iter(f"{SVG}text")]


def test_there_is_a_figure_for_each_promise_and_for_the_cost(files):
    assert sorted(files) == [
        "fraud-cost.png",
        "fraud-cost.svg",
        "fraud-latency-p99.png",
        "fraud-latency-p99.svg",
    ]
    for name, data in files.items():
        if name.endswith(".png"):
            assert data.startswith(b"\x89PNG")
            assert struct.unpack(">II", data[16:24]) == (1920, 1080)


def test_each_kind_of_evidence_is_told_by_text_and_by_shape(files):
    told = texts(files["fraud-cost.svg"])
    assert "chosen, claimed" in told
    assert "runner-up, imported, noisy" in told
    assert "feasible, measured" in told
    assert "feasible, projected, modelled* energy" in told
    assert any(
        line == "Hatched: . imported, / projected, x claimed, - energy in the cost modelled*, "
        "not metered."
        for line in told
    )
    # Imported, claimed, and projected with modelled energy: three hatches of different shape.
    root = ElementTree.fromstring(files["fraud-cost.svg"])
    shapes = {p.find(f"{SVG}path").attrib["d"] for p in root.iter(f"{SVG}pattern")}
    assert len(shapes) == 3
    told = texts(files["fraud-latency-p99.svg"])
    assert {"chosen, claimed", "feasible, projected", "runner-up, imported, noisy"} <= set(told)
    assert "feasible, measured" in told
    dashes = set(
        re.findall(r"stroke-dasharray: ([\d. ,]+)", files["fraud-latency-p99.svg"].decode())
    )
    # The limit, and imported, projected and claimed curves.
    assert len(dashes) >= 4


def test_the_curve_has_its_limit_and_every_target(files):
    told = texts(files["fraud-latency-p99.svg"])
    assert "limit 20.0 ms" in told
    assert {"Acme CPU, 16 cores", "Acme CPU, 16 cores, int8", "Far cloud, small instance"} <= set(
        told
    )
    assert "Latency p99 (logarithmic)" in told


def test_a_curve_knows_how_its_figures_are_known():
    view = workload_views(*all_kinds())[2]
    found, _ = curves(view, view.workload.slo[0])
    assert [(c.evidence, c.doubt) for c in found] == [
        ("claimed", "valid"),
        ("imported", "noisy"),
        ("measured", "valid"),
        ("projected", "valid"),
    ]


def test_figures_have_the_same_bytes_whatever_the_readers_settings(files, tmp_path, monkeypatch):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30, "axes.grid": True, "savefig.dpi": 10}):
        assert drawn(*all_kinds(), slice(2, 3)) == files
        assert mpl.rcParams["font.size"] == 30
    for name, data in files.items():
        assert b"Matplotlib" not in data, name
        assert b"<dc:date>" not in data


def test_many_targets_stay_readable_and_the_rest_is_counted():
    files = drawn(*answered(30), slice(0, 1))
    told = texts(files["chat-ttft-p90.svg"])
    assert len([t for t in told if t.startswith("Extra target number")]) <= 10
    assert any(re.match(r"Not drawn: \d+ more targets", t) for t in told)
    assert any(
        re.match(r"Not drawn: \d+ more options; options.csv", t)
        for t in texts(files["chat-cost.svg"])
    )


def test_a_cost_without_an_upper_bound_says_so():
    decision, records = all_kinds()
    first = decision.workloads[2]
    open_ended = tuple(
        o.model_copy(
            update={"cost_per_unit_usd": o.cost_per_unit_usd.model_copy(update={"high": None})}
        )
        for o in first.options
    )
    changed = decision.model_copy(
        update={"workloads": (first.model_copy(update={"options": open_ended}),)}
    )
    told = texts(drawn(changed, records)["fraud-cost.svg"])
    assert any("or more" in line for line in told)


def test_hostile_text_is_text_in_a_figure():
    for name, data in drawn(*hostile_answer(), slice(0, 1)).items():
        if name.endswith(".png"):
            continue
        svg = data.decode()
        root = ElementTree.fromstring(svg)
        tags = {e.tag.removeprefix(SVG) for e in root.iter()}
        assert tags.isdisjoint({"script", "img", "a", "foreignObject", "b", "h1"})
        assert not any(a.startswith("on") for e in root.iter() for a in e.attrib)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", svg)
        links = [v for e in root.iter() for a, v in e.attrib.items() if a.endswith("href")]
        assert all(link.startswith("#") for link in links)


def test_mathematics_foreign_letters_and_control_characters_are_shown_as_they_are():
    decision, records = all_kinds()
    title = "$\\frac{1}$ 漢字 \x1b[31m"
    odd = decision.workloads[2].model_copy(update={"title": title})
    told = texts(
        drawn(decision.model_copy(update={"workloads": (odd,)}), records)["fraud-cost.svg"]
    )
    assert "Cost per 1,000 requests: $\\frac{1}$ 漢字 \\x1b[31m" in told


def test_no_note_lies_on_the_label_of_the_axis():
    decision, records = all_kinds()
    many = decision.workloads[2].options * 4
    crowded = decision.workloads[2].model_copy(
        update={
            "options": tuple(
                o.model_copy(update={"target": f"{o.target}-{i}"}) for i, o in enumerate(many)
            ),
            "outcomes": tuple(
                outcome.model_copy(update={"target": f"{o.target}-{i}"})
                for i, o in enumerate(many)
                for outcome in decision.workloads[2].outcomes
                if outcome.target == o.target
            ),
        }
    )
    svg = drawn(decision.model_copy(update={"workloads": (crowded,)}), records)["fraud-cost.svg"]
    places = {
        "".join(e.itertext()): float(e.attrib["y"])
        for e in ElementTree.fromstring(svg).iter(f"{SVG}text")
        if "y" in e.attrib
    }
    axis = places["USD per 1,000 requests"]
    notes = [y for text, y in places.items() if text.startswith(("Filled", "At the", "Not drawn"))]
    assert len(notes) == 3
    assert min(notes) > axis + 8
