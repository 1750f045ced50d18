"""The Open Inference Protocol v2 over gRPC, by grpc.server: a scorer of rows, and faults by name.

The model's name picks what happens: `fraud` scores, `echo-tokens` answers whole numbers, any name
of `FAULTS` fails that way. `typed` answers numbers in `contents` instead of bytes.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np

from harness.adapters.http.oip_messages import CONTENTS, SERVICE, messages

FAULTS = {
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "internal": grpc.StatusCode.INTERNAL,
    "unknown": grpc.StatusCode.UNKNOWN,
    "no-key": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "late": grpc.StatusCode.DEADLINE_EXCEEDED,
}
TYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}


def onnx_scorer(folder):
    """Return what scores rows by the ONNX model in `folder`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(next(Path(folder).glob("*.onnx"))), providers=["CPUExecutionProvider"]
    )
    (source,) = session.get_inputs()
    return lambda rows: session.run(None, {source.name: rows.astype(np.float32)})[0]


class Service(grpc.GenericRpcHandler):
    """What the server answers; keeps the metadata of each call in `seen`."""

    def __init__(self, score, datatype="FP32", metadata=True, is_ready=True):
        self.score, self.datatype = score, datatype
        self.metadata, self.is_ready = metadata, is_ready
        self.seen, self.messages, self.begun = [], messages(), threading.Event()

    def service(self, details):
        self.seen.append(dict(details.invocation_metadata))
        methods = {"ServerReady": self.ready, "ModelInfer": self.infer}
        if self.metadata:
            methods["ModelMetadata"] = self.describe
        name = details.method.removeprefix(f"/{SERVICE}/")
        return grpc.unary_unary_rpc_method_handler(methods[name]) if name in methods else None

    def ready(self, content, context):
        return self.messages.write("ServerReadyResponse", ready=self.is_ready)

    def describe(self, content, context):
        name = self.messages.read("ModelMetadataRequest", content).name
        if name == "missing":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        return self.messages.write(
            "ModelMetadataResponse",
            name=name,
            platform="reference",
            inputs=[{"name": "rows", "datatype": self.datatype, "shape": [-1, -1]}],
        )

    def infer(self, content, context):
        request = self.messages.read("ModelInferRequest", content)
        name = request.model_name
        if name in FAULTS:
            said = self.seen[-1].get("authorization", "no key")
            context.abort(FAULTS[name], f"you said {said}")
        if name == "slow":
            self.begun.set()
            time.sleep(1.0)
        if name == "garbage":
            return b"\xff\xff\xff"
        if name == "large":
            return self.messages.write("ModelInferResponse", raw_output_contents=[bytes(1 << 21)])
        (tensor,) = request.inputs
        if request.raw_input_contents:
            values = np.frombuffer(request.raw_input_contents[0], TYPES[tensor.datatype])
        else:
            values = np.array(getattr(tensor.contents, CONTENTS[tensor.datatype]))
        values = values.reshape(tensor.shape)
        if name == "echo-tokens":
            found, kind = np.arange(4, dtype="<i8")[np.newaxis], "INT64"
        else:
            found, kind = np.asarray(self.score(values), "<f4").reshape(len(values), -1), "FP32"
        output = {"name": "score", "datatype": kind, "shape": list(found.shape)}
        if request.raw_input_contents:
            held = {"raw_output_contents": [found.tobytes()]}
        else:
            output["contents"] = {CONTENTS[kind]: found.ravel().tolist()}
            held = {}
        return self.messages.write("ModelInferResponse", model_name=name, outputs=[output], **held)


@contextmanager
def served(score=None, *, certificate=None, **options):
    """Run the server; yields its service, whose `port` it listens on."""
    service = Service(score or (lambda rows: rows.mean(axis=1, keepdims=True)), **options)
    server = grpc.server(ThreadPoolExecutor(8), handlers=[service])
    if certificate is None:
        service.port = server.add_insecure_port("127.0.0.1:0")
    else:
        chain, key = (Path(path).read_bytes() for path in certificate)
        credentials = grpc.ssl_server_credentials([(key, chain)])
        service.port = server.add_secure_port("localhost:0", credentials)
    service.server = server
    server.start()
    try:
        yield service
    finally:
        server.stop(None).wait()
