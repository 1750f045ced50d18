"""A decision whose records have every kind of evidence, of doubt, and of missing number."""

from harness.mapper.decide import decide
from harness.schema import Decision, Record
from tests.factories import make_brief
from tests.report.answered import pin, records, targets, workloads

EVIDENCE = {
    "acme-cpu-16": "measured",
    "acme-cpu-16-int8": "imported",
    "owned-gpu": "projected",
    "far-cloud": "claimed",
}
"""The evidence of each target with figures; that of `acme-cpu-16-int8` is noisy as well."""


def all_kinds() -> tuple[Decision, list[Record]]:
    """Return the decision and, in its order, its records.

    `edge-box` failed on one workload, cannot run another and was not measured on the third. The
    energy of `far-cloud` is modelled, as is that in the cost of `owned-gpu`; that of `acme-cpu-16`
    is not metered.
    """
    everywhere = [
        each.model_copy(update={"demand": each.demand.model_copy(update={"residency": ()})})
        for each in workloads()
    ]
    made = [
        record.model_copy(update={"evidence": EVIDENCE.get(record.cell.target, "measured")})
        for record in records(everywhere, targets())
    ]
    brief = make_brief(
        *(each.name for each in everywhere),
        name="branch-bank",
        constraints={"minimum_evidence": "claimed"},
    )
    decision = decide(brief, everywhere, targets(), [pin(record) for record in made])
    by_id = {record.id: record for record in made}
    return decision, [by_id[each.id] for each in decision.records]
