"""The compiler gap: which operators of a model run on the target's own runtime, and which do not.

Read from what the session said of itself, `operators` and `fallbacks` (docs/models.md). A runtime
that does not say where its operators run is shown as not telling, never as running all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness import units
from harness.report.text import clip
from harness.report.view import WorkloadView
from harness.schema import Record

LONGEST_LIST = 400
NOT_TOLD = "not told by the runtime"


@dataclass(frozen=True, slots=True)
class Gap:
    """A target's row: its workloads, and in words what runs where.

    `whole` is None where the runtime does not tell; False where something is elsewhere or refused.
    """

    target: str
    name: str
    workloads: str
    natively: str
    elsewhere: str
    replaced: str
    refused: str
    whole: bool | None


def compiler_gap(views: Sequence[WorkloadView]) -> tuple[Gap, ...]:
    """Return a row for each target and each different account of its operators, in their order."""
    found: dict[tuple[str, str, tuple[str, str, str, str], bool | None], list[str]] = {}
    for view in views:
        for row in view.rows:
            record = _telling(row.records)
            if record is None:
                continue
            told, whole = account(record)
            key = (row.title, row.outcome.target, told, whole)
            found.setdefault(key, []).append(view.decision.title)
    return tuple(
        Gap(title, name, ", ".join(workloads), *told, whole)
        for (title, name, told, whole), workloads in sorted(
            found.items(), key=lambda item: _first(item[0][1], found)
        )
    )


def account(record: Record) -> tuple[tuple[str, str, str, str], bool | None]:
    """Return what runs natively, elsewhere, replaced by others and is refused; and if all is well.

    Natively means on the session's first provider, or else on the one place that there is.
    """
    if record.status == "unsupported" and record.failure is not None:
        refused = clip(record.failure.message, LONGEST_LIST)
        return ("nothing", "nothing", "nothing", refused), False
    said = record.session.get("operators")
    operators: Mapping[object, object] = said if isinstance(said, Mapping) else {}
    lowered, unsupported = _texts(operators.get("lowered")), _texts(operators.get("unsupported"))
    fallbacks = _texts(record.session.get("fallbacks"))
    placed = _placed(operators.get("assigned"))
    own = _own_place(record.session, placed)
    replaced, refused = _listed(lowered), _listed(unsupported)
    if own is None:
        whole = False if fallbacks or unsupported else None
        places = [f"{units.count(n)} on {where}" for where, n in sorted(placed.items())]
        told = clip("; ".join([*places, *fallbacks]), LONGEST_LIST) or NOT_TOLD
        return (NOT_TOLD, told, replaced, refused), whole
    total = sum(placed.values())
    natively = placed.get(own, 0)
    share = units.percent(natively / total)
    elsewhere = [
        f"{units.count(n)} on {where}" for where, n in sorted(placed.items()) if where != own
    ]
    away = "; ".join([*elsewhere, *fallbacks])
    return (
        f"{units.count(natively)} of {units.count(total)} ({share}) on {own}",
        clip(away, LONGEST_LIST) or "none",
        replaced,
        refused,
    ), not (away or unsupported)


def _telling(records: Iterable[Record]) -> Record | None:
    """Return the newest record that says something of operators, or was refused for them."""
    telling = [
        record
        for record in records
        if record.status == "unsupported" or (record.status == "ok" and record.session)
    ]
    return telling[-1] if telling else None


def _own_place(session: Mapping[str, object], placed: Mapping[str, int]) -> str | None:
    """Return the place that is the target's own; None where the runtime does not tell."""
    if not placed:
        return None
    providers = session.get("providers")
    if isinstance(providers, Sequence) and not isinstance(providers, str) and providers:
        return str(providers[0])
    runtime = str(session.get("runtime", ""))
    if runtime in placed:
        return runtime
    return next(iter(placed)) if len(placed) == 1 else None


def _placed(assigned: object) -> dict[str, int]:
    """Return how many nodes run where, over all files and operators."""
    counts: dict[str, int] = {}
    for operators in _values(assigned):
        for places in _values(operators):
            if isinstance(places, Mapping):
                for place, count in places.items():
                    if isinstance(count, int):
                        counts[str(place)] = counts.get(str(place), 0) + count
    return counts if sum(counts.values()) > 0 else {}


def _values(tree: object) -> tuple[object, ...]:
    return tuple(tree.values()) if isinstance(tree, Mapping) else ()


def _texts(found: object) -> list[str]:
    """Return a list of a session as texts; a mapping or anything else as one."""
    if found is None or found == [] or found == {}:
        return []
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [str(each) for each in found]
    return [str(found)]


def _listed(texts: Sequence[str]) -> str:
    return clip("; ".join(texts), LONGEST_LIST) or "none"


def _first(
    name: str, keys: Iterable[tuple[str, str, tuple[str, str, str, str], bool | None]]
) -> int:
    return next(index for index, key in enumerate(keys) if key[1] == name)
