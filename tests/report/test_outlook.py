"""What stands beside the choice on the page: horizon, tasks, break-evens, front, burst, levers."""

import csv
import re

import pytest

from harness import units
from harness.report import render
from harness.report.export import export
from harness.report.front import front
from harness.report.horizon import horizon
from harness.report.lever_rows import levers
from harness.report.strain import burst, tasks
from harness.report.supply import supply
from harness.report.view import workload_views
from harness.report.volume import volume
from tests.report.kinds import all_kinds
from tests.report.markup import read
from tests.report.test_page import HOSTILE, card, facts, hostile_answer, section, tables
from tests.report.whole import whole


@pytest.fixture(scope="module")
def views():
    return workload_views(*whole())


@pytest.fixture(scope="module")
def tree():
    return read(render(*whole()))


def rows(tree, workload, caption):
    return tables(section(tree, f"workload-{workload}"))[caption]


def test_tokens_requests_and_tasks_have_their_costs_and_say_how_they_divide(tree, views):
    heads, *lines = rows(tree, 1, "What tokens, requests and tasks cost, Customer chat")
    assert heads[1] == "1,000,000 tokens"
    assert heads[2:4] == ["1,000,000 input tokens", "1,000,000 cached input tokens"]
    api = next(line for line in lines if line[0] == "Language model as a service")
    assert api[2:5] == ["$9.00", "$2.50", "$30.00"]
    own = next(line for line in lines if line[0] == "Acme CPU, 16 cores")
    assert own[3] == "not told"
    task = views[0].decision.choice.cost_per_task_usd
    assert own[heads.index("A task")] == units.usd(task.value)
    assert "of the cost to the prompts" in own[-1]
    heads, *_ = rows(tree, 3, "What tokens, requests and tasks cost, Card fraud")
    assert heads == ["Target", "1,000 requests"]


def test_the_parts_of_the_total_over_the_horizon_are_those_of_the_decision(tree, views):
    _, *lines = rows(tree, 1, "Total cost of ownership over 36 months, Customer chat")
    owned = next(line for line in lines if line[0].startswith("Owned server"))
    tco = next(row.option.tco for row in views[0].rows if row.title == owned[0])
    assert owned[2:6] == [
        units.usd(usd)
        for usd in (tco.purchases_usd, tco.running_usd, tco.integration_usd, tco.left_usd)
    ]
    total = tco.purchases_usd + tco.running_usd + tco.integration_usd - tco.left_usd
    assert owned[1].startswith(units.usd(total))
    assert owned[6] == "1 from month 1, 2 from month 5, 3 from month 22"
    assert lines[-1][-1] == "none: paid as used"
    assert facts(card(tree, "Customer chat"))["A year"].endswith(
        "months, as worth on the first day"
    )


def test_the_bill_has_a_line_for_each_option_compared_and_months_of_purchases(tree, views):
    chart = next(c for c in horizon(views[0]) if c.curves)
    compared = [row for row in views[0].rows if row.option and row.option.bill]
    assert [curve.standing for curve in chart.curves.curves] == [row.standing for row in compared]
    noisy = next(c for c in chart.curves.curves if "int8" in c.label)
    assert noisy.kept == ""
    assert "Acme CPU, 16 cores, int8: noisy." in chart.note
    assert noisy.others
    _, *lines = rows(
        tree, 1, "Monthly bill, Customer chat: running cost, and what is bought at once"
    )
    bought = [line for line in lines if line[0].startswith("Owned") and line[5] == "$21,000"]
    assert [line[1] for line in bought] == ["5", "22"]
    assert {line[3] for line in lines if "service" in line[0]} == {"as used"}
    assert {line[5] for line in lines} >= {"nothing", "$8,000"}


def test_a_bill_without_every_option_says_whose_it_is():
    decision, records = whole()
    first = decision.workloads[0]
    *billed, last = first.options
    fewer = first.model_copy(update={"options": (*billed, last.model_copy(update={"bill": ()}))})
    changed = decision.model_copy(update={"workloads": (fewer, *decision.workloads[1:])})

    notes = [
        next(chart for chart in horizon(workload_views(each, records)[0]) if chart.curves).note
        for each in (decision, changed)
    ]
    said = "Of the choice, the runner-up and the best of each kind of supply."
    assert [said in note for note in notes] == [False, True]


def test_a_task_has_percentiles_its_promise_and_its_cost(tree, views):
    heads, *lines = rows(
        tree, 1, "Latency and cost of a task of 5 calls, one after another, Customer chat"
    )
    assert heads == ["Target", "Mean", "p50", "p95", "p99", "Promise of a task", "Cost of a task"]
    assert lines[0][5] == "✓ met: p95 within 10.0 s"
    assert "(at most" in lines[0][3]
    assert tasks(views[1]) == ()


def test_the_pairs_of_kinds_have_their_turns_with_the_rule_of_thumb_beside(tree, views):
    _, *lines = rows(tree, 1, "Break-even of each pair of kinds, Customer chat")
    assert [line[0] for line in lines] == [
        "API and cloud",
        "API and on premises",
        "Cloud and on premises",
    ]
    pair = views[0].decision.break_evens[0]
    assert lines[0][5] == pair.text
    assert lines[0][2].startswith(f"1: {round(pair.crossings[0].requests_per_month, -2):,.0f} (")
    assert lines[2][2] == "nowhere from 100,000 to 1,000,000,000"
    assert lines[2][3] == "does not apply"
    notes = " ".join(p.text for p in section(tree, "workload-1").classed("note"))
    assert "rule of thumb: units of one's own are said to pay from 60 %-70 % utilisation" in notes


def test_the_front_is_told_by_shape_and_words(tree, views):
    (chart,) = front(views[0])
    points = {point.target: point for point in views[0].decision.pareto}
    drawn = [bool(curve.proven) for curve in chart.curves.curves]
    assert drawn == [points[row.outcome.target].on_front for row in views[0].rows if row.option]
    _, *lines = rows(tree, 1, "The front over cost, latency and energy, Customer chat")
    assert [line[-1].startswith("✓ yes") for line in lines] == drawn
    assert lines[0][-1] == "– no: behind Acme CPU, 16 cores, int8"
    assert "not known: no powercap tree" in lines[0][3]
    assert "Of no option known: delivery (its price states no lead time)." in chart.note
    assert "int8 (noisy): $11.16 at 140 ms (133–147), on the front" in chart.curves.description


def test_a_burst_says_what_is_kept_and_that_it_is_no_measurement(tree, views):
    found = dict(
        (row[0], row[1])
        for row in rows(
            tree, 3, "A burst of 10 times the peak for 1 min 0 s on the choice, Card fraud"
        )
    )
    outcome = views[2].decision.burst
    assert found["SLO kept throughout"] == "✕ no"
    assert found["Given up at the deadline, requests"] == "no deadline"
    assert found["Units that would keep the SLO throughout"].startswith(str(outcome.units_needed))
    (chart,) = burst(views[2])
    assert chart.note.endswith("By formula, not measured.")
    kept = outcome.model_copy(update={"kept": True})
    changed = views[2].decision.model_copy(update={"burst": kept})
    (chart,) = burst(views[2].__class__(views[2].key, changed, views[2].workload, views[2].rows))
    assert [row[0] for row in chart.rows][-1] == "SLO kept throughout"


def test_a_lever_says_whether_it_is_measured_or_projected(tree, views):
    _, *lines = rows(tree, 1, "Levers on the yearly cost of the choice, Customer chat")
    assert [line[3] for line in lines] == ["measured", "projected"]
    (chart,) = levers(views[0])
    assert [bar.hatched for bar in chart.bars.bars] == [False, False, True]
    assert "projected" in chart.bars.bars[2].figure
    none = (
        views[0]
        .decision.levers[0]
        .model_copy(
            update={"usd_per_year": None, "change": None, "evidence": None, "reason": "no records"}
        )
    )
    changed = views[0].decision.model_copy(update={"levers": (none,)})
    (chart,) = levers(views[0].__class__("workload-1", changed, None, views[0].rows))
    assert chart.bars is None
    assert chart.rows[0][1:4] == ("no figure: no records", "–", "none")


def test_what_would_be_cheaper_but_is_ruled_out_stands_on_the_first_screen(tree):
    assert facts(card(tree, "Card fraud"))["Cheaper, but"] == (
        "Far cloud, small instance, $6,959 a year, is ruled out: data residency"
    )
    assert "Cheaper, but" not in facts(card(tree, "Customer chat"))


def test_the_matrix_and_the_rules_say_how_near_a_target_is(tree):
    matrix = section(tree, "feasibility").text
    assert "To let it in: allow data under us; then $6,959 a year" in matrix
    assert "No single change lets it in: cannot run this workload, no price" in matrix
    told = tables(section(tree, "not-chosen"))["Why the other targets were not chosen, Card fraud"]
    far = next(row for row in told if row[2] == "Data residency")
    assert "(demand.residency: [eu] -> [eu, us])" in far[-1]


def test_a_workload_without_an_answer_has_the_nearest_changes_on_the_first_screen():
    decision, records = whole()
    nearest = decision.workloads[2].outcomes
    change = next(o.nearest for o in nearest if o.target == "far-cloud")
    none = decision.workloads[2].model_copy(
        update={"choice": None, "runner_up": None, "options": (), "relaxations": (change,)}
    )
    told = read(render(decision.model_copy(update={"workloads": (none,)}), records))
    assert facts(card(told, "Card fraud"))["What would give one"].startswith("allow data under us")


def test_a_stale_price_says_so():
    decision, records = whole()
    first = decision.workloads[0]
    stale = first.choice.price_age.model_copy(update={"state": "stale", "days": 340})
    option = first.choice.model_copy(update={"price_age": stale})
    changed = first.model_copy(update={"choice": option, "options": (option, *first.options[1:])})
    told = render(decision.model_copy(update={"workloads": (changed,)}), records)
    assert "31 days, stale, limit 365 days" in told
    assert "stale" not in render(decision, records)


def test_a_decision_without_the_new_parts_has_none_of_their_sections():
    decision, records = whole()
    bare = []
    for each in decision.workloads:
        options = tuple(
            option.model_copy(
                update={
                    "tco": None,
                    "bill": (),
                    "task": None,
                    "token_costs": None,
                    "cost_per_1000_requests_usd": None,
                    "cost_per_task_usd": None,
                    "price_age": None,
                    "kind": None,
                }
            )
            for option in each.options
        )
        outcomes = tuple(
            outcome.model_copy(update={"nearest": None, "binding": ()}) for outcome in each.outcomes
        )
        update = {name: () for name in ("break_evens", "pareto", "levers", "relaxations")}
        bare.append(
            each.model_copy(
                update={
                    **update,
                    "options": options,
                    "outcomes": outcomes,
                    "choice": options[0],
                    "runner_up": options[1],
                    "burst": None,
                    "utilisation": None,
                    "volume_costs": None,
                }
            )
        )
    changed = decision.model_copy(update={"workloads": tuple(bare), "portfolio": None})
    tree = read(render(changed, records))
    for view in workload_views(changed, records):
        for made in (horizon, tasks, volume, supply, front, burst, levers):
            assert made(view) == ()
    assert "fleet" not in {e.attributes.get("id") for e in tree.all("section")}
    assert "To let it in" not in "".join(e.text for e in tree.classed("because"))
    assert "over 36 months" not in tree.text


def test_hostile_text_stays_text_in_the_new_parts():
    bad, clean = read(render(*hostile_answer(*whole()))), read(render(*whole()))
    assert {e.tag for e in bad.all()} <= {e.tag for e in clean.all()}
    assert {n for e in bad.all() for n in e.attributes} <= {
        n for e in clean.all() for n in e.attributes
    }
    assert len(bad.all("h1")) == 1
    assert len(bad.classed("chart")) == len(clean.classed("chart"))
    assert HOSTILE[0] in section(bad, "fleet").text + section(bad, "workload-1").text


