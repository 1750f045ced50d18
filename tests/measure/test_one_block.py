"""Replies whose several tokens came at once have no time between them."""

import numpy as np
import pytest

from harness.adapters.base import Output, TextRequest
from harness.adapters.receipt import Answer, Receipt
from harness.measure.drive import Driver, StopRule
from harness.measure.query import TimedQuery
from harness.measure.samples import Samples
from harness.measure.stages import Precision, supported
from harness.measure.summary import Window, summarise
from harness.measure.verdict import judge
from harness.schema.workload import SloLimit
from tests.measure.test_verdict import QUIET
from tests.measure.virtual import KnownSession, VirtualClock

PROMPTS = [TextRequest(np.zeros(7, dtype=np.int64), 11)]
STREAMED_S, LATENCY_S, TOKENS = 0.010, 0.110, 11


class InBlocks(KnownSession):
    """Gives each answer a token every 10 ms, and every `nth` all eleven at once, 110 ms on."""

    nth = 1

    def submit(self, query) -> None:
        self.batches.append(1)
        if len(self.batches) % self.nth:
            for _ in range(TOKENS):
                self.clock.spend(STREAMED_S)
                query.tokens(0, 1)
        else:
            self.clock.spend(LATENCY_S - 0.001)
            query.tokens(0, TOKENS)
            self.clock.spend(0.001)  # what an adapter does before it says that it is done
        query.done(0, Output(tokens=(0,) * TOKENS))


def samples_of(nth: int, count: int = 400) -> Samples:
    clock = VirtualClock()
    session = InBlocks(clock, lambda n: 0.0)
    session.nth = nth
    return Driver(session, PROMPTS, clock, 0).closed(StopRule(0.0, 1e4, count))


def point_of(samples: Samples, limit_s: float):
    slo = (SloLimit(metric="tpot", percentile=90, limit_s=limit_s),)
    window = Window(samples, [0.0])
    point = summarise(window, task="text_generation", scenario="closed_loop", slo=slo, energy=[])
    return window, point, slo


def test_all_tokens_in_one_call_are_one_block_that_ends_with_the_answer() -> None:
    table = samples_of(2, 10).columns()
    block = np.arange(10) % 2 == 1
    assert (table["first_ns"][block] == table["ended_ns"][block]).all()
    assert (table["first_ns"][~block] < table["ended_ns"][~block]).all()
    window, _, _ = point_of(samples_of(2, 10), 1.0)
    assert np.allclose(window.ttft_s[block], LATENCY_S)  # nothing was there before


def test_one_token_alone_is_no_block() -> None:
    clock = VirtualClock()
    session = KnownSession(clock, lambda n: 0.1, tokens=1)
    samples = Driver(session, PROMPTS, clock, 0).closed(StopRule(0.0, 1e3, 10))
    assert Window(samples, [0.0]).in_one_block == 0


def test_a_receipt_whose_first_and_last_token_share_a_stamp_is_one_block() -> None:
    clock = VirtualClock()
    query = TimedQuery(PROMPTS, None, clock)
    query.issued_ns = clock.now_ns()
    clock.spend(0.2)
    at = clock.now_ns()
    query.received(0, Receipt(at, lambda: Answer(at, at, TOKENS, Output())))
    samples = Samples(0, query.issued_ns)
    samples.add(query, [0], [7])
    window = Window(samples, [0.0])
    assert (window.in_one_block, window.several_tokens, window.tpot_s.size) == (1, 1, 0)


def test_few_blocks_are_left_out_of_the_percentiles_and_of_their_n() -> None:
    window, point, _ = point_of(samples_of(40), 1.0)
    assert (window.in_one_block, window.several_tokens) == (10, 400)
    metric = point.metrics["tpot_s.p50"]
    assert (metric.value, metric.n) == (pytest.approx(STREAMED_S), 390)
    assert window.one_block is None


def test_many_blocks_leave_no_percentile_and_say_how_many() -> None:
    window, point, _ = point_of(samples_of(10), 1.0)
    for name in ("tpot_s.p50", "tpot_s.p90", "tpot_s.p99"):
        metric = point.metrics[name]
        assert metric.value is metric.low is metric.high is None
        assert metric.reason is not None
        assert metric.reason.startswith("not supported: 40 of 400 replies came in one block")
    assert point.metrics["ttft_s.p50"].value is not None
    assert window.one_block is not None


@pytest.mark.parametrize(
    ("limit_s", "state"),
    [
        (0.012, "met"),  # even (ended - issued) / (tokens - 1), 11 ms, is within it
        (0.0105, "unproven"),  # the bound is not, what streamed is
        (0.009, "missed"),  # what streamed is beyond it, however fast the others were
    ],
)
def test_a_promise_is_judged_by_the_most_that_a_block_can_hide(limit_s: float, state: str) -> None:
    slo = (SloLimit(metric="tpot", percentile=50, limit_s=limit_s),)
    window = Window(samples_of(2), [0.0])
    point = summarise(window, task="text_generation", scenario="closed_loop", slo=slo, energy=[])
    assert point.slo_state == state
    assert point.slo[0].value_s is None  # of no percentile that is not supported


def test_attainment_counts_a_block_only_if_its_bound_is_within() -> None:
    _, within, _ = point_of(samples_of(4), 0.012)
    _, beyond, _ = point_of(samples_of(4), 0.0105)
    assert within.metrics["slo_attainment"].value == 1.0
    assert beyond.metrics["slo_attainment"].value == pytest.approx(0.75)


def test_the_record_says_that_a_promise_rests_on_blocks() -> None:
    for limit_s, codes in ((0.012, set()), (0.0105, {"one-block"})):
        window, point, slo = point_of(samples_of(4), limit_s)
        verdict = judge([window], [point], slo, None, QUIET, (), simulated=False)
        found = {r.code: r for r in verdict.reasons}
        assert set(found) == codes
        if codes:
            assert found["one-block"].value == pytest.approx(0.25)


def test_a_window_of_blocks_is_not_called_precise() -> None:
    slo = (SloLimit(metric="tpot", percentile=90, limit_s=1.0),)
    window = Window(samples_of(2), [0.0])
    precision = Precision(0.05, slo)
    assert not precision.reached(window)
    assert "200 of 400 replies came in one block" in supported(window, precision)
    assert precision.reached(Window(samples_of(10_000), [0.0]))
