"""The adapter against the reference server: every fault is an error of its own, no key is shown."""

import base64
import threading
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from harness.adapters.base import Model, RowRequest, ScoreTextRequest, Session, TextRequest
from harness.adapters.http import errors
from harness.adapters.http.adapter import HttpAdapter, endpoint_of, make_codec
from harness.adapters.http.client import Client
from harness.adapters.http.secrets import Secret
from harness.adapters.http.session import HttpSession
from harness.errors import AdapterError, PrerequisiteError, UnsupportedError
from harness.measure.clock import RealClock
from harness.measure.query import TimedQuery
from tests.adapters.http.served import make_served
from tests.adapters.recorder import Recorder
from tests.servers.process import Reference, certificate, refused_port

KEY = "canary-Zq7vX3pL9mK2rT8w"
REQUEST = TextRequest(prompt=np.arange(5), max_new_tokens=4)


@pytest.fixture(scope="module")
def server():
    with Reference() as running:
        yield running


def ask(session: Session, request: Any = REQUEST) -> TimedQuery:
    """Return the query of `request`, answered and read."""
    query = TimedQuery([request], None, RealClock())
    query.issued_ns = RealClock.now_ns()
    session.submit(query)
    assert query.wait(10.0)
    query.read()
    return query


def session_on(url: str, **changes: Any) -> HttpSession:
    """Return a session that has not asked whether the server is ready."""
    address = make_served(url, **changes).server
    assert address is not None
    secret = Secret(KEY)
    client = Client(endpoint_of(address), connections=2, max_reply_bytes=1 << 20)
    return HttpSession(address, secret, make_codec(address, secret), client, {})


def test_a_reply_is_stamped_when_its_text_came(server: Reference, llama_model: Model) -> None:
    url = server.url("ttft_s=0.05,itl_s=0.02,role=1")
    session = HttpAdapter().open(make_served(url), llama_model)
    assert isinstance(session, HttpSession)
    session.prepare_requests([REQUEST])
    try:
        server.truth()
        query = ask(session)
        (row,) = server.truth()
        described = session.describe()
    finally:
        session.close()
    assert query.first_ns is not None
    assert query.token_counts == [4]
    assert abs(query.first_ns[0] - row["writes_ns"][0]) < 20e6
    assert abs(query.ended_ns[0] - row["writes_ns"][-1]) < 20e6
    assert 0.05 < (query.first_ns[0] - query.issued_ns) / 1e9 < 0.09
    assert query.complaints == ()
    assert described["tokens_counted_from"] == "usage"
    assert described["prompt_tokens_by_server"] == 5


def test_a_query_of_others_is_told_by_its_methods(server: Reference) -> None:
    session = session_on(server.url())
    try:
        query = Recorder([REQUEST])
        ended = threading.Event()
        query.done = lambda *_: ended.set()  # type: ignore[method-assign]
        session.submit(query)
        assert ended.wait(10.0)
        assert query.events == [("tokens", 0, 4)]
    finally:
        session.close()


FAULTS = [
    ("reset:40", errors.TruncatedError),
    ("cut:400", errors.TruncatedError),
    ("hang", errors.TimeoutError_),
    ("stall:2", errors.TimeoutError_),
    ("loris:0.2", errors.TimeoutError_),
    ("truncated:2", errors.TruncatedError),
    ("half-event", errors.NoEndMarkError),
    ("no-done", errors.NoEndMarkError),
    ("two-done", errors.TwoEndMarksError),
    ("content-type:text/html", errors.ContentTypeError),
    ("429", errors.RateLimitError),
    ("429:3", errors.RateLimitError),
    ("503", errors.BusyError),
    ("503:3", errors.BusyError),
    ("500", errors.ServerError),
    ("500-after:2", errors.ErrorEventError),
    ("invalid-json", errors.JsonError),
    ("utf8-cut", errors.EncodingError),
    ("long-line:100000000", errors.TooLargeError),
    ("endless", errors.TooLargeError),
    ("gzip-bomb:100000000", errors.EncodingError),
    ("redirect:http:%2F%2Fexample.com%2F", errors.RedirectError),
    ("garbage", errors.ProtocolError),
    ("bad-chunk", errors.ProtocolError),
]


