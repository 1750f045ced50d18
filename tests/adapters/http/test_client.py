"""The HTTP client against the reference server."""

import logging
import sys
import threading
import time
from statistics import median

import psutil
import pytest

from harness.adapters.http.client import Client, Endpoint
from harness.adapters.http.errors import HttpError, TimeoutError_, TruncatedError
from harness.errors import PrerequisiteError
from tests.adapters.http.exchange import Exchange, ask, message, open_client, settled, sockets
from tests.servers.process import Reference


@pytest.fixture(scope="module")
def server():
    with Reference() as server:
        yield server


def test_a_reply_is_whole_and_stamped_in_order(server):
    with open_client(server.port) as client:
        exchange = Exchange(client, message("ttft_s=0.02,itl_s=0.02", tokens=3))
        reply = exchange.reply()
    assert (reply.status, reply.error, reply.reused) == (200, None, False)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.body().endswith(b"data: [DONE]\n\n")
    times = [now_ns for now_ns, _ in reply.chunks]
    assert len(times) >= 3
    assert times == sorted(times)
    assert exchange.begun_ns < reply.sent_ns < times[0]
    assert reply.ended_ns >= times[-1]
    assert exchange.first == times[:1]
    assert exchange.seen == reply.chunks


def test_the_times_are_those_of_the_servers_log(server):
    server.truth()
    with open_client(server.port, connections=8) as client:
        options = "ttft_s=0.05,itl_s=0.02"
        exchanges = {
            name: Exchange(client, message(options, tokens=4, name=name))
            for name in map(str, range(8))
        }
        replies = {name: exchange.reply() for name, exchange in exchanges.items()}
    rows = {row["id"]: row for row in server.truth()}
    late_s = []
    for name, reply in replies.items():
        row = rows[name]
        assert len(reply.chunks) == len(row["writes_ns"]) == 4
        assert reply.sent_ns < row["writes_ns"][0]
        assert row["writes_ns"][0] - row["received_ns"] >= 0.049e9
        for (now_ns, _), written_ns in zip(reply.chunks, row["writes_ns"], strict=True):
            assert now_ns > written_ns
            late_s.append((now_ns - written_ns) / 1e9)
    assert median(late_s) < 0.02


def test_connections_are_kept_and_there_are_no_more_than_allowed(server):
    before = server.stats()["opened"]
    with open_client(server.port, connections=3) as client:
        for _ in range(5):
            exchanges = [Exchange(client, message("ttft_s=0.01")) for _ in range(9)]
            assert all(exchange.reply().error is None for exchange in exchanges)
        lag = client.lag()
        assert sockets(server.port) == 3
    assert server.stats()["opened"] - before == 3 + 1  # and the question itself
    assert (lag.requests, lag.connections, lag.reused, lag.resent) == (45, 3, 42, 0)


def test_a_callback_may_send_the_next_request(server):
    replies, over = [], threading.Event()
    with open_client(server.port, connections=1) as client:

        def end(reply):
            replies.append(reply)
            if len(replies) < 200:
                client.send(message(), end)
            else:
                over.set()

        client.send(message(), end)
        assert over.wait(20)
    assert [reply.reused for reply in replies] == [False] + [True] * 199
    assert {reply.error for reply in replies} == {None}


def test_a_request_leaves_when_it_is_said_to_have_been_sent(server):
    server.truth()
    with open_client(server.port, connections=1) as client:
        second, over = [], threading.Event()

        def end(reply):
            client.send(message(name="second"), lambda each: (second.append(each), over.set()))
            time.sleep(0.3)  # the rest of the loop's turn is long

        client.send(message(name="first"), end)
        assert over.wait(10)
    (row,) = [row for row in server.truth() if row["id"] == "second"]
    assert row["received_ns"] - second[0].sent_ns < 0.2e9


