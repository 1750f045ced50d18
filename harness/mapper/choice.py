"""Which option to take, how it compares with the next, and why in words a buyer can sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from harness import units
from harness.mapper.agentic import promise_text
from harness.mapper.feasibility import limit_text
from harness.mapper.operating import share_of_limit, tightest
from harness.mapper.relax import margin_below, relaxations
from harness.schema.base import Interval
from harness.schema.decision import TargetOutcome
from harness.schema.option import Option
from harness.schema.rejection import Rejection
from harness.schema.workload import Workload


def ranked(
    workload: Workload, options: Sequence[Option], regrets: Mapping[str, float] | None = None
) -> tuple[Option, ...]:
    """Return `options` in order: SLO met before unproven, then least expected regret.

    `regrets` are by target; without them, and where they are equal, the planned cost per unit
    decides. Each but the first gets the rule why it is not the choice. Equal cost at the buyer's
    demand is decided by the cost at full load, then by the share of the SLO limit used, then by
    name.
    """
    known = regrets or {}
    ordered = sorted(
        options,
        key=lambda option: (
            option.slo_state != "met",
            known.get(option.target, 0.0),
            *_key(option),
        ),
    )
    return tuple(
        option.model_copy(
            update={"rejection": _behind(workload, option, ordered[0]) if place else None}
        )
        for place, option in enumerate(ordered)
    )


def unknown_lines(*options: Option) -> str:
    """Return the names of the costs that are missing from the options', as text; empty: none."""
    names = (x.name for o in options for x in o.cost_lines if x.usd_per_year is None)
    return " and ".join(dict.fromkeys(names))


def _key(option: Option) -> tuple[float, float, float, str]:
    return (
        option.cost_per_unit_usd.value,
        option.cost_per_unit_full_usd.value,
        share_of_limit(option.slo),
        option.target,
    )


def separated(choice: Option, runner_up: Option) -> bool:
    """Return whether the intervals of the cost that decides between the two do not overlap.

    An interval without its bound overlaps everything on that side. A choice that is dearer than a
    runner-up whose SLO is unproven is not separated from it: a longer sample may turn the order.
    """
    first, second = _deciding(choice, runner_up)
    if first.high is None or second.low is None:
        return False
    return first.high < second.low


def why_unclear(choice: Option, runner_up: Option) -> Literal["bound", "dearer", "overlap"]:
    """Return why the cost that decides does not separate the two (`separated` says they are not).

    A bound is missing; or the choice is surely the dearer one at the planned figures, and comes
    first for its SLO or for the cost on average; or the intervals overlap.
    """
    first, second = _deciding(choice, runner_up)
    above, below = first.high, second.low
    if first.value > second.value:
        above, below = second.high, first.low
    if above is None or below is None:
        return "bound"
    return "dearer" if above < below else "overlap"


def reason(workload: Workload, options: Sequence[Option], outcomes: Sequence[TargetOutcome]) -> str:
    """Return why the first of `options` is the choice, or the nearest miss if there is none."""
    if not options:
        return _nearest_miss(workload, outcomes)
    choice = options[0]
    text = f"{choice.target} costs {cost_text(choice.cost_per_unit_usd)} per {choice.cost_unit}"
    if len(options) > 1:
        text += f", {_compared(choice, options[1])}"
    elif len(outcomes) > 1:
        text += f", the only one of {len(outcomes)} targets that can serve the workload"
    text += f"; {_promise(choice)}"
    if missing := unknown_lines(choice):
        text += f"; the cost of {missing} is not known and not in it"
    if choice.evidence != "measured":
        text += f"; its figures are {choice.evidence}, not measured by this harness"
    if choice.verdict == "noisy":
        first, *others = choice.verdict_reasons or ("no reason given",)
        more = f", and {units.counted(len(others), 'more reason')}" if others else ""
        text += f"; its measurement is noisy ({first}{more})"
    return _sentence(text)


def _compared(choice: Option, runner_up: Option) -> str:
    """Return how `choice` compares with `runner_up` in the figure that decides between them."""
    first, second = choice.cost_per_unit_usd, runner_up.cost_per_unit_usd
    name = runner_up.target
    overlap = _overlap(choice, runner_up)
    if choice.slo_state != runner_up.slo_state:
        less = _less(first.value, second.value)
        return f"{less or 'as much as'} {name}, which does not prove its SLO"
    if first.value > second.value:
        return (
            f"{_less(first.value, second.value)} {name} at the planned figures, but less on "
            "average over what the inputs may be"
        )
    if first.value != second.value:
        return f"{_less(first.value, second.value)} {name}{overlap}"
    carry = f"{choice.replicas} unit{'s' if choice.replicas > 1 else ''} of either would do"
    if choice.replicas != runner_up.replicas:
        carry = "the fleets cost the same"
    elif not choice.replicas:
        carry = "both are paid as used"
    first, second = choice.cost_per_unit_full_usd, runner_up.cost_per_unit_full_usd
    if first.value != second.value:
        return (
            f"the same as {name} at this demand ({carry}), and at full load {cost_text(first)}, "
            f"{_less(first.value, second.value)} {name}{overlap}"
        )
    return (
        f"the same as {name} at this demand and at full load ({carry}), and uses less of its SLO "
        "limit or comes first by name"
    )


def _overlap(choice: Option, runner_up: Option) -> str:
    """Return why the two are not separated, as a clause; nothing where they are."""
    if separated(choice, runner_up):
        return ""
    if why_unclear(choice, runner_up) == "bound":
        return ", though a bound of the two costs is missing"
    return ", though their intervals overlap"


