"""The first screen: each workload's answer in the words and figures that somebody signs for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.mapper.choice import unknown_lines, why_unclear
from harness.mapper.uncertainty import ROBUST_P_BEST, ROBUST_REGRET
from harness.report import client_trust, misses, windows, words
from harness.report.energy import year_in_short
from harness.report.view import WorkloadView
from harness.schema.base import Interval
from harness.schema.confidence import Confidence
from harness.schema.decision import WorkloadDecision
from harness.schema.option import Option
from harness.schema.record import SloCheck


@dataclass(frozen=True, slots=True)
class Certainty:
    """How far the figures carry the choice: a tone for the style sheet, a shape and words."""

    tone: str
    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of the SLO: its name, what was measured, the upper bound, and the limit."""

    name: str
    measured: str
    bound: str
    limit: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One workload's answer, as text."""

    key: str
    decision: WorkloadDecision
    certainty: Certainty
    promises: tuple[Promise, ...]
    fleet: str
    energy: str
    energy_year: tuple[str, ...]
    runner_up: str
    capacity: str = ""
    horizon: str = ""
    client: str = ""
    cheaper: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


def answers(views: Sequence[WorkloadView]) -> tuple[Answer, ...]:
    """Return the answers in the order of `views`."""
    return tuple(_answer(view) for view in views)


def total(views: Sequence[WorkloadView]) -> str:
    """Return what all choices cost a year, and for how many of the workloads that is."""
    return total_of([view.decision for view in views])


def total_of(decisions: Sequence[WorkloadDecision]) -> str:
    """Return the same from the decisions alone."""
    chosen = [each.choice for each in decisions if each.choice is not None]
    if not chosen:
        return "No workload has a target that can be recommended."
    cost = units.usd(math.fsum(option.cost_per_year_usd for option in chosen))
    left_out = unknown_lines(*chosen)
    cost += f" a year{f' without {left_out}' if left_out else ''}"
    if len(decisions) == 1:
        return cost
    known, every = units.count(len(chosen)), units.count(len(decisions))
    share = f"all {every} workloads" if known == every else f"{known} of {every} workloads"
    return f"{cost} for {share}, each on machines of its own"


def figure(interval: Interval, unit: str) -> str:
    """Return the figure with its interval, or alone where the interval adds nothing."""
    if interval.low == interval.high == interval.value:
        return units.quantity(interval.value, unit)
    return units.interval(interval.value, interval.low, interval.high, unit)


def promise(check: SloCheck) -> Promise:
    """Return a promise with what was measured."""
    limit = check.limit
    return Promise(
        name=f"{words.metric(limit.metric)} p{limit.percentile:g}",
        measured=units.seconds(check.value_s, "not supported by n"),
        bound="(no upper bound is supported by n)"
        if check.high_s is None
        else f"(at most {units.seconds(check.high_s)})",
        limit=f"limit {units.seconds(limit.limit_s)}",
    )


def yearly(option: Option) -> str:
    """Return the cost a year, and which costs it leaves out because they are not known."""
    unknown = unknown_lines(option)
    return f"{units.usd(option.cost_per_year_usd)}{f' without {unknown}' if unknown else ''}"


def energy(option: Option) -> str:
    """Return the energy of a request with its boundary, or that it is not measured and why.

    The remedy stands with the reason.
    """
    if option.energy_j_per_request is None:
        text = f"not measured: {option.energy_reason or 'no reason given'}"
        return f"{text}. To enable it: {option.energy_remedy}" if option.energy_remedy else text
    boundary = option.energy_boundary or "boundary not stated"
    return f"{figure(option.energy_j_per_request, 'J')} a request ({boundary})"


def fleet(option: Option) -> str:
    """Return how many units are bought and how busy they are; an API has none."""
    if option.kind == "api":
        return "no units: an API, paid as used"
    unit = "replica" if option.replicas == 1 else "replicas"
    text = f"{units.count(option.replicas)} {unit}, {units.percent(option.utilisation)} used"
    later = option.replicas_at_horizon
    if later is not None and later != option.replicas:
        text += f"; {units.count(later)} at the horizon"
    return text


def _answer(view: WorkloadView) -> Answer:
    decision = view.decision
    choice, second = decision.choice, decision.runner_up
    return Answer(
        key=view.key,
        decision=decision,
        certainty=certainty(decision),
        promises=() if choice is None else tuple(promise(check) for check in choice.slo),
        fleet="" if choice is None else fleet(choice),
        energy="" if choice is None else energy(choice),
        energy_year=() if choice is None else year_in_short(choice),
        runner_up=_runner_up(second),
        capacity=_capacity(view),
        horizon="" if choice is None else _horizon(choice),
        client=_client(view),
        cheaper=misses.cheaper(view),
        changes=misses.changes(view),
    )


