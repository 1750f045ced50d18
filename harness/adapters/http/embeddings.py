"""OpenAI's `embeddings` (platform.openai.com/docs/api-reference): one text, one vector."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import EmbedRequest, Output, Request
from harness.adapters.http.errors import AnswerError
from harness.adapters.http.message import Body, Received, check, parse
from harness.adapters.http.secrets import Secret
from harness.adapters.http.served_model import ListedModel
from harness.adapters.receipt import Answer
from harness.errors import UnsupportedError
from harness.schema.server import ServerAddress


class EmbeddingCodec(ListedModel):
    """Sends a text, takes its vector: as numbers, or as base64 of little-endian float32.

    Numbers are asked for; `extra: {encoding_format: base64}` asks for the other.
    """

    def __init__(self, server: ServerAddress, secret: Secret) -> None:
        super().__init__(server, secret)
        self._dimensions: int | None = None

    def encode(self, request: Request) -> Body:
        """Return the body that asks for the vector of one text."""
        if not isinstance(request, EmbedRequest):
            raise UnsupportedError(f"openai-embeddings does not answer a {type(request).__name__}")
        fields = {
            "encoding_format": "float",
            **self._server.extra,
            "model": self.served.name,
            "input": request.text,
        }
        content = json.dumps(fields, separators=(",", ":")).encode()
        return Body("/embeddings", "application/json", content)

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return the vector, and count the text's tokens: the server's, else its words."""
        document = parse(check(reply, self._secret, "application/json"))
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(data, list) or len(data) != 1:
            raise AnswerError("the reply's 'data' are not one vector for the one text")
        vector = _vector(data[0].get("embedding") if isinstance(data[0], dict) else None)
        usage = document.get("usage")
        told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        counted = isinstance(told, int) and not isinstance(told, bool) and told > 0
        words = request.words if isinstance(request, EmbedRequest) else 0
        self._tally.add("usage" if counted else "words", 0, 0, told if counted else words)
        self._dimensions = vector.size
        return Answer(ended_ns=reply.ended_ns, output=Output(vector=vector))

    def describe(self) -> Mapping[str, object]:
        """Return the size of the vectors, and where the count of input tokens is from."""
        told = self._tally.describe()
        return {
            **self.served.describe(),
            "dimensions": self._dimensions,
            "input_tokens_counted_from": told["tokens_counted_from"],
            "input_tokens": told["prompt_tokens_by_server"],
        }


def _vector(held: object) -> NDArray[np.float32]:
    """Return the vector (float32 [dimensions]); AnswerError if it is none."""
    try:
        if isinstance(held, str):
            vector = np.frombuffer(base64.b64decode(held, validate=True), dtype="<f4")
        else:
            with np.errstate(over="ignore"):  # too large for float32: infinite, and refused below
                vector = np.array(held if isinstance(held, list) else None, dtype=np.float32)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise AnswerError("the vector is neither numbers nor base64 of numbers") from None
    if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
        raise AnswerError("the vector is empty, nested or not finite")
    return vector
