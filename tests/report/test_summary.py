import re

import pytest

from harness.report.summary import markdown, summary
from harness.report.view import workload_views
from tests.report.answered import answered
from tests.report.kinds import all_kinds
from tests.report.test_page import hostile_answer


def made(decision, records):
    return summary(decision, workload_views(decision, records), command="harness export x")


def cells(text):
    """Return the rows of the first table as lists of texts."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_each_workload_has_a_verdict_its_cost_the_slo_and_how_sure():
    text = made(*answered())
    header, *rows = cells(text)
    assert header[0] == "Workload"
    assert [row[0] for row in rows] == ["Customer chat", "Call transcription", "Card fraud"]
    chat = dict(zip(header, rows[0], strict=True))
    assert chat["Choice"] == "Acme CPU, 16 cores"
    assert chat["Cost (95 % interval)"] == r"\$37.41 per million output tokens"
    assert chat["A year"] == r"\$3,592"
    assert chat["SLO"] == "✓ met"
    assert chat["How sure"] == "✓ Clear choice, P(best) 100 %"
    assert chat["Runner-up"].startswith(r"Acme CPU, 16 cores, int8, \$39.24")
    assert "- **SLO**: Time to first token p90 175 ms (at most 184 ms), limit 200 ms" in text
    assert "- **Energy**: not measured: no powercap tree on this machine." in text
    assert "- **What would change it**\n  - " in text
    assert "- Far cloud, small instance: SLO missed: p90 ttft is 400 ms" in text
    assert "Made by `harness export x`" in text
    assert "24 records" in text


def test_evidence_and_doubt_stand_beside_every_verdict():
    decision, records = all_kinds()
    header, *rows = cells(made(decision, records))
    for row, each in zip(rows, decision.workloads, strict=True):
        told = dict(zip(header, row, strict=True))
        assert told["Evidence"].startswith(each.choice.evidence)
        if each.choice.evidence != "measured":
            assert f"the figures are {each.choice.evidence}" in told["How sure"]
        if each.runner_up.evidence != "measured":
            assert each.runner_up.evidence in told["Runner-up"]
        assert ("noisy" in told["Runner-up"]) == (each.runner_up.verdict == "noisy")
    assert {each.choice.evidence for each in decision.workloads} > {"measured"}
    assert "noisy" in {each.runner_up.verdict for each in decision.workloads}
    assert "a request (package (modelled))" in made(decision, records)


def test_a_workload_without_a_choice_says_so():
    decision, records = answered()
    first = decision.workloads[0].model_copy(
        update={"choice": None, "runner_up": None, "options": (), "confidence": None, "flips": ()}
    )
    without = decision.model_copy(update={"workloads": (first,)})
    _, row = cells(made(without, records))
    assert row[1:7] == ["none", "–", "–", "–", "–", "✕ No target to recommend"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("[x](javascript:alert)", r"\[x\](javascript:alert)"),
        ("<script>", r"\<script\>"),
        ("`a` *b* _c_ ~d~ $e$ &amp;", r"\`a\` \*b\* \_c\_ \~d\~ \$e\$ \&amp;"),
        ("@team fixes #12", "@&#8203;team fixes #&#8203;12"),
        ("https://evil.example", "https:&#8203;//evil.example"),
        ("www.evil.example", "www&#8203;.evil.example"),
        ("two\n\n# lines", "two #&#8203; lines"),
        ("\x1b[31m\u202e", r"\\x1b\[31m\\u202e"),
        ("![x](y)", r"!\[x\](y)"),
    ],
)
def test_markdown_shows_text_as_it_is(text, shown):
    assert markdown(text) == shown


def test_hostile_text_makes_no_markup():
    text = made(*hostile_answer())
    clean = made(*answered(4))
    assert not re.search(r"(?<!\\)<", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e]", text)
    assert "://" not in text
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == len([x for x in clean.splitlines() if x.startswith("#")])
    assert all(len(row) == 8 for row in cells(text))
    assert max(map(len, text.splitlines())) < 4000


def test_a_command_cannot_leave_its_code():
    decision, records = answered()
    views = workload_views(decision, records)
    assert "Made by `harness export 'a <b>'`." in summary(
        decision, views, command="harness export 'a` <b>'"
    )