def _less(first: float, second: float) -> str:
    """Return `18 % less than`, `5 % more than`, or nothing where they are equal."""
    if first == second or not second:
        return ""
    word = "less" if first < second else "more"
    return f"{units.percent(abs(second - first) / second)} {word} than"


def _promise(option: Option) -> str:
    """Return how the option stands to its SLO, by the promise that is nearest to its limit."""
    if option.task is not None and option.task.state == "unproven":
        return f"does not prove its promise on tasks: {promise_text(option.task)}"
    check = tightest(option.slo)
    promise, figure = limit_text(check.limit), units.seconds(check.value_s)
    which = f"{promise} with {figure}"
    if len(option.slo) > 1:
        number = "both" if len(option.slo) == 2 else f"all {len(option.slo)}"
        which = f"{number} promises, the tightest {promise} with {figure}"
    if option.slo_state == "met":
        return f"meets {which}"
    return f"does not prove {promise}: {figure}, but the sample is too small to be sure"


def _behind(workload: Workload, option: Option, choice: Option) -> Rejection:
    """Return the rule by which `option` is not the choice."""
    if option.slo_state != choice.slo_state:
        return _unproven(workload, option)
    name, unit = choice.target, f"USD per {option.cost_unit}"
    number, limit = option.cost_per_unit_usd.value, choice.cost_per_unit_usd.value
    text = f"{units.usd(number)} per {option.cost_unit}"
    if number == limit:
        number, limit = (
            option.cost_per_unit_full_usd.value,
            choice.cost_per_unit_full_usd.value,
        )
        text += f", as {name} at this demand; at full load {units.usd(number)}"
    if number == limit:
        number, limit = share_of_limit(option.slo), share_of_limit(choice.slo)
        return Rejection(
            rule="cost",
            text=f"{text}, as {name}; uses {units.percent(number)} of its SLO limit, "
            f"{name} {units.percent(limit)}",
            number=number,
            limit=limit,
            margin=margin_below(number, limit),
            unit="share of the SLO limit",
        )
    margin = margin_below(number, limit)
    over = "" if margin is None else f", {units.percent(-margin)} more than {name}"
    if margin is not None and margin > 0:
        over = (
            f", {units.percent(margin)} less than {name} at the planned figures, but more on "
            "average over what the inputs may be"
        )
    return Rejection(
        rule="cost", text=f"{text}{over}", number=number, limit=limit, margin=margin, unit=unit
    )


def _unproven(workload: Workload, option: Option) -> Rejection:
    if option.task is not None and option.task.state == "unproven":
        return Rejection(
            rule="slo",
            text=f"the promise on tasks is not proven: {promise_text(option.task)}",
            remedy=f"measure longer: harness run -w {workload.name} -t {option.target} "
            "--profile rigorous",
        )
    open_checks = [check for check in option.slo if check.state == "unproven"]
    check = tightest(open_checks or option.slo)
    limit = check.limit.limit_s
    number = check.high_s
    bound = (
        "the sample supports no upper bound"
        if number is None
        else f"its upper bound is {units.seconds(number)}"
    )
    return Rejection(
        rule="slo",
        text=f"{limit_text(check.limit)} is not proven: {units.seconds(check.value_s)}, "
        f"and {bound}",
        number=number,
        limit=limit,
        margin=None if number is None else margin_below(number, limit),
        unit="s",
        remedy=f"measure longer: harness run -w {workload.name} -t {option.target} "
        "--profile rigorous",
    )


def _deciding(choice: Option, runner_up: Option) -> tuple[Interval, Interval]:
    first, second = choice.cost_per_unit_usd, runner_up.cost_per_unit_usd
    if first.value != second.value:
        return first, second
    return choice.cost_per_unit_full_usd, runner_up.cost_per_unit_full_usd


def _nearest_miss(workload: Workload, outcomes: Sequence[TargetOutcome]) -> str:
    """Return the target that the least change would make feasible, with what speaks against it."""
    unmeasured = [o for o in outcomes if o.rejections[0].rule == "not_measured"]
    if not outcomes or len(unmeasured) == len(outcomes):
        return (
            f"No target can be chosen: none of {len(outcomes)} has a measurement that stands. "
            f"Measure them with `harness run -w {workload.name}`."
        )
    single = [change.of for change in relaxations(outcomes)]
    measured = [o for o in outcomes if o not in unmeasured]
    nearest = min(measured, key=lambda o: (o.target not in single[:1], *_distance(o)))
    against = "; ".join(f"{r.rule}: {r.text}" for r in nearest.rejections)
    return _sentence(
        f"None of {len(outcomes)} targets can serve this workload. Nearest is {nearest.target}, "
        f"against which speaks {against}"
        f"{f' ({units.count(len(unmeasured))} not measured)' if unmeasured else ''}"
    )


def _distance(outcome: TargetOutcome) -> tuple[int, bool, float, str]:
    """Return how far from feasible: fewest rules, those with a margin first, the least margin."""
    margins = [r.margin for r in outcome.rejections]
    known = [margin for margin in margins if margin is not None]
    return (
        len(outcome.rejections),
        len(known) < len(margins),
        -min(known, default=0.0),
        outcome.target,
    )


def cost_text(figure: Interval) -> str:
    """Return a cost with its interval where that is wider than what is shown."""
    if figure.low == figure.high == figure.value:
        return units.usd(figure.value)
    return units.interval(figure.value, figure.low, figure.high, "USD")


def _sentence(text: str) -> str:
    whole = text if text.endswith(".") else f"{text}."
    return whole if len(whole) <= 2000 else f"{whole[:1999]}…"
