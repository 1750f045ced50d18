"""The report as a folder: its pages stand alone, hang together, and lose no doubt on the way."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest

from harness.report import render
from harness.report.folder import pages, write_folder
from tests.report.answered import answered
from tests.report.kinds import EVIDENCE, all_kinds
from tests.report.markup import read
from tests.report.sampled import samples_of
from tests.report.test_page import HOSTILE, MAIN, hostile_answer, section, tables

COMMAND = "harness report branch-bank -o out/"


def folder_of(decision, records, **changes):
    arguments = {"samples": samples_of, "history": records, "command": COMMAND, **changes}
    return dict(pages(decision, records, **arguments))


@pytest.fixture(scope="module")
def answer():
    return answered()


@pytest.fixture(scope="module")
def made(answer):
    return folder_of(*answer)


@pytest.fixture(scope="module")
def trees(made):
    return {name: read(page) for name, page in made.items()}


def run_page(trees, answer, label):
    record = next(r for r in answer[1] if r.cell.label == label)
    return trees[f"run-{record.id}.html"]


def test_there_is_a_page_for_the_decision_each_target_and_each_record(made, answer):
    decision, records = answer
    named = {f"target-{o.target}.html" for w in decision.workloads for o in w.outcomes}
    assert len(named) == 5
    assert set(made) == {"index.html", *named, *(f"run-{r.id}.html" for r in records)}


def test_every_link_leads_somewhere_and_every_page_leads_back(trees):
    places = {
        name: {e.attributes["id"] for e in tree.all() if "id" in e.attributes}
        for name, tree in trees.items()
    }
    seen = set()
    for name, tree in trees.items():
        for link in tree.all("a"):
            page, _, fragment = link.attributes["href"].partition("#")
            assert (page or name) in trees
            assert not fragment or fragment in places[page or name]
            seen.add(page)
            assert name == "index.html" or page != name
        assert "index.html" in {e.attributes["href"] for e in tree.all("a")} or (
            name == "index.html"
        )
    assert set(trees) <= seen


def test_a_page_that_stands_alone_has_no_link_to_another(answer):
    for link in read(render(*answer)).all("a"):
        assert link.attributes["href"].startswith("#")


def test_every_page_needs_and_allows_nothing_from_outside(made, trees):
    for name, tree in trees.items():
        policy = next(m for m in tree.all("meta") if "http-equiv" in m.attributes)
        assert policy.attributes["content"].startswith("default-src 'none'")
        tags = {e.tag for e in tree.all()}
        assert {"script", "link", "img", "iframe", "object", "form"}.isdisjoint(tags)
        assert "http:" not in made[name]
        assert "https:" not in made[name]
        assert len(tree.all("h1")) == 1
        assert tree.all("html")[0].attributes["lang"] == "en"


def test_every_page_has_each_id_once_and_a_caption_and_a_region_for_each_table(trees):
    for tree in trees.values():
        ids = [e.attributes["id"] for e in tree.all() if "id" in e.attributes]
        assert len(ids) == len(set(ids))
        captions = [table.all("caption")[0].text for table in tree.all("table")]
        assert len(captions) == len(set(captions))
        for table in tree.all("table"):
            assert table.parent.attributes["role"] == "region"
            assert all("scope" in head.attributes for head in table.all("th"))
        for svg in tree.all("svg"):
            assert set(svg.attributes["aria-labelledby"].split()) <= set(ids)


def test_every_chart_is_told_and_followed_by_its_table(trees, answer):
    drawn = 0
    for tree in trees.values():
        waiting = None
        for element in tree.all("svg", "table", "h2", "h3"):
            if element.tag in ("h2", "h3"):
                assert waiting is None, f"no table for {waiting}"
            waiting = element.all("title")[0].text if element.tag == "svg" else None
            if element.tag == "svg":
                drawn += 1
                assert re.search(r"\d", element.all("desc")[0].text)
        assert waiting is None
    assert len(run_page(trees, answer, "chat@acme-cpu-16/server").all("svg")) == 4
    assert drawn > 50


def test_nothing_is_missing_without_a_word(trees):
    for tree in trees.values():
        for cell in tree.all("td", "dd", "th"):
            assert cell.text.strip()
        words = set(re.findall(r"[A-Za-z]+", tree.all("body")[0].text.replace("None of", "")))
        assert words.isdisjoint({"nan", "NaN", "None", "inf", "Undefined"})


def test_a_target_s_page_has_its_workloads_facts_price_and_history(trees):
    found = tables(trees["target-owned-gpu.html"])
    rows = found["What the target does for each workload"][1:]
    assert [row[0] for row in rows] == ["Customer chat", "Call transcription", "Card fraud"]
    facts = {
        row[0]: row[1:] for row in found["Facts of the hardware, each with its source and date"]
    }
    assert facts["Declared power of one chip"] == ["350 W", "data sheet", "2026-05-01"]
    assert facts["Memory"] == ["not stated"]
    assert found["Price behind the figures"][1][2:4] == ["quotation 4711 of Example", "2026-09-15"]
    history = found["Every record, Customer chat, random arrivals"]
    assert history[1][2] == "A"
    assert len([caption for caption in found if caption.startswith("Every record, ")]) == 6


def test_a_target_without_records_says_so(trees, answer):
    decision, records = answer
    edge = [r for r in records if r.cell.target == "edge-box"]
    assert {r.status for r in edge} == {"failed", "unsupported"}
    found = tables(trees["target-edge-box.html"])
    gap = found["Which operators run on the target's own runtime"]
    assert ["✕" in row[-1] for row in gap[1:]] == [False] * (len(gap) - 1)
    without = [r for r in records if r.cell.target != "edge-box"]
    fewer = decision.model_copy(
        update={"records": tuple(p for p in decision.records if p.id in {r.id for r in without})}
    )
    page = read(folder_of(fewer, without)["target-edge-box.html"])
    assert "not known here" in page.text
    assert "Nothing was measured" in page.text


def test_a_record_s_page_has_verdict_points_energy_quality_and_hashes(trees, answer):
    decision, _ = answer
    tree = run_page(trees, answer, "fraud@acme-cpu-16-int8/server")
    found = tables(tree)
    reasons = found["Why the figures can or cannot be used"]
    assert reasons[1][0:2] == ["≈ noisy", "foreign-load"]
    assert len(found["Every operating point of the record"]) == 5
    energy = found["Every energy window of the record"]
    assert energy[1][:3] == ["point 1, load 30 %", "ipmi", "node (node:0)"]
    assert energy[1][-1] == "sampled; gaps"
    hashes = {
        row[0]: row[1] for row in found["Hashes that tie the record to what it was made from"]
    }
    assert hashes["record.json, sha256"] in {pin.sha256 for pin in decision.records}
    assert "↔ 12 %" in tree.text


def test_a_record_without_figures_says_how_it_ended(trees, answer):
    tree = run_page(trees, answer, "speech@edge-box/server")
    assert "Crash. the cell ended: crash" in " ".join(tree.text.split())
    assert tree.all("svg") == []
    assert "nothing to draw" in section(tree, "time").text


def test_a_record_without_samples_says_so_and_still_has_its_histogram(trees, answer):
    tree = run_page(trees, answer, "fraud@far-cloud/server")
    assert "kept no samples" in section(tree, "time").text
    assert [svg.all("title")[0].text for svg in tree.all("svg")] == [
        "How many requests had which latency"
    ]


def test_a_closed_scenario_has_no_schedule_to_be_late_against(trees, answer):
    offline = run_page(trees, answer, "chat@acme-cpu-16/offline")
    assert "there is no schedule" in section(offline, "time").text
    assert "Schedule lag" not in [h.text for h in offline.all("h3")]


def test_records_that_the_decision_does_not_name_are_history_without_a_page(answer):
    decision, records = answer
    first = next(r for r in records if r.cell.label == "chat@acme-cpu-16/server")
    older = first.model_copy(update={"id": "0" * 24 + "ZZ"})
    made = folder_of(decision, records, history=[*records, older])
    tree = read(made["target-acme-cpu-16.html"])
    rows = tables(tree)["Every record, Customer chat, random arrivals"]
    assert len(rows) == 3
    assert "have no page here: 1" in tree.text
    assert f"run-{older.id}.html" not in made
    assert older.id not in {e.text for e in tree.all("a")}
    assert len(tree.all("svg")) == 1


def test_no_evidence_is_lost_on_a_target_s_or_a_record_s_page():
    decision, records = all_kinds()
    trees = {name: read(page) for name, page in folder_of(decision, records).items()}
    for target, evidence in EVIDENCE.items():
        tree = trees[f"target-{target}.html"]
        rows = tables(tree)["What the target does for each workload"][1:]
        rows = [row for row in rows if row[-1] != "none"]
        assert rows
        assert all(row[-1] == evidence for row in rows)
        history = tables(tree)["Every record, Card fraud, random arrivals"]
        assert {row[-1] for row in history[1:]} == {evidence}
        doubt = "≈ noisy" if target == "acme-cpu-16-int8" else "✓ valid"
        assert all(row[-2] == doubt for row in rows)
        assert tree.classed("badge")[0].text == evidence
    for record in records:
        header = trees[f"run-{record.id}.html"].all("header")[0]
        assert record.evidence in header.text
        assert record.verdict.state in header.text
        said = [record.evidence, record.verdict.state]
        told = ", ".join(word for word in said if word not in ("measured", "valid"))
        for svg in trees[f"run-{record.id}.html"].all("svg"):
            opening = f"Of a record that is {told}." if told else ""
            assert svg.all("desc")[0].text.startswith(opening)
            assert not told or opening in svg.parent.parent.text + svg.parent.text
    modelled = next(r for r in records if r.cell.label == "fraud@far-cloud/server")
    energy = tables(trees[f"run-{modelled.id}.html"])["Every energy window of the record"]
    assert energy[1][3].endswith("*")
    assert energy[1][-1] == "* modelled"


def test_hostile_text_stays_text_on_every_page():
    decision, records = hostile_answer()
    bad = folder_of(decision, records)
    good = folder_of(*answered(4))
    tags = {e.tag for page in good.values() for e in read(page).all()}
    names = {n for page in good.values() for e in read(page).all() for n in e.attributes}
    text = ""
    for page in bad.values():
        tree = read(page)
        assert {e.tag for e in tree.all()} <= tags
        assert {n for e in tree.all() for n in e.attributes} <= names
        assert all(
            re.fullmatch(
                r"#[a-z0-9-]+|(index|(target|run)-[A-Za-z0-9-]+)\.html(#[a-z0-9-]+)?", href
            )
            for href in (e.attributes["href"] for e in tree.all("a"))
        )
        assert len(tree.all("h1")) == 1
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e]", page)
        text += tree.text
    for number in range(2, 10):
        assert f"alert({number})" in text
    for payload in HOSTILE[:8]:
        assert " ".join(payload.split()) in " ".join(text.split())
    assert "1337" not in text


def test_same_arguments_same_bytes_in_any_order(made, answer):
    decision, records = answer
    backwards = list(reversed(records))
    assert folder_of(decision, backwards) == made


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_hash_seed_zone_locale_or_folder(made, answer, tmp_path):
    decision, records = answer
    (tmp_path / "decision.json").write_text(decision.model_dump_json())
    (tmp_path / "records.json").write_text(json.dumps([r.model_dump(mode="json") for r in records]))
    code = (
        "import json, pathlib\n"
        "from harness.schema import Decision, Record\n"
        "from tests.report.test_folder import digests, folder_of\n"
        "decision = Decision.model_validate_json(pathlib.Path('decision.json').read_text())\n"
        "records = json.loads(pathlib.Path('records.json').read_text())\n"
        "records = [Record.model_validate_json(json.dumps(r)) for r in records]\n"
        "print(json.dumps(digests(folder_of(decision, records))))\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(MAIN),
        "PYTHONHASHSEED": "77",
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
    }
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert json.loads(told.stdout) == digests(made)


def digests(made):
    return {name: hashlib.sha256(page.encode()).hexdigest() for name, page in made.items()}


def test_a_folder_is_written_whole_or_not_at_all(made, tmp_path):
    told = []
    assert write_folder(iter(made.items()), tmp_path / "out", told.append) == len(made)
    assert set(told) == set(made)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*made, "SHA256SUMS"}

    def broken():
        yield "index.html", "x"
        raise RuntimeError("stopped")

    for name in ("out", "other"):
        with pytest.raises(RuntimeError):
            write_folder(broken(), tmp_path / name, told.append)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "index.html").read_text(encoding="utf-8") == made["index.html"]
