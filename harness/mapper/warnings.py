"""What a decision leaves open or rests on uneasily, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from harness.mapper.standing import Standing
from harness.mapper.terms import OLD_PRICE_SHARE
from harness.schema.brief import Brief
from harness.schema.option import Option
from harness.schema.record import Record
from harness.schema.target import Target
from harness.schema.workload import Workload


def standing_warnings(known: Standing) -> list[str]:
    """Return what is odd about the records that stand for a target."""
    found = list(known.warnings)
    if known.outdated and known.records:
        found.append(f"older records are left out (changed: {', '.join(known.outdated)})")
    return found


def option_warnings(workload: Workload, options: Sequence[Option]) -> list[str]:
    """Return what the figures of `options` leave out, and how weakly they are known."""
    found = []
    for option in options:
        texts = list(option.warnings)
        if option.verdict == "noisy":
            texts.append(f"noisy measurement: {'; '.join(option.verdict_reasons)}")
        if option.evidence != "measured":
            texts.append(f"figures are {option.evidence}, not measured by this harness")
        found += [f"{workload.name} on {option.target}: {text}" for text in texts]
    return found


def price_warnings(brief: Brief, targets: Sequence[Target]) -> list[str]:
    """Return the prices that are nearly too old, or younger than the question."""
    limit = brief.constraints.max_price_age_days
    found = []
    for target in targets:
        if target.price is None:
            continue
        age = (brief.as_of - target.price.date).days
        if age < 0:
            found.append(
                f"{target.name}: the price of {target.price.date.isoformat()} is younger than the "
                f"brief, which is as of {brief.as_of.isoformat()}"
            )
        elif OLD_PRICE_SHARE * limit < age <= limit:
            found.append(f"{target.name}: the price is {age} days old; at most {limit} are allowed")
    return found


def machine_warnings(targets: Sequence[Target], cited: Sequence[Record]) -> list[str]:
    """Return the targets whose chip is detected, where their records come from different CPUs."""
    detected = {t.name for t in targets if t.hardware.detect and t.hardware.kind == "cpu"}
    seen: dict[str, set[str]] = {}
    for record in cited:
        field = record.environment.get("cpu_model")
        if record.cell.target in detected and field is not None and field.value is not None:
            seen.setdefault(str(field.value), set()).add(record.cell.target)
    if len(seen) < 2:
        return []
    where = "; ".join(f"{model}: {', '.join(sorted(seen[model]))}" for model in sorted(seen))
    return [f"targets that take the CPU they find were measured on different ones ({where})"]
