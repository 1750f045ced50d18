"""What a client process and its parent say to each other: pickled tuples, each after its length.

Both ends are ours, over a socket pair that nobody else has: that is what makes pickle safe here.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from typing import Literal, TypeAlias

from harness.adapters.http.loop import LoopLag

__all__ = ["Ask", "Frames", "FromParent", "FromProcess", "Told", "packed"]

Ask: TypeAlias = tuple[int, bytes, int]
"""A request: its number, its bytes, its deadline (`time.perf_counter_ns`, 0: none)."""
Told: TypeAlias = tuple[
    int,
    int,
    dict[str, str],
    list[tuple[int, bytes]],
    int,
    Exception | None,
    bool,
    int,
    int,
]
"""A reply: the request's number, then the fields of `harness.adapters.http.reply.Reply`."""
FromParent: TypeAlias = tuple[Literal["send"], list[Ask]] | tuple[Literal["work"], int]
FromProcess: TypeAlias = (
    tuple[Literal["ready"], Exception | None]
    | tuple[Literal["ended"], list[Told]]
    | tuple[Literal["work"], tuple[LoopLag, float | None]]
)
LENGTH = struct.Struct("<I")


def packed(message: object) -> bytes:
    """Return `message` as it goes over the channel."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(content)) + content


class Frames:
    """Puts the bytes of a channel together again; they may be cut anywhere."""

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, data: bytes) -> Iterator[object]:
        """Yield the messages that are whole with `data`."""
        held = self._held
        held += data
        at = 0
        while len(held) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(held, at)
            end = at + LENGTH.size + size
            if len(held) < end:
                break
            yield pickle.loads(memoryview(held)[at + LENGTH.size : end].tobytes())
            at = end
        del held[:at]
