"""Samples for made-up records: what a driver would have written, with a stall and lost requests."""

import numpy as np

from harness.measure.samples import FAILED, OK, TIMED_OUT, UNSERVED
from harness.report.over_time import Columns
from harness.schema import Record

MOST_ROWS = 3000


def samples_of(record: Record) -> Columns | None:
    """Return rows for each point of `record`; None for records without points, and of far-cloud."""
    if not record.points or record.cell.target == "far-cloud":
        return None
    parts: dict[str, list[np.ndarray]] = {}
    for index, point in enumerate(record.points):
        for name, column in _point(record, index).items():
            parts.setdefault(name, []).append(column)
        assert point.duration_s
    return {name: np.concatenate(columns) for name, columns in parts.items()}


def _point(record: Record, index: int) -> dict[str, np.ndarray]:
    point = record.points[index]
    draw = np.random.default_rng([int(record.cell.id, 16), index])
    count = min(MOST_ROWS, point.requests + point.warm_up_requests)
    due_s = np.sort(draw.uniform(0.0, point.duration_s, count))
    if record.cell.scenario.kind == "offline":
        due_s = np.zeros(count)
    middle = point.metrics["latency_s.p50"].value or 0.1
    sent_s = due_s + draw.exponential(middle / 20, count)
    stalled = (due_s > 0.6 * point.duration_s) & (due_s < 0.65 * point.duration_s)
    sent_s = np.where(stalled, 0.65 * point.duration_s, sent_s)
    ended_s = sent_s + middle * np.exp(0.5 * draw.standard_normal(count))
    status = np.where(draw.random(count) < 0.01, FAILED, OK)
    status[-1] = TIMED_OUT
    status[0] = UNSERVED
    sent = (sent_s * 1e9).astype(np.int64)
    ended = (ended_s * 1e9).astype(np.int64)
    sent[status == UNSERVED] = -1
    ended[(status == TIMED_OUT) | (status == UNSERVED)] = -1
    whole = np.ones(count, dtype=np.int64)
    return {
        "point": whole * index,
        "input": np.arange(count),
        "scheduled_ns": (due_s * 1e9).astype(np.int64),
        "issued_ns": sent,
        "first_ns": -whole,
        "ended_ns": ended,
        "tokens_in": whole,
        "tokens_out": whole,
        "batch": whole,
        "status": status.astype(np.int64),
    }
