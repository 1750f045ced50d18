"""Makes documents for tests: whole, valid, and changed by keyword."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.schema import Brief, Record, Target, Workload, canonical_json, content_hash
from harness.schema.record import (
    Cell,
    EnergyReading,
    EnvironmentField,
    Failure,
    Histogram,
    Metric,
    Point,
    QualityCheck,
    SloCheck,
    Verdict,
)
from harness.store import Stored

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(number: int) -> str:
    """Return the ULID that stands for `number` in tests."""
    digits = ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits = ALPHABET[digit] + digits
    return digits


def make_workload(name: str = "chat", **changes: Any) -> Workload:
    tree: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "version": 1,
        "title": f"The {name} workload",
        "description": "A small workload for tests.",
        "task": "text_generation",
        "model": {
            "family": "llama",
            "vocabulary": 64,
            "hidden": 32,
            "layers": 2,
            "heads": 4,
            "kv_heads": 2,
            "intermediate": 64,
            "context": 128,
        },
        "inputs": {
            "kind": "prompts",
            "count": 8,
            "prompt_tokens": {"kind": "uniform", "minimum": 4, "maximum": 16},
            "output_tokens": {"kind": "fixed", "value": 8},
        },
        "scenarios": [{"kind": "single_stream"}, {"kind": "offline"}, {"kind": "server"}],
        "slo": [{"metric": "latency", "percentile": 90, "limit_s": 0.5}],
        "quality": [{"kind": "reference_agreement", "requests": 1}],
        "demand": {"requests_per_month": 1_000_000, "peak_factor": 3.0},
    }
    tree.update(changes)
    return Workload.model_validate(tree)


def make_fraud_workload(name: str = "fraud", **changes: Any) -> Workload:
    return make_workload(
        name,
        **{
            "task": "tabular_classification",
            "model": {"family": "trees_mlp", "weights": "weights/fraud.safetensors"},
            "inputs": {"kind": "transactions", "count": 64},
            "slo": [{"metric": "latency", "percentile": 99, "limit_s": 0.01}],
            "quality": [{"kind": "pr_auc", "rows": 100}],
            **changes,
        },
    )


def make_target(name: str = "box", **changes: Any) -> Target:
    tree: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "title": f"The {name} target",
        "description": "A target for tests.",
        "hardware": {"chip": "Test chip", "vendor": "Acme", "kind": "cpu"},
        "runtime": {"adapter": "fake"},
        "site": {"tier": "cloud", "region": "eu-test-1", "jurisdiction": "eu"},
        "price": {
            "kind": "rent",
            "sale_unit": "1 instance",
            "usd_per_hour": 1.0,
            "source": "price list of Acme",
            "date": "2026-10-01",
        },
    }
    tree.update(changes)
    if isinstance(tree.get("price"), dict) and isinstance(tree["price"].get("date"), str):
        tree["price"] = {**tree["price"], "date": date.fromisoformat(tree["price"]["date"])}
    return Target.model_validate(tree)


def make_brief(*workloads: str, **changes: Any) -> Brief:
    tree: dict[str, Any] = {
        "schema": 1,
        "name": "question",
        "title": "Which target?",
        "description": "A brief for tests.",
        "as_of": date(2026, 11, 1),
        "workloads": [{"workload": name} for name in (workloads or ("chat",))],
        "economics": {
            "electricity_usd_per_kwh": {
                "value": 0.15,
                "source": "tariff",
                "date": date(2026, 1, 1),
            },
            "pue": {"value": 1.3, "source": "operator", "date": date(2026, 1, 1)},
        },
    }
    tree.update(changes)
    return Brief.model_validate(tree)


def make_metric(
    value: float | None,
    *,
    unit: str = "s",
    better: str = "lower",
    width: float = 0.05,
    n: int = 200,
) -> Metric:
    return Metric(
        unit=unit,
        better=better,  # type: ignore[arg-type]
        value=value,
        low=None if value is None else value * (1 - width),
        high=None if value is None else value * (1 + width),
        n=n,
        method="test",
        reason="not supported by n" if value is None else None,
    )


def make_point(
    workload: Workload,
    *,
    rate: float = 10.0,
    latency_s: float = 0.1,
    load: float | None = None,
    joules: float | None = None,
    width: float = 0.05,
    **changes: Any,
) -> Point:
    """Return a point with throughput `rate` and latency percentiles around `latency_s`."""
    metrics = {
        "latency_s.p50": make_metric(latency_s, width=width),
        "latency_s.p90": make_metric(latency_s * 1.5, width=width),
        "latency_s.p95": make_metric(latency_s * 1.7, width=width),
        "latency_s.p99": make_metric(latency_s * 2, width=width),
        "throughput_requests_per_s": make_metric(
            rate, unit="requests/s", better="higher", width=width
        ),
        "error_rate": make_metric(0.0, unit="share"),
    }
    if workload.task == "text_generation":
        metrics["throughput_output_tokens_per_s"] = make_metric(
            rate * 8, unit="tokens/s", better="higher", width=width
        )
        metrics["ttft_s.p50"] = make_metric(latency_s / 4, width=width)
        metrics["ttft_s.p90"] = make_metric(latency_s / 3, width=width)
        metrics["tpot_s.p50"] = make_metric(latency_s / 20, width=width)
        metrics["tpot_s.p90"] = make_metric(latency_s / 16, width=width)
    checks = []
    for limit in workload.slo:
        metric = metrics[f"{limit.metric}_s.p{limit.percentile:g}"]
        assert metric.value is not None
        assert metric.high is not None
        state = (
            "missed"
            if metric.value > limit.limit_s
            else "met"
            if metric.high <= limit.limit_s
            else "unproven"
        )
        checks.append(
            SloCheck(limit=limit, value_s=metric.value, high_s=metric.high, state=state)  # type: ignore[arg-type]
        )
    states = {check.state for check in checks}
    worst = next(s for s in ("missed", "unproven", "met") if s in states)
    energy = EnergyReading(
        meter="rapl",
        joules=joules,
        duration_s=10.0,
        boundary=None if joules is None else "package",
        covers=() if joules is None else ("pkg:0",),
        provenance=None if joules is None else "counter",
        uncertainty=None if joules is None else 0.05,
        reason="no powercap tree on this machine" if joules is None else None,
        remedy="run on bare metal" if joules is None else None,
    )
    tree: dict[str, Any] = {
        "load": load,
        "requested_rate": None if load is None else rate,
        "duration_s": 10.0,
        "requests": round(rate * 10),
        "failed": 0,
        "metrics": metrics,
        "slo": tuple(checks),
        "slo_state": worst,
        "latency": Histogram(counts=((-232, 10), (-231, 5))),
        "energy": (energy,),
    }
    tree.update(changes)
    return Point(**tree)


def make_record(
    workload: Workload | None = None,
    target: Target | None = None,
    *,
    scenario: str = "server",
    number: int = 1,
    repeat: int = 0,
    points: tuple[Point, ...] | None = None,
    status: str = "ok",
    **changes: Any,
) -> Record:
    workload = workload or make_workload()
    target = target or make_target()
    if points is None:
        points = (make_point(workload),) if status == "ok" else ()
    identity = {
        "workload": workload.name,
        "workload_version": workload.version,
        "workload_hash": content_hash(workload),
        "target": target.name,
        "target_hash": content_hash(target),
        "scenario": workload.scenario(scenario),  # type: ignore[arg-type]
        "profile": "quick",
        "seed": 0,
        "repeat": repeat,
    }
    failure = None
    if status != "ok":
        kind = "unsupported" if status == "unsupported" else "crash"
        failure = Failure(kind=kind, message=f"the cell ended: {kind}")  # type: ignore[arg-type]
    tree: dict[str, Any] = {
        "schema_": 1,
        "id": ulid(number),
        "run": ulid(10_000),
        "cell": Cell(id=f"{number:016x}", **identity),  # type: ignore[arg-type]
        "workload": workload,
        "target": target,
        "evidence": "measured",
        "status": status,
        "failure": failure,
        "started_at": START + timedelta(minutes=number),
        "ended_at": START + timedelta(minutes=number, seconds=30),
        "phases_s": {"load": 1.0, "measure": 10.0},
        "session": {"runtime": "fake", "version": "1.0", "precision": "fp32"},
        "points": points,
        "headline": len(points) - 1 if points else None,
        "quality": (
            QualityCheck(
                gate="reference_agreement",
                metric="kl_divergence",
                value=1e-6,
                limit=0.01,
                better="lower",
                passed=True,
            ),
        )
        if status == "ok"
        else (),
        "verdict": Verdict(state="valid"),
        "environment": {"cpu_model": EnvironmentField(value="Test CPU")},
        "harness_version": "0.1.0",
        "files": {},
    }
    tree.update(changes)
    return Record(**tree)


def make_stored(record: Record) -> Stored:
    """Return `record` as the store hands it out; its folder does not exist."""
    digest = hashlib.sha256(canonical_json(record).encode()).hexdigest()
    return Stored(record, Path("nowhere") / record.id, digest)
