"""Points and their trust blocks: on a virtual clock, and on real sockets of 127.0.0.1."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from harness.adapters.base import TextRequest
from harness.adapters.http.adapter import endpoint_of, make_codec
from harness.adapters.http.client import Client
from harness.adapters.http.secrets import Secret
from harness.adapters.http.session import HttpSession
from harness.adapters.trust import ClientWork, TrustedSession
from harness.errors import MeasurementError
from harness.measure import rehearse
from harness.measure.client_watch import ClientWatch
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.samples import Samples
from harness.measure.scenario import find_headline
from harness.measure.summary import Window, summarise
from harness.schema.record import Point
from harness.schema.workload import SloLimit
from tests.adapters.http.served import make_served
from tests.measure import virtual
from tests.measure.test_scenario_runner import runner_of
from tests.servers.process import Reference

SLO = (SloLimit(metric="ttft", percentile=90, limit_s=5.0),)
READING_S = 0.01


class ServedSession(virtual.KnownSession):
    """A session on the virtual clock whose client keeps up with `most_per_s` requests."""

    most_per_s = float("inf")
    rehearsals = 0

    def client_work(self, since_ns: int) -> ClientWork:
        elapsed_s = (self.clock.now_ns() - since_ns) / 1e9
        asked = len(self.batches)
        rate = (asked - getattr(self, "asked", 0)) / elapsed_s if elapsed_s else 0.0
        self.asked = asked
        return ClientWork(
            loop="virtual",
            loop_lag_p50_s=0.0,
            loop_lag_p99_s=0.0,
            loop_lag_max_s=0.0,
            cpu_share=min(1.0, rate / self.most_per_s),
            waited_s=None,
            handover_p50_s=0.0,
            handover_p99_s=0.0,
            requests=asked,
            connections=1,
            reused=asked,
            resent=0,
        )

    @contextlib.contextmanager
    def rehearse(self) -> Iterator[None]:
        self.rehearsals += 1
        raise MeasurementError("there is no server here")
        yield


def summed(samples: Samples, slo: Sequence[SloLimit]) -> Point:
    """Return the point of a closed loop of text."""
    return summarise(
        Window(samples, [0.0]),
        task="text_generation",
        scenario="closed_loop",
        slo=slo,
        energy=(),
    )


def searched(monkeypatch: pytest.MonkeyPatch, most_per_s: float):
    """Return the runner and the points of a search for the rate within the SLO."""
    monkeypatch.setattr(virtual, "KnownSession", ServedSession)
    monkeypatch.setattr("tests.measure.test_scenario_runner.KnownSession", ServedSession)
    runner = runner_of({"kind": "server"}, service_s=0.002)
    assert isinstance(runner.session, TrustedSession)
    runner.session.most_per_s = most_per_s
    measured = runner.run()
    return runner, measured


def test_a_search_does_not_take_a_client_bound_point_as_the_servers_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner, measured = searched(monkeypatch, most_per_s=150.0)
    points = [each.point for each in measured]
    bound = [point for point in points if point.client_bound]
    assert bound
    for point in bound:
        assert point.requested_rate is not None
        assert point.requested_rate > 120  # 90 % of what the client can do, and some luck
    headline = find_headline(points)
    assert headline is not None
    assert not points[headline].client_bound
    assert all(point.load > points[headline].load for point in bound)  # type: ignore[operator]
    # Nothing above the headline shows where the server's limit is.
    assert runner.capacity is None
    assert any("the client was the limit" in note for note in runner.notes)


def test_a_client_that_keeps_up_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, measured = searched(monkeypatch, most_per_s=1e9)
    assert not any(each.point.client_bound for each in measured)
    assert runner.capacity is not None
    capacity = runner.capacity
    done = runner.calibrate(measured)
    assert runner.capacity == capacity
    assert runner.session.rehearsals == 1
    for each in done:
        assert each.point.trust is not None
        assert each.point.trust.achieved_share is not None
        assert each.point.trust.calibration is not None
        assert each.point.trust.calibration.reason == "the rehearsal did not start"


def test_a_session_without_our_client_has_no_trust_block() -> None:
    runner = runner_of({"kind": "single_stream"})
    measured = runner.run()
    assert [each.point.trust for each in measured] == [None]
    assert runner.calibrate(measured) == measured


class SlowReader(HttpSession):
    """Reads every reply on the event loop, and takes long."""

    def _hand_over(self, query, request, reply) -> None:  # type: ignore[no-untyped-def]
        until_s = time.perf_counter() + READING_S
        while time.perf_counter() < until_s:
            pass
        super()._hand_over(query, request, reply)


@pytest.mark.parametrize("users", [1, 16])
def test_a_client_that_cannot_read_as_fast_as_the_server_answers_is_the_limit(
    users: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "WINDOW_S", 0.3)
    request = TextRequest(np.zeros(4, dtype=np.int64), 2)
    with Reference() as server:
        address = make_served(server.url("ttft_s=0.002")).server
        assert address is not None
        client = Client(endpoint_of(address), connections=users)
        session = SlowReader(address, Secret(), make_codec(address, Secret()), client, {})
        with contextlib.closing(session):
            session.prepare_requests([request])
            watch = ClientWatch(session, RealClock(), SLO)
            watch.begin()
            stop = StopRule(0.5, 5.0, 2 * users)
            samples = Driver(session, [request], RealClock(), 1).closed_loop(users, stop)
            point = watch.end(samples, summed(samples, SLO))
            (point,) = watch.calibrate([(samples, point)])
    assert point.client_bound
    assert point.trust is not None
    assert point.trust.requests == len(samples.rows)
    assert point.trust.connections == users
    assert point.trust.calibration is not None
    assert point.trust.calibration.reason is None


@pytest.mark.parametrize(
    ("server", "saturated", "told"),
    [
        ({"connections": 2}, False, True),
        ({"connections": 2}, True, False),
        ({"connections": 8}, False, False),
        ({"connections": 8, "concurrency": 2}, False, False),
    ],
)
def test_requests_that_wait_for_a_connection_are_not_the_servers_to_answer_for(
    server: dict[str, int], saturated: bool, told: bool
) -> None:
    """Eight users of a server that takes any number; the client sends two requests at once."""
    slo = (SloLimit(metric="ttft", percentile=90, limit_s=0.5),)
    request = TextRequest(np.zeros(4, dtype=np.int64), 2)
    with Reference() as reference:
        address = make_served(reference.url("ttft_s=0.05"), **server).server
        assert address is not None
        client = Client(endpoint_of(address), connections=address.connections)
        session = HttpSession(address, Secret(), make_codec(address, Secret()), client, {})
        with contextlib.closing(session):
            session.prepare_requests([request])
            watch = ClientWatch(session, RealClock(), slo)
            watch.saturated = saturated
            watch.begin()
            driver = Driver(session, [request], RealClock(), 1)
            samples = driver.closed_loop(8, StopRule(0.5, 5.0, 40))
            point = watch.end(samples, summed(samples, slo))
    assert point.trust is not None
    found = [sign for sign in point.trust.client_bound if "'server.connections'" in sign.text]
    assert len(found) == told
    if told:
        assert found[0].value > 0.1
        assert found[0].limit == pytest.approx(0.05)
