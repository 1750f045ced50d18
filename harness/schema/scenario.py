"""The traffic that a workload may declare: one class for each kind of scenario."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import Positive, Spec, Text


class SingleStream(Spec):
    """One request in flight; the next is issued when the last has ended."""

    kind: Literal["single_stream"]


class Offline(Spec):
    """All requests at time 0, in the largest batches the target takes."""

    kind: Literal["offline"]


class MultiStream(Spec):
    """Queries of `samples` requests, one query in flight; a query ends with its last request."""

    kind: Literal["multi_stream"]
    samples: Annotated[int, Field(gt=1, le=1024)] = 8


Loads = tuple[Annotated[float, Field(gt=0, le=2)], ...]
"""Shares of the rate measured back to back, one operating point each."""


def _must_rise(load: Loads) -> None:
    if list(load) != sorted(set(load)):
        raise ValueError("'load' must be a rising list of shares, for example [0.5, 0.8]")


class Server(Spec):
    """Poisson arrivals, open loop.

    Without `load` the highest rate within the SLO is searched. With it exactly these points are
    measured; a load is a share of the rate measured back to back.
    """

    kind: Literal["server"]
    load: Loads = ()

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _must_rise(self.load)
        return self


class ClosedLoop(Spec):
    """`concurrency` users, each of whom sends the next request when the last one has ended."""

    kind: Literal["closed_loop"]
    concurrency: Annotated[int, Field(gt=0, le=1024)] = 4


class Burst(Spec):
    """Arrivals in clusters, open loop: gamma gaps of shape `shape` at a mean rate of each `load`.

    Counts vary 1 / `shape` times as much as a Poisson process's. With the three `spike_` fields the
    rate is also `spike_factor` times the calm one for `spike_s` in every `spike_every_s`; the mean
    over a whole period stays `load`.
    """

    kind: Literal["burst"]
    load: Annotated[Loads, Field(min_length=1)] = (0.5,)
    shape: Annotated[float, Field(ge=0.01, lt=1)] = 0.25
    spike_factor: Annotated[float, Field(gt=1, le=1000)] | None = None
    spike_s: Positive | None = None
    spike_every_s: Positive | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _must_rise(self.load)
        fields = (self.spike_factor, self.spike_s, self.spike_every_s)
        if any(f is None for f in fields) != all(f is None for f in fields):
            raise ValueError("'spike_factor', 'spike_s' and 'spike_every_s' go together")
        if self.spike_s and self.spike_every_s and self.spike_s >= self.spike_every_s:
            raise ValueError("'spike_s' must be shorter than 'spike_every_s'")
        return self


class Trace(Spec):
    """Recorded arrivals, open loop, `speed` times as fast as they were.

    `file` is a CSV of time_s,input_tokens,output_tokens, relative to the workloads folder.
    """

    kind: Literal["trace"]
    file: Text
    speed: Positive = 1.0


Scenario = Annotated[
    SingleStream | MultiStream | Offline | Server | ClosedLoop | Burst | Trace,
    Field(discriminator="kind"),
]
