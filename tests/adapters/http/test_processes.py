"""Several client processes against the reference server: one clock, no process left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.adapters.base import TextRequest
from harness.adapters.http.adapter import HttpAdapter
from harness.adapters.http.client import Endpoint
from harness.adapters.http.errors import ConnectError, CrashError, HttpError
from harness.adapters.http.processes import ClientProcesses
from harness.adapters.http.proxy import Proxy
from harness.adapters.trust import GrowingSession, ReplyShape
from harness.measure.clock import RealClock
from harness.measure.query import TimedQuery
from harness.measure.rehearse import Load, rehearser
from tests.adapters.http.exchange import message
from tests.adapters.http.served import make_served
from tests.servers.process import Reference, refused_port

PATIENCE_S = 20.0
FASTEST = TextRequest(prompt=np.arange(5), max_new_tokens=4)
HANGS = message("ttft_s=600")


class Sent:
    """Requests handed to `client`, and their replies."""

    def __init__(self, client, requests, deadline_s=None):
        self.replies = [None] * len(requests)
        self.left = threading.Semaphore(0)
        self.begun_ns = []
        for number, request in enumerate(requests):
            self.begun_ns.append(time.perf_counter_ns())
            client.send(request, self.take(number), deadline_s=deadline_s)

    def take(self, number):
        def end(reply):
            assert self.replies[number] is None
            self.replies[number] = reply
            self.left.release()

        return end

    def all(self):
        for _ in self.replies:
            assert self.left.acquire(timeout=PATIENCE_S), "a reply is missing"
        return self.replies


@contextlib.contextmanager
def processes(port, *, count=2, connections=4):
    client = ClientProcesses(
        Endpoint("127.0.0.1", port, False), connections=connections, count=count
    )
    try:
        yield client
    finally:
        client.close()


def gone(pids):
    """Return whether none of `pids` runs any more, within some patience."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        if not any(running(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def server():
    with Reference() as running:
        yield running


def test_stamps_of_three_processes_are_in_the_order_of_what_happened(server) -> None:
    server.truth()
    with processes(server.port) as client:
        sent = Sent(client, [message(tokens=3, name=str(number)) for number in range(40)])
        replies = sent.all()
        ended_ns = time.perf_counter_ns()
    truth = {row["id"]: row for row in server.truth()}
    for number, reply in enumerate(replies):
        assert (reply.status, reply.error) == (200, None)
        assert reply.body().count(b"data: ") == 4  # three tokens and the end mark
        row = truth[str(number)]
        assert sent.begun_ns[number] < reply.taken_ns < reply.sent_ns
        # Written here, received there, written there, received here, told to the parent.
        assert reply.taken_ns < row["received_ns"] < row["writes_ns"][0] < reply.chunks[0][0]
        assert reply.chunks[0][0] <= reply.chunks[-1][0] <= reply.ended_ns < ended_ns


def test_requests_and_connections_are_shared_out(server) -> None:
    opened = server.stats()["opened"]
    with processes(server.port, count=2, connections=4) as client:
        Sent(client, [message()] * 60).all()
        lag = client.lag()
        assert (lag.requests, lag.connections, lag.reused) == (60, 4, 56)
        cores = client.cores()
        assert len(cores) == 3  # two event loops, and the thread that hands over
        assert all(core.cpu_s > 0 for core in cores[:2])
        assert lag.cpu_s == pytest.approx(sum(core.cpu_s for core in cores[:2]), abs=0.5)
    assert server.stats()["opened"] - opened == 5  # and one for each question about them


def test_more_processes_than_connections_make_no_sense(server) -> None:
    with processes(server.port, count=3, connections=2) as client:
        assert client.count == 2


def test_a_process_that_crashes_fails_its_requests_and_no_others(server) -> None:
    with processes(server.port) as client:
        sent = Sent(client, [HANGS, HANGS, HANGS, HANGS])
        os.kill(client.pids[0], signal.SIGKILL)
        for _ in range(2):
            assert sent.left.acquire(timeout=PATIENCE_S)
        lost = [reply for reply in sent.replies if reply is not None]
        assert len(lost) == 2
        assert all(isinstance(reply.error, CrashError) for reply in lost)
        assert client.crashed == 1
        os.kill(client.pids[1], signal.SIGKILL)
        sent.left.acquire(timeout=PATIENCE_S)
        sent.left.acquire(timeout=PATIENCE_S)
        assert client.crashed == 2
        with pytest.raises(CrashError, match="all client processes"):
            client.send(HANGS, lambda reply: None)


