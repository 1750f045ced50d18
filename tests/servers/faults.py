"""The fault menu of the reference server: each fault turns a good reply into a bad one.

Given as `fault=NAME` or `fault=NAME:ARGUMENT` in the request's options:

    reset:N  cut:N        the connection is reset, or closed, after N bytes of the reply
    loris:SECONDS         one byte each SECONDS
    hang  stall:N         no reply at all; nothing more after N tokens, the connection stays
    truncated:N           the stream is closed after N tokens, without the end of the chunks
    half-event            the last event is cut, though HTTP ends as it should
    no-done  two-done     the end mark is missing, or there twice
    content-type:TYPE     another type (text/html)
    429[:SECONDS]  503[:SECONDS]  500       with Retry-After if SECONDS are given
    500-after:N           an error event after N tokens, then the end
    invalid-json          a JSON document that is none, as an event or as the body
    utf8-split            each byte in a chunk of its own: no fault, must be read
    utf8-cut              a letter lacks its last byte
    long-line:BYTES       one line without end (100 MB)
    endless               tokens that never end, as fast as they are taken
    gzip-bomb:BYTES       BYTES (100 MB) of zeros, compressed
    redirect:URL          307 to URL
    garbage  bad-chunk    bytes that are not HTTP, at once or as a chunk's size
    long-head:BYTES       a header without end
    no-length             the end of the connection ends the body: no fault, must be read
    close                 "Connection: close": no fault
    drop                  the connection is closed after the reply, without a word: no fault
    continue              100 first: no fault
    two-replies           another reply follows that nobody asked for
"""

import gzip
from dataclasses import replace

from tests.servers.openai import DONE, data, refusal
from tests.servers.script import END_CHUNK, Script, Step, chunk, head, script

MEGABYTE = 1_000_000


def spoiled(answer, fault):
    """Return the script of `answer` with `fault` (empty: none); KeyError if there is no such."""
    name, _, argument = fault.partition(":")
    if not name:
        return script(answer)
    if name in ANSWERS:
        return script(ANSWERS[name](answer, argument))
    return SCRIPTS[name](answer, argument)


# Faults of what is said.


def refused(status):
    def fault(answer, argument):
        return refusal(status, "as you wish", {"retry-after": argument} if argument else {})

    return fault


def events(change):
    """Return the fault that changes the events of a stream."""

    def fault(answer, argument):
        return replace(answer, events=tuple(change(list(answer.events), argument)))

    return fault


def without_done(rows, _):
    return [row for row in rows if row[1] != DONE]


def two_done(rows, _):
    return [*rows, rows[-1]]