def test_many_threads_may_send_and_each_gets_its_own_reply(server):
    found, threads = {}, []
    with open_client(server.port, connections=8) as client:

        def run(count):
            found[count] = [
                ask(client, message(tokens=count)).body().count(b"data: ") for _ in range(20)
            ]

        for count in range(1, 9):
            threads.append(threading.Thread(target=run, args=(count,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
    assert found == {count: [count + 1] * 20 for count in range(1, 9)}


def test_a_request_waiting_for_a_connection_has_a_deadline_too(server):
    with open_client(server.port, connections=1) as client:
        first = Exchange(client, message("ttft_s=0.6"))
        second = Exchange(client, message(), deadline_s=0.1)
        reply = second.reply()
        assert not first.ended.is_set()
        assert type(reply.error) is TimeoutError_
        assert "no connection" in str(reply.error)
        assert first.reply().error is None


def test_a_request_on_a_connection_that_the_server_dropped_is_sent_once_more(server):
    # What a server does that closes idle connections just as a request comes.
    with open_client(server.port, connections=1) as client:
        replies, over = [], threading.Event()

        def end(reply):
            replies.append(reply)
            if len(replies) < 100:
                client.send(message("fault=drop"), end)
            else:
                over.set()

        client.send(message("fault=drop"), end)
        assert over.wait(20)
        lag = client.lag()
    assert {type(reply.error) for reply in replies} == {type(None)}
    assert lag.requests == 100 + lag.resent
    assert lag.connections == 100


def test_what_is_sent_once_more_goes_over_a_new_connection(server):
    # Of many in flight, the others' connections are about to be dropped as well.
    many, most = 8, 2000
    with open_client(server.port, connections=many) as client:
        replies, over = [], threading.Event()

        def end(reply):
            replies.append(reply)
            if len(replies) <= most - many:
                client.send(message("fault=drop"), end)
            elif len(replies) == most:
                over.set()

        for _ in range(many):
            client.send(message("fault=drop"), end)
        assert over.wait(60)
        lag = client.lag()
    assert {str(reply.error) for reply in replies} == {"None"}
    assert lag.requests == most + lag.resent


def test_a_request_is_sent_once_more_and_not_twice(server):
    requests = server.stats()["requests"]
    with open_client(server.port, connections=1) as client:
        assert ask(client, message(), deadline_s=10).error is None
        reply = ask(client, message("fault=cut:0"), deadline_s=10)
        lag = client.lag()
    assert type(reply.error) is TruncatedError
    assert not reply.reused
    assert (lag.resent, lag.connections) == (1, 2)
    assert server.stats()["requests"] - requests == 3


def test_a_reply_that_broke_off_is_not_asked_for_again(server):
    with open_client(server.port, connections=1) as client:
        assert ask(client, message(), deadline_s=10).error is None
        reply = ask(client, message("fault=cut:1"), deadline_s=10)
        assert type(reply.error) is TruncatedError
        assert client.lag().resent == 0


def test_close_leaves_no_thread_and_no_socket_and_ends_what_is_open(server):
    process = psutil.Process()
    before = threading.active_count(), process.num_fds()
    client = Client(Endpoint("127.0.0.1", server.port, False), connections=2)
    exchanges = [Exchange(client, message("fault=hang")) for _ in range(5)]
    assert settled(lambda: sockets(server.port), 2) == 2
    client.close()
    client.close()
    assert sockets(server.port) == 0
    assert (threading.active_count(), process.num_fds()) == before
    assert [type(exchange.reply().error) for exchange in exchanges] == [HttpError] * 5
    assert [len(exchange.calls) for exchange in exchanges] == [1] * 5
    with pytest.raises(HttpError, match="closed"):
        client.send(message(), lambda reply: None)


def test_a_callback_may_close_the_client(server):
    client = Client(Endpoint("127.0.0.1", server.port, False), connections=1)
    over = threading.Event()
    client.send(message(), lambda reply: (client.close(), over.set()))
    assert over.wait(10)
    client.close()
    assert sockets(server.port) == 0


def test_a_callback_that_raises_is_told_and_stops_nothing(server, caplog):
    with open_client(server.port, connections=1) as client, caplog.at_level(logging.ERROR):
        over = threading.Event()

        def end(reply):
            over.set()
            raise ValueError("mine")

        client.send(message(), end)
        assert over.wait(10)
        assert ask(client, message(), deadline_s=10).error is None
    assert "a callback of the HTTP client failed" in caplog.text


def test_a_name_is_looked_up(server):
    with open_client(server.port, host="localhost") as client:
        assert ask(client, message(), deadline_s=10).error is None


def test_without_uvloop_the_standard_loop_does(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with open_client(server.port) as client:
        assert b"[DONE]" in ask(client, message(), deadline_s=10).body()
        assert client.lag().loop == "asyncio"
        broken = ask(client, message("fault=truncated:2"), deadline_s=10)
    assert type(broken.error).__name__ == "TruncatedError"


def test_with_uvloop_it_is_used(server):
    pytest.importorskip("uvloop")
    with open_client(server.port) as client:
        assert client.lag().loop == "uvloop"


def test_without_httptools_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "httptools", None)
    monkeypatch.delitem(sys.modules, "harness.adapters.http.connection", raising=False)
    with pytest.raises(PrerequisiteError, match="httptools") as caught:
        Client(Endpoint("127.0.0.1", 1, False), connections=1)
    assert "pip install" in caught.value.hint


def test_a_loop_that_is_held_up_says_so(server):
    with open_client(server.port) as client:
        ask(client, message())
        since_ns = time.perf_counter_ns()
        over = threading.Event()
        client.send(message(), lambda reply: (time.sleep(0.2), over.set()))
        assert over.wait(10)
        assert settled(lambda: client.lag(since_ns).ticks >= 2, True)
        held = client.lag(since_ns)
    assert held.max_s > 0.1
    assert held.p50_s < held.max_s
    assert 0 <= held.cpu_share < 1


def test_without_ticks_there_is_no_lag(server):
    with open_client(server.port) as client:
        lag = client.lag(since_ns=1 << 62)
    assert (lag.ticks, lag.p50_s, lag.p99_s, lag.max_s, lag.cpu_share) == (0, *[None] * 4)
