"""The months from proof of concept to the horizon: what an option costs in each, and all together.

Every month the fleet grows to what its busiest hour takes. Purchased units stay until their life
ends; rented ones follow the demand both ways. Formulas: docs/mapper.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from harness.economics import MONTHS_PER_YEAR, SECONDS_PER_YEAR, worth_left
from harness.mapper.candidate import Candidate, Cases, FloatArray, costs_of, units_in
from harness.mapper.capacity import planned_peak_factor
from harness.schema.base import Interval
from harness.schema.brief import Economics
from harness.schema.costs import BillMonth, Tco
from harness.schema.demand import Demand
from harness.schema.option import Option
from harness.schema.target import Price

MONTH_S = SECONDS_PER_YEAR / MONTHS_PER_YEAR


@dataclass(frozen=True, slots=True)
class Case:
    """One way it may go, by month: units, running cost, and purchases less proceeds, in USD.

    `left` is what the purchases are worth at the end.
    """

    units: tuple[int, ...]
    running: tuple[float, ...]
    bought: tuple[float, ...]
    left: float

    def worth(self, discount_rate: float, integration_usd: float) -> float:
        """Return all as worth on day one: purchases at a month's start, the rest at its end."""
        spent = _present(discount_rate, self.bought, 0)
        paid = _present(discount_rate, self.running, 1)
        left = _discounted(discount_rate, len(self.units), self.left)
        return spent + paid - left + integration_usd


@dataclass(frozen=True, slots=True)
class Outlook:
    """The months of one option, as planned and at the bounds of its interval (None: no bound)."""

    volumes: FloatArray
    planned: Case
    best: Case | None
    worst: Case | None
    discount_rate: float
    integration_usd: float
    complete: bool

    def tco(self) -> Tco:
        """Return the total cost of ownership over the horizon."""
        rate, once, planned = self.discount_rate, self.integration_usd, self.planned
        units = planned.units
        steps = [(m + 2, new) for m, (old, new) in enumerate(pairwise(units)) if old != new]
        text = "purchases at the start of a month, the rest at its end, times (1 + r)^(-m / 12)"
        if not self.complete:
            text += "; costs that are not known are not in it"
        return Tco(
            usd=Interval(
                value=planned.worth(rate, once),
                low=None if self.best is None else self.best.worth(rate, once),
                high=None if self.worst is None else self.worst.worth(rate, once),
            ),
            months=len(units),
            purchases_usd=_present(rate, planned.bought, 0),
            running_usd=_present(rate, planned.running, 1),
            integration_usd=once,
            left_usd=_discounted(rate, len(units), planned.left),
            fleets=((1, units[0]), *steps),
            basis=text,
        )

    def bill(self) -> tuple[BillMonth, ...]:
        """Return the months, undiscounted."""
        return tuple(
            BillMonth(
                month=month + 1,
                requests=requests,
                units=self.planned.units[month],
                usd=Interval(
                    value=self.planned.running[month],
                    low=None if self.best is None else self.best.running[month],
                    high=None if self.worst is None else self.worst.running[month],
                ),
                once_usd=self.planned.bought[month] + (0 if month else self.integration_usd)
                or None,
            )
            for month, requests in enumerate(self.volumes.tolist())
        )


def outlook(
    candidate: Candidate,
    price: Price,
    demand: Demand,
    inputs: Economics,
    spare: int,
    staff_usd_per_year: float,
    integration_usd: float = 0.0,
) -> Outlook:
    """Return the months of `candidate` up to the horizon.

    The bounds are those of the yearly cost: fewer units and less energy at the upper bound of the
    throughput, more at its lower one. Prices and demand are taken as given.
    """
    months = max(1, round(inputs.horizon_years * MONTHS_PER_YEAR))
    volumes, rates, peaks = demand_by_month(demand, months, inputs.ramp_months)
    throughput, power = candidate.throughput, candidate.power
    pricing = _Pricing(candidate, price, inputs, spare, staff_usd_per_year, rates, peaks)

    def at(unit_throughput: float, watts: float | None) -> Case:
        factor = 1.0 if power is None or watts is None or not power.value else watts / power.value
        return pricing.case(unit_throughput, factor)

    planned = at(throughput.value, None)
    best: Case | None = None
    worst: Case | None = None
    if candidate.metered:
        best = worst = planned
    else:
        if throughput.high is not None:
            best = at(throughput.high, None if power is None else power.low)
        if throughput.low:
            worst = at(throughput.low, None if power is None else power.high)
    return Outlook(
        volumes=volumes,
        planned=planned,
        best=best,
        worst=worst if candidate.complete else None,
        discount_rate=inputs.discount_rate,
        integration_usd=integration_usd,
        complete=candidate.complete,
    )


