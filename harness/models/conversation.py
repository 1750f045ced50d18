"""Conversations: each turn's prompt holds what was said before, answers as they really came.

What is drawn holds a stand-in for each answer, of the length that is asked for: lengths are known
beforehand, and nothing is measured with it. `continued` puts the real answer in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness.models.requests import Message, Output, TextRequest
from harness.models.texts import as_words

Tokens = NDArray[np.int64]
NOTHING: Tokens = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TurnRequest(TextRequest):
    """Turn `turn` (from 0) of conversation `conversation`, `think_s` after the answer before it.

    `prompt` and `messages` hold all that was said up to it: `before` stands in for the answer
    before it, `added` is what this turn adds.
    """

    conversation: int = 0
    turn: int = 0
    think_s: float = 0.0
    before: Tokens = field(default_factory=lambda: NOTHING)
    added: Tokens = field(default_factory=lambda: NOTHING)


def as_conversations(
    prompts: Sequence[TextRequest],
    prefixes: Sequence[Tokens],
    turns: Sequence[int],
    thinks_s: Sequence[float],
    stand_ins: Sequence[Tokens],
) -> list[TurnRequest]:
    """Return all turns of `len(turns)` conversations, one after the other.

    `prompts`, `thinks_s` and `stand_ins` (of each one's answer) have one value per turn, `prefixes`
    one per conversation: what its first turn begins with.
    """
    made: list[TurnRequest] = []
    for conversation, (count, prefix) in enumerate(zip(turns, prefixes, strict=True)):
        for turn in range(count):
            at = len(made)
            alone = prompts[at]
            if turn == 0:
                prompt = np.concatenate([prefix, alone.prompt])
                first = TurnRequest(
                    prompt=prompt,
                    max_new_tokens=alone.max_new_tokens,
                    sampling=alone.sampling,
                    messages=(Message("user", as_words(prompt.tolist())),),
                    conversation=conversation,
                    added=prompt,
                )
                made.append(first)
                continue
            drawn = TurnRequest(
                prompt=alone.prompt,
                max_new_tokens=alone.max_new_tokens,
                sampling=alone.sampling,
                conversation=conversation,
                turn=turn,
                think_s=thinks_s[at],
                before=stand_ins[at - 1],
                added=alone.prompt,
            )
            made.append(continued(drawn, made[-1], Output(tokens=stand_ins[at - 1].tolist())))
    return made


def continued(following: TurnRequest, before: TurnRequest, answer: Output) -> TurnRequest:
    """Return `following` as what comes after `before` and its `answer`.

    Of an answer that has a text only, the tokens are the stand-ins: they go to no server.
    """
    tokens = np.asarray(answer.tokens, dtype=np.int64) if answer.tokens else following.before
    text = answer.text if answer.text is not None else as_words(tokens.tolist())
    said = before.messages or (Message("user", as_words(before.prompt.tolist())),)
    return replace(
        following,
        prompt=np.concatenate([before.prompt, tokens, following.added]),
        messages=(
            *said,
            Message("assistant", text),
            Message("user", as_words(following.added.tolist())),
        ),
    )