def half_event(rows, _):
    at_s, raw, token = without_done(rows, _)[-1]
    return [*without_done(rows, _)[:-1], (at_s, raw[: len(raw) // 2], token)]


def error_after(rows, argument):
    kept = rows[: int(argument or 2)]
    error = {"error": {"message": "out of memory", "type": "reference", "code": 500}}
    return [*kept, (kept[-1][0], data(error), False)]


def letter_cut(raw):
    """Return `raw` without the last byte of its first letter of several bytes."""
    for index, byte in enumerate(raw):
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return raw[: index + size - 1] + raw[index + size :]
    return raw


def utf8_cut(answer, _):
    cut = tuple((at_s, letter_cut(raw), token) for at_s, raw, token in answer.events)
    return replace(answer, events=cut, body=letter_cut(answer.body))


def invalid_json(answer, _):
    if not answer.events:
        return replace(answer, body=answer.body[:-1])
    (at_s, _, token), *rest = answer.events
    return replace(answer, events=((at_s, b'data: {"choices": [\n\n', token), *rest))


def gzip_bomb(answer, argument):
    packed = gzip.compress(bytes(int(argument or 100 * MEGABYTE)), compresslevel=1)
    return replace(answer, events=(), body=packed, headers={"content-encoding": "gzip"})


def redirect(answer, argument):
    return replace(refusal(307, "over there"), headers={"location": argument})


ANSWERS = {
    "429": refused(429),
    "500": refused(500),
    "503": refused(503),
    "500-after": events(error_after),
    "no-done": events(without_done),
    "two-done": events(two_done),
    "half-event": events(half_event),
    "utf8-cut": utf8_cut,
    "invalid-json": invalid_json,
    "content-type": lambda answer, kind: replace(answer, content_type=kind or "text/html"),
    "gzip-bomb": gzip_bomb,
    "redirect": redirect,
}


# Faults of how it is said.


def after_bytes(ending):
    def fault(answer, argument):
        left, steps = int(argument or 0), []
        for step in script(answer).steps:
            if left <= 0:
                break
            steps.append(replace(step, data=step.data[:left]))
            left -= len(step.data)
        return Script(tuple(steps), ending)

    return fault


def after_tokens(ending):
    def fault(answer, argument):
        steps = script(answer).steps[: int(argument or 1)]
        return Script(tuple(replace(s, data=s.data.removesuffix(END_CHUNK)) for s in steps), ending)

    return fault


def loris(answer, argument):
    pause_s, raw = float(argument or 1), b"".join(step.data for step in script(answer).steps)
    return Script(tuple(Step(i * pause_s, raw[i : i + 1]) for i in range(len(raw))), "close")


def stream_head(answer):
    return head(200, {"content-type": answer.content_type, "transfer-encoding": "chunked"})


def utf8_split(answer, _):
    steps, start = [], stream_head(answer)
    for at_s, raw, token in answer.events:
        pieces = b"".join(chunk(raw[i : i + 1]) for i in range(len(raw)))
        steps.append(Step(at_s, start + pieces, token))
        start = b""
    return Script((*steps, Step(steps[-1].at_s, END_CHUNK)))


def long_line(answer, argument):
    piece = chunk(b"x" * MEGABYTE)
    count = int(argument or 100 * MEGABYTE) // MEGABYTE
    begin = Step(0.0, stream_head(answer) + chunk(b"data: "))
    return Script((begin, *[Step(0.0, piece)] * count, Step(0.0, END_CHUNK)))


def endless(answer, _):
    piece = chunk(answer.events[0][1]) * 1_000
    return Script((Step(0.0, stream_head(answer)), *[Step(0.0, piece)] * 1_000_000), "close")


def long_head(answer, argument):
    count = int(argument or 10 * MEGABYTE) // 1_000
    begin = Step(0.0, b"HTTP/1.1 200 OK\r\nx-long: ")
    return Script((begin, *[Step(0.0, b"x" * 1_000)] * count), "close")


def no_length(answer, _):
    body = answer.body or b"".join(raw for _, raw, _ in answer.events)
    return Script((Step(0.0, head(200, {"content-type": answer.content_type}) + body),), "close")


def closing(said):
    def fault(answer, _):
        if said:
            answer = replace(answer, headers={**answer.headers, "connection": "close"})
        return Script(script(answer).steps, "close")

    return fault


def first(raw):
    return lambda answer, _: Script((Step(0.0, raw), *script(answer).steps))


def two_replies(answer, _):
    steps = script(answer).steps
    extra = head(200, {"content-length": 2}) + b"{}"
    return Script((*steps[:-1], replace(steps[-1], data=steps[-1].data + extra)))


SCRIPTS = {
    "reset": after_bytes("reset"),
    "cut": after_bytes("close"),
    "truncated": after_tokens("close"),
    "stall": after_tokens("hang"),
    "hang": lambda answer, _: Script((), "hang"),
    "loris": loris,
    "utf8-split": utf8_split,
    "long-line": long_line,
    "endless": endless,
    "long-head": long_head,
    "no-length": no_length,
    "close": closing(said=True),
    "drop": closing(said=False),
    "garbage": lambda *_: Script((Step(0.0, b"SSH-2.0-reference\r\n"),), "close"),
    "bad-chunk": lambda answer, _: Script((Step(0.0, stream_head(answer) + b"zz\r\n"),), "hang"),
    "continue": first(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "two-replies": two_replies,
}
MENU = (*ANSWERS, *SCRIPTS)
