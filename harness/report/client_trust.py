"""How far the client can be trusted that asked a served target, from the record's trust block."""

from __future__ import annotations

from harness import units
from harness.report.plot import Charted
from harness.schema import Record
from harness.schema.trust import ClientCalibration, Trust

FEW = "the point was too short"


def trusted(record: Record) -> tuple[Charted, ...]:
    """Return the trust block of every operating point as a table; empty without one."""
    found = [
        (index, point.load, point.trust)
        for index, point in enumerate(record.points, start=1)
        if point.trust is not None
    ]
    if not found:
        return ()
    return (
        Charted(
            heading="",
            caption="How far the client can be trusted, at every operating point",
            plot=None,
            legend=(),
            note="The client's error is what it adds to the server's own times, found on a server "
            "that says when it wrote what. A server that seems to do about as much as the ceiling "
            "may do more.",
            heads=(
                ("Point", False),
                ("The client's error, first token or reply", True),
                ("Error of the gap between tokens", True),
                ("Ceiling of the client", True),
                ("Event loop late by", True),
                ("Its core", False),
                ("Requests issued late by", True),
                ("Issued of what was asked for", True),
                ("Connections", False),
                ("Was it the limit?", False),
            ),
            rows=tuple(_row(index, load, trust) for index, load, trust in found),
        ),
    )


def in_short(record: Record | None) -> str:
    """Return the client's error at the point that stands for the record; empty without one."""
    if record is None or not record.points:
        return ""
    point = record.headline_point or record.points[0]
    if point.trust is None:
        return ""
    signs = "; ".join(sign.text for sign in point.trust.client_bound)
    if signs:
        return f"the client was the limit: {signs}"
    found = point.trust.calibration
    if found is None or found.reason is not None:
        why = "" if found is None else f": {found.reason}"
        return f"the client's own error is not known{why}"
    return (
        f"the client adds {_error(found)} to the server's times; its ceiling is {_ceiling(found)}"
    )


def _row(index: int, load: float | None, trust: Trust) -> tuple[str, ...]:
    found = trust.calibration
    why = "not calibrated" if found is None else found.reason or ""
    known = None if found is None or found.reason is not None else found
    return (
        units.count(index) if load is None else f"{units.count(index)}, load {units.percent(load)}",
        _error(known) if known else why,
        units.percent(known.itl_error_share, "one token") if known else "not known",
        _ceiling(known) if known else "not known",
        f"{units.seconds(trust.loop_lag_p50_s, FEW)} (p50), "
        f"{units.seconds(trust.loop_lag_p99_s, FEW)} (p99)",
        f"used {units.percent(trust.cpu_share, f'not told: {FEW}')}, "
        f"waited {units.percent(trust.wait_share, 'not told')}",
        f"{units.seconds(trust.schedule_delay_p50_s, 'none')} (p50), "
        f"{units.seconds(trust.schedule_delay_p99_s, 'none')} (p99)",
        units.percent(trust.achieved_share, "no rate was asked for"),
        f"{units.count(trust.connections)} for {units.count(trust.requests)} requests, "
        f"{units.percent(trust.reuse_share, 'none')} reused, {units.count(trust.resent)} resent",
        _limit(trust),
    )


def _error(found: ClientCalibration) -> str:
    return (
        f"{units.seconds(found.first_error_p50_s)} (p50), "
        f"{units.seconds(found.first_error_p99_s)} (p99)"
    )


def _ceiling(found: ClientCalibration) -> str:
    return units.rate(found.ceiling_per_s, "requests/s", "not known")


def _limit(trust: Trust) -> str:
    signs = "; ".join(sign.text for sign in trust.client_bound)
    return f"✕ yes: {signs}" if signs else "✓ no"
