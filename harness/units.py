"""The one place where numbers become text: units, digits, and what to say when there is none.

Three significant digits unless a whole number is exact. A missing number gives its reason. Never
"nan", and no exponent for a number anybody meets.
"""

from __future__ import annotations

import math
from collections.abc import Callable

NOT_MEASURED = "not measured"
DIGITS = 3
SMALLEST_FIXED = 1e-6
SMALLEST_USD = 1e-9
DASH = "–"

SECOND_SCALE = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
BYTE_SCALE = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
JOULE_SCALE = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))
WATT_SCALE = ((1e6, "MW"), (1e3, "kW"), (1.0, "W"), (1e-3, "mW"))
Scale = tuple[tuple[float, str], ...]


def number(value: float | None, reason: str | None = None) -> str:
    """Return `value` with three significant digits: `0.00123`, `12.3`, `1,235`, `3.20e-08`."""
    return _missing(value, reason) or _digits(_present(value))


def count(value: float | None, reason: str | None = None) -> str:
    """Return a number of things: `12,345`."""
    return _missing(value, reason) or f"{_whole(_present(value)):,}"


def bare(value: float) -> str:
    """Return a number that has no unit: a whole one as `12,345`, else three significant digits."""
    return count(value) if value == round(value) else number(value)


def counted(value: float, thing: str) -> str:
    """Return a number of things with their name: `1 unit`, `12,345 units`."""
    return f"{count(value)} {thing}{'' if value == 1 else 's'}"


def seconds(value: float | None, reason: str | None = None) -> str:
    """Return a latency in s: `12.3 ms`, `850 µs`, `1.50 s`, `1,234 s`."""
    return _missing(value, reason) or _scaled(_present(value), SECOND_SCALE)


def duration(value: float | None, reason: str | None = None) -> str:
    """Return a time span in s as people say it: `850 ms`, `45.0 s`, `3 min 20 s`, `2 h 5 min`."""
    missing = _missing(value, reason)
    if missing:
        return missing
    value = _present(value)
    if abs(value) < 60:
        return seconds(value)
    sign, whole = "-" if value < 0 else "", _whole(abs(value))
    for small, large, names in ((1, 60, "min s"), (60, 3600, "h min"), (3600, 86400, "d h")):
        if whole < large * (24 if large == 3600 else 60) or large == 86400:
            steps = _whole(whole / small) * small
            big, rest = divmod(steps, large)
            first, second = names.split()
            return f"{sign}{big:,} {first} {rest // small} {second}"
    raise AssertionError("the last step takes every span")


def rate(value: float | None, unit: str, reason: str | None = None) -> str:
    """Return `value` things a second, `unit` as in "tokens/s": `1,235 tokens/s`."""
    return _missing(value, reason) or f"{_digits(_present(value))} {unit}"


def usd(value: float | None, reason: str | None = None) -> str:
    """Return US dollars: `$1,234`, `$12.34`, `$0.00123`."""
    missing = _missing(value, reason)
    if missing:
        return missing
    value = _present(value)
    sign, size = "-" if value < 0 else "", abs(value)
    if size >= 999.995:
        return f"{sign}${_whole(size):,}"
    if size >= 0.995 or size == 0:
        return f"{sign}${size:.2f}"
    return f"{sign}${_digits(size, smallest=SMALLEST_USD)}"


def joules(value: float | None, reason: str | None = None) -> str:
    """Return energy in J: `12.3 J`, `850 mJ`, `1.50 kJ`."""
    return _missing(value, reason) or _scaled(_present(value), JOULE_SCALE)


def watts(value: float | None, reason: str | None = None) -> str:
    """Return power in W: `350 W`, `1.50 kW`."""
    return _missing(value, reason) or _scaled(_present(value), WATT_SCALE)


def data(value: float | None, reason: str | None = None) -> str:
    """Return an amount of data in bytes, decimal: `1.50 GB` is 1,500,000,000 bytes."""
    return _missing(value, reason) or _scaled(_present(value), BYTE_SCALE)


def gigabytes(value: float | None, reason: str | None = None) -> str:
    """Return an amount of data in GB (10^9 bytes): `80.0 GB`."""
    return data(None if value is None else value * 1e9, reason)


