"""OpenAI's `chat/completions` and `completions`, streamed (platform.openai.com/docs/api-reference).

Our workloads hold token numbers of a vocabulary that no server has. They go out as words, one for
each token: about as many tokens in most vocabularies, and the server's own count is recorded. Where
`prompt: token_ids` is set, `completions` gets the numbers themselves. A user's own prompts go out
as they are. A turn of a conversation goes out with all that was said before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.adapters.base import Output, Request, TextRequest
from harness.adapters.http.errors import (
    AnswerError,
    ErrorEventError,
    NoEndMarkError,
    TwoEndMarksError,
)
from harness.adapters.http.message import Body, Received, check, parse, words_of
from harness.adapters.http.secrets import Secret
from harness.adapters.http.served_model import ListedModel
from harness.adapters.http.sse import read_events
from harness.adapters.receipt import Answer
from harness.errors import UnsupportedError
from harness.models.conversation import TurnRequest
from harness.models.requests import AnswerRequest, Message
from harness.models.texts import as_words
from harness.schema.server import ServerAddress


class TextCodec(ListedModel):
    """Chat and completions. A token is there when the event that holds it has come whole.

    Servers may put several tokens into one event. So tokens are those of the server's `usage`, else
    the events with text; the time per token follows from the count, never from single gaps.
    """

    def __init__(self, server: ServerAddress, secret: Secret) -> None:
        super().__init__(server, secret)
        self._chat = server.protocol == "openai-chat"

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
            "model": self.served.name,
            self._server.limit: request.max_new_tokens,
            "stream": True,
        }
        if self._server.usage:
            fields["stream_options"] = {"include_usage": True}
        free = isinstance(request, AnswerRequest)
        if "ignore_eos" in self._server.length and not free:
            fields["ignore_eos"] = True
        if "min_tokens" in self._server.length and not free:
            fields["min_tokens"] = request.max_new_tokens
        fields |= self._said(request)
        return Body(
            path="/chat/completions" if self._chat else "/completions",
            content_type="application/json",
            content=json.dumps(fields, separators=(",", ":")).encode(),
            accept="text/event-stream",
        )

    def _said(self, request: TextRequest) -> dict[str, object]:
        """Return the prompt as numbers, as text, or as messages."""
        ids, messages = request.prompt.tolist(), request.messages
        if self._server.prompt == "token_ids" and not isinstance(request, AnswerRequest):
            if not ids:
                raise UnsupportedError(
                    "'prompt: token_ids' sends token numbers: your own prompts need a tokenizer"
                )
            if isinstance(request, TurnRequest):
                raise UnsupportedError(
                    "'prompt: token_ids' cannot go on with a conversation: the server does not "
                    "tell the token numbers of its answers; leave it out"
                )
            return {"prompt": ids}
        messages = messages or (Message("user", as_words(ids)),)
        if self._chat:
            return {"messages": [{"role": m.role, "content": m.content} for m in messages]}
        if isinstance(request, TurnRequest):
            return {"prompt": " ".join([message.content.strip() for message in messages])}
        if len(messages) > 1 or messages[0].role != "user":
            raise UnsupportedError("openai-completions takes a prompt; openai-chat takes messages")
        return {"prompt": messages[0].content}

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return the times of the first and the last text, and the number of tokens."""
        check(reply, self._secret, "text/event-stream")
        stream = read_events(reply.chunks)
        judged = isinstance(request, AnswerRequest)
        texts: list[str] | None = [] if judged or isinstance(request, TurnRequest) else None
        first = last = chunks = 0
        tokens: int | None = None
        prompt: int | None = None
        cached: int | None = None
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
                details = usage.get("prompt_tokens_details")
                if isinstance(details, dict):
                    cached = _count(details.get("cached_tokens"), cached)
            finished = _finished(document, finished)
            if self._text(document):
                first = first or event.at_ns
                last = event.at_ns
                chunks += 1
                if texts is not None:
                    texts.append(self._answered(document))
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
        output = Output() if texts is None else Output(text="".join(texts))
        if judged:  # not timed: it may be empty
            return Answer(ended_ns=reply.ended_ns, output=output)
        if not chunks:
            raise AnswerError("the answer holds no text")
        source = "usage" if tokens else "chunks"
        tokens = tokens or chunks
        self._tally.add(source, tokens, chunks, prompt)
        counts = None if prompt is None or cached is None else (prompt, min(cached, prompt))
        return Answer(ended_ns=last, first_ns=first, tokens=tokens, output=output, prompt=counts)

    def describe(self) -> Mapping[str, object]:
        """Return how prompts were sent and how tokens were counted."""
        told = {"prompt": self._server.prompt, **self._tally.describe()}
        return {**self.served.describe(), **told}

    def _answered(self, document: Mapping[str, object]) -> str:
        """Return the text of the answer in an event, without reasoning and calls of tools."""
        choices = document.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        text = choice.get("delta", {}).get("content") if self._chat else choice.get("text")
        return text if isinstance(text, str) else ""

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
