"""The committed example answers a buyer's questions from the page alone, and is up to date."""

import hashlib
from pathlib import Path

import pytest

from harness.report.made import SUMS
from tests.report.example import COMMAND, NOTICE, example
from tests.report.markup import read
from tests.report.test_page import card, facts, section, tables
from tests.report.whole import whole

FOLDER = Path(__file__).parents[2] / "reports" / "example"
MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def committed():
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.html")}


@pytest.fixture(scope="module")
def tree(committed):
    return read(committed["index.html"])


@pytest.fixture(scope="module")
def fraud(tree):
    return card(tree, "Card fraud")


def test_it_is_what_the_code_makes_of_it_now(committed):
    assert dict(example()) == committed, f"make it again: {COMMAND}"


def test_its_sums_are_those_of_its_pages(committed):
    _, *lines = (FOLDER / SUMS).read_text(encoding="utf-8").splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    assert sums == {n: hashlib.sha256(p.encode()).hexdigest() for n, p in committed.items()}


def test_it_is_small_and_every_link_finds_its_page(committed):
    assert sum(len(page.encode()) for page in committed.values()) < MOST_BYTES
    for page in committed.values():
        for link in read(page).all("a"):
            name, _, _ = link.attributes["href"].partition("#")
            assert not name or name in committed


def test_every_page_says_that_its_figures_are_made_up(committed):
    for page in committed.values():
        header = read(page).all("header")[0].text
        assert NOTICE in header or "(made up)" in header
    assert NOTICE in section(read(committed["index.html"]), "method").text


def test_which_chip_for_fraud(tree, fraud):
    assert fraud.all("h3")[0].text == "Acme CPU, 16 cores"
    assert "✓ Clear choice, P(best) 70.3 %, regret 2.34 %" in fraud.text
    found = tables(section(tree, "method"))
    software = found["Hardware and software of each target, as it described itself"]
    assert next(row for row in software if row[0] == "Acme CPU, 16 cores")[1] == "Acme A16 (Acme)"


def test_why_not_the_cheapest(tree, fraud):
    assert facts(fraud)["Cheaper, but"] == (
        "Far cloud, small instance, $6,959 a year, is ruled out: data residency"
    )
    rules = tables(section(tree, "not-chosen"))["Why the other targets were not chosen, Card fraud"]
    far = next(row for row in rules if row[0] == "Far cloud, small instance")
    assert "data would fall under us (us-test-1); allowed: eu" in far[3]


def test_what_it_costs_a_year(fraud):
    assert facts(fraud)["A year"].startswith("$13,879 3 replicas, 15.3 % used $35,001 over 36")


def test_how_sure_it_is(tree):
    text = " ".join(section(tree, "workload-3").text.split())
    confidence = whole()[0].workloads[2].confidence
    assert confidence.reason[1:] in text
    assert "in 70.3 % of 2,000 draws no other option is cheaper" in text


def test_what_would_change_it(tree):
    text = " ".join(section(tree, "workload-3").text.split())
    assert "What would change this answer, all else as it is:" in text
    for flip in whole()[0].workloads[2].flips:
        assert flip.text[1:] in text
    assert whole()[0].workloads[2].flips


def test_it_can_be_reproduced(tree, committed):
    method = section(tree, "method")
    assert method.all("pre")[-1].text == COMMAND
    decision, _ = whole()
    pins = tables(method)["Every record that the decision was made from"]
    assert {row[-1] for row in pins[1:]} == {pin.sha256 for pin in decision.records}
    assert len([name for name in committed if name.startswith("run-")]) == 3