def _horizon(option: Option) -> str:
    """Return the total cost over the horizon, where it is stated."""
    if option.tco is None:
        return ""
    months = units.count(option.tco.months)
    return f"{figure(option.tco.usd, 'USD')} over {months} months, as worth on the first day"


def _client(view: WorkloadView) -> str:
    """Return how far the client can be trusted that asked the choice; empty if none did."""
    chosen = (row.record for row in view.rows if row.standing == "chosen")
    return next((client_trust.in_short(record) for record in chosen), "")


def _capacity(view: WorkloadView) -> str:
    """Return the capacity of the choice, from the record that the choice rests on."""
    chosen = (row.record for row in view.rows if row.standing == "chosen")
    return next((windows.capacity(record) for record in chosen if record is not None), "")


def _runner_up(second: Option | None) -> str:
    if second is None:
        return "none: no other target is feasible"
    cost = figure(second.cost_per_unit_usd, "USD")
    state = words.state(second.slo_state)
    unknown = unknown_lines(second)
    cost += f" per {second.cost_unit}{f' without {unknown}' if unknown else ''}"
    text = f"{second.title}, {cost}, SLO {state}"
    text += f", {second.evidence}" if second.evidence != "measured" else ""
    return f"{text}, noisy" if second.verdict == "noisy" else text


def certainty(decision: WorkloadDecision) -> Certainty:
    """Return how far the figures carry the choice of `decision`, in a few words."""
    choice = decision.choice
    if choice is None:
        return Certainty("bad", "✕", "No target to recommend")
    doubts = []
    if choice.slo_state == "unproven":
        doubts.append("the SLO is not proven")
    if choice.verdict == "noisy":
        doubts.append("the measurement is noisy")
    if choice.evidence != "measured":
        doubts.append(f"the figures are {choice.evidence}")
    if missing := unknown_lines(choice):
        doubts.append(f"the cost of {missing} is not known")
    sure = decision.confidence
    if sure is not None and choice.slo_state == "met" and _by_chance(sure):
        share = units.percent(sure.regret_share)
        doubts.append(f"it is not robust (P(best) {units.percent(sure.p_best)}, regret {share})")
    if decision.clear is False:
        also = "".join(f"; {doubt}" for doubt in doubts)
        return Certainty("warn", "≈", f"{_unclear(choice, decision.runner_up)}{also}")
    only = decision.clear is None
    if doubts:
        what = "The only feasible target" if only else "The best choice"
        return Certainty("warn", "?", f"{what}, but {' and '.join(doubts)}")
    if only:
        return Certainty("plain", "●", "The only feasible target")
    if _same_cost(choice, decision.runner_up):
        text = "A tie at this demand: the choice is clear by the cost at full load alone"
        return Certainty("good", "✓", text)
    odds = "" if sure is None else f", P(best) {units.percent(sure.p_best)}"
    if sure is not None and sure.p_best < ROBUST_P_BEST:  # then it is robust by its small regret
        odds += f", regret {units.percent(sure.regret_share)}"
    return Certainty("good", "✓", f"Clear choice{odds}")


def _by_chance(sure: Confidence) -> bool:
    """Whether the draws alone leave the choice open, whatever else of it is not known."""
    return sure.p_best < ROBUST_P_BEST and sure.regret_share > ROBUST_REGRET


def _unclear(choice: Option, second: Option | None) -> str:
    """Return why the figures do not separate the choice from the runner-up."""
    if second is None:
        return "Not clear"
    if _same_cost(choice, second):
        return "A tie: at this demand the two cost the same"
    why = why_unclear(choice, second)
    if why == "overlap":
        return "Close call: the cost intervals overlap"
    cheaper = second.cost_per_year_usd < choice.cost_per_year_usd
    if cheaper and second.slo_state != choice.slo_state:
        return "Not clear: the runner-up costs less, but does not prove its SLO"
    if why == "bound":
        return "Not clear: a bound of the two costs is missing"
    return "Not clear: the runner-up costs less as planned, but more on average"


def _same_cost(choice: Option, second: Option | None) -> bool:
    return second is not None and second.cost_per_year_usd == choice.cost_per_year_usd
