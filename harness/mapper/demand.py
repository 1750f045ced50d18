"""The demand that a brief asks about: what the workload declares, with the buyer's in its place."""

from __future__ import annotations

from pydantic import ValidationError

from harness.errors import SpecError
from harness.schema.brief import DemandOverride
from harness.schema.demand import Demand

EITHER = (("peak_factor", "hourly_profile"), ("requests_per_month", "tasks_per_month"))
"""Statements that stand for each other: the first follows from the second where that is given."""


def demand_of(declared: Demand, override: DemandOverride, where: str = "demand") -> Demand:
    """Return the workload's demand with what the brief says in its place.

    Where the brief gives one of two statements of a figure, the other that the workload declares
    falls away: its peak factor ends the declared hourly profile, its requests the declared tasks.
    SpecError, named after `where`, if the two together make no demand.
    """
    given = {name: value for name, value in override if value is not None}
    tree = {name: value for name, value in declared if value is not None}
    for derived, source in EITHER:
        if derived in given:
            tree.pop(source, None)
        elif source in given or source in tree:
            tree.pop(derived, None)
    try:
        return Demand.model_validate({**tree, **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = str(first.get("ctx", {}).get("error", first["msg"]))
        raise SpecError(f"{where}: {text}") from None
