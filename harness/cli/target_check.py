"""Targets whose options their adapters have looked at, with the place of what is wrong."""

from __future__ import annotations

from harness.catalog import Catalog
from harness.documents import load
from harness.errors import AdapterError, OptionError, Problem, SpecError
from harness.plugins import check_options
from harness.schema import Target
from harness.yaml_reader import Source


def option_problems(target: Target, source: Source) -> list[Problem]:
    """Return the first option of `target` that its adapter does not take, if there is one."""
    try:
        check_options(target)
    except OptionError as error:
        steps = ("runtime", "options", error.option)
        return [source.problem(steps, error.message, hint=error.hint)]
    except AdapterError as error:
        return [source.problem(("runtime", "options"), error.message, hint=error.hint)]
    return []


def target_to_run(catalog: Catalog, name: str) -> Target:
    """Return the target called `name`. SpecError if it is unknown, or its file or options wrong."""
    loaded = load(catalog.entry("target", name).path, Target)
    problems = option_problems(loaded.document, loaded.source)
    if problems:
        raise SpecError.of(problems)
    return loaded.document