def percent(share: float | None, reason: str | None = None) -> str:
    """Return a share as per cent: 0.123 is `12.3 %`. What is not all is never shown as 100 %."""
    missing = _missing(share, reason)
    if missing:
        return missing
    # Without the rounding, 7 % is 7.000000000000001.
    value = round(_present(share) * 100, 9)
    if 99.95 <= value < 100:
        return "above 99.99 %" if value >= 99.995 else f"{value:.2f} %"
    return f"{value:,.0f} %" if value == round(value) else f"{_digits(value)} %"


METRIC_UNITS: dict[str, Callable[[float | None], str]] = {
    "s": seconds,
    "J": joules,
    "W": watts,
    "B": data,
    "GB": gigabytes,
    "USD": usd,
    "share": percent,
    "1": number,
}


def quantity(value: float | None, unit: str, reason: str | None = None) -> str:
    """Return `value` in `unit` as records name it: "s", "J", "share", "tokens/s", ..."""
    if value is None:
        return reason or NOT_MEASURED
    if unit in METRIC_UNITS:
        return METRIC_UNITS[unit](value)
    if unit.startswith(("J/", "USD/")):
        name, _, per = unit.partition("/")
        return f"{METRIC_UNITS[name](value)}/{per}"
    return rate(value, unit)


def interval(
    value: float | None,
    low: float | None,
    high: float | None,
    unit: str,
    reason: str | None = None,
) -> str:
    """Return `value` with its 95 % interval, both in the value's unit: `12.3 ms (11.9–12.8)`.

    A side without a bound is said so: `12.3 ms (11.9 or more)`; without both, the value alone.
    """
    text = quantity(value, unit, reason)
    if value is None or not math.isfinite(value) or (low is None and high is None):
        return text
    factor = _factor(value, unit)
    smallest = SMALLEST_USD if unit.partition("/")[0] == "USD" else SMALLEST_FIXED
    bounds = [None if bound is None else _bound(bound / factor, smallest) for bound in (low, high)]
    return f"{text} ({_span(bounds[0], bounds[1])})"


def _span(low: str | None, high: str | None) -> str:
    if low is None:
        return f"{high} or less"
    if high is None:
        return f"{low} or more"
    # A dash beside a minus sign cannot be read.
    return f"{low} to {high}" if "-" in low + high else f"{low}{DASH}{high}"


def _bound(value: float, smallest: float) -> str:
    return _digits(value, smallest) if math.isfinite(value) else _not_finite()


def _factor(value: float, unit: str) -> float:
    """Return what the unit shown for `value` is worth in `unit`."""
    scales: dict[str, Scale] = {
        "s": SECOND_SCALE,
        "J": JOULE_SCALE,
        "W": WATT_SCALE,
        "B": BYTE_SCALE,
    }
    name = unit.partition("/")[0] if unit.startswith("J/") else unit
    if name == "GB":
        return _step(value * 1e9, BYTE_SCALE)[0] / 1e9
    if name == "share":
        return 0.01
    return _step(value, scales[name])[0] if name in scales else 1.0


def _missing(value: float | None, reason: str | None) -> str | None:
    if value is None:
        return reason or NOT_MEASURED
    return None if math.isfinite(value) else _not_finite()


def _not_finite() -> str:
    return "not a finite number"


def _present(value: float | None) -> float:
    assert value is not None
    return float(value)


def _whole(value: float) -> int:
    """Return `value` rounded, halves away from zero, as people round."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _digits(value: float, smallest: float = SMALLEST_FIXED) -> str:
    """Return `value` with three significant digits; from 1,000 on as a whole number."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 999.5:
        return f"{_whole(value):,}"
    if size < smallest:
        return f"{value:.{DIGITS - 1}e}"
    rounded = float(f"{value:.{DIGITS - 1}e}")
    decimals = DIGITS - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


def _step(value: float, scale: Scale) -> tuple[float, str]:
    """Return the largest step of `scale` in which `value`, as rounded, is at least 1."""
    if value == 0:
        return next(step for step in scale if step[0] == 1.0)
    for factor, name in scale:
        if float(f"{abs(value) / factor:.{DIGITS - 1}e}") >= 1:
            return factor, name
    return scale[-1]


def _scaled(value: float, scale: Scale) -> str:
    factor, name = _step(value, scale)
    return f"{_digits(value / factor)} {name}"
