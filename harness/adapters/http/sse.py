"""Server-sent events, read after the reply has ended, each with the time it was there.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html (9.2.6).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

DONE = b"[DONE]"
FIELDS = (b"data", b"event", b"id", b"retry")


@dataclass(frozen=True, slots=True)
class Event:
    """The data of one event, and when the block of bytes came that completed it (ns)."""

    at_ns: int
    data: bytes
    name: bytes = b""


@dataclass(frozen=True, slots=True)
class Stream:
    """The events before the end mark, and what was odd.

    `done` counts end marks, `after` the other events behind the first. `junk` counts lines that are
    no field. `cut`: the last event was not completed by an empty line, and is left out.
    """

    events: tuple[Event, ...]
    done: int = 0
    after: int = 0
    junk: int = 0
    cut: bool = False


def read_events(chunks: Sequence[tuple[int, bytes]]) -> Stream:
    """Return the events in `chunks` (arrival in ns, bytes); bytes may be cut anywhere."""
    body = b"".join([block for _, block in chunks])
    ends, total = [], 0
    for _, block in chunks:
        total += len(block)
        ends.append(total)
    events: list[Event] = []
    data: list[bytes] = []
    name = b""
    done = after = junk = 0
    at = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    plain = b"\r" not in body
    while at < total:
        stop, following = _line_end(body, at, plain)
        if stop < 0:
            break
        line = body[at:stop]
        at = following
        if line:
            field, colon, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            elif field and (not colon or field not in FIELDS):
                junk += 1
            continue
        if data:
            whole = b"\n".join(data) if len(data) > 1 else data[0]
            if whole.strip() == DONE:
                done += 1
            elif done:
                after += 1
            else:
                events.append(Event(chunks[bisect_left(ends, following)][0], whole, name))
        data, name = [], b""
    left = body[at:].strip() if at < total else b""
    if data and not left and not done and b"\n".join(data).strip() == DONE:
        done, data = done + 1, []  # an end mark that only its empty line is missing of
    elif not done and left == b"data: [DONE]":
        done, left = done + 1, b""
    return Stream(tuple(events), done, after, junk, cut=bool(data or left))


def _line_end(body: bytes, at: int, plain: bool) -> tuple[int, int]:
    """Return where the line from `at` on ends and the next begins; (-1, -1) if it does not end."""
    stop = body.find(b"\n", at)
    if plain:
        return stop, stop + 1 if stop >= 0 else -1
    carriage = body.find(b"\r", at, stop if stop >= 0 else len(body))
    if carriage < 0:
        return stop, stop + 1 if stop >= 0 else -1
    return carriage, carriage + (2 if body[carriage + 1 : carriage + 2] == b"\n" else 1)
