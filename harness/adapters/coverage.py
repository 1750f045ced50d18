"""What a runtime is known to refuse before anything is loaded, and where its operators run.

An adapter may have two class attributes that the plan reads without importing its runtime:
`families`, the model families it runs (all, if it has none), and `lacks`, the ONNX operator domains
that its runtime has no operator of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import SpecError
from harness.models.onnx_file import operators_of
from harness.models.own_folder import known
from harness.schema.model import HuggingFaceModel, OnnxFileModel
from harness.schema.workload import Workload

BUILT_FAMILIES = ("llama", "whisper", "trees_mlp", "lightgbm", "xgboost", "onnx")
"""The families of which there are ONNX files."""

Assigned = dict[str, dict[str, int]]
"""By operator, with its domain: how many of its nodes run where."""


def refusal(adapter: object, name: str, workload: Workload, data: Path) -> str | None:
    """Return why the runtime of `adapter`, called `name`, cannot run `workload`; None if it may.

    Files are relative to `data`. One that cannot be read is no reason here: its cell says why.
    """
    families: Sequence[str] | None = getattr(adapter, "families", None)
    family = workload.model.family
    if isinstance(workload.model, HuggingFaceModel):
        try:
            family = known(workload.model, workload.task, data).family
        except SpecError:
            return None
    if family == "served" and name != "http" and family not in (families or ()):
        return f"a served model is asked of its server; the {name} adapter runs models itself"
    if families is not None and family not in families:
        return f"the {name} adapter runs models of family {', '.join(families)}, not '{family}'"
    lacks: Sequence[str] = getattr(adapter, "lacks", ())
    if not lacks or not isinstance(workload.model, OnnxFileModel):
        return None
    try:
        operators = operators_of(workload.model, data)
    except SpecError:
        return None
    missing = sorted(o for o in operators if o.rpartition(".")[0] in lacks)
    return lacking(name, missing) if missing else None


def lacking(name: str, operators: Sequence[str]) -> str:
    """Return the sentence that the runtime `name` does not have `operators`."""
    plural = "s" if len(operators) > 1 else ""
    return f"operator{plural} {', '.join(operators)}: {name} has no implementation"


def assigned(nodes: Iterable[tuple[str, str]]) -> Assigned:
    """Return where the operators of `nodes` run, given as (operator, what runs it)."""
    counts = Counter(nodes)
    table: Assigned = {}
    for (operator, place), count in sorted(counts.items()):
        table.setdefault(operator, {})[place] = count
    return table


def fallbacks(table: Mapping[str, Assigned], first: str) -> list[str]:
    """Return a sentence for each operator, by file, that runs elsewhere than on `first`."""
    return [
        f"{place} runs {count} {operator} of {file}"
        for file, operators in table.items()
        for operator, places in operators.items()
        for place, count in places.items()
        if place != first
    ]