def test_what_is_left_goes_on_after_a_crash(server) -> None:
    with processes(server.port) as client:
        Sent(client, [message()] * 4).all()
        before = client.lag().requests
        os.kill(client.pids[0], signal.SIGKILL)
        assert gone(client.pids[:1])
        until_s = time.monotonic() + PATIENCE_S
        while not client.crashed and time.monotonic() < until_s:
            time.sleep(0.01)
        assert all(reply.status == 200 for reply in Sent(client, [message()] * 10).all())
        assert client.lag().requests == before + 10  # what the lost one did is not forgotten


def test_no_process_outlives_a_parent_that_is_killed(server) -> None:
    script = (
        "import time\n"
        "from harness.adapters.http.client import Endpoint\n"
        "from harness.adapters.http.processes import ClientProcesses\n"
        f"client = ClientProcesses(Endpoint('127.0.0.1', {server.port}, False),"
        " connections=4, count=2)\n"
        f"client.send({HANGS!r}, print)\n"
        "print(*client.pids, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(running(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
    assert gone(pids)


def test_closing_fails_what_is_open_and_leaves_nothing(server) -> None:
    threads = threading.active_count()
    with processes(server.port) as client:
        pids = client.pids
        sent = Sent(client, [HANGS] * 3)
    assert all("closed" in str(reply.error) for reply in sent.all())
    assert gone(pids)
    assert threading.active_count() == threads
    client.close()
    with pytest.raises(HttpError, match="closed"):
        client.send(HANGS, print)


def test_errors_come_through_with_what_to_do() -> None:
    with processes(refused_port()) as client:
        (reply,) = Sent(client, [message()]).all()
    assert isinstance(reply.error, ConnectError)
    assert "refuses" in reply.error.message
    assert reply.error.hint


def test_a_deadline_holds_in_another_process(server) -> None:
    with processes(server.port) as client:
        (reply,) = Sent(client, [HANGS], deadline_s=0.2).all()
    assert "deadline" in str(reply.error)


def test_a_client_that_cannot_start_says_why(tmp_path) -> None:
    endpoint = Endpoint("localhost", 1, True, ca_file=str(tmp_path / "none.pem"))
    threads = threading.active_count()
    with pytest.raises(HttpError, match=r"none\.pem"):
        ClientProcesses(endpoint, connections=4, count=2)
    assert threading.active_count() == threads


def test_no_secret_is_an_argument_of_a_process(server) -> None:
    proxy = Proxy("127.0.0.1", server.port, user="somebody", password="canary-Zq7vX3pL9mK2")
    endpoint = Endpoint("127.0.0.1", server.port, False, proxy=proxy)
    client = ClientProcesses(endpoint, connections=2, count=2)
    try:
        for pid in client.pids:
            process = psutil.Process(pid)
            assert "canary" not in " ".join(process.cmdline())
            assert "canary" not in str(process.environ())
    finally:
        client.close()


def ask(session):
    query = TimedQuery([FASTEST], None, RealClock())
    query.issued_ns = RealClock.now_ns()
    session.submit(query)
    assert query.wait(PATIENCE_S)
    query.read()
    return query


def test_a_session_of_several_processes_says_so_and_rehearses_with_as_many(
    server, llama_model
) -> None:
    session = HttpAdapter().open(make_served(server.url(), client_processes=2), llama_model)
    try:
        began_ns = RealClock.now_ns()
        assert ask(session).token_counts == [4]
        described = session.describe()["client"]
        assert (described["processes"], described["crashed"]) == (2, 0)
        work = session.client_work(began_ns)
        assert (len(work.cores), work.crashed) == (3, 0)
        assert work.handover_p50_s is not None
        assert work.handover_p50_s > 0
        with session.rehearse() as rehearsal:
            assert rehearsal.session.processes == 2
        assert not session.may_grow
    finally:
        session.close()


def test_a_rehearsal_of_several_processes_tells_their_error(server, llama_model) -> None:
    session = HttpAdapter().open(make_served(server.url(), client_processes=2), llama_model)
    try:
        with rehearser(session, RealClock()) as found:
            assert found is not None
            calibration = found.calibrate(Load(2, 100.0, ReplyShape(0.001, 0.001, 4)))
    finally:
        session.close()
    assert calibration.reason is None
    assert calibration.first_error_p50_s > 0
    assert calibration.ceiling_per_s > 0


def test_an_automatic_number_grows_without_losing_the_session(server, llama_model) -> None:
    session = HttpAdapter().open(make_served(server.url(), client_processes="auto"), llama_model)
    try:
        assert isinstance(session, GrowingSession)
        assert (session.may_grow, session.processes) == (True, 1)
        assert ask(session).token_counts == [4]
        session.use_processes(2)
        assert session.processes == 2
        assert ask(session).token_counts == [4]
        assert session.describe()["client"]["processes"] == 2
    finally:
        session.close()
