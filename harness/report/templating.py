"""Jinja for every page: HTML is escaped, nothing but text is printed, figures have filters."""

from __future__ import annotations

import functools
import re
from datetime import date, datetime
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness import units
from harness.report import answers, energy, misses, windows, words
from harness.report.text import clip, on_page
from harness.schema import Metric
from harness.schema.rejection import Rejection

if TYPE_CHECKING:
    from jinja2 import Environment

FIGURE = re.compile(r"[^ ()]{1,16}( [^ ()]{1,16})? \([^ ()]+( [^ ()]+){0,3}\)")
"""A value, perhaps a unit, and the interval."""
NUMBER = re.compile(r"[0-9.,]+")


@functools.cache
def environment() -> Environment:
    """Return Jinja with the report's filters; a template that prints no text raises TypeError."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: read(f"templates/{name}")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=on_page,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
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
        "cell": _cell,
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
        "nearest": misses.nearest,
        "remedy": misses.remedy,
    }
    return made


def read(name: str) -> str:
    """Return the text of a file of this package."""
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


def _cell(text: str) -> str:
    """Return a cell of a column of numbers: a figure with its interval breaks between the two."""
    return _unbroken(text) if FIGURE.fullmatch(text) else text


def _whole(text: str) -> Markup:
    """Return `text` so that no line ends within it; a bare number needs nothing for that.

    The style sheet does it for `i`, whose name is short: a page has thousands of them.
    """
    if NUMBER.fullmatch(text):
        return Markup(text)
    return Markup("<i>{}</i>").format(on_page(text))


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
