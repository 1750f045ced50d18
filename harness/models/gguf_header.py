"""Reads the header of a user's own GGUF file, and nothing else of it: as data, within bounds.

Format: github.com/ggml-org/ggml, docs/gguf.md (version 2 and 3, little-endian). Every count and
length is held against what is left of the file before anything is read, so that a wrong one costs
neither memory nor time. llama.cpp itself is given only files that have passed.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from harness.errors import SpecError
from harness.models.own_files import refuse_pickle, state_of, unreadable
from harness.schema.base import Precision
from harness.schema.model import GgufModel, LlamaModel

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_TENSORS = 100_000
MOST_FIELDS = 100_000
MOST_ITEMS = 10_000_000
"""Of one array; the largest there are list a vocabulary."""
MOST_KEY_BYTES = 65_535
SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
"""By number of the value type: how `struct` reads it."""
STRING, ARRAY = 8, 9
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    30: ("BF16", 1, 2),
}
"""By number of the tensor type: its name, the elements of a block, and the bytes of one."""
PRECISIONS: dict[str, Precision] = {
    "F32": "fp32",
    "F16": "fp16",
    "BF16": "bf16",
    "Q8_0": "int8",
    "Q4_0": "int4",
    "Q4_1": "int4",
    "Q4_K": "int4",
}
"""By type of most of a file's bytes: what a target that runs it has as precision."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header says: facts of the model, and how many tensors of which type there are."""

    vocabulary: int
    context: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    parameters: int
    types: dict[str, int]
    main_type: str

    def as_llama(self, context: int) -> LlamaModel:
        """Return the shape as the harness declares it, with room for `context` positions."""
        return LlamaModel(
            family="llama",
            vocabulary=self.vocabulary,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.kv_heads,
            intermediate=self.intermediate,
            context=context,
        )


def own_gguf(model: GgufModel, data: Path) -> GgufHeader:
    """Return the header of `model`'s file. SpecError as `read_header`, and for the context."""
    header = read_header(data / model.file)
    if model.context > header.context:
        raise SpecError(
            f"the model {model.file} has {header.context} positions, not {model.context}",
            hint=f"write under 'model': context: {header.context}",
        )
    return header


def read_header(path: Path) -> GgufHeader:
    """Return the header of the GGUF file `path`.

    Raises SpecError, with the reason, if it is no whole GGUF file, or not one of a Llama.
    """
    return _read(*state_of(path, "model"))


@lru_cache(maxsize=8)
def _read(path: Path, size: int, changed_ns: int) -> GgufHeader:
    try:
        with path.open("rb") as file:
            start = file.read(24)
            refuse_pickle(start, path)
            if not start.startswith(MAGIC):
                raise SpecError(f"{path} is not a GGUF file: it does not begin with 'GGUF'")
            if len(start) < 24:
                raise SpecError(f"{path} is cut short: {size} bytes hold no header")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _header(_Cursor(content, path))
    except OSError as error:
        raise unreadable(path, "model", error) from error


@dataclass(slots=True)
class _Cursor:
    """A place in the file; it never leads out of it."""

    content: mmap.mmap
    path: Path
    at: int = 4
    sizes: dict[str, int] = field(default_factory=dict)

    def take(self, count: int, what: str) -> int:
        """Return where the next `count` bytes begin, and go behind them."""
        begin = self.at
        if count > len(self.content) - begin:
            raise SpecError(
                f"{self.path} is cut short, or {what} is wrong: {count} bytes at byte {begin} of "
                f"{len(self.content)}"
            )
        self.at += count
        return begin

    def number(self, kind: str, what: str) -> int | float | bool:
        """Return the next number, of a type of `struct`."""
        begin = self.take(struct.calcsize(f"<{kind}"), what)
        value: int | float | bool = struct.unpack_from(f"<{kind}", self.content, begin)[0]
        return value

    def count(self, what: str, most: int, kind: str = "Q") -> int:
        """Return the next number, which must be a count of at most `most`."""
        value = int(self.number(kind, what))
        if value > most:
            raise SpecError(f"{self.path}: {what} is {value}; at most {most} are read")
        return value

    def text(self, what: str, most: int) -> str:
        """Return the next string."""
        length = self.count(f"the length of {what}", most)
        begin = self.take(length, what)
        return self.content[begin : begin + length].decode("utf-8", "replace")