def test_no_evidence_is_lost_in_the_new_parts():
    decision, records = all_kinds()
    tree = read(render(decision, records))
    found = tables(section(tree, "workload-3"))
    for caption in (
        "Total cost of ownership over 36 months, Card fraud",
        "What tokens, requests and tasks cost, Card fraud",
        "The front over cost, latency and energy, Card fraud",
    ):
        told = {row[0].partition(" (")[2].rstrip(")") for row in found[caption][1:]}
        assert told == {"", "imported, noisy", "projected", "claimed"}
    (chart,) = front(workload_views(decision, records)[2])
    assert [bool(c.kept) for c in chart.curves.curves] == [
        option.evidence == "measured" and option.verdict == "valid"
        for option in decision.workloads[2].options
    ]
    assert "Far cloud, small instance: claimed" in chart.note
    assert "Far cloud, small instance (claimed): " in chart.curves.description


def test_the_page_has_no_bare_none_and_every_drawing_its_table(tree):
    for cell in tree.all("td", "dd"):
        assert cell.text.strip()
    words = set(re.findall(r"[A-Za-z]+", tree.all("body")[0].text.replace("None of", "")))
    assert words.isdisjoint({"nan", "NaN", "None", "inf", "Undefined"})
    captions = [caption.text for caption in tree.all("caption")]
    assert len(captions) == len(set(captions))
    identifiers = [e.attributes["id"] for e in tree.all() if "id" in e.attributes]
    assert len(identifiers) == len(set(identifiers))
    for part in (*tree.classed("workload"), section(tree, "fleet")):
        waiting = None
        for element in part.all("svg", "table", "h3"):
            if element.tag == "svg":
                waiting = element.all("title")[0].text
            elif element.tag == "table":
                waiting = None
            else:
                assert waiting is None
        assert waiting is None


def test_the_export_has_the_same_figures(tmp_path):
    decision, records = whole()
    folder = tmp_path / "out"
    export(decision, records, folder, command="x", figures=False)

    def table(name):
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    chat = decision.workloads[0]
    bill = [float(row["usd"]) for row in table("bill") if row["target"] == chat.choice.target]
    assert bill[:36] == [month.usd.value for month in chat.choice.bill]
    totals = {(row["workload"], row["target"]): row for row in table("tco")}
    assert float(totals["chat", "owned-gpu"]["left_usd"]) > 0
    levers_of = {row["lever"]: row["evidence"] for row in table("levers")}
    assert levers_of == {
        "quantisation": "measured", "result_caching": "projected", "batch": "projected"
    }  # fmt: skip
    turns = [row for row in table("break_evens") if row["workload"] == "chat"]
    assert float(turns[0]["requests_per_month"]) == (
        chat.break_evens[0].crossings[0].requests_per_month
    )
    assert [row["order"] for row in turns] == ["1", "1", ""]
    unknown = [row for row in table("pareto") if not row["figure"]]
    assert unknown
    assert all(row["reason"] for row in unknown)
    scopes = {row["scope"] for row in table("relaxations")}
    assert scopes == {"rule", "target"}
    assert float(table("fleet_plan")[0]["usd_per_year"]) == decision.portfolio.usd_per_year
    assert sum(float(row["share"]) for row in table("fleet_shares")) == pytest.approx(3)
    assert len(table("bursts")) == 1
    assert {row["slo_state"] for row in table("tasks")} == {"met"}
    assert {row["target"] for row in table("clients")} == {"model-api"}
    assert {row["first_error_p50_s"] for row in table("clients")} == {"0.00035"}
    told = (folder / "summary.md").read_text(encoding="utf-8")
    assert "## One fleet for all workloads" in told
    assert "**Cheaper, but**: Far cloud" in told
    assert "**Lever**: a cache that answers 30 %" in told
