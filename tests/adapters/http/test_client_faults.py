"""Every fault of the reference server's menu against the client: its own error, nothing left."""

import time

import psutil
import pytest

from harness.adapters.http.errors import (
    ConnectError,
    ProtocolError,
    TimeoutError_,
    TlsError,
    TooLargeError,
    TruncatedError,
)
from tests.adapters.http.exchange import Exchange, ask, message, open_client, settled, sockets
from tests.servers.faults import MENU
from tests.servers.process import Reference, certificate, refused_port

DEADLINE_S = 0.3
BROKEN = {
    "reset:100": TruncatedError,
    "cut:100": TruncatedError,
    "truncated:2": TruncatedError,
    "stall:1": TimeoutError_,
    "hang": TimeoutError_,
    "loris:0.05": TimeoutError_,
    "long-line": TooLargeError,
    "endless": TooLargeError,
    "long-head": TooLargeError,
    "garbage": ProtocolError,
    "bad-chunk": ProtocolError,
}
# HTTP is as it should be; what is said in it is for the protocol to judge.
WHOLE = {
    "429": 429,
    "429:2": 429,
    "500": 500,
    "503": 503,
    "500-after:2": 200,
    "no-done": 200,
    "two-done": 200,
    "half-event": 200,
    "utf8-cut": 200,
    "utf8-split": 200,
    "invalid-json": 200,
    "content-type:text/html": 200,
    "gzip-bomb:1000000": 200,
    "redirect:http://127.0.0.2/": 307,
    "no-length": 200,
    "close": 200,
    "drop": 200,
    "continue": 200,
    "two-replies": 200,
}


@pytest.fixture(scope="module")
def server():
    with Reference() as server:
        yield server


def test_every_fault_of_the_menu_is_tried():
    assert {fault.partition(":")[0] for fault in (*BROKEN, *WHOLE)} == set(MENU)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_reply_that_breaks_has_an_error_of_its_own_and_leaves_no_socket(server, fault):
    slow = BROKEN[fault] is TimeoutError_
    with open_client(server.port, max_reply_bytes=2 << 20) as client:
        begun = time.monotonic()
        deadline_s = DEADLINE_S if slow else 10.0
        reply = ask(client, message(f"fault={fault}"), deadline_s=deadline_s)
        assert type(reply.error) is BROKEN[fault]
        assert time.monotonic() - begun < deadline_s + 1.0
        assert reply.ended_ns
        assert settled(lambda: sockets(server.port), 0) == 0
        # The next request is not harmed by what became of this one.
        after = ask(client, message(), deadline_s=10.0)
        assert (after.error, after.status, after.reused) == (None, 200, False)


@pytest.mark.parametrize("fault", WHOLE)
def test_a_reply_that_is_whole_as_http_is_handed_over_as_it_is(server, fault):
    with open_client(server.port) as client:
        reply = ask(client, message(f"fault={fault}"), deadline_s=10.0)
        assert reply.error is None
        assert reply.status == WHOLE[fault]
        after = ask(client, message(), deadline_s=10.0)
        assert after.error is None
        assert b"[DONE]" in after.body()
        assert sockets(server.port) == 1


def test_bytes_are_handed_over_whole_and_not_decoded(server):
    with open_client(server.port) as client:
        good = ask(client, message()).body()
        assert ask(client, message("fault=utf8-split")).body() == good
        assert ask(client, message("fault=no-length")).body() == good
        assert ask(client, message("fault=continue")).body() == good
        packed = ask(client, message("fault=gzip-bomb:1000000"))
        assert packed.headers["content-encoding"] == "gzip"
        assert len(packed.body()) < 100_000
        moved = ask(client, message("fault=redirect:http://127.0.0.2/"))
        assert moved.headers["location"] == "http://127.0.0.2/"
        page = ask(client, message("fault=content-type:text/html"))
        assert page.headers["content-type"] == "text/html"
        later = ask(client, message("fault=429:2"))
        assert later.headers["retry-after"] == "2"


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_a_connection_that_ends_at_any_byte_is_a_truncated_reply(server, fault):
    with open_client(server.port, connections=32) as client:
        whole = ask(client, message(tokens=12)).body()
        assert len(whole) > 2_000
        exchanges = [
            Exchange(client, message(f"fault={fault}:{at}", tokens=12), deadline_s=15.0)
            for at in range(2_000)
        ]
        replies = [exchange.reply() for exchange in exchanges]
        assert client.lag().connections >= 2_000
    assert {type(reply.error) for reply in replies} == {TruncatedError}
    bodies = [reply.body() for reply in replies]
    assert all(whole.startswith(body) for body in bodies)
    assert [len(body) for body in bodies] == sorted(len(body) for body in bodies)
    assert replies[0].status == 0
    assert replies[-1].status == 200
    assert len(bodies[-1]) > 1_500


def test_a_refused_connection_says_who_refused():
    port = refused_port()
    with open_client(port) as client:
        reply = ask(client, message(), deadline_s=5.0)
    assert type(reply.error) is ConnectError
    assert f"127.0.0.1:{port} refuses" in str(reply.error)
    assert (reply.status, reply.sent_ns) == (0, 0)


def test_a_name_that_does_not_exist_is_no_connection():
    with open_client(80, host="no-such-host.invalid") as client:
        reply = ask(client, message(), deadline_s=15.0)
    assert type(reply.error) in (ConnectError, TimeoutError_)


def test_every_waiting_request_learns_that_the_server_refuses():
    with open_client(refused_port(), connections=2) as client:
        replies = [ask(client, message()) for _ in range(5)]
    assert {type(reply.error) for reply in replies} == {ConnectError}


def test_a_self_signed_certificate_is_not_trusted_unless_it_is_named(tmp_path):
    paths = certificate(tmp_path)
    if paths is None:
        pytest.skip("openssl is not installed")
    with Reference("--tls", *paths) as server:
        with open_client(server.port, tls=True) as client:
            reply = ask(client, message(), deadline_s=10.0)
            assert type(reply.error) is TlsError
            assert "not trusted" in str(reply.error)
            assert settled(lambda: sockets(server.port), 0) == 0
        with open_client(server.port, tls=True, ca_file=paths[0]) as client:  # for localhost
            wrong = ask(client, message(), deadline_s=10.0)
            assert type(wrong.error) is TlsError
        for options in ({"ca_file": paths[0], "server_name": "localhost"}, {"verify": False}):
            with open_client(server.port, tls=True, **options) as client:
                good = ask(client, message(), deadline_s=10.0)
                assert (good.error, good.status) == (None, 200)
                assert b"[DONE]" in good.body()
                assert ask(client, message(), deadline_s=10.0).reused


def test_tls_with_a_server_that_has_none_is_a_tls_error(server):
    with open_client(server.port, tls=True, connect_timeout_s=1.0) as client:
        reply = ask(client, message(), deadline_s=5.0)
    assert type(reply.error) is TlsError


def test_a_ca_file_that_is_none_is_named():
    with pytest.raises(TlsError, match=r"absent\.pem"):
        open_client(443, tls=True, ca_file="absent.pem").__enter__()


def test_a_stream_that_never_ends_fills_no_memory(server):
    process = psutil.Process()
    with open_client(server.port, max_reply_bytes=4 << 20) as client:
        ask(client, message("fault=endless"), deadline_s=10.0)
        before = process.memory_info().rss
        errors = [ask(client, message("fault=endless")).error for _ in range(10)]
    assert {type(error) for error in errors} == {TooLargeError}
    assert process.memory_info().rss - before < 32 << 20
