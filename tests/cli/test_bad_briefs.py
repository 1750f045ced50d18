"""A brief that cannot be answered says what is wrong, where, and what is the least way out."""

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import main
from harness.store import Store
from tests.factories import make_brief, make_point, make_record, make_target, make_workload

WORKLOAD = make_workload()


@pytest.fixture
def place(tmp_path):
    """Return a folder with a catalog of one workload, one target and a record of them."""
    write(tmp_path, "workloads", WORKLOAD)
    write(tmp_path, "targets", make_target("fast"))
    draft = Store(tmp_path / "results").draft()
    record = make_record(WORKLOAD, make_target("fast"), points=(make_point(WORKLOAD),), id=draft.id)
    draft.commit(record)
    return tmp_path


def write(folder, kind, document, **changes):
    """Write `document` and return its file; `changes` are made to the tree, as "a.0.b": value."""
    tree = document.model_dump(mode="json", by_alias=True)
    for way, value in changes.items():
        *steps, last = [int(s) if s.isdigit() else s for s in way.split("__")]
        node = tree
        for step in steps:
            node = node[step]
        node[last] = value
    path = folder / "catalog" / kind / f"{document.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def ask(place, command="map", **changes):
    """Return the exit status and all that `harness map` or `validate` says of the brief."""
    path = write(place, "briefs", make_brief(targets=["fast"]), **changes)
    catalog = ["--catalog", str(place / "catalog")]
    results = ["--results", str(place / "results")] if command == "map" else []
    result = CliRunner().invoke(main, [command, str(path), *catalog, *results])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split()), path


def line_of(path, text):
    return next(
        number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line
    )


BAD = [
    ({"workloads__0__workload": "chap"}, "chap", "unknown workload 'chap'", "did you mean 'chat'?"),
    ({"targets__0": "fest"}, "fest", "unknown target 'fest'", "did you mean 'fast'?"),
    (
        {"workloads__0__demand__requests_per_month": 0},
        "requests_per_month",
        "must be above 0, is 0",
        "",
    ),
    (
        {"constraints__need_by": "2026-10-31"},
        "need_by",
        "2026-10-31 is before the brief's own day, 2026-11-01",
        "the earliest day that can be asked for is 2026-11-01",
    ),
    (
        {"constraints__tiers": ["edge"], "workloads__0__demand__tiers": ["cloud"]},
        "- edge",
        "allows edge, but chat allows only cloud: nothing is left",
        "add cloud to constraints.tiers",
    ),
    (
        {"constraints__residency": ["eu"], "workloads__0__demand__residency": ["us"]},
        "- eu",
        "allows eu, but chat allows only us: nothing is left",
        "add us to constraints.residency",
    ),
    (
        {"constraints__edge_latency_s": 0.5, "constraints__tiers": ["cloud"]},
        "edge_latency_s",
        "the only tier allowed for chat, which promises 500 ms, is cloud",
        "leave edge_latency_s out",
    ),
    (
        {"constraints__air_gap": True, "constraints__tiers": ["cloud"]},
        "air_gap",
        "asks for an air gap, but the only tier allowed for chat is cloud",
        "set air_gap to false, or allow chat the tier on_premises or edge",
    ),
    (
        {"constraints__air_gap": True},
        "air_gap",
        "all targets that the brief names stand outside the buyer's site: fast",
        "set air_gap to false",
    ),
    (
        {"constraints__vendors_allowed": ["acme"], "constraints__vendors_excluded": ["ACME"]},
        "- acme",
        "every allowed vendor is excluded too",
        "take acme out of vendors_excluded",
    ),
]


@pytest.mark.parametrize("command", ["map", "validate"])
@pytest.mark.parametrize(("changes", "at", "wrong", "way_out"), BAD)
def test_a_brief_that_cannot_be_is_refused_at_its_place(
    place, command, changes, at, wrong, way_out
):
    code, output, path = ask(place, command, **changes)

    assert code == 2
    assert wrong in output
    assert way_out in output
    # A list's place is its key's value, which begins on the line of its first entry or before it.
    line = line_of(path, at)
    assert any(f"{path.name}:{near}:" in output for near in (line, line - 1, line + 1))


def test_a_good_brief_passes(place):
    assert ask(place)[0] == 0
    assert ask(place, "validate")[0] == 0


def test_a_budget_below_every_cost_is_a_finding_with_the_least_that_is_enough(place):
    code, output, _ = ask(place, constraints__budget_usd_per_year=100.0)

    assert code == 1
    assert "costs $8,760 in the first year; the budget is $100" in output
    assert (
        "the nearest changes that would give an answer - spend $8,760 a year "
        "(constraints.budget_usd_per_year: 100 -> 8,760): fast, $8,760 a year" in output
    )


def test_without_a_price_anywhere_the_answer_says_where_to_add_one(place):
    write(place, "targets", make_target("fast"), price=None)
    code, output, _ = ask(place)

    assert code == 1
    assert "add a price with its source and date to the target 'fast'" in output
    assert "no target has a price, so none can be chosen" in output


def test_several_rules_that_bind_are_listed_together(place):
    code, output, _ = ask(
        place, constraints__budget_usd_per_year=100.0, constraints__precisions=["int8"]
    )

    assert code == 1
    assert "where several rules bind together - fast: precision, budget" in output


def test_an_offer_moves_a_target_and_takes_its_price(place):
    price = make_target().price.model_dump(mode="json")
    offer = {
        "target": "fast",
        "site": {"tier": "on_premises", "region": "own hall", "jurisdiction": "eu"},
        "price": {**price, "usd_per_hour": 2.0},
    }
    code, output, _ = ask(place, offers=[offer], constraints__air_gap=True)

    assert code == 0
    assert "$17,520" in output


def test_an_offer_of_a_target_that_is_not_there_is_refused(place):
    price = make_target().price.model_dump(mode="json")
    site = {"tier": "edge", "region": "x", "jurisdiction": "eu"}
    code, output, _ = ask(place, offers=[{"target": "fist", "site": site, "price": price}])

    assert code == 2
    assert "unknown target 'fist'" in output
    assert "did you mean 'fast'?" in output


API = {
    "kind": "api",
    "sale_unit": "tokens",
    "usd_per_million_input_tokens": 1.0,
    "usd_per_million_output_tokens": 2.0,
    "source": "price list of Acme",
    "date": "2026-10-01",
}


@pytest.mark.parametrize("command", ["map", "validate"])
@pytest.mark.parametrize("targets", [["fast"], []])
def test_an_offer_at_an_api_price_of_what_is_not_asked_as_a_server_is_refused(
    place, command, targets
):
    site = {"tier": "cloud", "region": "x", "jurisdiction": "eu"}
    offer = {"target": "fast", "site": site, "price": API}
    code, output, path = ask(place, command, offers=[offer], targets=targets)

    assert code == 2
    line = line_of(path, "kind: api")
    column = path.read_text().splitlines()[line - 1].index("api") + 1
    assert f"{path.name}:{line}:{column}: offers[0].price.kind: an api price goes with" in output
    assert "but fast has 'device: cpu'" in output


def test_an_offer_at_an_api_price_of_a_server_is_fine(place):
    served = make_target(
        "served",
        runtime={"adapter": "http", "device": "remote"},
        server={"protocol": "openai-chat", "url": "http://127.0.0.1:1", "model": "m"},
    )
    write(place, "targets", served)
    site = {"tier": "cloud", "region": "x", "jurisdiction": "eu"}
    offer = {"target": "served", "site": site, "price": API}
    code, output, _ = ask(place, "validate", offers=[offer])

    assert code == 0, output
