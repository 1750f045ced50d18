"""The Open Inference Protocol v2 of the reference server: one model, `mean` of each row.

Input: one tensor of any number type, [rows, ...]; output `mean`, FP32 [rows, 1]. Tensors come and
go as JSON numbers or as little-endian bytes behind the JSON (the binary tensor extension).
"""

import json

import numpy as np

from tests.servers.openai import refusal
from tests.servers.script import Answer

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


def metadata(name):
    body = {
        "name": name,
        "versions": ["1"],
        "platform": "reference",
        "inputs": [{"name": "rows", "datatype": "FP32", "shape": [-1, -1]}],
        "outputs": [{"name": "mean", "datatype": "FP32", "shape": [-1, 1]}],
    }
    return Answer(body=json.dumps(body).encode())


def ready():
    return Answer(body=b'{"ready": true}')


def means(rows):
    """Return what the model makes of `rows`."""
    return rows.reshape(len(rows), -1).astype(np.float32).mean(axis=1, keepdims=True)


def infer(request, name):
    length = request.headers.get("inference-header-content-length")
    size = len(request.body) if length is None else int(length)
    document, tail = json.loads(request.body[:size]), request.body[size:]
    (tensor,) = document["inputs"]
    kind = TYPES.get(tensor["datatype"])
    if kind is None:
        return refusal(400, f"no datatype {tensor['datatype']}")
    binary = (tensor.get("parameters") or {}).get("binary_data_size")
    if binary is None:
        rows = np.array(tensor["data"], dtype=kind).reshape(tensor["shape"])
    else:
        rows = np.frombuffer(tail[:binary], dtype=kind).reshape(tensor["shape"])
    found = means(rows)
    output = {"name": "mean", "datatype": "FP32", "shape": list(found.shape)}
    body = {
        "model_name": name,
        "model_version": "1",
        "id": document.get("id", ""),
        "outputs": [output],
    }
    at_s = request.options.ttft_s
    if not wants_binary(document):
        output["data"] = found.ravel().tolist()
        return Answer(body=json.dumps(body).encode(), at_s=at_s)
    raw = found.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    text = json.dumps(body).encode()
    return Answer(
        content_type="application/octet-stream",
        body=text + raw,
        headers={"inference-header-content-length": str(len(text))},
        at_s=at_s,
    )


def wants_binary(document):
    default = (document.get("parameters") or {}).get("binary_data_output", False)
    for output in document.get("outputs") or ():
        return (output.get("parameters") or {}).get("binary_data", default)
    return default
