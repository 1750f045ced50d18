"""Several requests in one query: each gets the answer that it gets alone."""

import numpy as np
import pytest

from harness.adapters.base import ScoreTextRequest, SpeechRequest, TextRequest
from harness.adapters.genai import GenaiAdapter
from harness.adapters.llama_cpp import LlamaCppAdapter
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.openvino import OpenVinoAdapter
from harness.adapters.torch import TorchAdapter
from harness.errors import AdapterError, UnsupportedError
from harness.models.requests import Sampling
from tests.adapters.recorder import (
    LLAMA,
    Recorder,
    ask,
    draw_features,
    draw_tokens,
    open_session,
)

SPEECH = {
    "torch": TorchAdapter,
    "onnxruntime": OnnxRuntimeAdapter,
    "openvino": OpenVinoAdapter,
}
RUNTIMES = SPEECH | {"llama_cpp": LlamaCppAdapter, "onnxruntime_genai": GenaiAdapter}
TEXT_BATCHES = {
    "LlamaCppAdapter": "static, each sequence at its own length",
    "GenaiAdapter": "static, of sequences that begin equally long",
}
REQUESTS = [
    TextRequest(draw_tokens(length, seed=length), steps)
    for length, steps in ((5, 12), (17, 3), (1, 20), (17, 9))
]


@pytest.fixture(scope="module", params=RUNTIMES)
def adapter(request):
    pytest.importorskip(request.param)
    return RUNTIMES[request.param]


@pytest.fixture(scope="module")
def session(adapter, llama_model):
    session = open_session(adapter, llama_model, options={"threads": 2, "max_batch": 4})
    yield session
    session.close()


@pytest.fixture(scope="module", params=SPEECH)
def speech_session(request, whisper_model):
    pytest.importorskip(request.param)
    session = open_session(
        SPEECH[request.param], whisper_model, options={"threads": 2, "max_batch": 4}
    )
    yield session
    session.close()


def clip(seed, prefix, steps):
    return SpeechRequest(draw_features(seed), draw_tokens(prefix), steps, audio_s=0.6)


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
    streamed = [event for event in query.events if event[0] == "tokens"]
    if "begin equally long" in session.describe()["batching"]:
        assert done == [2, 0, 1, 3]
        assert [event[1] for event in streamed[-6:]] == [3] * 6
    else:
        assert done == [1, 3, 0, 2]
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


def test_more_texts_than_the_session_holds_fail(adapter, session):
    with pytest.raises(AdapterError, match="5 requests; one query holds 4"):
        ask(session, *REQUESTS, REQUESTS[0])
    said = TEXT_BATCHES.get(adapter.__name__, "static, padded on the left")
    assert session.describe()["batching"] == said


def test_each_utterance_of_a_batch_has_the_answer_that_it_has_alone(speech_session):
    requests = [clip(5, 4, 12), clip(1, 4, 3), clip(7, 4, 9)]
    query = Recorder(requests)
    speech_session.submit(query)
    found = by_request(query)
    assert [found[index] for index in range(3)] == alone(speech_session, requests)
    assert [event[1] for event in query.events if event[0] == "done"] == [1, 2, 0]
    assert len({tuple(tokens[:3]) for tokens in found.values()}) == 3


def test_utterances_with_prefixes_of_two_lengths_are_not_padded(speech_session):
    # Positions count from the first token: padding would shift them.
    requests = [clip(5, 4, 6), clip(2, 3, 7), clip(7, 4, 9)]
    query = Recorder(requests)
    speech_session.submit(query)
    found = by_request(query)
    assert [found[index] for index in range(3)] == alone(speech_session, requests)
    said = speech_session.describe()["batching"]
    assert said == "static, of sequences that begin equally long"


def test_utterances_after_a_batch_are_answered_as_before(speech_session):
    (before,) = alone(speech_session, [clip(3, 4, 8)])
    speech_session.submit(Recorder([clip(1, 4, 5), clip(2, 4, 5)]))
    assert alone(speech_session, [clip(3, 4, 8)]) == [before]


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


@pytest.mark.parametrize("option", ["max_batch", "continuous"])
def test_no_batch_where_an_answer_would_depend_on_the_others(llama_model, fraud_model, option):
    options = {"threads": 2, option: 4}
    with pytest.raises(UnsupportedError, match="depend on the others in its batch"):
        open_session(OnnxRuntimeAdapter, llama_model, precision="int8", options=options)
    # Rows are gated in the batches that they run in.
    open_session(OnnxRuntimeAdapter, fraud_model, precision="int8", options=options).close()
