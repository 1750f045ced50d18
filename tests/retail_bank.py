"""The records behind docs/retail-bank.md: example figures, a few for each workload."""

from __future__ import annotations

from pathlib import Path

from harness.catalog import Catalog
from harness.mapper import decide
from harness.schema import Decision, Workload
from harness.schema.record import Point, SloCheck
from harness.store import Stored
from tests.factories import make_metric, make_point, make_record, make_stored, make_workload

CATALOG = Path(__file__).parents[1]

MEASURED = {
    # Output tokens/s at the SLO, and the p95 of the time to the first and per token in s.
    "llm-chat": {
        "cpu-onnxruntime": (300.0, (0.30, 0.030)),
        "cpu-openvino": (360.0, (0.28, 0.026)),
        "cpu-torch": (150.0, (0.60, 0.045)),
    },
    # Clips/s at the SLO, and the p90 of the latency in s.
    "speech-to-text": {
        "cpu-onnxruntime": (0.50, (4.0,)),
        "cpu-openvino": (0.60, (3.6,)),
        "cpu-torch": (0.30, (6.2,)),
    },
    # Payments/s at the SLO, and the p99 of the latency in s.
    "fraud-detection": {
        "cpu-onnxruntime": (900.0, (0.0030,)),
        "cpu-openvino": (700.0, (0.0040,)),
        "cpu-lightgbm": (500.0, (0.0045,)),
    },
}
WIDTH = 0.05
"""Half of each interval over its value."""


def records() -> list[Stored]:
    """Return the example's records as the store hands them out."""
    catalog = Catalog.find()
    found = []
    for name, by_target in MEASURED.items():
        workload = catalog.workload(name)
        for target, (rate, values_s) in by_target.items():
            point = _point(workload, rate, values_s)
            record = make_record(
                workload,
                catalog.target(target),
                number=len(found) + 1,
                points=(point,),
                headline=0 if point.slo_state == "met" else None,
            )
            found.append(make_stored(record))
    return found


def decision() -> Decision:
    """Return the answer to the brief `retail-bank` from the example's records."""
    catalog = Catalog.find()
    brief = catalog.brief("retail-bank")
    workloads = [catalog.workload(row.workload) for row in brief.workloads]
    targets = [catalog.target(name) for name in brief.targets]
    return decide(brief, workloads, targets, records())


def _point(workload: Workload, rate: float, values_s: tuple[float, ...]) -> Point:
    """Return a point at the highest load, its throughput `rate` in what the workload counts."""
    checks = tuple(
        SloCheck(
            limit=limit,
            value_s=value_s,
            high_s=value_s * (1 + WIDTH),
            state="met" if value_s * (1 + WIDTH) <= limit.limit_s else "missed",
        )
        for limit, value_s in zip(workload.slo, values_s, strict=True)
    )
    made = make_point(make_workload(), load=0.8)
    text = workload.task == "text_generation"
    unit = "tokens/s" if text else "requests/s"
    name = "throughput_output_tokens_per_s" if text else "throughput_requests_per_s"
    metrics = {
        "throughput_requests_per_s": make_metric(rate / 32, unit="requests/s", better="higher"),
        name: make_metric(rate, unit=unit, better="higher", width=WIDTH),
        "error_rate": make_metric(0.0, unit="share"),
    } | {
        f"{limit.metric}_s.p{limit.percentile:g}": make_metric(value_s, width=WIDTH)
        for limit, value_s in zip(workload.slo, values_s, strict=True)
    }
    return made.model_copy(
        update={
            "requested_rate": None,
            "metrics": metrics,
            "slo": checks,
            "slo_state": "missed" if any(c.state == "missed" for c in checks) else "met",
        }
    )
