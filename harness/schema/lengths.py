"""Lengths and durations as distributions: what the inputs of a workload are drawn from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from harness.schema.base import Positive, Spec, Text
from harness.schema.model import Count

_NEEDED: dict[str, tuple[str, ...]] = {
    "fixed": ("value",),
    "uniform": ("minimum", "maximum"),
    "lognormal": ("mean", "sigma", "minimum", "maximum"),
    "empirical": ("file", "column", "mean", "maximum"),
}
_ALLOWED = {"empirical": ("minimum",)}


def _has_its_parameters(spec: Distribution | Durations) -> None:
    """Raise ValueError unless `spec` has the fields of its kind, and no others."""
    needed = _NEEDED[spec.kind]
    for name in needed:
        if getattr(spec, name) is None:
            raise ValueError(f"a {spec.kind} distribution needs '{name}'")
    for name in type(spec).model_fields:
        known = name in ("kind", *needed, *_ALLOWED.get(spec.kind, ()))
        if not known and getattr(spec, name) is not None:
            raise ValueError(f"a {spec.kind} distribution has no '{name}'")
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        raise ValueError("'minimum' is above 'maximum'")


class Distribution(Spec):
    """Lengths in tokens, cut to [minimum, maximum] where given.

    Fixed, uniform, lognormal, or empirical: drawn from a column of a CSV file, whose first line
    names the columns; two lengths from one file are drawn from the same row. Of the lognormal,
    `mean` is the mean in tokens and `sigma` the standard deviation of the log; of the empirical
    `mean` is that of the file, after the cut: decisions need it, and never read the file.
    """

    kind: Literal["fixed", "uniform", "lognormal", "empirical"]
    value: Count | None = None
    mean: Positive | None = None
    sigma: Positive | None = None
    minimum: Count | None = None
    maximum: Count | None = None
    file: Text | None = None
    column: Text | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _has_its_parameters(self)
        return self

    @property
    def upper(self) -> int:
        """The longest length that can be drawn."""
        limit = self.value if self.kind == "fixed" else self.maximum
        assert limit is not None
        return limit


class Durations(Spec):
    """Durations in seconds: uniform, lognormal or empirical, as of `Distribution`."""

    kind: Literal["uniform", "lognormal", "empirical"]
    mean: Positive | None = None
    sigma: Positive | None = None
    minimum: Positive | None = None
    maximum: Positive | None = None
    file: Text | None = None
    column: Text | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _has_its_parameters(self)
        return self
