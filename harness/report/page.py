"""The page: a decision and its records through the templates to one self-contained HTML text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import date, datetime
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness import units
from harness.errors import StoreError
from harness.report import answers, energy, provenance, windows, words
from harness.report.bars import cost_bars, energy_bars
from harness.report.charts import curve_charts, undrawn_curves
from harness.report.latency import latency_drawings
from harness.report.prices import prices
from harness.report.text import clip, on_page
from harness.report.view import workload_views
from harness.schema import Decision, Metric, Record
from harness.schema.decision import Rejection

if TYPE_CHECKING:
    from jinja2 import Environment

NUMBER = re.compile(r"[0-9.,]+")


def render(decision: Decision, records: Sequence[Record], *, command: str | None = None) -> str:
    """Return the report of `decision` as one HTML file without scripts or outside resources.

    `records` must hold every record that the decision names; others are ignored, and their order
    does not matter. `command` is the line that makes the report again. Same arguments, same bytes.
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
    environment = _environment()
    template = environment.get_template("page.html.j2")
    style = _read("style.css")
    return template.render(
        style=Markup(style),
        decision=decision,
        brief=decision.brief,
        views=views,
        answers=answers.answers(views),
        total=answers.total(views),
        assumptions=[
            (name, [assumption.value for assumption in group], source)
            for (name, source), group in itertools.groupby(
                decision.assumptions, lambda assumption: (assumption.name, assumption.source)
            )
        ],
        prices=prices(views, decision.brief.as_of),
        latency={view.key: latency_drawings(view) for view in views},
        curves={view.key: curve_charts(view) for view in views},
        undrawn={view.key: undrawn_curves(view) for view in views},
        costs={view.key: cost_bars(view) for view in views},
        energies={view.key: energy_bars(view) for view in views},
        coverage={view.key: energy.coverage(view) for view in views},
        requests={view.key: energy.requests(view) for view in views},
        parts=[name for name, _ in energy.PARTS],
        unsupported={view.key: windows.unsupported(view) for view in views},
        software=provenance.software(known),
        calibrations=provenance.calibrations(known),
        environment=provenance.environment(known),
        pins=provenance.pins(decision, given),
        evidence=words.EVIDENCE,
        glossary=words.GLOSSARY,
        command=command or f"harness report {decision.brief.name}",
    )


def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _read(f"templates/{name}")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=on_page,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": units.seconds,
        "duration": units.duration,
        "usd": units.usd,
        "percent": units.percent,
        "count": units.count,
        "number": units.number,
        "rate": units.rate,
        "quantity": units.quantity,
        "figure": lambda interval, unit: _unbroken(answers.figure(interval, unit)),
        "whole": _unbroken,
        "metric": _metric,
        "bare": _bare,
        "limit": _limit,
        "margin": _margin,
        "day": _day,
        "moment": _moment,
        "clip": clip,
        "sentence": lambda text: f"{text[:1].upper()}{text[1:]}",
        "rule": words.rule,
        "state": words.state,
        "sign": words.sign,
        "standing": words.standing,
        "tier": words.tier,
        "scenario": words.scenario,
        "percentile": _percentile,
        "year": energy.year,
        "window": windows.window,
        "asked": windows.asked,
        "widening": windows.widening,
        "certified": windows.certified,
        "capacity": windows.capacity,
        "left_running": windows.left_running,
        "fleet": answers.fleet,
        "yearly": answers.yearly,
    }
    return environment


def _read(name: str) -> str:
    return resources.files("harness.report").joinpath(name).read_text(encoding="utf-8")


def _metric(metric: Metric | None, *, marked: bool = False) -> str:
    """Return a record's figure with its interval, or the reason why there is none.

    `marked`: also with the share by which the interval was widened.
    """
    if metric is None:
        return "not recorded"
    text = _interval(metric, metric.unit)
    wider = windows.widened(metric) if marked else ""
    return Markup("{} {}").format(text, _whole(wider)) if wider else text


def _bare(metric: Metric | None) -> str:
    """Return the same without its unit, which the column's heading gives."""
    return "not recorded" if metric is None else _interval(metric, "1")


def _interval(metric: Metric, unit: str) -> str:
    text = units.interval(metric.value, metric.low, metric.high, unit, metric.reason)
    return text if metric.value is None else _unbroken(text)


def _unbroken(text: str) -> Markup:
    """Return a figure that breaks between the value and its interval only."""
    value, bracket, interval = text.partition(" (")
    parts = [value, f"({interval}"] if bracket else [value]
    return Markup(" ").join(_whole(part) for part in parts)


def _whole(text: str) -> Markup:
    """Return `text` so that no line ends within it; a bare number needs nothing for that."""
    if NUMBER.fullmatch(text):
        return Markup(text)
    return Markup('<span class="whole">{}</span>').format(on_page(text))


def _limit(rejection: Rejection, value: float | None) -> str:
    """Return a rejection's number or limit in its unit."""
    unit = (rejection.unit or "1").replace("_", " ")
    if value is not None and unit == "days":
        return f"{units.count(value)} days"
    if value is not None and unit.startswith("USD "):
        return f"{units.usd(value)} {unit.removeprefix('USD ')}"
    return units.quantity(value, unit, "not a number")


def _margin(rejection: Rejection) -> str:
    """Return by how much the limit is missed, in words."""
    margin = rejection.margin
    if margin is None:
        return "does not apply"
    if margin < 0:
        return f"{units.percent(-margin)} beyond"
    return "at the limit" if margin == 0 else f"{units.percent(margin)} to spare"


def _day(value: date) -> str:
    return value.isoformat()


def _moment(value: datetime) -> str:
    """Return a moment to the minute, with its offset from UTC."""
    return value.isoformat(sep=" ", timespec="minutes")


def _percentile(value: float) -> str:
    """Return a percentile as metrics are named by it: `95`, `99.9`."""
    return f"{value:g}"
