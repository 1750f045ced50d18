"""Joules of one window to figures: power, and joules per request, good request and token.

The meters run a little longer than the traffic: they wait for an update at the edges, and the
harness looks at its figures between two stages. Formulas: docs/energy.md, "Figures per request".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.schema.record import EnergyReading, Metric, Point


@dataclass(frozen=True, slots=True)
class Work:
    """What the joules of a window were used for.

    `traffic_s` is the time in which requests were served. `attainment` is the share of the requests
    that met every limit of the SLO, of the same window; None where there is no SLO to meet.
    """

    traffic_s: float
    requests: int
    output_tokens: float = 0.0
    attainment: Metric | None = None


def energy_metrics(readings: Iterable[EnergyReading], work: Work) -> dict[str, Metric]:
    """Return the figures of all `readings` that have joules, each with its boundary in the name.

    Of two readings of one boundary the first counts: it is the meter closest to the device.
    """
    metrics: dict[str, Metric] = {}
    for reading in readings:
        for name, metric in reading_metrics(reading, work).items():
            metrics.setdefault(name, metric)
    return metrics


def reading_metrics(reading: EnergyReading, work: Work) -> dict[str, Metric]:
    """Return power (W) and joules per unit of `work` by `reading`; none if it has no joules.

    The joules of failed requests stay in the numerator.
    """
    if reading.joules is None or reading.uncertainty is None or reading.duration_s <= 0:
        return {}
    at = reading.boundary
    metrics = {f"power_w@{at}": _power(reading, reading.joules, reading.uncertainty, work)}
    amounts = {"request": float(work.requests), "output_token": work.output_tokens}
    for unit, amount in amounts.items():
        if amount > 0:
            metrics[f"energy_j_per_{unit}@{at}"] = _joules(
                reading, work, unit, amount, work.requests
            )
    if work.attainment is not None and work.attainment.n:
        metrics[f"energy_j_per_good_request@{at}"] = _good(reading, work, work.attainment)
    return metrics


def method_of(reading: EnergyReading) -> str:
    """Return how joules are known, as in `rapl, counter (flags: gaps)`."""
    flags = ", ".join(flag.replace("_", " ") for flag in reading.flags)
    return f"{reading.meter}, {reading.provenance}" + (f" (flags: {flags})" if flags else "")


def traffic_share(reading: EnergyReading, work: Work) -> float:
    """Return the least share of the joules that the traffic can have had.

    That is its share of the metered time: all else drew at most as much as the traffic.
    """
    return min(1.0, work.traffic_s / reading.duration_s) if work.traffic_s > 0 else 1.0


def _power(reading: EnergyReading, joules: float, uncertainty: float, work: Work) -> Metric:
    """Return the mean power; up to what it was if nothing but the traffic drew any."""
    value = joules / reading.duration_s
    return Metric(
        unit="W",
        better="lower",
        value=value,
        low=max(0.0, value * (1 - uncertainty)),
        high=value / traffic_share(reading, work) * (1 + uncertainty),
        n=work.requests,
        method=method_of(reading),
    )


def _joules(
    reading: EnergyReading,
    work: Work,
    unit: str,
    amount: float,
    n: int,
    spread: tuple[float, float] = (0.0, 0.0),
) -> Metric:
    """Return the joules per one of `amount`; `spread` are the relative bounds that it adds."""
    assert reading.joules is not None
    assert reading.uncertainty is not None
    value = reading.joules / amount
    below, above = (math.hypot(reading.uncertainty, part) for part in spread)
    return Metric(
        unit=f"J/{unit.replace('_', ' ')}",
        better="lower",
        value=value,
        low=max(0.0, value * traffic_share(reading, work) * (1 - below)),
        high=value * (1 + above),
        n=n,
        method=method_of(reading),
    )


def _good(reading: EnergyReading, work: Work, attainment: Metric) -> Metric:
    """Return the joules per request that met every limit; with the interval of their share."""
    share = attainment.value or 0.0
    good = round(share * attainment.n)
    if not good or not attainment.low or attainment.high is None:
        return Metric(
            unit="J/good request",
            better="lower",
            value=None,
            n=0,
            method=method_of(reading),
            reason="no request met every limit of the SLO",
        )
    # Relative bounds of 1 / share, whose lower end is the upper end of the share.
    spread = 1 - share / attainment.high, share / attainment.low - 1
    return _joules(reading, work, "good_request", float(good), good, spread)


def work_of(point: Point) -> Work:
    """Return what the joules of a stored point were used for, its warm-up included.

    Where a warm-up was cut, what its requests were worth is not stored: the tokens and the share of
    good requests are then left out.
    """
    served = point.requests - point.failed + point.warm_up_requests
    if point.warm_up_requests:
        cut = point.warm_up_requests / max(point.requests, 1)
        return Work(point.duration_s * (1 + cut), served)
    tokens = point.metrics.get("throughput_output_tokens_per_s")
    attainment = point.metrics.get("slo_attainment")
    return Work(
        traffic_s=point.duration_s,
        requests=served,
        output_tokens=(tokens.value or 0.0) * point.duration_s if tokens else 0.0,
        attainment=attainment.model_copy(update={"n": point.requests}) if attainment else None,
    )
