"""The frame of a chart: where its axes lie in the drawing, and how numbers become places in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.scale import Scale

LEFT, RIGHT, TOP, BOTTOM = 60.0, 609.0, 16.0, 291.0
"""Of charts with names at the right edge; others are wider."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis, with its place along it."""

    at: str
    label: str


def place(value: float) -> str:
    """Return a place to a tenth, which is a seventh of a pixel on the screen."""
    return f"{value:.1f}".removesuffix(".0")


def from_left(scale: Scale, value: float, right: float = RIGHT) -> float:
    """Return the place of `value` on the level axis, which ends at `right`."""
    return LEFT + (right - LEFT) * scale.share(value)


def from_top(scale: Scale, value: float) -> float:
    """Return the place of `value` on the upright axis."""
    return BOTTOM - (BOTTOM - TOP) * scale.share(value)


def x_at(scale: Scale, value: float, right: float = RIGHT) -> str:
    """Return the same as SVG writes it."""
    return place(from_left(scale, value, right))


def y_at(scale: Scale, value: float) -> str:
    """Return the same as SVG writes it."""
    return place(from_top(scale, value))


def grid(across: Sequence[Tick], up: Sequence[Tick], right: float = RIGHT) -> str:
    """Return the path of a line at each tick of both axes."""
    upright = "".join(f"M{tick.at} {TOP:g}V{BOTTOM:g}" for tick in across)
    return upright + "".join(f"M{LEFT:g} {tick.at}H{right:g}" for tick in up)


def marks(places: Iterable[str], shape: str) -> str:
    """Return the path of `shape` at each place."""
    return "".join(f"M{at}{shape}" for at in places)


def logarithmic_note(across: Scale, up: Scale) -> str:
    """Return which axes are logarithmic, in a sentence; empty if none is."""
    if across.logarithmic and up.logarithmic:
        return "Both axes are logarithmic."
    if up.logarithmic:
        return "The upright axis is logarithmic."
    return "The level axis is logarithmic." if across.logarithmic else ""
