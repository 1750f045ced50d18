"""Several texts in one query: each gets the answer that it gets alone."""

import numpy as np
import pytest

from harness.adapters.base import ScoreTextRequest, TextRequest
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.torch import TorchAdapter
from harness.errors import AdapterError
from harness.models.requests import Sampling
from tests.adapters.recorder import LLAMA, Recorder, ask, draw_tokens, open_session

RUNTIMES = {"torch": TorchAdapter, "onnxruntime": OnnxRuntimeAdapter}
REQUESTS = [
    TextRequest(draw_tokens(length, seed=length), steps)
    for length, steps in ((5, 12), (17, 3), (1, 20), (17, 9))
]


@pytest.fixture(scope="module", params=RUNTIMES)
def session(request, llama_model):
    pytest.importorskip(request.param)
    session = open_session(
        RUNTIMES[request.param], llama_model, options={"threads": 2, "max_batch": 4}
    )
    yield session
    session.close()


def answers(session, requests):
    return [list(output.tokens) for output in ask(session, *requests)]


def alone(session, requests):
    return [answers(session, [request])[0] for request in requests]


def by_request(query):
    return {event[1]: list(event[2].tokens) for event in query.events if event[0] == "done"}


def test_each_text_of_a_batch_has_the_answer_that_it_has_alone(session):
    query = Recorder(REQUESTS)
    session.submit(query)
    found = by_request(query)
    assert [found[index] for index in range(4)] == alone(session, REQUESTS)
    assert all(len(set(tokens)) > 2 for tokens in found.values())


def test_a_short_answer_is_done_before_a_long_one_goes_on(session):
    query = Recorder(REQUESTS)
    session.submit(query)
    done = [event[1] for event in query.events if event[0] == "done"]
    assert done == [1, 3, 0, 2]
    streamed = [event for event in query.events if event[0] == "tokens"]
    assert [event[1] for event in streamed[:4]] == [0, 1, 2, 3]
    counts = [sum(event[1] == index for event in streamed) for index in range(4)]
    assert counts == [request.max_new_tokens for request in REQUESTS]


def test_what_padding_would_push_out_of_the_context_runs_one_by_one(session):
    requests = [
        TextRequest(draw_tokens(LLAMA.context - 4), 2),
        TextRequest(draw_tokens(2, seed=1), 30),
    ]
    query = Recorder(requests)
    session.submit(query)
    assert [by_request(query)[index] for index in (0, 1)] == alone(session, requests)


def test_a_batch_leaves_nothing_behind(session):
    (before,) = alone(session, REQUESTS[:1])
    session.submit(Recorder(REQUESTS))
    assert alone(session, REQUESTS[:1]) == [before]


def test_scores_in_one_query_are_those_alone(session):
    requests = [ScoreTextRequest(draw_tokens(length)) for length in (3, 9)]
    for output, request in zip(ask(session, *requests), requests, strict=True):
        (single,) = ask(session, request)
        np.testing.assert_array_equal(output.logits, single.logits)


def test_more_texts_than_the_session_holds_fail(session):
    with pytest.raises(AdapterError, match="5 requests; one query holds 4"):
        ask(session, *REQUESTS, REQUESTS[0])
    assert session.describe()["batching"] == "static, padded on the left"


def test_one_text_at_a_time_unless_the_target_says_otherwise(llama_model):
    session = open_session(OnnxRuntimeAdapter, llama_model)
    assert session.max_batch == 1
    session.close()


def test_a_sampled_answer_follows_its_seed_also_in_a_batch(session):
    def sampled(seed, temperature=1.0):
        return TextRequest(draw_tokens(6), 12, Sampling(temperature, 0.95, seed))

    first, again, other = alone(session, [sampled(1), sampled(1), sampled(2)])
    assert first == again
    assert first != other
    query = Recorder([sampled(2), REQUESTS[1], sampled(1)])
    session.submit(query)
    assert [by_request(query)[index] for index in range(3)] == [
        other,
        alone(session, REQUESTS[1:2])[0],
        first,
    ]
    (greedy,) = alone(session, [TextRequest(draw_tokens(6), 12)])
    assert alone(session, [sampled(3, temperature=1e-4)]) == [greedy]
