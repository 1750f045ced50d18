import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.adapters.http.sse import Event, read_events

STREAM = (
    'data: {"a": "日本🙂"}\n\n: ping\n\nevent: x\ndata: 1\ndata: 2\n\ndata: [DONE]\n\n'.encode()
)
EVENTS = (('{"a": "日本🙂"}'.encode(), b""), (b"1\n2", b"x"))


def cut(body: bytes, *places: int) -> list[tuple[int, bytes]]:
    """Return `body` in blocks cut at `places`; block i comes at time i + 1."""
    edges = [0, *sorted(places), len(body)]
    return [(i + 1, body[a:b]) for i, (a, b) in enumerate(itertools.pairwise(edges))]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_wherever_the_bytes_are_cut(places: list[int], end: bytes) -> None:
    body = STREAM.replace(b"\n", end)
    stream = read_events(cut(body, *(min(place, len(body)) for place in places)))
    assert tuple((event.data, event.name) for event in stream.events) == EVENTS
    assert (stream.done, stream.after, stream.junk, stream.cut) == (1, 0, 0, False)


@given(st.integers(1, len(STREAM) - 1))
def test_an_event_has_the_time_of_the_block_that_completed_it(place: int) -> None:
    first = read_events(cut(STREAM, place)).events[0]
    complete_at = STREAM.index(b"\n\n") + 2
    assert first.at_ns == (1 if place >= complete_at else 2)


@pytest.mark.parametrize(
    ("body", "done", "after", "junk", "is_cut"),
    [
        (b"data: 1\n\n", 0, 0, 0, False),
        (b"data: 1\n\ndata: [DONE]\n\ndata: [DONE]\n\n", 2, 0, 0, False),
        (b"data: [DONE]\n\ndata: 1\n\n", 1, 1, 0, False),
        (b"data: 1\n\ndata: 2", 0, 0, 0, True),
        (b"data: 1\n\ndata: 2\n", 0, 0, 0, True),
        (b"junk\nmore: junk\ndata: 1\n\n", 0, 0, 2, False),
        (b"data: [DONE]\n", 1, 0, 0, False),
        (b"data: [DONE]", 1, 0, 0, False),
        (b"", 0, 0, 0, False),
    ],
)
def test_what_is_odd_is_told(body: bytes, done: int, after: int, junk: int, is_cut: bool) -> None:
    stream = read_events(cut(body))
    assert (stream.done, stream.after, stream.junk, stream.cut) == (done, after, junk, is_cut)


def test_only_one_blank_after_the_colon_is_taken_off() -> None:
    assert read_events(cut(b"data:  x\n\ndata:y\n\n")).events == (Event(1, b" x"), Event(1, b"y"))
