"""What all specifications share: frozen, closed to unknown keys, finite numbers, named units."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
"""A kebab-case identifier; the name of the file that holds it."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percentile = Annotated[float, Field(gt=0, lt=100)]

Task = Literal["text_generation", "text_embedding", "speech_to_text", "tabular_classification"]
Tier = Literal["cloud", "on_premises", "edge"]
Precision = Literal["fp32", "bf16", "fp16", "int8", "int4"]
Evidence = Literal["measured", "imported", "projected", "claimed"]
ScenarioKind = Literal[
    "single_stream", "multi_stream", "offline", "server", "closed_loop", "burst", "trace"
]


class Spec(BaseModel):
    """Base of every document and of its parts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        populate_by_name=True,
        serialize_by_alias=True,
    )


class Document(Spec):
    """A specification that is a file of its own."""

    schema_: Literal[1] = Field(alias="schema", description="Version of the document's format.")


class Fact(Spec):
    """A number somebody could dispute, with where it comes from and when it was read.

    The unit is in the name of the field that holds the fact.
    """

    value: NonNegative
    source: Text
    date: date


class Interval(Spec):
    """A figure with its 95 % interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


def absent(value: object) -> bool:
    """Whether a field is left out: documents from before it existed keep their identity."""
    return value is None
