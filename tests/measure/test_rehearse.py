"""The rehearsal on real sockets of 127.0.0.1, and what it takes from a point's samples."""

import contextlib

import numpy as np
import psutil
import pytest

from harness.adapters.base import TextRequest
from harness.adapters.http.adapter import endpoint_of, make_codec
from harness.adapters.http.client import Client
from harness.adapters.http.rehearsal import rehearsal
from harness.adapters.http.secrets import Secret
from harness.adapters.http.session import HttpSession
from harness.adapters.trust import ReplyShape, TrustedSession
from harness.errors import MeasurementError
from harness.measure import rehearse
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.rehearse import Load, Rehearser, _better, load_of, rehearser
from harness.schema.trust import ClientCalibration
from tests.adapters.http.served import make_served
from tests.measure.test_client_trust import columns_of


def http_session(**changes) -> HttpSession:
    address = make_served("http://127.0.0.1:9", **changes).server
    assert address is not None
    client = Client(endpoint_of(address), connections=2)
    return HttpSession(address, Secret(), make_codec(address, Secret()), client, {})


def servers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        # One that another test's process left has ended, and has no command line any more.
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if any("loopback.py" in word for word in child.cmdline()):
                found.append(child)
    return found


def streams(count, *, gap, tokens, every=10, first=20):
    """Return columns of replies that follow every `every` ms."""
    rows = [
        (k * every + 1, k * every + 1, k * every + 1 + first, k * every + 1 + first + gap)
        for k in range(count)
    ]
    columns = columns_of(rows)
    columns["tokens_out"][:] = tokens
    return columns


def test_the_load_of_a_point_is_rehearsed_at_its_own_rate_and_shape() -> None:
    load = load_of(streams(101, gap=70, tokens=8), open_loop=True)
    assert load == Load(8, 100.0, ReplyShape(0.02, 0.01, 8))
    closed = load_of(streams(101, gap=70, tokens=8), open_loop=False)
    assert closed is not None
    assert closed.rate is None
    assert closed.streams == 8
    assert closed.shape == ReplyShape(0.02, 0.01, 8)


def test_long_replies_are_cut_so_that_as_many_tokens_come_a_second() -> None:
    gap_ms, tokens = 3_000, 301
    opened = load_of(streams(101, gap=gap_ms, tokens=tokens), open_loop=True)
    assert opened is not None
    assert opened.shape.tokens == tokens
    assert opened.shape.gap_s * (tokens - 1) < rehearse.WINDOW_S
    closed = load_of(streams(101, gap=gap_ms, tokens=tokens), open_loop=False)
    assert closed is not None
    assert closed.shape.gap_s == pytest.approx(0.01)
    assert closed.shape.tokens < tokens


def test_a_low_rate_is_rehearsed_with_enough_requests_of_fewer_tokens() -> None:
    load = load_of(streams(11, gap=700, tokens=80, every=100), open_loop=True)
    assert load is not None
    assert load.rate == rehearse.LEAST_PER_S
    assert load.shape.tokens == 16  # ten requests a second of 80 tokens are 800 tokens a second


def test_replies_that_do_not_stream_are_rehearsed_whole() -> None:
    columns = columns_of([(k * 10 + 1, k * 10 + 1, -1, k * 10 + 5) for k in range(50)])
    load = load_of(columns, open_loop=True)
    assert load is not None
    assert load.shape == ReplyShape(0.004, 0.0, 0)
    columns["status"][:] = 1
    assert load_of(columns, open_loop=True) is None


