"""The Open Inference Protocol, version 2, over HTTP: fraud rows and speech features as tensors.

Paths and fields: github.com/kserve/open-inference-protocol (inference_rest.md). Binary tensors:
the `binary_tensor_data` extension, little-endian, after the JSON head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import Output, Request, RowRequest, SpeechRequest
from harness.adapters.http.errors import AnswerError
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
HEAD_LENGTH = "inference-header-content-length"
READY = "/v2/health/ready"


class TensorCodec:
    """One input tensor, one answer: a score (floating point) or token numbers (whole)."""

    def __init__(self, server: ServerAddress, secret: Secret) -> None:
        self._server = server
        self._secret = secret
        self._path = f"/v2/models/{quote(server.model, safe='')}"
        self._input, self._type = "input-0", "FP32"
        self._output = server.output

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
        if len(inputs) > 1:
            names = ", ".join(str(tensor.get("name"))[:40] for tensor in inputs[:5])
            raise PrerequisiteError(
                f"the model '{self._server.model}' takes {len(inputs)} tensors ({names}), not one",
                hint="serve the workload's model with a single input",
            )
        for tensor in inputs:
            self._input = str(tensor.get("name") or self._input)
            self._type = str(tensor.get("datatype") or self._type)
        if self._type not in ("FP16", "FP32", "FP64"):
            raise PrerequisiteError(
                f"the model '{self._server.model}' takes {self._type[:20]}, not numbers (FP32)"
            )

    def encode(self, request: Request) -> Body:
        """Return the tensor of one row [1, features] or clip [1, bands, frames]."""
        if not isinstance(request, RowRequest | SpeechRequest):
            raise UnsupportedError(f"oip-http does not answer a {type(request).__name__}")
        values = request.features[np.newaxis].astype(TYPES[self._type])
        tensor: dict[str, object] = {
            "name": self._input,
            "shape": list(values.shape),
            "datatype": self._type,
        }
        fields: dict[str, object] = {**self._server.extra, "inputs": [tensor]}
        wanted: dict[str, object] = {"name": self._output} if self._output else {}
        path = f"{self._path}/infer"
        if self._server.tensors == "json":
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
        content = check(reply, self._secret, "application/json", "application/octet-stream")
        values = self._read(content, reply.headers.get(HEAD_LENGTH))
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
            return Answer(ended_ns=reply.ended_ns, output=Output((), score))
        if values.dtype.kind not in "iu":
            raise AnswerError("the answer holds no whole numbers, as tokens are")
        tokens = values.ravel().tolist()
        return Answer(ended_ns=reply.ended_ns, tokens=len(tokens), output=Output(tokens))

    def describe(self) -> Mapping[str, object]:
        """Return the tensors' names and how they travel."""
        return {
            "tensors": self._server.tensors,
            "input": f"{self._input} {self._type}",
            "output": self._output,
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
        if len(found) != 1:
            raise AnswerError(
                f"{len(found)} outputs could be the answer, not one",
                hint="name it in the target's 'server.output'",
            )
        return found[0]


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
            values = np.array(tensor.get("data"), dtype=kind)
        except (TypeError, ValueError, OverflowError):
            raise AnswerError("an output's 'data' are no numbers") from None
    try:
        return values.reshape(shape), at + size
    except ValueError:
        raise AnswerError(f"an output has {values.size} values, not those of its shape") from None


def _size(tensor: Mapping[str, object]) -> int:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    return size if type(size) is int and size > 0 else 0
