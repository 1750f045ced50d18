"""Every runtime computes the model: against the numpy reference, and against each other."""

import json

import numpy as np
import pytest

from harness.adapters.base import (
    RowRequest,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.adapters.genai import GenaiAdapter
from harness.adapters.llama_cpp import LlamaCppAdapter
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.openvino import OpenVinoAdapter
from harness.adapters.torch import TorchAdapter
from harness.errors import AdapterError
from harness.models import llama, whisper
from harness.models.quality_metrics import kl_divergence
from harness.models.transactions import draw_transactions
from harness.models.trees_mlp import reference_scores
from tests.adapters.recorder import (
    LLAMA,
    WHISPER,
    Recorder,
    ask,
    draw_features,
    draw_tokens,
    open_session,
)

TEXT_RUNTIMES = {"onnxruntime_genai": GenaiAdapter, "llama_cpp": LlamaCppAdapter}
"""These run no other family."""
RUNTIMES = {
    "torch": TorchAdapter,
    "onnxruntime": OnnxRuntimeAdapter,
    "openvino": OpenVinoAdapter,
}
FP32_TOLERANCE = 1e-3
"""Of the largest difference of logits, over their standard deviation."""
KL_MAX = 0.01


@pytest.fixture(scope="module", params=RUNTIMES)
def adapter(request):
    pytest.importorskip(request.param)
    return RUNTIMES[request.param]


@pytest.fixture(scope="module", params=RUNTIMES | TEXT_RUNTIMES)
def text_adapter(request):
    pytest.importorskip(request.param)
    return (RUNTIMES | TEXT_RUNTIMES)[request.param]


@pytest.fixture(scope="module")
def text_session(text_adapter, llama_model):
    session = open_session(text_adapter, llama_model)
    yield session
    session.close()


@pytest.fixture(scope="module")
def speech_session(adapter, whisper_model):
    session = open_session(adapter, whisper_model)
    yield session
    session.close()


@pytest.fixture(scope="module")
def row_session(adapter, fraud_model):
    session = open_session(adapter, fraud_model, options={"threads": 1, "max_batch": 64})
    yield session
    session.close()


def difference(logits, truth):
    assert logits.shape == truth.shape
    assert logits.dtype == np.float32
    return np.abs(logits - truth).max() / truth.std()


def greedy(logits_of, tokens, count):
    """Generate by scoring the whole sequence again for every token."""
    chosen = []
    for _ in range(count):
        chosen.append(int(np.argmax(logits_of(np.array([*tokens, *chosen]))[-1])))
    return chosen


def text_logits(model, tokens):
    return llama.reference_logits(model.weights(), LLAMA, tokens)


def speech_logits(model, features, tokens):
    return whisper.reference_logits(model.weights(), WHISPER, features, tokens)


def test_text_scores_are_the_reference_s(text_session, llama_model):
    for length in (1, 7, LLAMA.context):
        tokens = draw_tokens(length, seed=length)
        (output,) = ask(text_session, ScoreTextRequest(tokens))
        assert difference(output.logits, text_logits(llama_model, tokens)) < FP32_TOLERANCE


def test_text_generation_through_the_cache_is_what_scoring_says(text_session, llama_model):
    for length in (5, 12):
        prompt = draw_tokens(length, seed=length)
        expected = greedy(lambda t: text_logits(llama_model, t), prompt, 20)
        assert len(set(expected)) > 3, "a model that repeats itself would prove nothing"
        (output,) = ask(text_session, TextRequest(prompt, 20))
        assert list(output.tokens) == expected


def test_speech_scores_are_the_reference_s(speech_session, whisper_model):
    # Different clips in turn: what is left of the first must not show in the second.
    for seed in (1, 2, 1):
        features, tokens = draw_features(seed), draw_tokens(5 + seed, seed)
        (output,) = ask(speech_session, ScoreSpeechRequest(features, tokens))
        truth = speech_logits(whisper_model, features, tokens)
        assert difference(output.logits, truth) < FP32_TOLERANCE


def test_speech_generation_through_the_cache_is_what_scoring_says(speech_session, whisper_model):
    features, prefix = draw_features(3), draw_tokens(4)
    expected = greedy(lambda t: speech_logits(whisper_model, features, t), prefix, 12)
    assert len(set(expected)) > 3
    (output,) = ask(speech_session, SpeechRequest(features, prefix, 12, audio_s=0.6))
    assert list(output.tokens) == expected


def test_rows_are_scored_as_the_reference_does(row_session, fraud_model):
    features = draw_transactions(64, seed=4)[0]
    truth = reference_scores(fraud_model.weights(), features)
    batch = ask(row_session, *(RowRequest(row) for row in features))
    assert np.abs([output.score for output in batch] - truth).max() < 1e-5
    for row, expected in zip(features[:3], truth, strict=False):
        (single,) = ask(row_session, RowRequest(row))
        assert single.score == pytest.approx(expected, abs=1e-5)


def test_each_token_is_streamed_before_the_end(text_session):
    query = Recorder([TextRequest(draw_tokens(3), 4)])
    text_session.submit(query)
    assert [event[:2] for event in query.events] == [("tokens", 0)] * 4 + [("done", 0)]
    assert all(event[2] == 1 for event in query.events[:-1])


def test_an_answer_outlives_the_next_one(text_session):
    tokens = draw_tokens(6)
    (first,) = ask(text_session, ScoreTextRequest(tokens))
    kept = first.logits.copy()
    ask(text_session, ScoreTextRequest(draw_tokens(6, seed=9)))
    np.testing.assert_array_equal(first.logits, kept)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (TextRequest(draw_tokens(8), 0), "at least one token"),
        (TextRequest(draw_tokens(0), 2), "do not fit"),
        (TextRequest(draw_tokens(8), LLAMA.context - 6), "do not fit"),
        (ScoreTextRequest(draw_tokens(LLAMA.context + 1)), "do not fit"),
        (ScoreTextRequest(np.array([LLAMA.vocabulary])), "outside the vocabulary"),
        (ScoreTextRequest(np.array([-1])), "outside the vocabulary"),
        (RowRequest(np.zeros(3, dtype=np.float32)), "does not take a RowRequest"),
    ],
)
def test_a_request_that_would_give_garbage_fails(text_session, request_, said):
    with pytest.raises(AdapterError, match=said):
        ask(text_session, request_)