def _header(cursor: _Cursor) -> GgufHeader:
    path = cursor.path
    version = int(cursor.number("I", "the version"))
    if version not in VERSIONS:
        raise SpecError(f"{path} is GGUF of version {version}; versions 2 and 3 are read")
    tensors = cursor.count("the number of tensors", MOST_TENSORS)
    fields = cursor.count("the number of fields", MOST_FIELDS)
    facts: dict[str, object] = {}
    for _ in range(fields):
        key = cursor.text("a field's name", MOST_KEY_BYTES)
        facts[key] = _value(cursor, key)
    kind = facts.get("general.architecture")
    if kind != "llama":
        raise SpecError(f"{path} is a model of architecture {kind!r}; only 'llama' ones are run")
    alignment = facts.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16:
        raise SpecError(f"{path}: general.alignment is {alignment!r}")
    return _tensors(cursor, tensors, facts, alignment)


def _value(cursor: _Cursor, key: str) -> object:
    """Return a field's value; of an array nothing is kept but its length."""
    kind = int(cursor.number("I", f"the type of {key}"))
    if kind in SCALARS:
        return cursor.number(SCALARS[kind], key)
    if kind == STRING:
        return cursor.text(key, len(cursor.content))
    if kind != ARRAY:
        raise SpecError(f"{cursor.path}: the field {key} is of type {kind}, which GGUF has not")
    items = int(cursor.number("I", f"the type of {key}"))
    count = cursor.count(f"the length of {key}", MOST_ITEMS)
    cursor.sizes[key] = count
    if items in SCALARS:
        cursor.take(count * struct.calcsize(f"<{SCALARS[items]}"), key)
    elif items == STRING:
        for _ in range(count):
            cursor.take(cursor.count(f"the length of a text of {key}", len(cursor.content)), key)
    else:
        raise SpecError(f"{cursor.path}: the field {key} is an array of type {items}")
    return None


def _tensors(cursor: _Cursor, count: int, facts: dict[str, object], alignment: int) -> GgufHeader:
    path = cursor.path
    types: dict[str, int] = {}
    in_bytes: dict[str, int] = {}
    places: list[tuple[str, int, int]] = []
    parameters = vocabulary = 0
    for _ in range(count):
        name = cursor.text("a tensor's name", MOST_KEY_BYTES)
        axes = cursor.count(f"the number of axes of {name}", 4, "I")
        shape = [int(cursor.number("Q", name)) for _ in range(axes)]
        number = int(cursor.number("I", name))
        offset = int(cursor.number("Q", name))
        if number not in TYPES:
            raise SpecError(f"{path}: the tensor {name} is of type {number}, which is not read")
        kind, block, block_bytes = TYPES[number]
        elements = math.prod(shape)
        if not shape or min(shape) < 1 or shape[0] % block:
            raise SpecError(f"{path}: the tensor {name} has the shape {shape} in {kind}")
        places.append((name, offset, elements // block * block_bytes))
        types[kind] = types.get(kind, 0) + 1
        in_bytes[kind] = in_bytes.get(kind, 0) + places[-1][2]
        parameters += elements
        if name == "token_embd.weight":
            vocabulary = shape[-1]
    start = -(-cursor.at // alignment) * alignment
    for name, offset, length in places:
        if offset % alignment or start + offset + length > len(cursor.content):
            raise SpecError(f"{path}: the tensor {name} is cut short or out of its place")
    if not vocabulary:
        raise SpecError(f"{path} has no tensor token_embd.weight")
    told = cursor.sizes.get("tokenizer.ggml.tokens")
    if told is not None and told != vocabulary:
        raise SpecError(f"{path} lists {told} tokens, but has embeddings of {vocabulary}")

    def whole(key: str, default: int | None = None) -> int:
        value = facts.get(f"llama.{key}", default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SpecError(f"{path}: llama.{key} is {value!r}, not a count")
        return value

    heads = whole("attention.head_count")
    return GgufHeader(
        vocabulary=vocabulary,
        context=whole("context_length"),
        hidden=whole("embedding_length"),
        layers=whole("block_count"),
        heads=heads,
        kv_heads=whole("attention.head_count_kv", heads),
        intermediate=whole("feed_forward_length"),
        parameters=parameters,
        types=types,
        main_type=max(in_bytes, key=lambda kind: in_bytes[kind]),
    )
