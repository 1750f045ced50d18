"""A query that keeps what a session says, and small models for the tests of adapters."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.adapters.base import Adapter, Model, Output, Request, Session
from harness.schema.model import LlamaModel, WhisperModel
from tests.factories import make_target

LLAMA = LlamaModel(
    family="llama",
    vocabulary=211,
    hidden=64,
    layers=3,
    heads=4,
    kv_heads=2,
    intermediate=160,
    context=48,
    seed=6,
)
WHISPER = WhisperModel(
    family="whisper",
    mel_bands=20,
    frames=60,
    vocabulary=211,
    hidden=48,
    encoder_layers=2,
    decoder_layers=2,
    heads=4,
    text_context=32,
    seed=5,
)


@dataclass
class Recorder:
    """Keeps the events of a query in their order."""

    requests: list[Request]
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def tokens(self, index: int, count: int) -> None:
        self.events.append(("tokens", index, count))

    def done(self, index: int, output: Output) -> None:
        self.events.append(("done", index, output))

    def fail(self, error: Exception, index: int | None = None) -> None:
        self.events.append(("fail", index, error))


def ask(session: Session, *requests: Request) -> list[Output]:
    """Submit one query and return its outputs; an error is raised again."""
    query = Recorder(list(requests))
    session.submit(query)
    for event in query.events:
        if event[0] == "fail":
            raise event[2]
    return [event[2] for event in query.events if event[0] == "done"]


def open_session(adapter: type[Adapter], model: Model, **runtime: Any) -> Session:
    """Open `model` on a target with this runtime, on two threads."""
    runtime = {"adapter": "under-test", "options": {"threads": 2}} | runtime
    return adapter().open(make_target(runtime=runtime), model)


def draw_tokens(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, LLAMA.vocabulary, count)


def draw_features(seed: int = 0) -> np.ndarray:
    shape = (WHISPER.mel_bands, WHISPER.frames)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