def test_the_last_position_of_the_context_can_be_generated(text_session):
    (output,) = ask(text_session, TextRequest(draw_tokens(8), LLAMA.context - 7))
    assert len(output.tokens) == LLAMA.context - 7


def test_features_of_another_shape_fail(speech_session):
    features = draw_features()[:, :-2]
    with pytest.raises(AdapterError, match=r"not float32 \[20, 60\]"):
        ask(speech_session, ScoreSpeechRequest(features, draw_tokens(2)))


def test_descriptions_are_plain_data(text_session, speech_session, row_session):
    for session in (text_session, speech_session, row_session):
        description = json.loads(json.dumps(session.describe()))
        assert description["precision"] == "fp32"
        assert description["device"] == "cpu"
        assert description["max_batch"] == session.max_batch
        assert description["threads"] in (1, 2)
        assert description["operators"]["counts"]
        assert description["fallbacks"] == []


def test_a_closed_session_fails_its_queries(adapter, llama_model, fraud_model):
    for model, request in (
        (llama_model, ScoreTextRequest(draw_tokens(2))),
        (fraud_model, RowRequest(np.zeros(30, dtype=np.float32))),
    ):
        session = open_session(adapter, model)
        session.close()
        with pytest.raises(AdapterError, match="closed"):
            ask(session, request)


def test_lower_precision_stays_close_but_is_not_fp32(llama_model, whisper_model):
    features, tokens = draw_features(1), draw_tokens(24)
    cases = [
        (llama_model, ScoreTextRequest(tokens), text_logits(llama_model, tokens)),
        (
            whisper_model,
            ScoreSpeechRequest(features, tokens),
            speech_logits(whisper_model, features, tokens),
        ),
    ]
    for adapter, precision in (
        (TorchAdapter, "bf16"),
        (TorchAdapter, "fp16"),
        (OnnxRuntimeAdapter, "int8"),
    ):
        for model, request, truth in cases:
            session = open_session(adapter, model, precision=precision)
            (output,) = ask(session, request)
            session.close()
            assert kl_divergence(truth, output.logits) < KL_MAX
            assert difference(output.logits, truth) > FP32_TOLERANCE
