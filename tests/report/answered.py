"""Decisions with their records for the report's tests: the real mapper over made-up records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from harness.mapper.decide import decide
from harness.schema import Decision, Record, Target, Workload
from harness.schema.record import (
    Ending,
    EnergyReading,
    EnvironmentField,
    Point,
    QualityCheck,
    Reason,
    Verdict,
)
from tests.factories import (
    make_brief,
    make_fraud_workload,
    make_metric,
    make_point,
    make_record,
    make_target,
    make_workload,
)


@dataclass(frozen=True)
class Pinned:
    record: Record
    sha256: str
    imports: dict[str, str] = field(default_factory=dict)


def pin(record: Record) -> Pinned:
    return Pinned(record, hashlib.sha256(record.model_dump_json().encode()).hexdigest())


def workloads(count: int = 3) -> list[Workload]:
    """Return `count` workloads: three, and then the same ones again under other names."""
    named = _workloads()
    again = [
        named[i % len(named)].model_copy(
            update={
                "name": f"{named[i % len(named)].name}-{i // len(named) + 1}",
                "title": f"{named[i % len(named)].title}, site {i // len(named) + 1}",
            }
        )
        for i in range(len(named), count)
    ]
    return [*named, *again][:count]


def _workloads() -> list[Workload]:
    return [
        make_workload(
            "chat",
            title="Customer chat",
            description="Answers to customers, streamed word by word.",
            slo=[
                {"metric": "ttft", "percentile": 90, "limit_s": 0.2},
                {"metric": "tpot", "percentile": 90, "limit_s": 0.05},
            ],
        ),
        make_workload(
            "speech",
            title="Call transcription",
            description="Recorded calls as text within half a minute.",
            task="speech_to_text",
            model={
                "family": "whisper",
                "vocabulary": 64,
                "hidden": 32,
                "encoder_layers": 1,
                "decoder_layers": 1,
                "heads": 2,
                "frames": 3000,
            },
            inputs={"kind": "audio", "output_tokens": {"kind": "fixed", "value": 8}},
            slo=[{"metric": "latency", "percentile": 95, "limit_s": 2.0}],
        ),
        make_fraud_workload(
            "fraud",
            title="Card fraud",
            description="A score for every card payment while the terminal waits.",
            slo=[{"metric": "latency", "percentile": 99, "limit_s": 0.02}],
            demand={"requests_per_month": 900_000_000, "peak_factor": 4.0, "residency": ["eu"]},
        ),
    ]


def rent(usd: float) -> dict[str, Any]:
    return {
        "kind": "rent",
        "sale_unit": "1 instance",
        "usd_per_hour": usd,
        "source": "price list of Acme, on demand, Frankfurt",
        "date": "2026-10-01",
    }


def targets(count: int = 5) -> list[Target]:
    named = [
        make_target("acme-cpu-16", title="Acme CPU, 16 cores", price=rent(0.41)),
        make_target("acme-cpu-16-int8", title="Acme CPU, 16 cores, int8", price=rent(0.43)),
        make_target(
            "owned-gpu",
            title="Owned server with one accelerator card",
            hardware={
                "chip": "Example card",
                "vendor": "Example",
                "kind": "gpu",
                "count": 2,
                "tdp_w": {"value": 350, "source": "data sheet", "date": "2026-05-01"},
                "host_power_w": {"value": 240, "source": "rating plate", "date": "2026-05-01"},
                "embodied_kgco2e": {
                    "value": 1600,
                    "source": "product carbon footprint of Example",
                    "date": "2026-05-01",
                },
            },
            site={"tier": "on_premises", "region": "Frankfurt", "jurisdiction": "eu"},
            price={
                "kind": "purchase",
                "sale_unit": "1 server",
                "purchase_usd": 21000.0,
                "life_years": 4.0,
                "residual_share": 0.1,
                "maintenance_share_per_year": 0.05,
                "source": "quotation 4711 of Example",
                "date": "2026-09-15",
            },
        ),
        make_target(
            "far-cloud",
            title="Far cloud, small instance",
            site={"tier": "cloud", "region": "us-test-1", "jurisdiction": "us"},
            price=rent(0.22),
        ),
        make_target("edge-box", title="Edge box", price=None),
    ]
    more = [
        make_target(f"extra-{i}", title=f"Extra target number {i}", price=rent(0.5 + i / 10))
        for i in range(max(0, count - len(named)))
    ]
    return [*named, *more][:count]


SPEED = {"chat": (12.0, 0.35), "speech": (3.0, 0.6), "fraud": (900.0, 0.004)}


def records(all_workloads: list[Workload], all_targets: list[Target]) -> list[Record]:
    """Return records of every kind: fine, noisy, invalid, unproven, failed, absent, unsupported."""
    made: list[Record] = []
    for w, workload in enumerate(all_workloads):
        rate, latency_s = SPEED[workload.name.partition("-")[0]]
        for t, target in enumerate(all_targets):
            number = max(100, 4 * len(all_targets)) * (w + 1) + 4 * t
            if target.name == "edge-box":
                if workload.name != "fraud":
                    made.append(
                        make_record(workload, target, number=number, status="unsupported")
                        if workload.name == "chat"
                        else make_record(workload, target, number=number, status="failed")
                    )
                continue
            if target.name == "far-cloud" and workload.name == "speech":
                continue
            speed = 1 + 0.25 * t
            slow = target.name == "far-cloud" and workload.name == "chat"
            points = tuple(
                make_point(
                    workload,
                    rate=rate * speed * load,
                    latency_s=latency_s
                    / speed
                    * (0.7 + load)
                    * (6 if slow else 1)
                    # The last load breaks every SLO: capacity is bracketed.
                    * (100 if load == 0.84 else 1),
                    load=load,
                    **_metered(target.name, load),
                    **_windowed(load),
                )
                for load in (0.3, 0.5, 0.8, 0.84)
            )
            points = tuple(_certified(point, WIDENED if t == 1 else 0.0) for point in points)
            if target.name == "acme-cpu-16-int8":
                points = tuple(
                    p.model_copy(
                        update={
                            "metrics": {
                                **p.metrics,
                                **{
                                    name: make_metric(None)
                                    for name in p.metrics
                                    if name.endswith(".p99") and workload.name != "fraud"
                                },
                            }
                        }
                    )
                    for p in points
                )
            verdict = Verdict(state="valid")
            quality = None
            if t == 1:
                verdict = Verdict(
                    state="noisy",
                    reasons=(
                        Reason(
                            code="foreign-load",
                            text="other processes kept 0.41 cores busy",
                            value=0.41,
                            limit=0.25,
                        ),
                        Reason(
                            code="widened",
                            text="the intervals are widened by 12 % for it (foreign-load)",
                            value=WIDENED,
                        ),
                    ),
                )
            if target.name == "acme-cpu-16-int8" and workload.name == "speech":
                quality = (
                    QualityCheck(
                        gate="word_error_rate",
                        metric="word_error_rate",
                        value=0.19,
                        limit=0.1,
                        better="lower",
                        passed=False,
                    ),
                )
            changes: dict[str, Any] = {
                "verdict": verdict,
                "environment": {
                    "cpu_model": EnvironmentField(value="Test CPU"),
                    "memory_gb": EnvironmentField(value=64.0),
                    "cpu_governor": EnvironmentField(value=None, unavailable="no cpufreq driver"),
                    "load_average_1_min": EnvironmentField(value=0.1 * t + 0.01 * w),
                    "calibration": EnvironmentField(value="current")
                    if t != 3
                    else EnvironmentField(value=None, unavailable="this machine has none"),
                },
                "capacity": make_metric(
                    rate * speed * 0.83, unit="requests/s", better="higher", width=0.04
                ),
            }
            if t == 2:
                ran = {"runtime": "fake", "version": "1.0", "precision": "fp32"}
                changes["session"] = {**ran, "left_running": ["4711 helper --serve"]}
            if quality:
                changes["quality"] = quality
            made.append(
                make_record(
                    workload,
                    target,
                    number=number,
                    points=points,
                    headline=_within(points),
                    **changes,
                )
            )
            made.append(
                make_record(
                    workload,
                    target,
                    scenario="offline",
                    number=number + 1,
                    points=(
                        make_point(
                            workload, rate=rate * speed * 1.2, slo=(), slo_state="not_applicable"
                        ),
                    ),
                )
            )
    return made


WIDENED = 0.12
"""How far the intervals of the noisy records were widened."""


def _windowed(load: float) -> dict[str, Any]:
    """Return why the window of a point ended, and what was cut from its start."""
    ending = Ending(why="precise")
    if load == 0.8:
        supports = "p99 of latency: known to within 9 %, not 5 %"
        ending = Ending(why="time_box", supports=supports)
    return {"ending": ending, "warm_up_requests": 12 if load == 0.3 else 0}


def _certified(point: Point, widened: float) -> Point:
    """Return `point` with bounds as of MLPerf on its percentiles, and widened by `widened`."""
    metrics = {
        name: metric.model_copy(
            update={
                "certified": metric.value * 1.08
                if metric.value and name.startswith("latency_s.")
                else None,
                "widened": widened if metric.value else 0.0,
            }
        )
        for name, metric in point.metrics.items()
    }
    return point.model_copy(update={"metrics": metrics})


BOUNDARIES = {
    "acme-cpu-16-int8": ("ipmi", "node", 1500.0, "sampled", ("gaps",)),
    "owned-gpu": ("nvml", "chip", 3600.0, "counter", ()),
    "far-cloud": ("model", "package", 900.0, "modelled", ()),
}
"""Meter, boundary, J at full load, provenance and flags of the targets that are metered."""


def _metered(target: str, load: float) -> dict[str, Any]:
    """Return the energy of a point: metered at different boundaries, modelled, or not at all."""
    if target not in BOUNDARIES:
        return {}
    meter, boundary, joules, provenance, flags = BOUNDARIES[target]
    reading = EnergyReading(
        meter=meter,
        joules=joules * (0.4 + 0.6 * load),
        duration_s=10.0,
        boundary=boundary,  # type: ignore[arg-type]
        covers=(f"{boundary}:0",),
        provenance=provenance,  # type: ignore[arg-type]
        uncertainty=0.3 if provenance == "modelled" else 0.05,
        flags=flags,  # type: ignore[arg-type]
    )
    return {"energy": (reading,)}


def _within(points: tuple[Any, ...]) -> int | None:
    kept = [i for i, p in enumerate(points) if p.slo_state in ("met", "unproven")]
    return kept[-1] if kept else None


def answered(target_count: int = 5, workload_count: int = 3) -> tuple[Decision, list[Record]]:
    """Return a decision over three workloads, or more, with the records that it names."""
    all_workloads, all_targets = workloads(workload_count), targets(target_count)
    made = records(all_workloads, all_targets)
    brief = make_brief(
        *(w.name for w in all_workloads),
        name="branch-bank",
        title="Which accelerators for the branch bank’s three services?",
        description="Chat, call transcription and card fraud for 2027, within the European Union "
        "for payments.",
        economics={
            **make_brief().economics.model_dump(),
            "carbon_intensity": {
                "kg_per_kwh": 0.363,
                "method": "location",
                "kind": "average",
                "year": 2024,
                "source": "grid operator, annual report",
                "date": date(2026, 4, 1),
            },
        },
    )
    decision = decide(brief, all_workloads, all_targets, [pin(r) for r in made])
    used = {reference.id for reference in decision.records}
    return decision, [record for record in made if record.id in used]
