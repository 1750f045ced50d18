"""OpenAI's `chat/completions` and `completions`, streamed (platform.openai.com/docs/api-reference).

Our workloads hold token numbers of a vocabulary that no server has. They go out as words, one for
each token: about as many tokens in most vocabularies, and the server's own count is recorded. Where
`prompt: token_ids` is set, `completions` gets the numbers themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.adapters.base import Output, Request, TextRequest
from harness.adapters.http.codec import Tally
from harness.adapters.http.errors import (
    AnswerError,
    ErrorEventError,
    NoEndMarkError,
    TwoEndMarksError,
)
from harness.adapters.http.message import Body, Received, check, parse, words_of
from harness.adapters.http.secrets import Secret
from harness.adapters.http.sse import read_events
from harness.adapters.receipt import Answer
from harness.errors import PrerequisiteError, UnsupportedError
from harness.schema.server import ServerAddress

_FREQUENT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point
home water room mother area money story fact month lot right study book eye job word business issue
side kind head house service friend father power hour game line end member law car city name
"""
WORDS = tuple(_FREQUENT.split())
"""Frequent English nouns: with the blank before them one token each in most vocabularies."""


class TextCodec:
    """Chat and completions. A token is there when the event that holds it has come whole.

    Servers may put several tokens into one event. So tokens are those of the server's `usage`, else
    the events with text; the time per token follows from the count, never from single gaps.
    """

    def __init__(self, server: ServerAddress, secret: Secret) -> None:
        self._server = server
        self._secret = secret
        self._chat = server.protocol == "openai-chat"
        self._tally = Tally()

    def probes(self) -> tuple[str, ...]:
        """Return the list of models."""
        return ("/models",)

    def learn(self, path: str, document: object) -> None:
        """Check that the server has the model, if it lists any."""
        find_model(self._server.model, document)

    def encode(self, request: Request) -> Body:
        """Return the body that asks for exactly `max_new_tokens`, drawn as asked, as a stream."""
        if not isinstance(request, TextRequest):
            raise UnsupportedError(
                f"{self._server.protocol} does not answer a {type(request).__name__}: "
                "a served model gives no logits"
            )
        fields: dict[str, object] = {"temperature": 0, **self._server.extra}
        if (sampling := request.sampling) is not None:
            fields |= {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "seed": sampling.seed,
            }
        fields |= {
            "model": self._server.model,
            self._server.limit: request.max_new_tokens,
            "stream": True,
        }
        if self._server.usage:
            fields["stream_options"] = {"include_usage": True}
        if "ignore_eos" in self._server.length:
            fields["ignore_eos"] = True
        if "min_tokens" in self._server.length:
            fields["min_tokens"] = request.max_new_tokens
        ids = request.prompt.tolist()
        if self._server.prompt == "token_ids":
            fields["prompt"] = ids
        elif self._chat:
            fields["messages"] = [{"role": "user", "content": as_words(ids)}]
        else:
            fields["prompt"] = as_words(ids)
        return Body(
            path="/chat/completions" if self._chat else "/completions",
            content_type="application/json",
            content=json.dumps(fields, separators=(",", ":")).encode(),
            accept="text/event-stream",
        )

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return the times of the first and the last text, and the number of tokens."""
        check(reply, self._secret, "text/event-stream")
        stream = read_events(reply.chunks)
        first = last = chunks = 0
        tokens: int | None = None
        prompt: int | None = None
        finished = False
        for event in stream.events:
            document = parse(event.data)
            if not isinstance(document, dict):
                raise AnswerError("an event of the stream is no JSON object")
            if event.name == b"error" or document.get("error") is not None:
                said = words_of(document, self._secret)
                raise ErrorEventError(f"the server broke off: {said or 'it does not say why'}")
            usage = document.get("usage")
            if isinstance(usage, dict):
                tokens = _count(usage.get("completion_tokens"), tokens)
                prompt = _count(usage.get("prompt_tokens"), prompt)
            finished = _finished(document, finished)
            if self._text(document):
                first = first or event.at_ns
                last = event.at_ns
                chunks += 1
        if self._server.end_mark == "finish_reason":
            if not finished:
                raise NoEndMarkError("the stream ends without a 'finish_reason'")
        elif not stream.done:
            always = "; if it always does, set 'server.end_mark: finish_reason'" if finished else ""
            raise NoEndMarkError(f"the stream ends without its end mark [DONE]{always}")
        if stream.done > 1 or stream.after:
            raise TwoEndMarksError("the stream goes on after its end mark [DONE]")
        if stream.cut:
            raise AnswerError("the stream ends within an event")
        if not chunks:
            raise AnswerError("the answer holds no text")
        source = "usage" if tokens else "chunks"
        tokens = tokens or chunks
        self._tally.add(source, tokens, chunks, prompt)
        return Answer(ended_ns=last, first_ns=first, tokens=tokens, output=Output())

    def describe(self) -> Mapping[str, object]:
        """Return how prompts were sent and how tokens were counted."""
        return {"prompt": self._server.prompt, **self._tally.describe()}

    def _text(self, document: Mapping[str, object]) -> bool:
        """Return whether an event brings output: an answer, reasoning, or a call of a tool."""
        choices = document.get("choices")
        if choices is None or choices == []:
            return False
        if not isinstance(choices, list) or not isinstance(choices[0], dict):
            raise AnswerError("an event's 'choices' are no list of objects")
        if not self._chat:
            return bool(choices[0].get("text"))
        delta = choices[0].get("delta")
        if delta is None:
            return False
        if not isinstance(delta, dict):
            raise AnswerError("an event's 'delta' is no object")
        names = ("content", "reasoning_content", "reasoning", "tool_calls")
        return any(delta.get(name) for name in names)


def as_words(ids: list[int]) -> str:
    """Return one word for each token number: the same numbers, the same text, everywhere.

    Prompts with an equal beginning keep it, so that a server's cache of prefixes sees the same.
    """
    return " ".join([WORDS[i % len(WORDS)] for i in ids])


def find_model(name: str, document: object) -> None:
    """Raise PrerequisiteError if `document`, a list of models, does not hold `name`."""
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        return
    names = [str(m["id"])[:80] for m in data if isinstance(m, dict) and "id" in m]
    if names and name not in names:
        raise PrerequisiteError(
            f"the server has no model '{name}'",
            hint=f"put one of its own into 'server.model': {', '.join(sorted(names)[:5])}",
        )


def _finished(document: Mapping[str, object], before: bool) -> bool:
    """Return whether the answer is over: what the last event with a choice says."""
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return before
    return bool(choices[0].get("finish_reason"))


def _count(value: object, before: int | None) -> int | None:
    """Return `value` if it is a count, else what was known `before`."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if whole else before  # type: ignore[return-value]
