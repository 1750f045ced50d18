"""What the reference server is asked to do, and what it will write: no clock and no socket here."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Options:
    """Told in the first part of the path, `/ttft_s=0.05,fault=reset:100/v1/...`, or a header.

    The header is `x-reference`, and goes before the path.

    ttft_s, itl_s: when the first token and each later one is written. tokens: how many, if the
    request does not say. knows: the share of known answers that are right. per_event: tokens in
    one event. role: send a first event without content.
    listed: the models in its list, joined by "+". known: the only one that is answered, if any.
    cache: say that all messages but the last came from a cache of prefixes.
    fault: its name and, after a colon, its argument: see `tests.servers.faults`.
    """

    ttft_s: float = 0.0
    itl_s: float = 0.0
    tokens: int = 16
    knows: float = 1.0
    per_event: int = 1
    role: bool = False
    usage: bool = True
    cache: bool = False
    listed: str = "reference"
    known: str = ""
    fault: str = ""

    @classmethod
    def of(cls, text, base=None):
        """Return the options in `text`, the rest as in `base`."""
        base = base or cls()
        changes = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            kind = type(getattr(base, name))
            changes[name] = value in ("1", "true") if kind is bool else kind(value)
        return replace(base, **changes)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict
    body: bytes
    options: Options


@dataclass(frozen=True)
class Step:
    """Bytes to write `at_s` after the request came; a `token` is in the truth log."""

    at_s: float
    data: bytes
    token: bool = False


@dataclass(frozen=True)
class Script:
    """A reply: steps in the order of time, then what becomes of the connection.

    ending: "keep" it, "close" it, "reset" it, or "hang": neither end nor answer.
    """

    steps: tuple = ()
    ending: str = "keep"


@dataclass(frozen=True)
class Answer:
    """A reply before it is put into HTTP: a body at `at_s`, or `events` as (at_s, bytes, token)."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""
    events: tuple = ()
    headers: dict = field(default_factory=dict)
    at_s: float = 0.0


REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 404: "Not Found"} | {
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def head(status, headers):
    lines = [f"HTTP/1.1 {status} {REASONS[status]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


END_CHUNK = b"0\r\n\r\n"


def script(answer):
    """Return the script of `answer`: with a length, or chunked if it is a stream."""
    headers = {"content-type": answer.content_type, **answer.headers}
    if not answer.events:
        start = head(answer.status, {**headers, "content-length": len(answer.body)})
        return Script((Step(answer.at_s, start + answer.body, answer.status == 200),))
    steps, start = [], head(answer.status, {**headers, "transfer-encoding": "chunked"})
    for at_s, data, token in answer.events:
        steps.append(Step(at_s, start + chunk(data), token))
        start = b""
    last = steps.pop()
    steps.append(Step(last.at_s, last.data + END_CHUNK, last.token))
    return Script(tuple(joined(steps)))


def joined(steps):
    """Return `steps` with what follows a token at once, as the end mark does, in one write."""
    kept = steps[:1]
    for step in steps[1:]:
        if step.token or step.at_s > kept[-1].at_s:
            kept.append(step)
        else:
            kept[-1] = replace(kept[-1], data=kept[-1].data + step.data)
    return kept
