"""Continuous batching: requests join and leave, and each gets the answer that it gets alone."""

import threading
from dataclasses import dataclass

import numpy as np
import onnxruntime
import pytest

from harness.adapters import continuous
from harness.adapters.base import Output, ScoreTextRequest, TextRequest
from harness.adapters.llama_cpp import LlamaCppAdapter
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.errors import AdapterError, SpecError, UnsupportedError
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.models.build import build_model
from harness.models.requests import Sampling
from tests.adapters.recorder import (
    LLAMA,
    Recorder,
    ask,
    draw_tokens,
    open_session,
)

RUNTIMES = {
    "onnxruntime fp32": (OnnxRuntimeAdapter, "fp32"),
    "onnxruntime int4": (OnnxRuntimeAdapter, "int4"),
    "llama_cpp fp32": (LlamaCppAdapter, "fp32"),
}
SLOTS = 3
SHAPES = ((5, 12), (17, 3), (1, 20), (17, 9), (30, 18), (2, 40), (9, 1))
REQUESTS = [TextRequest(draw_tokens(length, seed=length), steps) for length, steps in SHAPES]


class Waited(Recorder):
    """A recorder that can be waited for, and that writes to a log of several queries.

    After its second token it calls `then`: that is in the middle of its answer.
    """

    def __init__(self, request, log=None, name="", then=None):
        super().__init__([request])
        self.log = [] if log is None else log
        self.name, self.then = name, then
        self.ended = threading.Event()

    def tokens(self, index, count):
        super().tokens(index, count)
        self.log.append((self.name, "token"))
        if self.then and len(self.events) == 2:
            self.then()

    def done(self, index, output):
        super().done(index, output)
        self.log.append((self.name, "done"))
        self.ended.set()

    def fail(self, error, index=None):
        super().fail(error, index)
        self.ended.set()

    def answer(self) -> Output:
        assert self.ended.wait(60)
        kind, _, what = self.events[-1]
        if kind == "fail":
            raise what
        return what


@dataclass
class Opened:
    session: object
    alone: list[list[int]]
    scores: np.ndarray


@pytest.fixture(scope="module", params=RUNTIMES)
def opened(request, llama_model):
    pytest.importorskip(request.param.split()[0])
    adapter, precision = RUNTIMES[request.param]
    single = open_session(adapter, llama_model, precision=precision)
    alone = [list(ask(single, each)[0].tokens) for each in REQUESTS]
    (scored,) = ask(single, ScoreTextRequest(draw_tokens(20)))
    single.close()
    options = {"threads": 2, "continuous": SLOTS}
    session = open_session(adapter, llama_model, precision=precision, options=options)
    yield Opened(session, alone, scored.logits)
    session.close()


def send(session, requests):
    queries = [Waited(request) for request in requests]
    for query in queries:
        session.submit(query)
    return queries


def tokens_of(queries):
    return [list(query.answer().tokens) for query in queries]


def test_each_of_more_texts_than_slots_has_the_answer_that_it_has_alone(opened):
    queries = send(opened.session, REQUESTS)
    assert tokens_of(queries) == opened.alone
    assert len({tuple(answer) for answer in opened.alone}) == len(REQUESTS)
    for query, request in zip(queries, REQUESTS, strict=True):
        assert [event[0] for event in query.events] == [
            *["tokens"] * request.max_new_tokens,
            "done",
        ]


def join_in_the_middle(session, first, second):
    """Submit `first`, and `second` when the first has two tokens; return both and their log."""
    log = []
    late = Waited(second, log, "second")
    early = Waited(first, log, "first", then=lambda: session.submit(late))
    session.submit(early)
    return (early, late), log


def test_a_text_that_comes_later_joins_the_running_batch(opened):
    queries, log = join_in_the_middle(opened.session, REQUESTS[5], REQUESTS[1])
    assert tokens_of(queries) == [opened.alone[5], opened.alone[1]]
    # A static batch would have begun the second when the first was done.
    assert log.index(("second", "done")) < log.index(("first", "done"))
    began = log.index(("second", "token"))
    assert ("first", "token") in log[began:]


def test_a_text_is_scored_beside_others_that_run(opened):
    queries = send(opened.session, REQUESTS[4:6])
    scored = Waited(ScoreTextRequest(draw_tokens(20)))
    opened.session.submit(scored)
    np.testing.assert_allclose(scored.answer().logits, opened.scores, atol=2e-5)
    assert tokens_of(queries) == opened.alone[4:6]


def test_a_long_prompt_is_taken_in_by_pieces_while_others_go_on(opened, monkeypatch):
    monkeypatch.setattr(continuous, "PROMPT_TOKENS", 4)
    queries, log = join_in_the_middle(opened.session, REQUESTS[5], REQUESTS[4])
    assert tokens_of(queries) == [opened.alone[5], opened.alone[4]]
    # 30 tokens in pieces of 4 are 8 steps, each with a token of the first.
    began = log.index(("second", "token"))
    assert log[2:began].count(("first", "token")) == 8


def test_a_sampled_answer_follows_its_seed(opened):
    sampled = [TextRequest(draw_tokens(6), 12, Sampling(1.0, 0.95, seed)) for seed in (1, 2, 1)]
    first, other, again = tokens_of(send(opened.session, sampled))
    assert first == again != other


def test_a_query_of_two_is_refused_and_so_is_what_the_model_cannot_take(opened):
    with pytest.raises(AdapterError, match="2 requests; one query holds 1"):
        ask(opened.session, *REQUESTS[:2])
    with pytest.raises(AdapterError, match="do not fit in 48 positions"):
        ask(opened.session, TextRequest(draw_tokens(40), 20))


