"""The answer for one workload, from the appraisals of all targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.mapper.appraise import Appraisal, Question
from harness.mapper.bill import billed
from harness.mapper.break_even import break_even, break_evens
from harness.mapper.burst import burst_of
from harness.mapper.candidate import Candidate
from harness.mapper.choice import ranked, reason, separated
from harness.mapper.dependence import taken_as_independent
from harness.mapper.draws import Future
from harness.mapper.flip import flips
from harness.mapper.lever_bench import Served
from harness.mapper.operating import Operating
from harness.mapper.pareto import pareto
from harness.mapper.relax import relaxations
from harness.mapper.tornado import swings
from harness.mapper.uncertainty import Contest, confidence, regrets
from harness.mapper.utilisation import realised_utilisation
from harness.mapper.volume import volume_costs
from harness.mapper.warnings import option_warnings
from harness.mapper.worth import worth_knowing
from harness.schema.confidence import Odds
from harness.schema.decision import TargetOutcome, WorkloadDecision
from harness.schema.levers import LeverOutcome
from harness.schema.option import Option
from harness.schema.record import Record
from harness.schema.rejection import Rejection
from harness.schema.target import Target
from harness.schema.workload import Workload


@dataclass(frozen=True, slots=True)
class Answer:
    """A workload's decision with what it was made from, by target."""

    decision: WorkloadDecision
    cited: tuple[Record, ...]
    warnings: tuple[str, ...]
    points: Mapping[str, Operating]
    streams: Mapping[str, Sequence[Record]]
    candidates: tuple[Candidate, ...]

    def served(self, workload: Workload) -> Served:
        """Return what levers on `workload` start from."""
        return Served(workload, self.decision, self.points, self.streams)

    def with_levers(self, found: tuple[LeverOutcome, ...]) -> Answer:
        """Return the answer with what its levers would do."""
        return replace(self, decision=self.decision.model_copy(update={"levers": found}))


def answer(asked: Question, targets: Sequence[Target], found: Sequence[Appraisal]) -> Answer:
    """Return the answer to `asked`; `found` has the appraisal of each of `targets`, in order."""
    workload, demand = asked.workload, asked.demand
    fleets = {each.outcome.target: each.fleet for each in found if each.fleet is not None}
    points = {name: fleet.operating for name, fleet in fleets.items()}
    warnings = [text for each in found for text in each.warnings]
    contest = Contest(
        candidates=tuple(fleet.candidate for fleet in fleets.values()),
        future=Future(workload.name, demand, asked.brief.uncertainty),
        utilisation_max=asked.brief.economics.utilisation_max,
        spare=asked.spare,
        staff_usd_per_year=asked.staff_usd_per_year,
    )
    unordered = [fleet.option for fleet in fleets.values()]
    odds = {
        state: contest.among([o.target for o in unordered if o.slo_state == state]).odds()
        for state in ("met", "unproven")
    }
    options = billed(
        ranked(workload, unordered, regrets([*odds["met"], *odds["unproven"]])),
        {name: fleet.outlook for name, fleet in fleets.items()},
    )
    behind = {option.target: option.rejection for option in options}
    outcomes = [_with_rule(each.outcome, behind) for each in found]
    choice = options[0] if options else None
    runner_up = options[1] if len(options) > 1 else None
    warnings += option_warnings(workload, options)
    decision = WorkloadDecision(
        workload=workload.name,
        title=workload.title,
        demand=demand,
        peak_rate=asked.load.peak,
        mean_rate=asked.load.mean,
        choice=choice,
        runner_up=runner_up,
        clear=separated(choice, runner_up) if choice and runner_up else None,
        reason=reason(workload, options, outcomes),
        options=options,
        outcomes=tuple(outcomes),
        pareto=pareto(options, {target.name: target for target in targets}, points),
        relaxations=relaxations(outcomes) if choice is None else (),
    )
    if choice is not None:
        decision = _weighed(decision, choice, contest, odds[choice.slo_state])
        compared = [o.target for o in (choice, runner_up) if o is not None]
        costs = volume_costs(contest, compared, decision.break_evens)
        decision = decision.model_copy(update={"volume_costs": costs})
        if demand.burst is not None:
            burst = burst_of(
                demand.burst,
                choice,
                asked.load,
                asked.work,
                workload.deadline_s,
                taken_as_independent(workload, demand),
            )
            decision = decision.model_copy(update={"burst": burst})
            if burst is None:
                warnings.append(f"{workload.name}: no burst is told of {choice.target}, an API")
    return Answer(
        decision,
        tuple(record for each in found for record in each.cited),
        tuple(warnings),
        points,
        {name: fleet.streams for name, fleet in fleets.items()},
        contest.candidates,
    )


def _weighed(
    decision: WorkloadDecision, choice: Option, contest: Contest, odds: Sequence[Odds]
) -> WorkloadDecision:
    """Return `decision` with how sure `choice` is against those in `odds`, and what flips it."""
    rivals = contest.among([each.target for each in odds])
    second = next((each.target for each in odds if each.target != choice.target), None)
    complete = all(line.usd_per_year is not None for line in choice.cost_lines)
    return decision.model_copy(
        update={
            "confidence": confidence(choice, complete, odds, contest.future),
            "flips": flips(rivals, choice, decision.options, decision.outcomes),
            "swings": () if second is None else swings(rivals, choice.target, second),
            "utilisation": realised_utilisation(rivals, choice),
            "break_even": break_even(rivals, odds),
            "break_evens": break_evens(rivals, odds),
            "measure_next": worth_knowing(rivals, odds),
        }
    )


def _with_rule(outcome: TargetOutcome, behind: Mapping[str, Rejection | None]) -> TargetOutcome:
    rule = behind.get(outcome.target)
    return outcome.model_copy(update={"rejections": (rule,)}) if rule else outcome
