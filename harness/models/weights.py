"""Reads and writes weight files (safetensors): mapped into memory, checked, never pickled.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the data).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
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
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size, HEADER_BYTES_MAX):
                raise SpecError(f"{path} is not a safetensors file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        entries: list[tuple[str, np.dtype[np.generic] | None, str, list[int], list[int]]] = [
            (
                name,
                ELEMENTS.get(entry["dtype"]),
                entry["dtype"],
                entry["shape"],
                entry["data_offsets"],
            )
            for name, entry in header.items()
        ]
        for name, _, _, shape, (start, end) in entries:
            if not 0 <= start <= end or any(each < 1 for each in shape):
                raise ValueError(f"{name} has a place or a shape that no file has")
    except OSError as error:
        raise SpecError(f"cannot read the weights {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SpecError(f"{path} is not a safetensors file: {error}") from error
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, element, kind, shape, (start, end) in entries:
        if element is None:
            raise SpecError(f"{path}: {name} is of type {kind}, not of {', '.join(ELEMENTS)}")
        place = 8 + length + start
        if math.prod(shape) * element.itemsize != end - start or 8 + length + end > size:
            raise SpecError(f"{path}: {name} is cut short")
        stored = np.memmap(path, element, "r", place, tuple(shape))
        arrays[name] = _widen(stored, kind)
    return arrays


def check_weights(
    weights: Mapping[str, NDArray[np.generic]], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Raise SpecError unless `weights` has exactly the names of `shapes`, these shapes, float32."""
    missing, unknown = sorted(set(shapes) - set(weights)), sorted(set(weights) - set(shapes))
    if missing or unknown:
        said = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for names, what in ((missing, "missing"), (unknown, "unknown"))
            if names
        ]
        raise SpecError(f"{source} does not fit the declared model: weights {', '.join(said)}")
    for name, shape in shapes.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float32:
            raise SpecError(
                f"{source} does not fit the declared model: {name} is {array.dtype} "
                f"{list(array.shape)}, not float32 {list(shape)}"
            )
        if not np.isfinite(array).all():
            raise SpecError(f"{source}: {name} has values that are not finite")


def _widen(stored: NDArray[np.generic], kind: str) -> NDArray[np.generic]:
    if kind == "F16":
        return stored.astype(np.float32)
    if kind == "BF16":
        # The upper half of a float32.
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored
