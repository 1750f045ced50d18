"""Reads and writes weight files (safetensors): mapped into memory, checked, never pickled.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the data).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError

HEADER_BYTES_MAX = 100_000_000
ELEMENTS: dict[str, np.dtype[np.generic]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
}
"""The element types that a weight file may have. The 16-bit ones become float32."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in a weight file: its element type, its shape, and the byte at which it begins."""

    kind: str
    shape: tuple[int, ...]
    place: int


def save_weights(weights: Mapping[str, NDArray[np.generic]], path: Path) -> None:
    """Write `weights` (float32, float16 or int32 arrays by name) to `path`."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, path)


def stream_weights(
    shapes: Mapping[str, tuple[int, ...]],
    arrays: Iterable[tuple[str, NDArray[np.float32]]],
    path: Path,
) -> None:
    """Write float32 `arrays`, which come by name in the order of `shapes`, to `path`.

    Each is written as it comes: memory for one is enough.
    """
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for (expected, shape), (name, array) in zip(shapes.items(), arrays, strict=True):
            if (name, array.shape) != (expected, shape) or array.dtype != np.float32:
                raise ValueError(
                    f"{name} {list(array.shape)} came in place of {expected} {list(shape)}"
                )
            file.write(np.ascontiguousarray(array, dtype="<f4").reshape(-1).view(np.uint8).data)


def load_weights(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of `path` by name: float32 and int32 ones mapped, 16-bit ones as float32.

    Raises SpecError if the file cannot be read, is not a safetensors file, or is cut short.
    """
    return {
        name: _widen(
            np.memmap(path, ELEMENTS[stored.kind], "r", stored.place, stored.shape), stored
        )
        for name, stored in stored_weights(path).items()
    }


def stored_weights(path: Path) -> dict[str, Stored]:
    """Return what the header of `path` says of each array, by name; raises as `load_weights`.

    Every array lies whole in the file. Their values are not looked at.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if not 0 < length <= min(size, HEADER_BYTES_MAX):
                pointer = start.startswith(b"version ")
                hint = (
                    "it is a pointer of Git LFS: git lfs pull fetches the file" if pointer else ""
                )
                raise SpecError(f"{path} is not a safetensors file", hint=hint or None)
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        entries: list[tuple[str, str, tuple[int, ...], list[int]]] = [
            (name, entry["dtype"], tuple(entry["shape"]), entry["data_offsets"])
            for name, entry in header.items()
        ]
        for name, _, shape, (start_at, end) in entries:
            if not 0 <= start_at <= end or any(each < 1 for each in shape):
                raise ValueError(f"{name} has a place or a shape that no file has")
    except OSError as error:
        raise SpecError(f"cannot read the weights {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SpecError(f"{path} is not a safetensors file: {error}") from error
    found: dict[str, Stored] = {}
    for name, kind, shape, (start_at, end) in entries:
        if kind not in ELEMENTS:
            raise SpecError(f"{path}: {name} is of type {kind}, not of {', '.join(ELEMENTS)}")
        if math.prod(shape) * ELEMENTS[kind].itemsize != end - start_at or 8 + length + end > size:
            raise SpecError(f"{path}: {name} is cut short")
        found[name] = Stored(kind, shape, 8 + length + start_at)
    by_place = sorted((start_at, end, name) for name, _, _, (start_at, end) in entries)
    for (_, end, before), (start_at, _, name) in pairwise(by_place):
        if start_at < end:
            raise SpecError(f"{path} is not a safetensors file: {before} and {name} overlap")
    return found


def check_weights(
    weights: Mapping[str, NDArray[np.generic]], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Raise SpecError unless `weights` has exactly the names of `shapes`, these shapes, float32."""
    check_names(weights, shapes, source)
    for name, shape in shapes.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float32:
            raise _other_shape(source, name, f"{array.dtype} {list(array.shape)}", shape)
        if not np.isfinite(array).all():
            raise SpecError(f"{source}: {name} has values that are not finite")


def check_stored(
    stored: Mapping[str, Stored], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Raise SpecError unless `stored` has exactly the names of `shapes`, and these shapes."""
    check_names(stored, shapes, source)
    for name, shape in shapes.items():
        if stored[name].shape != shape:
            found = f"{stored[name].kind} {list(stored[name].shape)}"
            raise _other_shape(source, name, found, shape)


def check_names(found: Iterable[str], wanted: Iterable[str], source: str) -> None:
    """Raise SpecError, with what is missing and what is too much, unless both are the same."""
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or unknown:
        said = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for names, what in ((missing, "missing"), (unknown, "unknown"))
            if names
        ]
        raise SpecError(f"{source} does not fit the declared model: weights {', '.join(said)}")


def _other_shape(source: str, name: str, found: str, wanted: tuple[int, ...]) -> SpecError:
    return SpecError(
        f"{source} does not fit the declared model: {name} is {found}, not float32 {list(wanted)}"
    )


def _widen(array: NDArray[np.generic], stored: Stored) -> NDArray[np.generic]:
    if stored.kind == "F16":
        return array.astype(np.float32)
    if stored.kind == "BF16":
        # The upper half of a float32.
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array
