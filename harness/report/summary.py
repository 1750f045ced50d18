"""A decision in short as Markdown, for a pull request or a ticket.

Text from documents cannot become markup, a link, a mention of a person or of an issue there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harness import units
from harness.report import answers, words
from harness.report.answers import Answer
from harness.report.fleet import fleet_lines
from harness.report.tables import plain
from harness.report.text import clip
from harness.report.view import Row, WorkloadView
from harness.schema import Decision

MOST_EXCLUDED, MOST_FLIPS = 8, 5
LONGEST = 400
MARKUP = re.compile(r"[\\`*_\[\]<>|~&$]")
CALLS = re.compile(r"[@#]|(?<=:)//|(?<=www)\.", re.IGNORECASE)
"""What calls people and issues, and what makes a link of a bare address."""
APART = "&#8203;"
"""A space without width: GitHub and GitLab make no link of what it parts."""


def summary(decision: Decision, views: Sequence[WorkloadView], *, command: str) -> str:
    """Return the answer for each workload: choice, cost, SLO, how sure, and why not the others.

    `command` is the line that makes it again.
    """
    every = answers.answers(views)
    lines = [
        f"# {markdown(decision.brief.title)}",
        "",
        f"Brief `{decision.brief.name}` as of {decision.brief.as_of.isoformat()}, "
        f"{units.count(len(decision.records))} records, harness "
        f"{markdown(decision.harness_version)}. **{markdown(answers.total(views))}.**",
        "",
        "| Workload | Choice | Cost (95 % interval) | A year | SLO | Evidence | How sure "
        "| Runner-up |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(answer) for answer in every),
        "",
    ]
    for view, answer in zip(views, every, strict=True):
        lines += [*_section(view, answer), ""]
    plan = decision.portfolio
    if plan is not None:
        titles = {view.decision.workload: view.decision.title for view in views}
        told = [plan.reason, *fleet_lines(plan, titles), *(w.text for w in plan.relaxations)]
        lines += ["## One fleet for all workloads", "", *(f"- {markdown(t)}" for t in told), ""]
    if decision.warnings:
        lines += ["## Warnings", "", *(f"- {markdown(each)}" for each in decision.warnings), ""]
    lines += [f"Made by `{plain(command).replace('`', '')}`. Not an MLPerf result.", ""]
    return "\n".join(lines)


def markdown(text: str) -> str:
    """Return `text` on one line so that Markdown shows it as it is."""
    escaped = MARKUP.sub(lambda match: f"\\{match[0]}", clip(plain(text), LONGEST))
    return CALLS.sub(
        lambda match: f"{match[0]}{APART}" if match[0] in "@#" else f"{APART}{match[0]}", escaped
    )


def _row(answer: Answer) -> str:
    choice = answer.decision.choice
    cells = [answer.decision.title]
    if choice is None:
        cells += ["none", *(4 * ["–"])]
    else:
        cells += [
            choice.title,
            f"{answers.figure(choice.cost_per_unit_usd, 'USD')} per {choice.cost_unit}",
            answers.yearly(choice),
            f"{words.sign(choice.slo_state)} {words.state(choice.slo_state)}",
            f"{choice.evidence}, {words.sign(choice.verdict)} {words.state(choice.verdict)}",
        ]
    cells += [f"{answer.certainty.sign} {answer.certainty.text}", answer.runner_up]
    return f"| {' | '.join(markdown(cell) for cell in cells)} |"


def _section(view: WorkloadView, answer: Answer) -> Iterator[str]:
    decision = view.decision
    choice = decision.choice
    yield f"## {markdown(decision.title)}"
    yield ""
    yield _item("Why", decision.reason)
    if choice is not None:
        for promise in answer.promises:
            yield _item(
                "SLO", f"{promise.name} {promise.measured} {promise.bound}, {promise.limit}"
            )
        yield _item("Fleet", answer.fleet)
        if answer.horizon:
            yield _item("Total", answer.horizon)
        yield _item("Energy", answer.energy)
        if answer.capacity:
            yield _item("Load", answer.capacity)
        if decision.confidence is not None:
            yield _item("How sure", decision.confidence.reason)
        if answer.client:
            yield _item("Client", answer.client)
        for text in answer.cheaper:
            yield _item("Cheaper, but", text)
        for reason in choice.verdict_reasons:
            yield _item("In doubt", reason)
        for warning in choice.warnings:
            yield _item("Warning", warning)
    for text in answer.changes:
        yield _item("What would give an answer", text)
    if decision.burst is not None:
        yield _item("Burst, by formula", decision.burst.text)
    for lever in decision.levers[:MOST_FLIPS]:
        known = units.usd(lever.usd_per_year, lever.reason)
        known += f" a year, {lever.evidence}" if lever.usd_per_year is not None else ""
        yield _item("Lever", f"{lever.what}: {known}")
    if decision.flips:
        yield "- **What would change it**"
        yield from (f"  - {markdown(flip.text)}" for flip in decision.flips[:MOST_FLIPS])
        yield from _more(len(decision.flips) - MOST_FLIPS, "decision.json")
    excluded = [row for row in view.rows if row.standing == "excluded"]
    if excluded:
        yield "- **Ruled out**"
        for row in excluded[:MOST_EXCLUDED]:
            yield f"  - {markdown(row.title)}: {markdown(_why_not(row))}"
        yield from _more(len(excluded) - MOST_EXCLUDED, "rejections.csv")


def _more(number: int, file: str) -> Iterator[str]:
    """Yield that there are `number` more in `file`, if there are."""
    if number > 0:
        yield f"  - {units.count(number)} more in `{file}`"


def _item(name: str, text: str) -> str:
    return f"- **{markdown(name)}**: {markdown(text)}"


def _why_not(row: Row) -> str:
    rejections = row.outcome.rejections
    return "; ".join(f"{words.rule(r.rule)}: {r.text}" for r in rejections) or "no reason given"
