"""What options cost over the volume, as steps that a chart and a table can be made from."""

from __future__ import annotations

from harness.schema.base import Name, Spec


class VolumeLine(Spec):
    """The fleet of `target` and the yearly cost of it, by volume; the figures go together by place.

    `requests_per_month` rises. A volume stands twice where a unit is added: just before, and with
    it. `units` are 0 of an API.
    """

    target: Name
    requests_per_month: tuple[float, ...]
    units: tuple[int, ...]
    usd_per_year: tuple[float, ...]


class VolumeCosts(Spec):
    """The cost of the first year over the volume, all else as planned: see docs/mapper.md.

    `planned` is the volume asked for, in requests a month. `left_out` are the targets that cannot
    be compared, since a part of their cost is not known.
    """

    planned: float
    lines: tuple[VolumeLine, ...]
    left_out: tuple[Name, ...] = ()