def test_every_rehearsed_reply_says_when_it_was_written() -> None:
    with rehearsal(make_served("http://x").server, 300) as found:
        requests = found.requests(ReplyShape(0.01, 0.005, 4))
        driver = Driver(found.session, requests, RealClock(), 1)
        samples = driver.closed_loop(3, StopRule(0.1, 1.0, 6))
        truths = found.truths()
        assert not found.truths()
    columns = samples.columns()
    assert (columns["status"] == 0).all()
    assert (columns["tokens_out"] == 4).all()
    assert len(truths) == len(samples.rows)
    for truth, issued, first, ended in zip(
        truths, columns["issued_ns"], columns["first_ns"], columns["ended_ns"], strict=True
    ):
        # One clock for both processes: each event lies between those of the other side.
        assert issued + samples.start_ns < truth.received_ns < truth.first_ns < truth.last_ns
        assert truth.first_ns - truth.received_ns >= 9_900_000  # the schedule is absolute
        assert truth.last_ns - truth.received_ns >= 24_900_000
        assert truth.first_ns < truth.seen_first_ns == first + samples.start_ns
        assert truth.last_ns < truth.seen_last_ns == ended + samples.start_ns


@pytest.mark.parametrize(
    "load",
    [
        Load(1, None, ReplyShape(0.0, 0.0, 0)),
        Load(4, None, ReplyShape(0.002, 0.001, 4)),
        Load(4, 100.0, ReplyShape(0.002, 0.001, 4)),
    ],
)
def test_a_client_is_calibrated_and_no_process_stays(load: Load, monkeypatch) -> None:
    monkeypatch.setattr(rehearse, "WINDOW_S", 0.3)
    session = http_session()
    assert isinstance(session, TrustedSession)
    with contextlib.closing(session), rehearser(session, RealClock()) as found:
        assert found is not None
        assert len(servers()) == 1
        calibrated = found.calibrate(load)
        assert found.calibrate(load) == calibrated  # known by now
    assert servers() == []
    assert calibrated.reason is None
    assert calibrated.requests > 0
    assert calibrated.first_error_p50_s is not None
    assert calibrated.first_error_p99_s is not None
    assert 0 < calibrated.first_error_p50_s <= calibrated.first_error_p99_s
    assert (calibrated.itl_error_share is None) == (load.shape.tokens < 2)
    assert calibrated.ceiling_per_s is not None
    assert calibrated.ceiling_per_s > 0


class NoRehearsal:
    """A rehearsal in which nothing is answered."""

    def __init__(self, session) -> None:
        self.session = session

    def requests(self, shape):
        return [TextRequest(np.zeros(1, dtype=np.int64), 1)]

    def truths(self):
        return []


def test_replies_that_fail_give_a_reason_and_no_error() -> None:
    with contextlib.closing(http_session()) as session:  # nobody listens on its port
        found = Rehearser(NoRehearsal(session), RealClock())
        calibrated = found.calibrate(Load(1, 50.0, ReplyShape(0.0, 0.0, 1)))
    assert calibrated.first_error_p50_s is None
    assert "ConnectError" in (calibrated.reason or "")


def test_a_rehearsal_that_breaks_gives_a_reason() -> None:
    class Broken(NoRehearsal):
        def requests(self, shape):
            raise MeasurementError("an answer was lost")

    with contextlib.closing(http_session()) as session:
        found = Rehearser(Broken(session), RealClock())
        calibrated = found.calibrate(Load(1, None, ReplyShape(0.0, 0.0, 1)), lambda _: False)
    assert calibrated.reason == "an answer was lost"


def test_a_rehearsal_that_does_not_start_is_none() -> None:
    class Unable:
        def rehearse(self):
            raise MeasurementError("no")

    with rehearser(Unable(), RealClock()) as found:  # type: ignore[arg-type]
        assert found is None


def calibration(error_s, ceiling, itl=None) -> ClientCalibration:
    return ClientCalibration(
        requests=1,
        streams=1,
        tokens=1,
        gap_s=0,
        first_error_p50_s=error_s,
        first_error_p99_s=error_s,
        ceiling_per_s=ceiling,
        itl_error_share=itl,
    )


def test_what_others_did_meanwhile_is_not_the_clients() -> None:
    best = _better(calibration(0.003, 900.0, 0.2), calibration(0.001, 500.0, -0.01))
    assert (best.first_error_p50_s, best.ceiling_per_s, best.itl_error_share) == (
        0.001,
        900.0,
        -0.01,
    )
    failed = ClientCalibration(requests=0, streams=1, tokens=1, gap_s=0, reason="none came")
    assert _better(failed, best) is best
    assert _better(best, failed) is best
