"""The Open Inference Protocol, version 2, over gRPC: the same tensors as over HTTP.

Numbers travel as bytes (raw_input_contents) or in the field of their type (contents); answers are
read in both forms. See `harness.adapters.http.oip_messages` for the protocol's source.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import Request, SpeechRequest
from harness.adapters.http.codec import Tally
from harness.adapters.http.errors import AnswerError
from harness.adapters.http.message import Body, Received
from harness.adapters.http.oip import (
    TYPES,
    answer_of,
    named,
    one_input,
    shaped,
    tensor_of,
    the_one,
)
from harness.adapters.http.oip_messages import (
    CONTENTS,
    INFER,
    METADATA,
    READY,
    Inferred,
    Tensor,
    messages,
)
from harness.adapters.receipt import Answer
from harness.errors import PrerequisiteError
from harness.schema.server import ServerAddress


class GrpcTensorCodec:
    """One input tensor, one answer: a score (floating point) or token numbers (whole).

    Paths are the methods of the service, bodies its messages. Raises ImportError without protobuf.
    """

    def __init__(self, server: ServerAddress) -> None:
        self._server = server
        self._model = named(server)
        self._messages = messages()
        self._input, self._type = one_input(self._model, ())
        self._form = server.tensors or "binary"
        self._tally = Tally()

    def probes(self) -> tuple[str, ...]:
        """Return readiness and the model's metadata."""
        return READY, METADATA

    def question(self, path: str) -> bytes:
        """Return the message that a probe sends."""
        if path == READY:
            return self._messages.write("ServerReadyRequest")
        return self._messages.write("ModelMetadataRequest", name=self._model)

    def learn(self, path: str, document: object) -> None:
        """Take the name and type of the input from `document`, the bytes of an answer."""
        if not isinstance(document, bytes):  # the server has no such method
            return
        try:
            if path == READY:
                if not self._messages.read_ready(document).ready:
                    raise PrerequisiteError(
                        f"{self._server.url} is not ready",
                        hint="wait until the server has loaded its model",
                    )
                return
            inputs = self._messages.read_metadata(document).inputs
        except ValueError as error:
            raise PrerequisiteError(f"{self._server.url}: {path} answers with {error}") from None
        self._input, self._type = one_input(
            self._model, [(each.name, each.datatype) for each in inputs]
        )
        if self._form == "typed" and self._type not in CONTENTS:
            raise PrerequisiteError(
                f"{self._type} has no typed form in the protocol",
                hint="set the target's 'server.tensors: binary'",
            )

    def encode(self, request: Request) -> Body:
        """Return the message that asks for one row [1, features] or clip [1, bands, frames]."""
        values = tensor_of(request, self._type, self._server)
        tensor: dict[str, object] = {
            "name": self._input,
            "datatype": self._type,
            "shape": list(values.shape),
        }
        fields: dict[str, object] = {"model_name": self._model, "inputs": [tensor]}
        if self._form == "binary":
            fields["raw_input_contents"] = [values.tobytes()]
        else:
            tensor["contents"] = {CONTENTS[self._type]: values.ravel().tolist()}
        if self._server.output:
            fields["outputs"] = [{"name": self._server.output}]
        if self._server.extra:
            fields["parameters"] = [
                {"key": key, "value": _parameter(value)}
                for key, value in self._server.extra.items()
            ]
        content = self._messages.write("ModelInferRequest", **fields)
        return Body(INFER, "application/grpc", content)

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return the score of a row, or the tokens of a clip."""
        if reply.error is not None:
            raise reply.error
        content = b"".join([block for _, block in reply.chunks])
        try:
            inferred = self._messages.read_inferred(content)
        except ValueError as error:
            raise AnswerError(f"the reply is {error}") from None
        answer = answer_of(request, self._read(inferred), reply.ended_ns)
        if isinstance(request, SpeechRequest):
            self._tally.add("tensor", answer.tokens, 0, None)
        return answer

    def describe(self) -> Mapping[str, object]:
        """Return the tensors' names and how they travel."""
        return {
            "tensors": self._form,
            "input": f"{self._input} {self._type}",
            "output": self._server.output,
            **self._tally.describe(),
        }

    def _read(self, inferred: Inferred) -> NDArray[np.generic]:
        """Return the answer's tensor; raise AnswerError if there is none or it does not fit."""
        raw = inferred.raw_output_contents
        if raw and len(raw) != len(inferred.outputs):
            raise AnswerError(
                f"{len(inferred.outputs)} outputs came with {len(raw)} blocks of bytes"
            )
        found = []
        for index, tensor in enumerate(inferred.outputs):
            if self._server.output in (None, tensor.name):
                found.append(_numbers(tensor, raw[index] if raw else None))
        return the_one(found)


def _parameter(value: object) -> dict[str, object]:
    """Return `value` as a parameter of its type."""
    if isinstance(value, bool):
        return {"bool_param": value}
    if isinstance(value, int):
        return {"int64_param": value}
    if isinstance(value, float):
        return {"double_param": value}
    return {"string_param": str(value)}


def _numbers(tensor: Tensor, raw: bytes | None) -> NDArray[np.generic]:
    kind = TYPES.get(tensor.datatype)
    if kind is None:
        raise AnswerError(f"an output is {tensor.datatype[:20]!r}, not numbers")
    if raw is not None:
        if len(raw) % np.dtype(kind).itemsize:
            raise AnswerError("an output's bytes are not those of its type")
        return shaped(np.frombuffer(raw, dtype=kind), tensor.shape)
    held = (
        getattr(tensor.contents, CONTENTS[tensor.datatype]) if tensor.datatype in CONTENTS else ()
    )
    return shaped(np.array(held, dtype=kind), tensor.shape)
