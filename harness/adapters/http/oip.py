"""The Open Inference Protocol, version 2, over HTTP: fraud rows and speech features as tensors.

Paths and fields: github.com/kserve/open-inference-protocol (inference_rest.md). Binary tensors:
the `binary_tensor_data` extension, little-endian, after the JSON head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import Output, Request, RowRequest, SpeechRequest
from harness.adapters.http.codec import Tally
from harness.adapters.http.errors import AnswerError, StatusError
from harness.adapters.http.message import Body, Received, check, parse
from harness.adapters.http.secrets import Secret
from harness.adapters.receipt import Answer
from harness.errors import PrerequisiteError, UnsupportedError
from harness.schema.server import ServerAddress

TYPES = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""The protocol's names of the types that we read, as numpy's."""
NO_BINARY = (400, 415, 422, 500, 501)
"""What servers without the extension of binary tensors answer: MLServer 1.7.1 says 500."""
JSON_INSTEAD = "set the target's 'server.tensors: json'"
HEAD_LENGTH = "inference-header-content-length"
READY = "/v2/health/ready"


class TensorCodec:
    """One input tensor, one answer: a score (floating point) or token numbers (whole)."""

    def __init__(self, server: ServerAddress, secret: Secret) -> None:
        self._server = server
        self._secret = secret
        self._model = named(server)
        self._path = f"/v2/models/{quote(self._model, safe='')}"
        self._input, self._type = one_input(self._model, ())
        self._output = server.output
        self._understood = server.tensors != "binary"
        self._tally = Tally()

    def probes(self) -> tuple[str, ...]:
        """Return readiness and the model's metadata."""
        return READY, self._path

    def learn(self, path: str, document: object) -> None:
        """Take the names and types of the tensors; a server may leave them out."""
        if path == READY or not isinstance(document, dict):
            return
        inputs = document.get("inputs") or []
        if not isinstance(inputs, list) or not all(isinstance(i, dict) for i in inputs):
            raise PrerequisiteError("the server's metadata of the model cannot be read")
        told = [(str(each.get("name") or ""), str(each.get("datatype") or "")) for each in inputs]
        self._input, self._type = one_input(self._model, told)

    def encode(self, request: Request) -> Body:
        """Return the tensor of one row [1, features] or clip [1, bands, frames]."""
        values = tensor_of(request, self._type, self._server)
        tensor: dict[str, object] = {
            "name": self._input,
            "shape": list(values.shape),
            "datatype": self._type,
        }
        fields: dict[str, object] = {**self._server.extra, "inputs": [tensor]}
        wanted: dict[str, object] = {"name": self._output} if self._output else {}
        path = f"{self._path}/infer"
        if self._server.tensors != "binary":
            tensor["data"] = values.ravel().tolist()
            if wanted:
                fields["outputs"] = [wanted]
            head = json.dumps(fields, separators=(",", ":")).encode()
            return Body(path, "application/json", head)
        raw = values.tobytes()
        tensor["parameters"] = {"binary_data_size": len(raw)}
        if wanted:
            fields["outputs"] = [{**wanted, "parameters": {"binary_data": True}}]
        else:
            fields["parameters"] = {"binary_data_output": True}
        head = json.dumps(fields, separators=(",", ":")).encode()
        headers = {HEAD_LENGTH: str(len(head))}
        return Body(path, "application/octet-stream", head + raw, headers, accept="*/*")

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return the score of a row, or the tokens of a clip."""
        try:
            content = check(reply, self._secret, "application/json", "application/octet-stream")
        except StatusError as error:
            if self._understood or error.status not in NO_BINARY:
                raise
            text = f"{error.message}; it may not know binary tensors: {JSON_INSTEAD}"
            raise type(error)(text, status=error.status, hint=JSON_INSTEAD) from error
        values = self._read(content, reply.headers.get(HEAD_LENGTH))
        self._understood = True
        answer = answer_of(request, values, reply.ended_ns)
        if isinstance(request, SpeechRequest):
            self._tally.add("tensor", answer.tokens, 0, None)
        return answer

    def describe(self) -> Mapping[str, object]:
        """Return the tensors' names and how they travel."""
        return {
            "tensors": self._server.tensors or "json",
            "input": f"{self._input} {self._type}",
            "output": self._output,
            **self._tally.describe(),
        }

    def _read(self, content: bytes, head_length: str | None) -> NDArray[np.generic]:
        """Return the answer's tensor; raise AnswerError if there is none or it does not fit."""
        end = len(content)
        if head_length is not None:
            if not (head_length.isascii() and head_length.isdigit()):
                raise AnswerError(f"the header {HEAD_LENGTH} is no number")
            end = int(head_length)
            if end > len(content):
                raise AnswerError("the reply is shorter than its own JSON head")
        document = parse(content[:end])
        outputs = document.get("outputs") if isinstance(document, dict) else None
        if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
            raise AnswerError("the reply has no 'outputs'")
        found: list[NDArray[np.generic]] = []
        at = end
        for tensor in outputs:
            values, at = _tensor(tensor, content, at)
            if self._output in (None, tensor.get("name")):
                found.append(values)
        return the_one(found)


