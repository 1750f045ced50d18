"""The messages of the Open Inference Protocol v2 over gRPC, from a descriptor written here.

Names and numbers of the fields: github.com/kserve/open-inference-protocol,
specification/protocol/open_inference_grpc.proto. Only what we say and read is described; protobuf
skips fields that it does not know. No code is generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

SERVICE = "inference.GRPCInferenceService"
READY, METADATA, INFER = (
    f"/{SERVICE}/{name}" for name in ("ServerReady", "ModelMetadata", "ModelInfer")
)

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""By data type, the field that holds its numbers; FP16 and BF16 have none and travel raw."""

FIELDS: dict[str, tuple[str, ...]] = {
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready 1",),
    "ModelMetadataRequest": ("string name 1", "string version 2"),
    "TensorMetadata": ("string name 1", "string datatype 2", "int64* shape 3"),
    "ModelMetadataResponse": (
        "string name 1",
        "string* versions 2",
        "string platform 3",
        "TensorMetadata* inputs 4",
        "TensorMetadata* outputs 5",
    ),
    "InferParameter": (
        "bool bool_param 1",
        "int64 int64_param 2",
        "string string_param 3",
        "double double_param 4",
    ),
    "ParametersEntry": ("string key 1", "InferParameter value 2"),
    "InferTensorContents": (
        "bool* bool_contents 1",
        "int32* int_contents 2",
        "int64* int64_contents 3",
        "uint32* uint_contents 4",
        "uint64* uint64_contents 5",
        "float* fp32_contents 6",
        "double* fp64_contents 7",
        "bytes* bytes_contents 8",
    ),
    "Tensor": (
        "string name 1",
        "string datatype 2",
        "int64* shape 3",
        "ParametersEntry* parameters 4",
        "InferTensorContents contents 5",
    ),
    "RequestedOutput": ("string name 1", "ParametersEntry* parameters 2"),
    "ModelInferRequest": (
        "string model_name 1",
        "string model_version 2",
        "string id 3",
        "ParametersEntry* parameters 4",
        "Tensor* inputs 5",
        "RequestedOutput* outputs 6",
        "bytes* raw_input_contents 7",
    ),
    "ModelInferResponse": (
        "string model_name 1",
        "string model_version 2",
        "string id 3",
        "ParametersEntry* parameters 4",
        "Tensor* outputs 5",
        "bytes* raw_output_contents 6",
    ),
}
"""By message: type, name and number of each field; `*` is repeated.

On the wire a map is a repeated message of a key and a value, and nesting leaves no trace, so that
all is written plainly here.
"""


class Message(Protocol):
    """A protobuf message."""

    def SerializeToString(self) -> bytes:
        """Return the message's bytes."""


class Tensor(Protocol):
    """A tensor's metadata, or a tensor with its numbers in `contents` or beside it."""

    name: str
    datatype: str
    shape: list[int]
    contents: object


class Ready(Protocol):
    """What ServerReady answers."""

    ready: bool


class Metadata(Protocol):
    """What ModelMetadata answers."""

    platform: str
    inputs: list[Tensor]


class Inferred(Protocol):
    """What ModelInfer answers."""

    outputs: list[Tensor]
    raw_output_contents: list[bytes]


@dataclass(frozen=True, slots=True)
class Messages:
    """Makes and reads messages by name. Reading raises ValueError where bytes are no message."""

    classes: Mapping[str, Callable[..., Message]]

    def write(self, name: str, /, **fields: object) -> bytes:
        """Return the bytes of a message `name`; messages in it are given as dictionaries."""
        return self.classes[name](**fields).SerializeToString()

    def read_ready(self, content: bytes) -> Ready:
        """Return what ServerReady answered."""
        return cast(Ready, self.read("ServerReadyResponse", content))

    def read_metadata(self, content: bytes) -> Metadata:
        """Return what ModelMetadata answered."""
        return cast(Metadata, self.read("ModelMetadataResponse", content))

    def read_inferred(self, content: bytes) -> Inferred:
        """Return what ModelInfer answered."""
        return cast(Inferred, self.read("ModelInferResponse", content))

    def read(self, name: str, content: bytes) -> object:
        """Return `content` as a message `name`."""
        from google.protobuf.message import DecodeError

        kind: Callable[[bytes], object] = getattr(self.classes[name], "FromString")  # noqa: B009
        try:
            return kind(content)
        except DecodeError:
            raise ValueError(f"{len(content)} bytes that are no {name}") from None


@lru_cache(maxsize=1)
def messages() -> Messages:
    """Return the protocol's messages. ImportError if protobuf is missing."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto()
    file.name, file.package, file.syntax = "harness/open_inference.proto", "inference", "proto3"
    scalars = descriptor_pb2.FieldDescriptorProto
    for name, fields in FIELDS.items():
        message = file.message_type.add()
        message.name = name
        chosen = name == "InferParameter"  # else a False would not be sent
        if chosen:
            message.oneof_decl.add().name = "parameter_choice"
        for text in fields:
            kind, label, number = text.split()
            field = message.field.add()
            field.name, field.number = label, int(number)
            repeated = kind.endswith("*")
            field.label = scalars.LABEL_REPEATED if repeated else scalars.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            if chosen:
                field.oneof_index = 0
            if kind in FIELDS:
                field.type, field.type_name = scalars.TYPE_MESSAGE, f".inference.{kind}"
            else:
                field.type = getattr(scalars, f"TYPE_{kind.upper()}")
    # A pool of its own: an installed client of another make may hold the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return Messages(
        {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))
            for name in FIELDS
        }
    )
