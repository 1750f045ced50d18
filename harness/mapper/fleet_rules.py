"""The rules on a whole fleet: its power, its space and its cost against what the buyer has."""

from __future__ import annotations

from harness import units
from harness.economics import Power
from harness.mapper.declared import outside
from harness.mapper.operating import Operating
from harness.mapper.power import UnitLoad, power_of
from harness.mapper.relax import margin_below, rejection
from harness.schema.brief import Brief
from harness.schema.option import Option
from harness.schema.rejection import Rejection
from harness.schema.target import Target


def fleet_rules(
    brief: Brief, target: Target, option: Option, operating: Operating, load: UnitLoad
) -> tuple[list[Rejection], list[str]]:
    """Return the rules that speak against the fleet of `option`, and what is not known of it.

    `load` is what one of its units serves. Power and space are of the buyer's own site: a cloud and
    an API have none there.
    """
    against, unknown = [], []
    limits = brief.constraints
    fleet = f"{units.count(option.replicas)} unit{'s' if option.replicas > 1 else ''}"
    if limits.power_kw_max is not None and not outside(target):
        power = power_of(operating.series, target.hardware, load, operating.warm)
        if isinstance(power, Power):
            watts = power.watts if power.peak_watts is None else power.peak_watts
            kilowatts = option.replicas * watts / 1000
            against += _above(
                "power",
                target,
                kilowatts,
                limits.power_kw_max,
                f"{fleet} draw {units.watts(kilowatts * 1000)} in the busiest hour before the "
                f"facility's overhead ({power.basis}); there are "
                f"{units.watts(limits.power_kw_max * 1000)}",
                ("constraints.power_kw_max", f"provide {units.watts(kilowatts * 1000)}", "kW"),
            )
        else:
            unknown.append(
                f"whether its power stays within {units.watts(limits.power_kw_max * 1000)} is not "
                f"known: {power.reason}"
            )
    if limits.rack_units_max is not None and not outside(target):
        each = target.hardware.rack_units
        if each is None:
            unknown.append(
                f"whether it fits into {units.number(limits.rack_units_max)} rack units is not "
                "known; add rack_units to its hardware"
            )
        else:
            taken = option.replicas * each
            against += _above(
                "space",
                target,
                taken,
                limits.rack_units_max,
                f"{fleet} take {units.number(taken)} rack units; there are "
                f"{units.number(limits.rack_units_max)}",
                (
                    "constraints.rack_units_max",
                    f"provide {units.number(taken)} rack units",
                    "rack units",
                ),
            )
    budget = limits.budget_usd_per_year
    if budget is not None:
        cost = option.cost_per_year_usd
        missing = [line.name for line in option.cost_lines if line.usd_per_year is None]
        against += _above(
            "budget",
            target,
            cost,
            budget,
            f"costs {units.usd(cost)} in the first year"
            + (f", without {' and '.join(missing)}" if missing else "")
            + f"; the budget is {units.usd(budget)}",
            ("constraints.budget_usd_per_year", f"spend {units.usd(cost)} a year", "USD a year"),
        )
        if missing and cost <= budget:
            unknown.append(
                f"whether it keeps the budget of {units.usd(budget)} is not known: the cost of "
                f"{' and '.join(missing)} is not in its {units.usd(cost)}"
            )
    return against, unknown


def _above(
    rule: str,
    target: Target,
    number: float,
    limit: float,
    text: str,
    change: tuple[str, str, str],
) -> list[Rejection]:
    """Return the rejection of a `number` above `limit`, if it is; `change`: field, words, unit."""
    if number <= limit:
        return []
    field, words, unit = change
    return [
        rejection(
            rule,
            target,
            text,
            [(field, limit, number)],
            words,
            number=number,
            limit=limit,
            margin=margin_below(number, limit),
            unit=unit,
        )
    ]
