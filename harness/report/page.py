"""The page: a decision and its records through the templates to one self-contained HTML text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from markupsafe import Markup

from harness.errors import StoreError
from harness.report import answers, energy, provenance, windows, words
from harness.report import fleet as fleets
from harness.report.bars import cost_bars, energy_bars
from harness.report.ceiling import ceilings
from harness.report.charts import curve_charts, undrawn_curves
from harness.report.client_trust import in_short
from harness.report.few import MOST_IN_FULL, lines, named_few
from harness.report.front import front
from harness.report.horizon import horizon
from harness.report.latency import latency_drawings
from harness.report.lever_rows import levers
from harness.report.links import NO_LINKS, Links
from harness.report.operators import compiler_gap
from harness.report.prices import prices
from harness.report.run_page import client
from harness.report.strain import burst, tasks
from harness.report.supply import supply
from harness.report.templating import environment, read
from harness.report.view import workload_views
from harness.report.volume import volume
from harness.schema import Decision, Record


def render(
    decision: Decision,
    records: Sequence[Record],
    *,
    command: str | None = None,
    links: Links = NO_LINKS,
) -> str:
    """Return the report of `decision` as one HTML file without scripts or outside resources.

    `records` must hold every record that the decision names; others are ignored, and their order
    does not matter. `command` is the line that makes the report again; `links` are the pages beside
    it, none for a file that stands alone. Same arguments, same bytes.
    Raises StoreError if a record that the decision names is not among `records`.
    """
    given = {record.id: record for record in records}
    missing = [pin for pin in decision.records if pin.id not in given]
    if missing:
        raise StoreError(
            f"the decision on '{decision.brief.name}' was made from record {missing[0].id} "
            f"({missing[0].label}), which is missing",
            hint="name the folder that holds it with --results",
        )
    known = [given[pin.id] for pin in decision.records]
    views = workload_views(decision, known)
    few = tuple(named_few(view) for view in views)
    template = environment().get_template("page.html.j2")
    return template.render(
        style=Markup(read("style.css")),
        links=links,
        decision=decision,
        brief=decision.brief,
        views=views,
        details=[(view, lines(whole), whole) for view, whole in zip(few, views, strict=True)],
        many=len(known) > MOST_IN_FULL * len(views) * 2,
        answers=answers.answers(views),
        total=answers.total(views),
        assumptions=[
            (name, [assumption.value for assumption in group], source)
            for (name, source), group in itertools.groupby(
                decision.assumptions, lambda assumption: (assumption.name, assumption.source)
            )
        ],
        prices=prices(views, decision.brief.as_of),
        latency={view.key: latency_drawings(view) for view in few},
        curves={view.key: curve_charts(view) for view in few},
        undrawn={view.key: undrawn_curves(view) for view in few},
        costs={view.key: cost_bars(view) for view in few},
        energies={view.key: energy_bars(view) for view in few},
        coverage={view.key: energy.coverage(view) for view in few},
        requests={view.key: energy.requests(view) for view in few},
        parts=[name for name, _ in energy.PARTS],
        unsupported={view.key: windows.unsupported(view) for view in few},
        ceilings={view.key: ceilings(view) for view in few},
        horizons={view.key: (*horizon(view), *tasks(view)) for view in few},
        beside={
            view.key: (
                *volume(whole),
                *supply(view),
                *front(view),
                *burst(view),
                *levers(view),
            )
            for view, whole in zip(few, views, strict=True)
        },
        fleet=fleets.fleet(decision.portfolio, views),
        shared=fleets.in_short(decision.portfolio),
        gaps=compiler_gap(views),
        clients=[
            (record, said, in_short(record))
            for record in known
            if (said := client(record)) or in_short(record)
        ],
        software=provenance.software(known),
        calibrations=provenance.calibrations(known),
        environment=provenance.environment(known),
        pins=provenance.pins(decision, given),
        evidence=words.EVIDENCE,
        glossary=words.GLOSSARY,
        command=command or f"harness report {decision.brief.name}",
    )