@pytest.mark.parametrize(("fault", "error"), FAULTS)
def test_every_fault_is_an_error_of_its_own_and_shows_no_key(
    server: Reference, fault: str, error: type[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    session = session_on(server.url(f"fault={fault}"), timeout_s=1.0)
    try:
        query = ask(session)
    finally:
        session.close()
    assert query.errors is not None
    (found,) = query.errors
    assert type(found) is error
    assert query.outputs == [None]
    assert query.complaints == ()
    out = "".join(capfd.readouterr()) + repr(found) + str(found.__cause__) + repr(vars(found))
    for form in (KEY, quote(KEY), base64.b64encode(KEY.encode()).decode()[:-2]):
        assert form not in out


@pytest.mark.parametrize("fault", ["utf8-split", "no-length", "close", "drop", "continue"])
def test_what_is_only_unusual_is_read(server: Reference, fault: str) -> None:
    session = session_on(server.url(f"fault={fault}"))
    try:
        for _ in range(3):
            query = ask(session)
            assert query.errors is None
            assert query.token_counts == [4]
    finally:
        session.close()


def test_a_request_that_the_protocol_cannot_carry_fails_at_once(server: Reference) -> None:
    session = session_on(server.url())
    try:
        query = ask(session, ScoreTextRequest(np.array([1])))
    finally:
        session.close()
    assert query.errors is not None
    assert isinstance(query.errors[0], UnsupportedError)


def test_replies_are_read_later_only_while_there_is_room(
    server: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[bool] = []
    for room in (1 << 20, 0):
        monkeypatch.setattr("harness.adapters.http.session.UNREAD_BYTES", room)
        session = session_on(server.url())
        try:
            query = TimedQuery([REQUEST], None, RealClock())
            query.issued_ns = RealClock.now_ns()
            session.submit(query)
            assert query.wait(10.0)
            reads.append(session.describe()["tokens_counted_from"] is not None)
            query.read()
            assert query.token_counts == [4]
            assert session.describe()["tokens_counted_from"] == "usage"
        finally:
            session.close()
    assert reads == [False, True]


def test_messages_are_written_once_and_before_the_measurement(server: Reference) -> None:
    session = session_on(server.url())
    try:
        session.prepare_requests([REQUEST])
        codec = session._codec
        session._codec = None  # type: ignore[assignment]  # whoever writes now fails
        query = TimedQuery([REQUEST], None, RealClock())
        session.submit(query)
        assert query.wait(10.0)
        session._codec = codec
        query.read()
        assert query.token_counts == [4]
    finally:
        session.close()


def test_a_closed_session_fails_what_comes(server: Reference) -> None:
    session = session_on(server.url())
    session.close()
    session.close()
    query = ask(session)
    assert query.errors is not None
    assert isinstance(query.errors[0], AdapterError)


def test_open_says_what_is_missing_and_what_to_do(
    server: Reference, llama_model: Model, fraud_model: Model
) -> None:
    threads = threading.active_count()
    for target, words in (
        (make_served(f"http://127.0.0.1:{refused_port()}/v1"), "refuses connections"),
        (make_served(server.url("fault=503")), "503"),
        (make_served(server.url("fault=redirect:http:%2F%2Fa")), "redirect"),
        (make_served(server.url("known=reference"), model="other"), "no model 'other'"),
        (make_served(server.url("listed=b+a"), model=None), "has 2 models: a, b"),
        (make_served(server.url("listed="), model=None), "does not say which models"),
        (make_served(server.url(), api_key={"file": "/nowhere"}), "/nowhere"),
    ):
        with pytest.raises(PrerequisiteError, match=words) as raised:
            HttpAdapter().open(target, llama_model)
        assert raised.value.hint
    with pytest.raises(UnsupportedError):
        HttpAdapter().open(make_served(server.url()), fraud_model)
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("options", "model", "told", "note"),
    [
        ("", "reference", "reference", None),
        ("listed=b+a", "/models/mine", "/models/mine", "not in the server's list: a, b"),
        ("listed=", "mine", "mine", None),
        ("listed=only,known=only", None, "only", "the only one that the server lists"),
    ],
)
def test_the_model_that_is_named_is_asked_whatever_the_list_holds(
    server: Reference, llama_model: Model, options: str, model: str, told: str, note: str
) -> None:
    session = HttpAdapter().open(make_served(server.url(options), model=model), llama_model)
    try:
        assert ask(session).token_counts == [4]
        described = session.describe()
    finally:
        session.close()
    assert described["model"] == told
    assert (note or "") in str(described.get("model_note", ""))
    assert ("model_note" in described) == (note is not None)


def test_a_certificate_must_be_trusted(tmp_path, llama_model: Model) -> None:
    pair = certificate(tmp_path)
    if pair is None:
        pytest.skip("openssl is not installed")
    with Reference("--tls", *pair) as running:
        url = f"https://localhost:{running.port}/v1"
        with pytest.raises(PrerequisiteError, match="not trusted") as raised:
            HttpAdapter().open(make_served(url), llama_model)
        assert "ca_file" in (raised.value.hint or "") or "authority" in (raised.value.hint or "")
        session = HttpAdapter().open(make_served(url, tls={"ca_file": pair[0]}), llama_model)
        try:
            assert ask(session).token_counts == [4]
        finally:
            session.close()


def test_rows_get_their_scores(server: Reference, fraud_model: Model) -> None:
    url = server.url(path="")
    for tensors in ("json", "binary"):
        target = make_served(url, protocol="oip-http", tensors=tensors)
        session = HttpAdapter().open(target, fraud_model)
        try:
            query = ask(session, RowRequest(np.array([0.25, 0.75], np.float32)))
        finally:
            session.close()
        (output,) = query.outputs
        assert output is not None
        assert output.score == 0.5
        assert query.first_ns is None
