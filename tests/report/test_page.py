import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import StoreError
from harness.mapper import decide
from harness.report import render
from harness.report.answers import certainty
from harness.schema import Decision, Record
from harness.schema.base import Interval
from harness.schema.costs import CostLine
from harness.schema.record import Verdict
from tests.factories import make_brief
from tests.report.answered import answered, targets, workloads
from tests.report.markup import read

MAIN = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def answer():
    return answered()


@pytest.fixture(scope="module")
def page(answer):
    return render(*answer)


@pytest.fixture(scope="module")
def tree(page):
    return read(page)


def card(tree, workload):
    return next(
        c for c in tree.classed("card") if next(iter(c.classed("eyebrow"))).text.strip() == workload
    )


def facts(element):
    """Return a card's list as {term: text with single spaces}."""
    return {
        " ".join(pair.all("dt")[0].text.split()): " ".join(pair.all("dd")[0].text.split())
        for pair in element.all("dl")[0].elements
    }


def section(tree, identifier):
    return next(e for e in tree.all("section") if e.attributes.get("id") == identifier)


def tables(element):
    """Return the tables below as {caption: rows of cell texts}."""
    return {
        t.all("caption")[0].text: [
            [" ".join(cell.text.split()) for cell in row.all("th", "td")] for row in t.all("tr")
        ]
        for t in element.all("table")
    }


