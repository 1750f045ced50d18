"""The table of the clients that asked served targets: a row for each operating point."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.record_tables import AT, RECORD, head
from harness.report.tables import Cell, Kind, Table, joined, table
from harness.schema import Record
from harness.schema.record import Point
from harness.schema.trust import Trust

CLIENTS: tuple[tuple[str, Kind, str], ...] = (
    *RECORD,
    *AT,
    ("client_bound", "text", "Why the client was the limit; empty: it was not."),
    ("first_error_p50_s", "number", "What the client adds to the time to the first token, median."),
    ("first_error_p99_s", "number", "The same, 99th percentile."),
    ("itl_error_share", "number", "Error of the mean gap between tokens; empty: one token."),
    ("ceiling_requests_per_s", "number", "The most that this client can ask for so."),
    ("calibration_reason", "text", "Why the client's error is not known."),
    ("loop", "text", "The client's event loop."),
    ("loop_lag_p50_s", "number", "How late it ran timers, median."),
    ("loop_lag_p99_s", "number", "The same, 99th percentile."),
    ("loop_lag_max_s", "number", "The same, most."),
    ("cpu_share", "number", "CPU time of its thread over wall time."),
    ("wait_share", "number", "The time that its thread waited for a core, a share."),
    ("schedule_delay_p50_s", "number", "From when a request was due until it was issued."),
    ("schedule_delay_p99_s", "number", "The same, 99th percentile."),
    ("handover_p50_s", "number", "From there until the event loop took it up."),
    ("handover_p99_s", "number", "The same, 99th percentile."),
    ("achieved_share", "number", "What was issued of the rate asked for; empty: none was."),
    ("requests", "count", "Requests."),
    ("connections", "count", "Connections that were opened."),
    ("reuse_share", "number", "Requests over a connection that had carried another, a share."),
    ("resent", "count", "Requests that went out twice."),
)


def client_table(records: Sequence[Record]) -> Table:
    """Return `clients`; it is empty where no target was served."""
    rows = [
        _row(record, index, point, point.trust)
        for record in sorted(records, key=lambda r: (r.cell.workload, r.cell.target, r.id))
        for index, point in enumerate(record.points)
        if point.trust is not None
    ]
    return table("clients", CLIENTS, rows)


def _row(record: Record, index: int, point: Point, trust: Trust) -> dict[str, Cell]:
    found = trust.calibration
    return {
        **head(record),
        "point": index,
        "load": point.load,
        "client_bound": joined([sign.text for sign in trust.client_bound]),
        "first_error_p50_s": None if found is None else found.first_error_p50_s,
        "first_error_p99_s": None if found is None else found.first_error_p99_s,
        "itl_error_share": None if found is None else found.itl_error_share,
        "ceiling_requests_per_s": None if found is None else found.ceiling_per_s,
        "calibration_reason": "not calibrated" if found is None else found.reason,
        "loop": trust.loop,
        "loop_lag_p50_s": trust.loop_lag_p50_s,
        "loop_lag_p99_s": trust.loop_lag_p99_s,
        "loop_lag_max_s": trust.loop_lag_max_s,
        "cpu_share": trust.cpu_share,
        "wait_share": trust.wait_share,
        "schedule_delay_p50_s": trust.schedule_delay_p50_s,
        "schedule_delay_p99_s": trust.schedule_delay_p99_s,
        "handover_p50_s": trust.handover_p50_s,
        "handover_p99_s": trust.handover_p99_s,
        "achieved_share": trust.achieved_share,
        "requests": trust.requests,
        "connections": trust.connections,
        "reuse_share": trust.reuse_share,
        "resent": trust.resent,
    }