def billed(options: Sequence[Option], outlooks: Mapping[str, Outlook]) -> tuple[Option, ...]:
    """Return `options` (best first), the first two and the best of each kind with their months."""
    shown = {option.target for option in options[:2]}
    kinds: dict[str | None, str] = {}
    for option in options:
        kinds.setdefault(option.kind, option.target)
    shown.update(kinds.values())
    return tuple(
        option.model_copy(update={"bill": outlooks[option.target].bill()})
        if option.target in shown
        else option
        for option in options
    )


def demand_by_month(
    demand: Demand, months: int, ramp_months: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return by month the requests that reach a fleet, their mean rate and the busiest hour's.

    Volume V (1 + g)^t, integrated over the month, times m / ramp in the m-th month of the ramp. The
    busiest hour is at the month's end when the volume grows, at its start when it shrinks.
    """
    growth = demand.growth_per_year
    start = np.arange(months) / MONTHS_PER_YEAR
    step = 1 / MONTHS_PER_YEAR
    within = math.log1p(growth) * step  # of the month; a tiny growth vanishes in it
    mean = np.power(1 + growth, start) * (math.expm1(within) / within if within else 1.0)
    top = np.power(1 + growth, start + step if growth > 0 else start)
    ramp = np.ones(months)
    if ramp_months:
        ramp = np.minimum(1.0, np.arange(1, months + 1) / ramp_months)
    volume = demand.requests_per_month * (1 - demand.result_cache_hit) * ramp
    requests: FloatArray = volume * mean
    rates: FloatArray = requests / MONTH_S
    peaks: FloatArray = volume / MONTH_S * top * planned_peak_factor(demand)
    return requests, rates, peaks


@dataclass(frozen=True, slots=True)
class _Pricing:
    candidate: Candidate
    price: Price
    inputs: Economics
    spare: int
    staff_usd_per_year: float
    rates: FloatArray
    peaks: FloatArray

    def case(self, throughput: float, power: float) -> Case:
        """Return the months at this throughput, with energy times `power`."""
        months = len(self.rates)
        ones = np.ones(months)
        each = np.ones((1, months))
        cases = Cases(
            mean=self.rates,
            peak=self.peaks,
            electricity=ones,
            price=each,
            power=each * power,
            throughput=each * throughput,
        )
        one = [self.candidate]
        needed = units_in(one, cases, self.inputs.utilisation_max, self.spare)
        units, bought, left = [int(n) for n in needed[0]], [0.0] * months, 0.0
        if self.price.kind == "purchase":
            units, bought, left = self._owned(units)
        held = np.array([units], dtype=float)
        yearly = costs_of([self._running()], cases, held, self.staff_usd_per_year)[0]
        return Case(
            units=tuple(units),
            running=tuple((yearly / MONTHS_PER_YEAR).tolist()),
            bought=tuple(bought),
            left=left,
        )

    def _running(self) -> Candidate:
        """Return the candidate with what is paid every month: no capital, nothing that is once."""
        price, priced = self.price, self.candidate.priced_usd
        if price.kind == "purchase":
            assert price.purchase_usd is not None
            priced = price.maintenance_share_per_year * price.purchase_usd
            priced += price.licence_usd_per_year or 0.0
        return replace(self.candidate, priced_usd=priced, fixed_usd=0.0)

    def _owned(self, needed: list[int]) -> tuple[list[int], list[float], float]:
        """Return the units held, purchases less proceeds by month, and what is left at the end.

        A unit whose life has ended is sold for its residual, and replaced where it is needed.
        """
        price = self.price
        assert price.purchase_usd is not None
        assert price.life_years is not None
        life = max(1, round(price.life_years * MONTHS_PER_YEAR))
        lots: list[tuple[int, int]] = []
        units, bought = [], []
        for month, wanted in enumerate(needed):
            ended = sum(count for since, count in lots if month - since >= life)
            lots = [(since, count) for since, count in lots if month - since < life]
            held = sum(count for _, count in lots)
            new = max(0, wanted - held)
            if new:
                lots.append((month, new))
            units.append(held + new)
            bought.append((new - ended * price.residual_share) * price.purchase_usd)
        left = sum(
            count
            * worth_left(
                price.purchase_usd,
                price.residual_share,
                self.inputs.discount_rate,
                price.life_years,
                (len(needed) - since) / MONTHS_PER_YEAR,
            )
            for since, count in lots
        )
        return units, bought, left


def _present(rate: float, spent: Sequence[float], shift: int) -> float:
    """Return what is spent, item m in month m + `shift`, as worth on the first day."""
    return math.fsum(_discounted(rate, m + shift, usd) for m, usd in enumerate(spent))


def _discounted(rate: float, month: int, usd: float) -> float:
    return usd * math.pow(1 + rate, -month / MONTHS_PER_YEAR)