def test_it_is_one_document_with_a_language_a_title_and_one_heading(tree):
    html = tree.all("html")[0]
    assert html.attributes["lang"] == "en"
    assert "branch bank" in tree.all("title")[0].text
    assert [h.text for h in tree.all("h1")] == [
        "Which accelerators for the branch bank’s three services?"
    ]
    levels = [int(h.tag[1]) for h in tree.all("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_it_needs_and_allows_nothing_from_outside(page, tree):
    policy = next(m for m in tree.all("meta") if "http-equiv" in m.attributes)
    assert policy.attributes == {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    }
    assert {"script", "link", "img", "iframe", "object", "form"}.isdisjoint(
        e.tag for e in tree.all()
    )
    for element in tree.all():
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert name != "src"
            if name in ("href", "xlink:href"):
                assert value.startswith("#")
            assert "url(" not in value or "url(#" in value
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert re.search(r"url\((?!#)", page) is None


def test_identifiers_are_unique_and_every_reference_finds_one(tree):
    identifiers = [e.attributes["id"] for e in tree.all() if "id" in e.attributes]
    assert len(identifiers) == len(set(identifiers))
    for element in tree.all():
        wanted = element.attributes.get("aria-labelledby", "").split()
        wanted += re.findall(r"url\(#([^)]*)\)", " ".join(element.attributes.values()))
        if "href" in element.attributes:
            wanted.append(element.attributes["href"].removeprefix("#"))
        assert set(wanted) <= set(identifiers)


def test_every_drawing_is_named_told_and_followed_by_its_table(tree):
    drawings = tree.all("svg")
    assert len(drawings) >= 9
    for svg in drawings:
        assert svg.attributes["role"] == "img"
        title, description = svg.elements[:2]
        assert (title.tag, description.tag) == ("title", "desc")
        assert title.text.strip()
        assert re.search(r"\d", description.text)
    for workload in tree.classed("workload"):
        waiting = None
        for element in workload.all("svg", "table", "h3"):
            if element.tag == "h3":
                assert waiting is None, f"no table for {waiting}"
            waiting = element.all("title")[0].text if element.tag == "svg" else None
        assert waiting is None


def test_every_table_has_a_caption_scopes_and_a_region_to_scroll_in(tree):
    every = tree.all("table")
    captions = [table.all("caption")[0].text for table in every]
    assert len(captions) == len(set(captions))
    for table in every:
        assert table.elements[0].tag == "caption"
        assert all("scope" in head.attributes for head in table.all("th"))
        region = table.parent.attributes
        assert (region["role"], region["tabindex"]) == ("region", "0")
        assert region["aria-label"] == table.all("caption")[0].text
        width = len(table.all("thead")[0].all("th"))
        for body in table.all("tbody"):
            spanning = []
            for row in body.all("tr"):
                spanning = [rows - 1 for rows in spanning if rows > 1]
                cells = row.all("th", "td")
                columns = sum(int(c.attributes.get("colspan", 1)) for c in cells)
                assert columns + len(spanning) == width
                spanning += [int(c.attributes.get("rowspan", 1)) for c in cells]
            assert all(rows == 1 for rows in spanning)


def test_no_state_is_told_by_colour_alone(tree):
    marks = tree.classed("state") + tree.classed("standing") + tree.classed("badge")
    assert len(marks) > 40
    for mark in marks:
        spoken = "".join(c for c in mark.children if isinstance(c, str))
        assert re.search("[a-zA-Z]{3}", spoken)


def test_the_first_screen_holds_what_is_signed(tree, answer):
    decision, _ = answer
    choice = decision.workloads[0].choice
    assert choice.target == "acme-cpu-16"
    chat = card(tree, "Customer chat")
    assert chat.all("h3")[0].text == "Acme CPU, 16 cores"
    assert decision.workloads[0].reason in chat.text
    assert facts(chat) == {
        "Cost": "$37.41 per million output tokens $1.43 (1.37–1.49) at full use",
        "A year": "$3,592 1 replica, 3.82 % used $9,591 over 36 months, as worth on the first day",
        "SLO": "✓ met Time to first token p90: 175 ms (at most 184 ms); limit 200 ms "
        "Time per output token p90: 32.8 ms (at most 34.5 ms); limit 50.0 ms "
        "Estimated capacity 9.96 requests/s (9.56–10.4); proven 9.60 requests/s",
        "Energy": "not measured: no powercap tree on this machine. To enable it: run on bare metal "
        "kWh and kgCO2e a year: not known",
        "Evidence": "measured",
        "Validity": "✓ valid",
        "Runner-up": "Acme CPU, 16 cores, int8, $39.24 per million output tokens, SLO met, noisy",
    }
    assert "$18,484 a year for all 3 workloads" in tree.all("header")[0].text


def test_what_is_uncertain_is_said_on_the_first_screen(answer):
    decision, records = answer
    first = decision.workloads[0]
    doubtful = first.choice.model_copy(
        update={
            "verdict": "noisy",
            "verdict_reasons": ("other processes kept 0.41 cores busy",),
            "evidence": "projected",
            "energy_j_per_request": Interval(value=3.0, low=2.5, high=3.5),
            "energy_boundary": "package",
            "warnings": ("the cost of energy is not in the figures: no TDP",),
        }
    )
    close = first.choice.model_copy(
        update={"cost_per_unit_usd": Interval(value=37.0, low=36.0, high=40.0)}
    )
    for changes, sure in (
        ({"clear": False, "choice": close}, "Close call"),
        (
            {
                "clear": False,
                "runner_up": first.runner_up.model_copy(
                    update={"cost_per_year_usd": first.choice.cost_per_year_usd}
                ),
            },
            "A tie: at this demand the two cost the same",
        ),
        ({"clear": None, "runner_up": None}, "The only feasible target"),
        (
            {"choice": doubtful},
            "The best choice, but the measurement is noisy and the figures are projected",
        ),
        (
            {
                "choice": doubtful.model_copy(
                    update={"slo_state": "unproven", "cost_per_unit_usd": close.cost_per_unit_usd}
                ),
                "clear": False,
            },
            "Close call: the cost intervals overlap; the SLO is not proven; the measurement is",
        ),
    ):
        changed = first.model_copy(update=changes)
        told = read(render(decision.model_copy(update={"workloads": (changed,)}), records))
        chat = card(told, "Customer chat")
        assert sure in chat.classed("certainty")[0].text
        if changed.choice.verdict == "noisy":
            assert facts(chat)["Validity"] == (
                "≈ noisy other processes kept 0.41 cores busy "
                "the cost of energy is not in the figures: no TDP"
            )
            assert facts(chat)["Evidence"] == "projected"
            assert facts(chat)["Energy"] == (
                "3.00 J (2.50–3.50) a request (package) kWh and kgCO2e a year: not known"
            )
        if changed.runner_up is None:
            assert facts(chat)["Runner-up"] == "none: no other target is feasible"


def test_two_costs_that_do_not_overlap_are_no_close_call(answer):
    first = answer[0].workloads[0]
    assert first.choice.cost_per_unit_usd.high < first.runner_up.cost_per_unit_usd.low
    costs = Interval(value=50.0, low=49.0, high=51.0)
    open_cost = first.choice.cost_per_unit_usd.model_copy(update={"high": None})
    unknown = CostLine(name="egress", usd_per_year=None, basis="no egress_bytes_per_request")
    for choice, runner_up, told in (
        (
            {"cost_per_unit_usd": open_cost, "cost_lines": (*first.choice.cost_lines, unknown)},
            {},
            "Not clear: a bound of the two costs is missing; the cost of egress is not known",
        ),
        (
            {"cost_per_unit_usd": costs, "cost_per_year_usd": 9000.0},
            {"slo_state": "unproven"},
            "Not clear: the runner-up costs less, but does not prove its SLO",
        ),
        (
            {
                "cost_per_unit_usd": Interval(value=50.0, low=None, high=None),
                "cost_per_year_usd": 9000.0,
            },
            {"slo_state": "unproven"},
            "Not clear: the runner-up costs less, but does not prove its SLO",
        ),
        (
            {"cost_per_unit_usd": costs, "cost_per_year_usd": 9000.0},
            {},
            "Not clear: the runner-up costs less as planned, but more on average",
        ),
    ):
        decision = first.model_copy(
            update={
                "clear": False,
                "choice": first.choice.model_copy(update=choice),
                "runner_up": first.runner_up.model_copy(update=runner_up),
            }
        )
        assert certainty(decision).text == told


def test_the_runner_up_says_which_costs_it_leaves_out(answer):
    decision, records = answer
    first = decision.workloads[0]
    unknown = CostLine(name="egress", usd_per_year=None, basis="no egress_bytes_per_request")
    second = first.runner_up.model_copy(
        update={"cost_lines": (*first.runner_up.cost_lines, unknown)}
    )
    changed = first.model_copy(update={"runner_up": second})
    told = read(render(decision.model_copy(update={"workloads": (changed,)}), records))
    assert facts(card(told, "Customer chat"))["Runner-up"] == (
        "Acme CPU, 16 cores, int8, $39.24 per million output tokens without egress, SLO met, noisy"
    )


def test_a_tie_that_the_cost_at_full_load_breaks_is_no_plain_clear_choice(answer):
    first = answer[0].workloads[0]
    assert certainty(first).text == "Clear choice, P(best) 100 %"
    second = first.runner_up.model_copy(
        update={"cost_per_year_usd": first.choice.cost_per_year_usd}
    )
    assert certainty(first.model_copy(update={"runner_up": second})).text == (
        "A tie at this demand: the choice is clear by the cost at full load alone"
    )


def test_a_cost_that_is_not_known_is_in_doubt_and_not_called_a_matter_of_chance(answer):
    first = answer[0].workloads[0]
    assert first.confidence.p_best == 1
    unknown = CostLine(name="energy", usd_per_year=None, basis="no meter")
    decision = first.model_copy(
        update={
            "choice": first.choice.model_copy(
                update={"cost_lines": (*first.choice.cost_lines, unknown)}
            ),
            "confidence": first.confidence.model_copy(update={"robust": False}),
        }
    )
    assert certainty(decision).text == "The best choice, but the cost of energy is not known"


def test_the_matrix_gives_each_target_its_standing_and_reason_in_words(tree):
    rows = tables(section(tree, "feasibility"))["Which target can serve which workload"]
    matrix = {row[0]: row[1:] for row in rows}
    assert matrix["Target"] == ["Customer chat", "Call transcription", "Card fraud"]
    assert matrix["Acme CPU, 16 cores"][0].startswith("● Chosen $37.41 per million")
    assert matrix["Acme CPU, 16 cores, int8"][0].startswith("◐ Runner-up")
    assert matrix["Acme CPU, 16 cores, int8"][1].startswith("✕ Excluded Quality gate missed.")
    assert matrix["Far cloud, small instance"][0].startswith("✕ Excluded SLO missed.")
    assert matrix["Far cloud, small instance"][1].startswith("✕ Excluded Not measured.")
    assert matrix["Far cloud, small instance"][2].startswith("✕ Excluded Data residency.")
    assert matrix["Edge box"][0].startswith("✕ Excluded Cannot run this workload.")
    assert matrix["Edge box"][1].startswith("✕ Excluded Measurement failed.")
    assert len(matrix) == 6


def test_targets_not_chosen_carry_rule_number_limit_margin_and_remedy(tree):
    found = tables(section(tree, "not-chosen"))
    chat = found["Why the other targets were not chosen, Customer chat"]
    missed = next(r for r in chat if r[0].startswith("Far cloud") and r[2] == "SLO missed")
    assert missed[4:7] == ["400 ms", "200 ms", "100 % beyond"]
    unmeasured = tables(section(tree, "not-chosen"))[
        "Why the other targets were not chosen, Call transcription"
    ]
    absent = next(r for r in unmeasured if r[2] == "Not measured")
    assert absent[7] == "harness run -w speech -t far-cloud"
    assert absent[4:7] == ["not a number", "not a number", "does not apply"]
    dearer = next(r for r in chat if r[0] == "Acme CPU, 16 cores, int8")
    assert dearer[2] == "Dearer than the choice"
    assert dearer[4:7] == [
        "$39.24 per million output tokens",
        "$37.41 per million output tokens",
        "4.88 % beyond",
    ]
    assert {row[0] for row in chat[1:]} == {
        "Acme CPU, 16 cores, int8",
        "Owned server with one accelerator card",
        "Far cloud, small instance",
        "Edge box",
    }
    assert sum(row[0] == "Edge box" for row in chat) == 2


def test_a_percentile_without_a_figure_gives_its_reason(tree):
    speech = section(tree, "workload-2")
    rows = tables(speech)["Latency, Call transcription: at the load that stands for the target"]
    place = rows[0].index("p99")
    by_target = {row[0]: row[place] for row in rows[1:]}
    assert by_target["Acme CPU, 16 cores, int8"] == "not supported by n"
    assert by_target["Acme CPU, 16 cores"] == "1.80 s (1.71–1.89) certified 1.94 s"
    assert "p99 of Acme CPU, 16 cores, int8: the table says why" in speech.text


def test_no_number_is_missing_without_a_word(tree):
    for cell in tree.all("td", "dd"):
        assert cell.text.strip()
    spoken = tree.all("body")[0].text.replace("None of", "")
    words = set(re.findall(r"[A-Za-z]+", spoken))
    assert words.isdisjoint({"nan", "NaN", "None", "inf", "Undefined"})


def test_a_window_says_why_it_ended_what_was_cut_and_what_it_supports(tree):
    fraud = section(tree, "workload-3")
    rows = tables(fraud)["Every operating point, Card fraud"]
    assert rows[0][-1] == "Window"
    first = next(row for row in rows if row[0].startswith("Acme CPU, 16 cores "))
    assert first[0].endswith("Estimated capacity 747 requests/s (717–777); proven 720 requests/s")
    assert (first[1], first[-1]) == ("random arrivals ✓ valid", "10.0 s, precise")
    assert first[-3] == "2,700 + 12 warm-up"
    assert "10.0 s, time box" in {row[-1] for row in rows}
    notes = [e.text for e in fraud.all("li")]
    told = "Acme CPU, 16 cores: p99 of latency: known to within 9 %, not 5 %"
    assert told in notes


def test_a_widened_interval_is_marked_with_how_much(tree):
    found = tables(section(tree, "workload-3"))
    caption = "Latency, Card fraud: at the load that stands for the target"
    heads, *rows = found[caption]
    noisy = next(row for row in rows if row[0] == "Acme CPU, 16 cores, int8")
    assert "↔ 12 % certified" in noisy[heads.index("p99")]
    other = next(row for row in rows if row[0] == "Acme CPU, 16 cores")
    assert "↔" not in "".join(other)
    rows = found["Every operating point, Card fraud"]
    marked = [row for row in rows if "≈ noisy ↔ 12 %" in row[1]]
    assert [row[0].partition(" ●")[0] for row in marked] == ["Acme CPU, 16 cores, int8"]
    assert "↔ 12 %" in section(tree, "glossary").text


def test_a_clear_choice_that_is_not_robust_is_no_clear_choice(answer):
    decision, records = answer
    first = decision.workloads[0]
    weak = {"robust": False, "p_best": 0.6, "regret_share": 0.08}
    doubtful = first.model_copy(update={"confidence": first.confidence.model_copy(update=weak)})
    changed = decision.model_copy(update={"workloads": (doubtful, *decision.workloads[1:])})

    told = card(read(render(changed, records)), "Customer chat").text

    assert "The best choice, but it is not robust (P(best) 60 %, regret 8 %)" in told
    assert "Clear choice" not in told


def test_how_sure_the_choice_is_and_what_would_change_it_stand_in_its_section(tree, answer):
    decided = answer[0].workloads[0]
    chat = section(tree, "workload-1")
    caption = "The options over 2,000 draws of what the inputs may be, Customer chat"
    heads, *rows = tables(chat)[caption]
    assert heads[1] == "No other is cheaper"
    named = [row[0].rpartition(" (")[2].rstrip(")") for row in rows]
    assert named == [odds.target for odds in decided.confidence.odds]
    assert rows[0][1] == "100 %"
    listed = {element.text.lower() for element in chat.all("li")}
    assert decided.flips
    assert {flip.text.lower() for flip in decided.flips} <= listed
    assert decided.break_even.text in chat.text


def test_the_standing_of_the_calibration_is_counted(tree):
    assert "calibration was current for 9 of 24 records, and missing for 15." in " ".join(
        section(tree, "method").text.split()
    )


def test_processes_left_running_stand_beside_their_record(tree):
    rows = tables(section(tree, "method"))["Every record that the decision was made from"]
    marked = [row[1] for row in rows if "left running, ended by the harness: 4711" in row[4]]
    assert marked == [f"{w}@owned-gpu/server" for w in ("chat", "speech", "fraud")]


def test_cells_without_figures_are_shown_with_kind_and_message(tree):
    chat = tables(section(tree, "workload-1"))["Failed and unsupported cells, Customer chat"]
    assert chat[1][:5] == [
        "Edge box",
        "random arrivals",
        "✕ unsupported",
        "unsupported",
        "the cell ended: unsupported",
    ]
    speech = tables(section(tree, "workload-2"))["Failed and unsupported cells, Call transcription"]
    assert speech[1][2:5] == ["✕ failed", "crash", "the cell ended: crash"]


def test_an_invalid_measurement_is_listed_but_not_drawn(answer):
    decision, records = answer
    spoiled = [
        r.model_copy(update={"verdict": r.verdict.model_copy(update={"state": "invalid"})})
        if (r.cell.workload, r.cell.target) == ("fraud", "far-cloud")
        else r
        for r in records
    ]
    fraud = section(read(render(decision, spoiled)), "workload-3")
    latency, curve = fraud.all("svg")[:2]
    assert "Far cloud" not in latency.text + curve.text
    assert "Acme CPU, 16 cores" in latency.text
    assert fraud.text.count("Far cloud, small instance: the measurement is invalid") == 2
    rows = tables(fraud)["Latency, Card fraud: at the load that stands for the target"]
    assert next(r for r in rows if r[0].startswith("Far cloud"))[-2] == "✕ invalid"


def test_points_that_are_all_invalid_are_said_to_be_so(answer):
    decision, records = answer
    invalid = [r.model_copy(update={"verdict": Verdict(state="invalid")}) for r in records]
    fraud = section(read(render(decision, invalid)), "workload-3")
    assert "Acme CPU, 16 cores: the measurement is invalid" in [e.text for e in fraud.all("li")]
    assert "No target has operating points" not in fraud.text


def test_a_long_reason_is_cut_in_the_matrix_and_whole_below(answer):
    decision, records = answer
    raw = decision.model_dump(mode="json")
    outcome = next(o for o in raw["workloads"][0]["outcomes"] if o["target"] == "far-cloud")
    outcome["rejections"][0]["text"] = "one thing after another; " * 20 + "the end"
    tree = read(render(Decision.model_validate_json(json.dumps(raw)), records))
    assert "the end" not in section(tree, "feasibility").text
    assert "…" in section(tree, "feasibility").text
    assert "the end" in section(tree, "not-chosen").text


def test_prices_and_assumptions_carry_source_and_date(tree, answer):
    decision, _ = answer
    found = tables(section(tree, "inputs"))
    prices = {
        row[0]: row[1:] for row in found["Prices behind the figures, each with its source and date"]
    }
    assert prices["Acme CPU, 16 cores"] == [
        "$0.410 an hour, all 8,760 hours; energy is in the rent",
        "price list of Acme, on demand, Frankfurt",
        "2026-10-01",
        "31 days",
    ]
    assert prices["Owned server with one accelerator card"][2:] == ["2026-09-15", "47 days"]
    told = " ".join(section(tree, "inputs").text.split())
    for assumption in decision.assumptions:
        assert assumption.name in told
        assert assumption.value in told
        assert assumption.source in told


def test_every_record_is_named_with_its_digest(tree, answer):
    decision, _ = answer
    rows = tables(section(tree, "method"))["Every record that the decision was made from"][1:]
    assert [(row[0], row[-1]) for row in rows] == [(p.id, p.sha256) for p in decision.records]
    assert len(rows) == 24


def test_environment_and_software_are_told(tree):
    found = tables(section(tree, "method"))
    facts_of = {row[0]: row[1] for row in found["The machines that the records were made on"]}
    assert facts_of["cpu model"] == "Test CPU"
    assert "unavailable: no cpufreq driver" in facts_of["cpu governor"]
    assert facts_of["load average 1 min"] == "0 to 0.320 over 11 records"
    software = found["Hardware and software of each target, as it described itself"]
    owned = next(row for row in software if row[0].startswith("Owned"))
    assert owned[1] == "2 × Example card (Example)"
    assert owned[3] == "precision: fp32; runtime: fake; version: 1.0"


def test_a_brief_that_nothing_was_measured_for_is_answered_too():
    decision = decide(make_brief("chat"), workloads(), targets(), [])
    told = read(render(decision, []))
    chat = card(told, "Customer chat")
    assert "No target to recommend" in chat.classed("certainty")[0].text
    assert chat.all("h3")[0].text == "None of the targets"
    assert "5 considered, 0 feasible" in chat.text
    assert told.all("svg") == []
    assert "harness run -w chat -t acme-cpu-16" in section(told, "not-chosen").text
    assert "No workload has a target" in told.all("header")[0].text


def test_a_missing_record_is_refused(answer):
    decision, records = answer
    with pytest.raises(StoreError, match=records[0].id):
        render(decision, records[1:])


def test_same_arguments_same_bytes_in_any_order(page, answer):
    decision, records = answer
    assert render(decision, list(reversed(records))) == page


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_hash_seed_zone_locale_or_folder(page, answer, tmp_path):
    decision, records = answer
    (tmp_path / "decision.json").write_text(decision.model_dump_json())
    (tmp_path / "records.json").write_text(json.dumps([r.model_dump(mode="json") for r in records]))
    code = (
        "import json, sys, pathlib\n"
        "from harness.report import render\n"
        "from harness.schema import Decision, Record\n"
        "decision = Decision.model_validate_json(pathlib.Path('decision.json').read_text())\n"
        "records = json.loads(pathlib.Path('records.json').read_text())\n"
        "page = render(decision, [Record.model_validate_json(json.dumps(r)) for r in records])\n"
        "sys.stdout.buffer.write(page.encode())\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(MAIN),
        "PYTHONHASHSEED": "77",
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
    }
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert hashlib.sha256(made.stdout).hexdigest() == hashlib.sha256(page.encode()).hexdigest()


def test_twelve_targets_and_three_workloads_stay_below_500_kb():
    decision, records = answered(12)
    page = render(decision, records)
    read(page)
    assert len(decision.workloads[0].outcomes) == 12
    assert len(page.encode()) <= 500_000


HOSTILE = (
    "<script>parent.document.title='broken'</script>",
    '"><img src=x onerror="parent.document.title=\'broken\'">',
    "' onmouseover='alert(1)' style='background:url(//evil.example)",
    "javascript:alert(1)",
    "</title></style></desc></svg><svg onload=alert(1)>",
    "</table><h1>Another heading</h1>",
    "{{ 7 * 191 }}{% raw %}<!-- --><![CDATA[",
    "$\\frac{1}{2}$ & &lt; &#60;script&#62;",
    "abc\u202egnp.exe\u2066\u200b\x00\x1b[31m\x07",
    "שלום עולם العربية 漢字 🧨",
    "A" * 1900,
)
VENDOR_FIELDS = {
    "title", "description", "chip", "vendor", "region", "source", "text", "reason", "remedy",
    "message", "hint", "gate", "sale_unit", "basis", "energy_reason", "verdict_reasons",
    "warnings", "energy_remedy", "covers", "unavailable", "cost_unit", "throughput_unit", "session",
    "options", "assumptions", "label", "unit", "price_source", "environment",
    "supports", "what", "formula", "needs", "rule_of_thumb", "stack", "loop",
}  # fmt: skip


def poisoned(tree, payloads, inside=False):
    """Return `tree` with a payload in every text that a vendor or a brief's author writes."""
    if isinstance(tree, dict):
        return {k: poisoned(v, payloads, inside or k in VENDOR_FIELDS) for k, v in tree.items()}
    if isinstance(tree, list):
        return [poisoned(each, payloads, inside) for each in tree]
    if isinstance(tree, str) and inside:
        return next(payloads)
    return tree


def hostile_answer(decision=None, records=None):
    if decision is None:
        decision, records = answered(4)

    def payloads():
        while True:
            yield from HOSTILE

    endless = payloads()

    def changed(model):
        raw = model.model_dump(mode="json")
        dirty = {k: poisoned(v, endless, k in VENDOR_FIELDS) for k, v in raw.items()}
        for key in ("options", "targets"):
            if key in dirty:
                dirty[key] = raw[key]
        return dirty

    bad_records = []
    for record in records:
        dirty = changed(record)
        # Facts of the machine are names to values; numbers there are vendors' text as well.
        dirty["environment"] = {
            "cpu<b>": {"value": "<script>alert(2)</script>", "unavailable": None},
            "long": {"value": "B" * 10_000, "unavailable": None},
        }
        dirty["session"] = {
            "<i>": {"x": ["<script>alert(3)</script>", float(1)]},
            "left_running": ["<script>alert(4)</script>"],
            "operators": {
                "assigned": {"<b>": {"<i>": {"<script>alert(5)</script>": 3, "b": 2}}},
                "lowered": ["<script>alert(6)</script>"],
                "unsupported": "\u202e<img src=x onerror=alert(7)>",
            },
            "fallbacks": ["javascript:alert(8)"],
            "client": {"<b>lag</b>_s": 0.5, "x": ["<script>alert(9)</script>"]},
        }
        for each, clean in ((dirty["workload"], record.workload), (dirty["target"], record.target)):
            kept = clean.model_dump(mode="json")
            for name in ("model", "inputs", "scenarios", "slo", "quality", "demand"):
                if name in kept:
                    each[name] = kept[name]
        bad_records.append(Record.model_validate_json(json.dumps(dirty)))
    raw = decision.model_dump(mode="json")
    return valid(Decision, poisoned(raw, endless), raw), bad_records


def valid(model, dirty, clean):
    """Return `dirty` as a document, with what is no free text there as it is in `clean`."""
    for _ in range(5):
        try:
            return model.model_validate_json(json.dumps(dirty))
        except ValidationError as error:
            for fault in error.errors():
                restore(dirty, clean, fault["loc"])
    return model.model_validate_json(json.dumps(dirty))


def restore(dirty, clean, place):
    """Put the value of `clean` at `place` into `dirty`; of a union's name the part above it."""
    for step in place[:-1]:
        below = clean[step] if isinstance(clean, list) or step in clean else None
        if not isinstance(below, dict | list):
            break
        dirty, clean, place = dirty[step], below, place[1:]
    dirty[place[0]] = clean[place[0]]


def test_hostile_text_stays_text():
    bad = render(*hostile_answer())
    tree = read(bad)
    clean = read(render(*answered(4)))
    assert {e.tag for e in tree.all()} <= {e.tag for e in clean.all()}
    assert {n for e in tree.all() for n in e.attributes} <= {
        n for e in clean.all() for n in e.attributes
    }
    assert {e.attributes["href"] for e in tree.all("a")} == {
        e.attributes["href"] for e in clean.all("a")
    }
    assert len(tree.all("h1")) == 1
    text = tree.text
    for payload in HOSTILE[:8]:
        assert " ".join(payload.split()) in " ".join(text.split())
    assert "1337" not in text
    assert "abc\\u202egnp.exe\\u2066\\u200b\\x00\\x1b[31m\\x07" in text
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]", bad
    )
    assert "B" * 1000 in text
    assert "B" * 2000 not in text
    assert "<script>alert(2)</script>" in text
    assert "ended by the harness: <script>alert(4)</script>" in text
    assert "漢字 🧨" in text
