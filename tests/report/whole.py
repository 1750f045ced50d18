"""A decision with every optional part: API, tasks, burst, levers, shared fleet, client trust."""

import math
from functools import cache
from statistics import NormalDist

import numpy as np

from harness.mapper.decide import decide
from harness.schema import Brief, Decision, Record, Target, Workload
from harness.schema.record import Histogram, Point
from harness.schema.trust import ClientCalibration, Trust
from harness.statistics import histogram
from tests.factories import make_brief, make_target
from tests.report.answered import answered, pin, records, targets, workloads

CHIPS = {
    "acme-cpu-16": ("Acme A16", "Acme"),
    "acme-cpu-16-int8": ("Acme A16", "Acme"),
    "owned-gpu": ("Example E2 card", "Example"),
    "far-cloud": ("Acme A8", "Acme"),
    "edge-box": ("Borealis B1", "Borealis"),
}
LEVERS = (
    {"kind": "quantisation", "workload": "chat"},
    {"kind": "result_caching", "workload": "chat", "hit": 0.3},
    {"kind": "batch", "workload": "speech", "share": 0.5},
)
DEMAND = {
    "chat": {
        "tasks_per_month": 2_000_000,
        "growth_per_year": 0.4,
        "agent": {
            "calls_per_task": 5,
            "order": "sequential",
            "slo": {"percentile": 95, "limit_s": 10.0},
        },
    },
    "speech": {"requests_per_month": 4_000_000, "batchable_share": 0.2},
    "fraud": {
        "requests_per_month": 900_000_000,
        "peak_factor": 4.0,
        "residency": ["eu"],
        "burst": {"factor": 10, "duration_s": 60},
    },
}
CALLS = 4000
TRUST = Trust(
    loop="uvloop",
    loop_lag_p50_s=0.0002,
    loop_lag_p99_s=0.004,
    loop_lag_max_s=0.02,
    cpu_share=0.31,
    wait_share=None,
    schedule_delay_p50_s=0.0001,
    schedule_delay_p99_s=0.002,
    handover_p50_s=0.0001,
    handover_p99_s=0.001,
    achieved_share=0.998,
    requests=1_200,
    connections=12,
    reuse_share=0.99,
    resent=1,
    calibration=ClientCalibration(
        requests=300,
        streams=8,
        rate=100,
        tokens=8,
        gap_s=0.01,
        first_error_p50_s=0.00035,
        first_error_p99_s=0.0021,
        itl_error_share=0.004,
        ceiling_per_s=5_200,
    ),
)


def spread(point: Point) -> Histogram:
    """Return latencies around the point's median with about its other percentiles."""
    normal = NormalDist(math.log(point.metrics["latency_s.p50"].value or 0.1), 0.32)
    return histogram(np.exp([normal.inv_cdf((i + 0.5) / CALLS) for i in range(CALLS)]))


def api() -> Target:
    """Return a language model as a service, paid by the token."""
    return make_target(
        "model-api",
        title="Language model as a service",
        hardware={"chip": "not told", "vendor": "Cumulus", "kind": "gpu"},
        runtime={"adapter": "http", "device": "remote"},
        server={"url": "http://127.0.0.1:1/v1", "protocol": "openai-chat", "model": "m"},
        price={
            "kind": "api",
            "sale_unit": "pay as you go",
            "usd_per_million_input_tokens": 9.0,
            "usd_per_million_cached_input_tokens": 2.5,
            "usd_per_million_output_tokens": 30.0,
            "source": "price list of Cumulus",
            "date": "2026-10-01",
        },
    )


def chips() -> list[Target]:
    """Return the targets of `answered` with a chip of their own each, and an API."""
    named = []
    for target in targets():
        chip, vendor = CHIPS[target.name]
        changes: dict[str, object] = {
            "hardware": target.hardware.model_copy(update={"chip": chip, "vendor": vendor})
        }
        if target.name == "acme-cpu-16-int8":
            changes["runtime"] = target.runtime.model_copy(update={"precision": "int8"})
            changes["price"] = target.price.model_copy(update={"usd_per_hour": 0.55})
        named.append(target.model_copy(update=changes))
    return [*named, api()]


def brief(asked: list[Workload]) -> Brief:
    """Return a brief that asks for everything that can be asked for."""
    return make_brief(
        workloads=[{"workload": w.name, "demand": DEMAND[w.name]} for w in asked],
        name="branch-bank",
        title="Which accelerators for the branch bank’s three services?",
        description="Chat, call transcription and card fraud for 2027, within the European Union "
        "for payments.",
        economics={
            **answered()[0].brief.economics.model_dump(),
            "integration_weeks_per_stack": 2.0,
            "integration_usd_per_week": 4000.0,
            "ramp_months": 6,
        },
        levers=LEVERS,
        portfolio={"vendor_share_max": 0.8, "second_source": ["fraud"], "time_limit_s": 60.0},
    )


@cache
def whole() -> tuple[Decision, tuple[Record, ...]]:
    """Return the decision and the records that it names, in its order."""
    asked, offered = workloads(), chips()
    made = []
    for record in records(asked, offered):
        trust = TRUST if record.cell.target == "model-api" else None
        points = tuple(
            p.model_copy(update={"trust": trust, "latency": spread(p)}) for p in record.points
        )
        made.append(record.model_copy(update={"points": points}))
    decision = decide(brief(asked), asked, offered, [pin(record) for record in made])
    by_id = {record.id: record for record in made}
    return decision, tuple(by_id[each.id] for each in decision.records)