def named(server: ServerAddress) -> str:
    """Return the model's name, which this protocol always needs (the schema sees to it)."""
    assert server.model is not None
    return server.model


def one_input(model: str, inputs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return name and data type of a model's one input, as its server tells them.

    A server may leave them out. PrerequisiteError if there are several, or they are no numbers.
    """
    if len(inputs) > 1:
        names = ", ".join(name[:40] for name, _ in inputs[:5])
        raise PrerequisiteError(
            f"the model '{model}' takes {len(inputs)} tensors ({names}), not one",
            hint="serve the workload's model with a single input",
        )
    name, datatype = inputs[0] if inputs else ("", "")
    datatype = datatype or "FP32"
    if datatype not in ("FP16", "FP32", "FP64"):
        raise PrerequisiteError(f"the model '{model}' takes {datatype[:20]}, not numbers (FP32)")
    return name or "input-0", datatype


def tensor_of(request: Request, datatype: str, server: ServerAddress) -> NDArray[np.generic]:
    """Return the tensor of one row [1, features] or clip [1, bands, frames]."""
    if not isinstance(request, RowRequest | SpeechRequest):
        raise UnsupportedError(f"{server.protocol} does not answer a {type(request).__name__}")
    return request.features[np.newaxis].astype(TYPES[datatype])


def answer_of(request: Request, values: NDArray[np.generic], ended_ns: int) -> Answer:
    """Return the score of a row, or the tokens of a clip, that `values` hold."""
    if isinstance(request, RowRequest):
        if values.dtype.kind != "f":
            raise AnswerError(
                "the model answers with labels, not with scores",
                hint="name its output of probabilities in the target's 'server.output'",
            )
        if values.size not in (1, 2):
            raise AnswerError(f"one row got {values.size} values, not a score")
        # Of two values, the probabilities of both classes, the second is that of fraud.
        # Whether they are probabilities at all is the quality gate's to say.
        score = float(values.ravel()[-1])
        return Answer(ended_ns=ended_ns, output=Output((), score))
    if values.dtype.kind not in "iu":
        raise AnswerError("the answer holds no whole numbers, as tokens are")
    tokens = values.ravel().tolist()
    return Answer(ended_ns=ended_ns, tokens=len(tokens), output=Output(tokens))


def the_one(found: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Return the only output that can be the answer."""
    if len(found) != 1:
        raise AnswerError(
            f"{len(found)} outputs could be the answer, not one",
            hint="name it in the target's 'server.output'",
        )
    return found[0]


def shaped(values: NDArray[np.generic], shape: Sequence[int]) -> NDArray[np.generic]:
    """Return `values` in the shape that the server says; AnswerError if there are not as many."""
    try:
        return values.reshape(tuple(shape))
    except ValueError:
        raise AnswerError(f"an output has {values.size} values, not those of its shape") from None


def _tensor(
    tensor: Mapping[str, object], content: bytes, at: int
) -> tuple[NDArray[np.generic], int]:
    """Return a tensor of the reply, and where the next one's bytes begin."""
    kind = TYPES.get(str(tensor.get("datatype")))
    shape = tensor.get("shape")
    if kind is None:
        return np.empty(0, dtype="?"), at + _size(tensor)
    if not isinstance(shape, list) or not all(type(s) is int and s >= 0 for s in shape):
        raise AnswerError("an output has no 'shape'")
    size = _size(tensor)
    if size:
        raw = content[at : at + size]
        if len(raw) != size or size % np.dtype(kind).itemsize:
            raise AnswerError("an output's bytes are not those of its shape")
        values: NDArray[np.generic] = np.frombuffer(raw, dtype=kind)
    else:
        try:
            with np.errstate(over="ignore"):  # infinite; the quality gate judges scores
                values = np.array(tensor.get("data"), dtype=kind)
        except (TypeError, ValueError, OverflowError):
            raise AnswerError("an output's 'data' are no numbers") from None
    return shaped(values, shape), at + size


def _size(tensor: Mapping[str, object]) -> int:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    return size if type(size) is int and size > 0 else 0
