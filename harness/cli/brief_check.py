"""What is wrong with a brief beside its format, each with its place in the file."""

from __future__ import annotations

from pathlib import Path

from harness.catalog import Catalog, Kind
from harness.documents import load
from harness.errors import Problem, SpecError
from harness.schema import Brief, Target, Workload
from harness.schema.levers import other_workloads
from harness.yaml_reader import Source, Steps


def brief_problems(brief: Brief, source: Source, catalog: Catalog) -> list[Problem]:
    """Return the names that the catalog does not have, and what contradicts itself.

    Entries that are there but cannot be read are passed over: they have problems of their own.
    """
    from harness.mapper.contradictions import contradictions

    named: list[tuple[Steps, Kind, str]] = [
        (("workloads", index, "workload"), "workload", part.workload)
        for index, part in enumerate(brief.workloads)
    ]
    named += [(("targets", i), "target", target) for i, target in enumerate(brief.targets)]
    named += [
        (("offers", i, "target"), "target", offer.target) for i, offer in enumerate(brief.offers)
    ]
    named += [
        (("levers", index, key), "workload", name)
        for index, lever in enumerate(brief.levers)
        for key, name in other_workloads(lever).items()
    ]
    found = []
    for steps, kind, name in named:
        try:
            catalog.entry(kind, name)
        except SpecError as error:
            found.append(source.problem(steps, error.message, hint=error.hint))
    try:
        against = contradictions(brief, _workloads(brief, catalog), _targets(brief, catalog))
    except SpecError as error:
        return [*found, source.problem(("workloads",), error.message, hint=error.hint)]
    found += [source.problem(each.place, each.message, hint=each.hint) for each in against]
    return found


def _workloads(brief: Brief, catalog: Catalog) -> dict[str, Workload]:
    found = {}
    for row in brief.workloads:
        try:
            found[row.workload] = catalog.workload(row.workload)
        except SpecError:
            continue
    return found


def _targets(brief: Brief, catalog: Catalog) -> list[Target]:
    """Return the targets that the brief names or has offers of, as they are offered to it."""
    found = []
    for name in dict.fromkeys((*brief.targets, *(offer.target for offer in brief.offers))):
        try:
            found.append(brief.offered(catalog.target(name)))
        except SpecError:
            continue
    return found


def load_brief(name: str, catalog: Catalog) -> Brief:
    """Return the brief called `name`, or in the file `name` if it ends in .yaml.

    SpecError, with all faults by place, if it cannot be read, names what is not there, or
    contradicts itself.
    """
    file = name.endswith((".yaml", ".yml"))
    loaded = load(Path(name) if file else catalog.entry("brief", name).path, Brief)
    problems = brief_problems(loaded.document, loaded.source, catalog)
    if problems:
        raise SpecError.of(problems)
    return loaded.document