def test_the_session_says_how_it_batches(opened):
    described = opened.session.describe()
    assert described["batching"].startswith("continuous, up to 3 sequences")
    assert opened.session.max_concurrency == described["max_concurrency"] == SLOTS


def test_a_failure_ends_the_batch_and_not_the_session(llama_model, monkeypatch):
    session = open_session(OnnxRuntimeAdapter, llama_model, options={"threads": 2, "continuous": 2})
    before = tokens_of(send(session, REQUESTS[:1]))
    extend, calls = session._engine.extend, []

    def breaks_once(added):
        calls.append(added)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return extend(added)

    monkeypatch.setattr(session._engine, "extend", breaks_once)
    broken = send(session, REQUESTS[:1])
    with pytest.raises(RuntimeError, match="out of memory"):
        tokens_of(broken)
    assert tokens_of(send(session, REQUESTS[:1])) == before
    session.close()


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_an_engine_that_wants_to_end_the_process_ends_the_batch(llama_model, monkeypatch, raised):
    session = open_session(OnnxRuntimeAdapter, llama_model, options={"threads": 2, "continuous": 2})
    extend = session._engine.extend

    def leaves(added):
        monkeypatch.setattr(session._engine, "extend", extend)
        raise raised("no device")

    monkeypatch.setattr(session._engine, "extend", leaves)
    with pytest.raises(AdapterError, match=f"the engine raised {raised.__name__}: no device"):
        tokens_of(send(session, REQUESTS[:1]))
    assert tokens_of(send(session, REQUESTS[:1]))
    session.close()


def test_an_engine_that_cannot_start_over_ends_the_session_and_leaves_nobody_waiting(
    llama_model, monkeypatch
):
    session = open_session(OnnxRuntimeAdapter, llama_model, options={"threads": 2, "continuous": 1})

    def broken(_):
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(session._engine, "extend", broken)
    monkeypatch.setattr(session._engine, "clear", broken)
    for query in send(session, REQUESTS[:1] * 3):
        with pytest.raises(Exception, match=r"the device is lost|the session is closed"):
            query.answer()
    with pytest.raises(AdapterError, match="the session is closed"):
        ask(session, REQUESTS[0])
    session.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda row: np.full_like(row, np.nan), "not finite"),
        (lambda row: np.where(np.arange(row.size) == 3, np.inf, row), "not finite"),
        (lambda row: np.tile(row, (2, 1)), "logits of shape"),
        (lambda row: row[:-1], "logits of shape"),
        (None, "logits of shape"),
    ],
    ids=["nan", "infinite", "matrix", "narrow", "none"],
)
def test_logits_from_which_no_token_can_be_chosen_fail(llama_model, monkeypatch, given, said):
    session = open_session(OnnxRuntimeAdapter, llama_model, options={"threads": 2, "continuous": 2})
    extend = session._engine.extend

    def broken(added):
        return {slot: given(row) for slot, row in extend(added).items()} if given else {}

    monkeypatch.setattr(session._engine, "extend", broken)
    with pytest.raises(AdapterError, match=said):
        tokens_of(send(session, REQUESTS[:1]))
    session.close()


def test_closing_ends_what_is_open(llama_model):
    session = open_session(OnnxRuntimeAdapter, llama_model, options={"threads": 2, "continuous": 1})
    queries = send(session, [TextRequest(draw_tokens(2), 47)] * 40)
    session.close()
    session.close()
    with pytest.raises(AdapterError, match="the session was closed"):
        queries[-1].answer()
    assert all(query.ended.is_set() for query in queries)
    with pytest.raises(AdapterError, match="the session is closed"):
        ask(session, REQUESTS[0])
    assert not session._thread.is_alive()


def test_heads_of_any_size_are_served(built):
    odd = LLAMA.model_copy(update={"hidden": 80})
    model = build_model(odd, "text_generation", cache=built, data=built)
    single = open_session(OnnxRuntimeAdapter, model)
    alone = [list(ask(single, each)[0].tokens) for each in REQUESTS]
    single.close()
    session = open_session(OnnxRuntimeAdapter, model, options={"threads": 2, "continuous": 4})
    assert tokens_of(send(session, REQUESTS)) == alone
    session.close()


def test_other_families_run_on_such_a_target_as_without_it(whisper_model, fraud_model):
    for model in (whisper_model, fraud_model):
        options = {"threads": 2, "continuous": 4}
        session = open_session(OnnxRuntimeAdapter, model, options=options)
        assert session.max_concurrency == 1
        assert "continuous" not in str(session.describe().get("batching"))
        session.close()


def test_the_number_of_texts_is_checked(llama_model):
    with pytest.raises(SpecError, match="'continuous' must be a whole number of at least 1"):
        open_session(OnnxRuntimeAdapter, llama_model, options={"continuous": True})


def test_other_providers_are_refused(llama_model, monkeypatch):
    here = [*onnxruntime.get_available_providers(), "XnnpackExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: here)
    options = {"continuous": 4, "provider": "xnnpack"}
    with pytest.raises(UnsupportedError, match="on the CPU only"):
        open_session(OnnxRuntimeAdapter, llama_model, options=options)


def test_users_of_a_closed_loop_are_answered_together(llama_model):
    session = open_session(OnnxRuntimeAdapter, llama_model, options={"threads": 2, "continuous": 4})
    running = []
    extend = session._engine.extend

    def watched(added):
        running.append(len(added))
        return extend(added)

    session._engine.extend = watched
    requests = [TextRequest(draw_tokens(4, seed=i), 30) for i in range(6)]
    driver = Driver(session, requests, RealClock(), seed=1)
    samples = driver.closed_loop(4, StopRule(least_s=0.0, most_s=60.0, count=24))
    session.close()
    assert not samples.errors
    assert max(running) == 4
    assert np.mean(running) > 2
