"""Calls that belong together: which inputs a task or a conversation is made of, and in which order.

A chain is one task or one conversation. Chains are numbered from 0 and come in whole seeded
permutations of the inputs (of the conversations, where there are turns), for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.adapters.base import Request
from harness.models.conversation import TurnRequest
from harness.schema.tasks import AgentTask
from harness.schema.workload import Workload

EXTRA = ("task", "turn")
"""Columns of samples of chains: the number of the chain, and the place of the call in it."""


@dataclass(frozen=True, slots=True)
class Chained:
    """How the calls of a workload belong together.

    `agent`: as tasks, whose figures count. `turns`: as conversations; both: a task is one.
    """

    agent: AgentTask | None
    turns: bool

    @classmethod
    def of(cls, workload: Workload) -> Chained | None:
        """Return how the calls of `workload` belong together; None if each is alone."""
        turns = workload.turns is not None
        return cls(workload.agent, turns) if workload.agent or turns else None

    @property
    def calls(self) -> int | None:
        """The calls of a task; None if there are no tasks."""
        return self.agent.calls_per_task if self.agent else None


@dataclass(frozen=True, slots=True)
class Chain:
    """Places of the inputs, one per call, and the pause in ns before each.

    `together`: all calls are due at once.
    """

    inputs: tuple[int, ...]
    pauses_ns: tuple[int, ...]
    together: bool


class Chains:
    """The chains that `inputs` are put into; the same ones for the same seed."""

    def __init__(self, inputs: Sequence[Request], chained: Chained, seed: int) -> None:
        self._inputs = inputs
        self._together = chained.agent is not None and chained.agent.order == "parallel"
        if chained.turns:
            self._units = _conversations(inputs)
            self._each = 1
        else:
            self._units = [(place,) for place in range(len(inputs))]
            self._each = chained.calls or 1
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []

    @property
    def calls(self) -> float:
        """The mean number of calls of a chain."""
        return self._each * len(self._inputs) / len(self._units)

    def chain(self, number: int) -> Chain:
        """Return chain `number`."""
        wanted = (number + 1) * self._each
        while len(self._order) < wanted:
            self._order += self._rng.permutation(len(self._units)).tolist()
        units = self._order[wanted - self._each : wanted]
        places = tuple(place for unit in units for place in self._units[unit])
        return Chain(places, tuple(self._pause_ns(place) for place in places), self._together)

    def _pause_ns(self, place: int) -> int:
        request = self._inputs[place]
        return round(request.think_s * 1e9) if isinstance(request, TurnRequest) else 0


def _conversations(inputs: Sequence[Request]) -> list[tuple[int, ...]]:
    """Return the places of the turns of each conversation."""
    found: dict[int, list[int]] = {}
    for place, request in enumerate(inputs):
        assert isinstance(request, TurnRequest)
        found.setdefault(request.conversation, []).append(place)
    return [tuple(places) for places in found.values()]
