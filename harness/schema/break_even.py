"""Break-evens: the volumes at which two ways to supply a workload cost the same."""

from __future__ import annotations

from harness.schema.base import Interval, Name, Share, Spec, Text
from harness.schema.option import OptionKind


class Crossing(Spec):
    """A volume at which renting and buying cost the same, or a step of a fleet turns the order.

    `utilisation` is that of the purchased fleet there: mean rate / throughput at the SLO.
    """

    requests_per_month: float
    utilisation: float
    cheaper_above: Name


class BreakEven(Spec):
    """Renting against buying over the volume, for the best option of each.

    `crossings` are those at the planned figures, lowest first, at most 20 of the `found`. `first`
    and `last` have the interval over the draws that have a crossing, a share of `drawn`. Without a
    crossing `always` names the option that costs less wherever the two differ over the volumes
    looked at, `span` in requests a month; None if they cost the same at all of them.
    """

    rented: Name
    purchased: Name
    span: tuple[float, float]
    crossings: tuple[Crossing, ...]
    found: int
    first: Interval | None
    last: Interval | None
    drawn: Share
    always: Name | None
    text: Text


class KindBreakEven(Spec):
    """Two kinds of supply over the volume, by the best option of each: see docs/mapper.md.

    Of `kinds` and `targets` the first asks for less to be owned (API, cloud, on premises, edge).
    `crossings`, `found`, `first`, `last`, `drawn`, `always` and `span` are as in `BreakEven`;
    utilisation is that of the second, and `utilisation` its interval at the last crossing. `text`
    says it in words, `rule_of_thumb` what is said without computing.
    """

    kinds: tuple[OptionKind, OptionKind]
    targets: tuple[Name, Name]
    span: tuple[float, float]
    crossings: tuple[Crossing, ...]
    found: int
    first: Interval | None
    last: Interval | None
    utilisation: Interval | None
    drawn: Share
    always: Name | None
    rule_of_thumb: Text
    text: Text
