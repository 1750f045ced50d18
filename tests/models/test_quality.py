import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from harness.catalog import Catalog
from harness.errors import AdapterError, SpecError
from harness.models import llama, reference, whisper
from harness.models.build import build_model
from harness.models.inputs import draw_requests
from harness.models.model import Model
from harness.models.quality import evaluate, quality_model
from harness.models.quality_metrics import (
    kl_divergence,
    log_softmax,
    perplexity,
    pr_auc,
    regrets,
    word_error_rate,
)
from harness.models.requests import (
    Output,
    RowRequest,
    ScoreSpeechRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.models.training import train_speech, train_text
from harness.models.trees_mlp import reference_scores
from harness.schema.model import WhisperModel
from harness.schema.quality import FraudQuality, ReferenceAgreement, SpeechQuality, TextQuality
from tests.factories import make_fraud_workload, make_workload

WORKLOADS = Path(__file__).parents[2] / "workloads"
TEXT_GATE = TextQuality(
    kind="perplexity", model=train_text.ARCHITECTURE, text="weights/bytes-heldout.txt", tokens=512
)
SPEECH_GATE = SpeechQuality(
    kind="word_error_rate",
    model=train_speech.ARCHITECTURE,
    audio="weights/digits-heldout.safetensors",
    word_error_rate_max=0.12,
    word_error_rate_rise_max=0.015,
)
FRAUD_GATE = FraudQuality(kind="pr_auc", rows=1000)
AGREEMENT = ReferenceAgreement(kind="reference_agreement", requests=2)


# The figures


def test_log_softmax_is_stable():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0], [3.0, 3.0]])
    assert log_softmax(logits) == pytest.approx(
        np.array([[0.0, -1e4], [-1e4, 0.0], [-math.log(2), -math.log(2)]])
    )


def test_kl_of_two_known_distributions():
    ours, theirs = np.log([[0.5, 0.5], [0.9, 0.1]]), np.log([[0.25, 0.75], [0.9, 0.1]])
    wanted = (0.5 * math.log(2) + 0.5 * math.log(2 / 3)) / 2
    assert kl_divergence(ours, theirs) == pytest.approx(wanted)
    assert kl_divergence(theirs, ours) != pytest.approx(wanted)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 30), shift=st.floats(-1e3, 1e3))
def test_kl_is_not_negative_and_ignores_shifts(seed, scale, shift):
    rng = np.random.default_rng(seed)
    ours, theirs = scale * rng.normal(size=(2, 3, 7))
    value = kl_divergence(ours, theirs)
    assert value > 0
    assert kl_divergence(ours + shift, theirs - shift) == pytest.approx(value, abs=1e-9)
    assert kl_divergence(ours, ours + shift) == pytest.approx(0, abs=1e-9)


def test_kl_refuses_other_shapes():
    with pytest.raises(ValueError, match="one shape"):
        kl_divergence(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="one shape"):
        kl_divergence(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="no positions"):
        kl_divergence(np.zeros((0, 3)), np.zeros((0, 3)))


def test_perplexity_of_known_distributions():
    assert perplexity(np.zeros((5, 7)), [0, 1, 2, 3, 4]) == pytest.approx(7)
    sure = np.log([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    assert perplexity(sure, [0, 0]) == pytest.approx(math.sqrt(2 * 4))
    with pytest.raises(ValueError, match="one target"):
        perplexity(np.zeros((5, 7)), [0, 1])


def test_regret_of_known_choices():
    logits = np.log([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])
    assert regrets(logits, [0, 1]).tolist() == [0, 0]
    assert regrets(logits, [1, 2]) == pytest.approx(np.array([0.5, 0.1]))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.floats(0.01, 5))
def test_regret_is_bounded_by_kl(seed, noise):
    rng = np.random.default_rng(seed)
    ours = 3 * rng.normal(size=(20, 6))
    theirs = ours + noise * rng.normal(size=ours.shape)
    regret = regrets(ours, theirs.argmax(axis=1)).mean()
    assert regret <= math.sqrt(2 * kl_divergence(ours, theirs))


@pytest.mark.parametrize(
    ("references", "hypotheses", "wanted"),
    [
        (["a b c"], ["a b c"], 0),
        (["a b c"], ["a x c"], 1 / 3),
        (["a b c"], ["a c"], 1 / 3),
        (["a b c"], ["a b b c"], 1 / 3),
        (["a b c"], [""], 1),
        (["a"], ["b c d"], 3),
        (["", "a"], ["x", "a"], 1),
        (["a b", "c d e f"], ["b a", "c d e f"], 2 / 6),
    ],
)
def test_word_error_rate_of_known_pairs(references, hypotheses, wanted):
    split = [[text.split() for text in texts] for texts in (references, hypotheses)]
    assert word_error_rate(*split) == pytest.approx(wanted)


def distance(left, right):
    """The definition of the Levenshtein distance."""
    if not left or not right:
        return len(left) + len(right)
    if left[0] == right[0]:
        return distance(left[1:], right[1:])
    pairs = ((left[1:], right), (left, right[1:]), (left[1:], right[1:]))
    return 1 + min(distance(*pair) for pair in pairs)


@settings(max_examples=100, deadline=None)
@given(left=st.text("abc", min_size=1, max_size=5), right=st.text("abc", max_size=5))
def test_word_error_rate_follows_the_definition(left, right):
    assert word_error_rate([left], [right]) * len(left) == pytest.approx(distance(left, right))


def test_word_error_rate_needs_words():
    with pytest.raises(ValueError, match="words"):
        word_error_rate([[]], [["a"]])
    with pytest.raises(ValueError, match="as many"):
        word_error_rate([["a"]], [])


def test_pr_auc_of_known_rankings():
    assert pr_auc([1, 1, 0, 0], [0.9, 0.8, 0.3, 0.1]) == 1
    assert pr_auc([0, 0, 1, 1], [0.9, 0.8, 0.3, 0.1]) == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert pr_auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx((1 + 2 / 3) / 2)
    assert pr_auc([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.5]) == 0.5


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_pr_auc_follows_the_definition_and_ignores_order(rows):
    labels, scores = zip((True, 3), *rows, strict=True)
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [label for label, score in zip(labels, scores, strict=True) if score >= threshold]
        step = sum(chosen) / sum(labels) - recall
        total, recall = total + step * sum(chosen) / len(chosen), recall + step
    assert pr_auc(labels, scores) == pytest.approx(total)
    assert pr_auc(labels[::-1], scores[::-1]) == pytest.approx(total)


def test_pr_auc_needs_a_positive_label():
    with pytest.raises(ValueError, match="a positive label"):
        pr_auc([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match="one score"):
        pr_auc([1, 0], [0.1])


# The models and targets of the gates


def make_model(architecture, weights, task="text_generation"):
    return Model(
        task=task,
        architecture=architecture,
        parameters=sum(array.size for array in weights.values()),
        folder=Path("nowhere"),
        weights=lambda: weights,
        onnx=lambda dialect: Path("nowhere"),
    )


def load(name):
    return {
        key: array.astype(np.float32) if array.dtype == np.float16 else array
        for key, array in load_file(WORKLOADS / "weights" / f"{name}.safetensors").items()
    }


def numpy_target(model, weights=None):
    """A target that computes in numpy, with other weights than the model's if given."""
    used, architecture = weights or model.weights(), model.architecture

    def answer(request):
        if isinstance(request, ScoreTextRequest):
            return Output(logits=llama.reference_logits(used, architecture, request.tokens))
        if isinstance(request, ScoreSpeechRequest):
            logits = whisper.reference_logits(used, architecture, request.features, request.tokens)
            return Output(logits=logits)
        raise AssertionError(request)

    return lambda requests: [answer(request) for request in requests]


def sound_step(module, cache, token):
    import torch

    return module(torch.tensor([[token]]), cache)


def text_target(weights, spoil=lambda request, output: output, step=sound_step):
    """A target that runs the byte model in torch; `spoil` changes its answers.

    `step` gives the logits after one more token.
    """
    torch = pytest.importorskip("torch")
    from harness.models.llama_torch import from_weights

    module = from_weights(weights, train_text.ARCHITECTURE)

    def answer(request):
        if isinstance(request, ScoreTextRequest):
            return Output(logits=module(torch.from_numpy(request.tokens)[None])[0].numpy())
        cache, tokens = module.make_cache(), []
        logits = module(torch.from_numpy(request.prompt)[None], cache, 1)
        while len(tokens) < request.max_new_tokens:
            tokens.append(int(logits[0, -1].argmax()))
            logits = step(module, cache, tokens[-1])
        return Output(tokens=tokens)

    def ask(requests):
        with torch.inference_mode():
            return [spoil(request, answer(request)) for request in requests]

    return ask


def speech_target(weights):
    torch = pytest.importorskip("torch")
    from harness.models.whisper_torch import from_weights

    module = from_weights(weights, train_speech.ARCHITECTURE)

    def ask(requests):
        features = torch.from_numpy(np.stack([request.features for request in requests]))
        tokens = torch.from_numpy(np.stack([request.prefix for request in requests]))
        with torch.inference_mode():
            for _ in range(requests[0].max_new_tokens):
                logits = module(features, tokens)[:, -1]
                tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
        return [Output(tokens=row[1:].tolist()) for row in tokens]

    return ask


def row_target(weights, change=lambda scores: scores):
    def ask(requests):
        scores = reference_scores(weights, np.stack([request.features for request in requests]))
        return [Output(score=float(score)) for score in change(scores)]

    return ask


def matrices(weights, change):
    """Return `weights` with every matrix changed, rows first."""
    return {
        name: change(array.reshape(len(array), -1)).reshape(array.shape).astype(np.float32)
        if array.ndim > 1
        else array
        for name, array in weights.items()
    }


def int8_rows(matrix):
    step = np.abs(matrix).max(axis=1, keepdims=True) / 127
    return np.rint(matrix / np.maximum(step, 1e-12)) * step


def ternary_rows(matrix):
    """The deliberately broken variant: each weight is -a, 0 or a, with one `a` for each row."""
    kept = np.abs(matrix) > 0.7 * np.abs(matrix).mean(axis=1, keepdims=True)
    size = (np.abs(matrix) * kept).sum(axis=1, keepdims=True)
    return np.sign(matrix) * kept * size / np.maximum(kept.sum(axis=1, keepdims=True), 1)


def make_speech_workload(**changes):
    return make_workload(
        "speech",
        **{
            "task": "speech_to_text",
            "model": {
                "family": "whisper",
                "vocabulary": 24,
                "frames": 100,
                "hidden": 16,
                "encoder_layers": 1,
                "decoder_layers": 1,
                "heads": 2,
                "text_context": 12,
            },
            "inputs": {
                "kind": "audio",
                "count": 3,
                "duration_s": 0.8,
                "output_tokens": {"kind": "fixed", "value": 4},
            },
            **changes,
        },
    )


@pytest.fixture(scope="module", autouse=True)
def single_thread():
    """Small models on busy cores: threads that wait for each other take most of the time."""
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def text_model():
    return make_model(train_text.ARCHITECTURE, load("bytes-llama"))


@pytest.fixture(scope="module")
def speech_model():
    return make_model(train_speech.ARCHITECTURE, load("digits-whisper"), "speech_to_text")


@pytest.fixture(scope="module")
def fraud_model():
    workload = make_fraud_workload()
    return make_model(workload.model, load("fraud"), "tabular_classification")


def run(gate, model, ask, cache, workload=None):
    checks = evaluate(
        gate,
        workload=workload or make_workload(),
        model=model,
        ask=ask,
        data=WORKLOADS,
        cache=cache,
    )
    return {check.metric: check for check in checks}


# The text gate


def test_text_gate_passes_the_same_computation(text_model, cache):
    checks = run(TEXT_GATE, text_model, text_target(text_model.weights()), cache)
    assert list(checks) == ["perplexity_ratio", "kl_divergence", "generation_regret"]
    assert all(check.passed and check.reason is None for check in checks.values())
    assert checks["perplexity_ratio"].value == pytest.approx(1, abs=1e-4)
    assert checks["kl_divergence"].value == pytest.approx(0, abs=1e-6)
    assert checks["generation_regret"].value == pytest.approx(0, abs=1e-4)
    assert (checks["perplexity_ratio"].limit, checks["kl_divergence"].limit) == (1.02, 0.01)


def test_text_gate_passes_int8(text_model, cache):
    weights = matrices(text_model.weights(), int8_rows)
    checks = run(TEXT_GATE, text_model, text_target(weights), cache)
    assert all(check.passed for check in checks.values())
    assert 1e-6 < checks["kl_divergence"].value < 1e-3


def test_text_gate_fails_ternary_rows(text_model, cache):
    weights = matrices(text_model.weights(), ternary_rows)
    checks = run(TEXT_GATE, text_model, text_target(weights), cache)
    assert not any(check.passed for check in checks.values())
    assert checks["perplexity_ratio"].value > 1.3
    assert checks["kl_divergence"].value > 0.3


def test_the_byte_model_has_learned(text_model):
    text = (WORKLOADS / TEXT_GATE.text).read_bytes()[:1025]
    tokens = np.frombuffer(text, dtype=np.uint8).astype(np.int64)
    windows = tokens[:1024].reshape(8, 128)
    weights, architecture = text_model.weights(), text_model.architecture
    logits = [llama.reference_logits(weights, architecture, window) for window in windows]
    assert perplexity(np.concatenate(logits), tokens[1:]) < 8


def same_token(request, output):
    if isinstance(request, TextRequest):
        return Output(tokens=[32] * request.max_new_tokens)
    return output


def first_token_again(request, output):
    if isinstance(request, TextRequest):
        return Output(tokens=list(output.tokens[:1]) * request.max_new_tokens)
    return output


def lost_late(request, output):
    if isinstance(request, TextRequest):
        return Output(tokens=list(output.tokens[:16]) + [33] * (request.max_new_tokens - 16))
    return output


@pytest.mark.parametrize("spoil", [same_token, first_token_again, lost_late])
def test_text_gate_fails_generation_that_is_not_the_scored_model(spoil, text_model, cache):
    checks = run(TEXT_GATE, text_model, text_target(text_model.weights(), spoil), cache)
    assert checks["kl_divergence"].passed
    assert not checks["generation_regret"].passed


# Answers that cannot be judged


def with_logits(change):
    return lambda request, output: (
        output._replace(logits=change(output.logits))
        if isinstance(request, ScoreTextRequest)
        else output
    )


def put_nan(logits):
    logits = logits.copy()
    logits[-1, -1] = np.nan
    return logits


def put_infinity(logits):
    logits = logits.copy()
    logits[0, 0] = -np.inf
    return logits


def with_tokens(change):
    return lambda request, output: (
        output._replace(tokens=change(output.tokens))
        if isinstance(request, TextRequest)
        else output
    )


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (with_logits(put_nan), "not finite"),
        (with_logits(put_infinity), "not finite"),
        (with_logits(lambda logits: logits[:-1]), r"\[127, 256\], not \[128, 256\]"),
        (with_logits(lambda logits: logits[:, :-1]), r"\[128, 255\], not \[128, 256\]"),
        (with_logits(lambda logits: None), "no logits"),
        (with_tokens(lambda tokens: tokens[:-1]), "31 tokens, not 32"),
        (with_tokens(lambda tokens: [256, *tokens[1:]]), r"outside \[0, 256\)"),
        (with_tokens(lambda tokens: [-1, *tokens[1:]]), r"outside \[0, 256\)"),
        (with_tokens(lambda tokens: [0.5] * len(tokens)), r"outside \[0, 256\)"),
    ],
)
def test_a_bad_answer_fails_every_check(spoil, reason, text_model, cache):
    checks = run(TEXT_GATE, text_model, text_target(text_model.weights(), spoil), cache)
    assert len(checks) == 3
    for check in checks.values():
        assert check.value is None
        assert not check.passed
        assert re.search(reason, check.reason)


def failing(requests):
    raise AdapterError("the device is gone")


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (failing, "the target failed: the device is gone"),
        (lambda requests: [], "2 requests gave 0 outputs"),
        (lambda requests: [Output(tokens=[1])] * 2, "request 0 gave no logits"),
    ],
)
def test_a_target_that_fails_fails_the_gate(ask, reason, cache):
    workload = make_workload()
    model = make_model(workload.model, llama.draw_weights(workload.model))
    (check,) = run(AGREEMENT, model, ask, cache, workload).values()
    assert (check.value, check.passed, check.reason) == (None, False, reason)


# The speech gate


def test_speech_gate_passes_the_same_computation(speech_model, cache):
    workload = make_speech_workload()
    ask = speech_target(speech_model.weights())
    checks = run(SPEECH_GATE, speech_model, ask, cache, workload)
    assert list(checks) == ["word_error_rate", "word_error_rate_rise"]
    assert all(check.passed for check in checks.values())
    assert checks["word_error_rate_rise"].value == pytest.approx(0, abs=0.006)
    # A recogniser without a single error could not get better or worse.
    assert 0.005 < checks["word_error_rate"].value < 0.12


def test_speech_gate_passes_int8(speech_model, cache):
    ask = speech_target(matrices(speech_model.weights(), int8_rows))
    checks = run(SPEECH_GATE, speech_model, ask, cache, make_speech_workload())
    assert all(check.passed for check in checks.values())


def test_speech_gate_fails_ternary_rows(speech_model, cache):
    ask = speech_target(matrices(speech_model.weights(), ternary_rows))
    checks = run(SPEECH_GATE, speech_model, ask, cache, make_speech_workload())
    assert not any(check.passed for check in checks.values())


def test_the_reference_transcribes_greedily(speech_model, tmp_path):
    clips = load("digits-heldout")["features"][:3]
    prefix = np.array([0])
    guesses = np.array([[1] * 6, [5] * 6, [0, 9, 1, 9, 3, 2]])
    given = reference.transcribe(speech_model, clips, prefix, guesses, 1, tmp_path)
    weights, architecture = speech_model.weights(), speech_model.architecture
    for clip, row in zip(clips, given, strict=True):
        tokens = prefix
        for _ in range(6):
            logits = whisper.reference_logits(weights, architecture, clip, tokens)
            ended = 1 in tokens
            tokens = np.append(tokens, 1 if ended else logits[-1].argmax())
        assert row.tolist() == tokens[1:].tolist()


# The fraud gate


def test_fraud_gate_passes_the_reference(fraud_model, cache):
    ask = row_target(fraud_model.weights())
    checks = run(FRAUD_GATE, fraud_model, ask, cache, make_fraud_workload())
    assert list(checks) == ["pr_auc_ratio", "score_difference"]
    assert all(check.passed for check in checks.values())
    assert (checks["pr_auc_ratio"].value, checks["score_difference"].value) == (1.0, 0.0)
    assert (checks["pr_auc_ratio"].better, checks["score_difference"].better) == ("higher", "lower")


def test_fraud_gate_sees_a_single_wrong_score(fraud_model, cache):
    def change(scores):
        scores[17] += 0.002
        return scores

    ask = row_target(fraud_model.weights(), change)
    checks = run(FRAUD_GATE, fraud_model, ask, cache, make_fraud_workload())
    assert checks["pr_auc_ratio"].passed
    assert not checks["score_difference"].passed
    assert checks["score_difference"].value == pytest.approx(0.002)


def test_fraud_gate_fails_the_network_alone(fraud_model, cache):
    weights = dict(fraud_model.weights())
    weights["trees.value"] = np.zeros_like(weights["trees.value"])
    checks = run(FRAUD_GATE, fraud_model, row_target(weights), cache, make_fraud_workload())
    assert not any(check.passed for check in checks.values())


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.5, -0.1])
def test_fraud_gate_refuses_scores_outside_0_1(bad, fraud_model, cache):
    def change(scores):
        scores[3] = bad
        return scores

    ask = row_target(fraud_model.weights(), change)
    checks = run(FRAUD_GATE, fraud_model, ask, cache, make_fraud_workload())
    for check in checks.values():
        assert check.value is None
        assert not check.passed
        assert f"row 3, is {bad}" in check.reason


def test_fraud_gate_judges_missing_scores(fraud_model, cache):
    def ask(requests):
        assert all(isinstance(request, RowRequest) for request in requests)
        return [Output()] * len(requests)

    checks = run(FRAUD_GATE, fraud_model, ask, cache, make_fraud_workload())
    assert "1000 of 1000 scores are not in [0, 1]" in checks["pr_auc_ratio"].reason


def test_fraud_gate_needs_fraud(fraud_model, cache):
    gate = FraudQuality(kind="pr_auc", rows=3)
    ask = row_target(fraud_model.weights())
    with pytest.raises(SpecError, match="raise 'rows'"):
        run(gate, fraud_model, ask, cache, make_fraud_workload())


# Agreement with the reference


@pytest.mark.parametrize("make", [make_workload, make_speech_workload])
def test_agreement_passes_the_model_and_fails_another(make, cache):
    workload = make()
    family = llama if workload.model.family == "llama" else whisper
    weights = family.draw_weights(workload.model)
    model = make_model(workload.model, weights, workload.task)
    (check,) = run(AGREEMENT, model, numpy_target(model), cache, workload).values()
    assert check.passed
    assert check.value == pytest.approx(0, abs=1e-12)
    broken = matrices(weights, ternary_rows)
    (check,) = run(AGREEMENT, model, numpy_target(model, broken), cache, workload).values()
    assert not check.passed
    assert check.value > 0.02


def test_agreement_scores_the_workloads_own_inputs(cache):
    workload = make_workload()
    model = make_model(workload.model, llama.draw_weights(workload.model))
    seen = []

    def ask(requests):
        seen.extend(requests)
        return numpy_target(model)(requests)

    run(AGREEMENT, model, ask, cache, workload)
    prompts = [request.prompt for request in draw_requests(workload)[:2]]
    assert [request.tokens.tolist() for request in seen] == [p.tolist() for p in prompts]


def test_agreement_cuts_long_prompts(cache):
    inputs = {
        "kind": "prompts",
        "count": 8,
        "prompt_tokens": {"kind": "fixed", "value": 100},
        "output_tokens": {"kind": "fixed", "value": 8},
    }
    workload = make_workload(inputs=inputs)
    model = make_model(workload.model, llama.draw_weights(workload.model))

    def ask(requests):
        assert [len(request.tokens) for request in requests] == [64, 64]
        return numpy_target(model)(requests)

    (check,) = run(AGREEMENT, model, ask, cache, workload).values()
    assert check.passed


# The kept reference


def count_calls(monkeypatch):
    calls = []
    real = llama.reference_logits

    def counted(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(llama, "reference_logits", counted)
    return calls


def test_reference_logits_are_computed_once(monkeypatch, tmp_path):
    workload = make_workload()
    weights = llama.draw_weights(workload.model)
    model = make_model(workload.model, weights)
    requests = [ScoreTextRequest(tokens=np.arange(5)), ScoreTextRequest(tokens=np.arange(9))]
    calls = count_calls(monkeypatch)
    first = reference.score(model, requests, tmp_path)
    assert len(calls) == 2
    again = reference.score(model, requests, tmp_path)
    assert len(calls) == 2
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]
    assert [a.shape for a in again] == [(5, 64), (9, 64)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_whatever_the_reference_depends_on_voids_it(monkeypatch, tmp_path):
    workload = make_workload()
    weights = llama.draw_weights(workload.model)
    model = make_model(workload.model, weights)
    requests = [ScoreTextRequest(tokens=np.arange(5))]
    reference.score(model, requests, tmp_path)
    calls = count_calls(monkeypatch)
    changed = dict(weights)
    name = "model.norm.weight"
    changed[name] = weights[name].copy()
    changed[name][0] += 1
    other = reference.score(make_model(workload.model, changed), requests, tmp_path)
    assert len(calls) == 1
    assert not np.array_equal(other[0], reference.score(model, requests, tmp_path)[0])
    assert len(calls) == 1
    theta = workload.model.model_copy(update={"rope_theta": 500.0})
    reference.score(make_model(theta, weights), requests, tmp_path)
    assert len(calls) == 2
    reference.score(model, [ScoreTextRequest(tokens=np.arange(5)[::-1].copy())], tmp_path)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"x" * 50]
)
def test_a_broken_file_is_made_again(damage, monkeypatch, tmp_path):
    workload = make_workload()
    model = make_model(workload.model, llama.draw_weights(workload.model))
    requests = [ScoreTextRequest(tokens=np.arange(5))]
    first = reference.score(model, requests, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    calls = count_calls(monkeypatch)
    assert np.array_equal(reference.score(model, requests, tmp_path)[0], first[0])
    reference.score(model, requests, tmp_path)
    assert len(calls) == 1


# Specifications


def test_quality_model_names_the_extra_model():
    assert quality_model(TEXT_GATE, make_workload()) == train_text.ARCHITECTURE
    assert quality_model(SPEECH_GATE, make_speech_workload()) == train_speech.ARCHITECTURE
    assert quality_model(FRAUD_GATE, make_fraud_workload()) is None
    assert quality_model(AGREEMENT, make_workload()) is None


@pytest.mark.parametrize(
    ("gate", "workload"),
    [
        (TEXT_GATE, make_fraud_workload()),
        (SPEECH_GATE, make_workload()),
        (FRAUD_GATE, make_speech_workload()),
        (AGREEMENT, make_fraud_workload()),
    ],
)
def test_a_gate_of_another_task_is_refused(gate, workload, fraud_model, cache):
    with pytest.raises(SpecError, match="the gate"):
        quality_model(gate, workload)
    with pytest.raises(SpecError, match="the gate"):
        run(gate, fraud_model, failing, cache, workload)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "weights/nothing.txt"}, "cannot read"),
        ({"tokens": 100_096}, "has 52.. bytes, not above 100096"),
        ({"window": 257}, "'window' is above"),
        ({"tokens": 64}, "'window' is above"),
    ],
)
def test_a_text_gate_that_cannot_be_is_refused(changes, message, text_model, cache):
    gate = TEXT_GATE.model_copy(update=changes)
    with pytest.raises(SpecError, match=message):
        run(gate, text_model, failing, cache)


def test_a_text_gate_needs_a_vocabulary_of_bytes(text_model, cache):
    small = TEXT_GATE.model.model_copy(update={"vocabulary": 64})
    with pytest.raises(SpecError, match="256 bytes"):
        run(TEXT_GATE.model_copy(update={"model": small}), text_model, failing, cache)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.zeros((2, 80, 300), np.float16)}, "as many 'labels'"),
        (
            {
                "features": np.zeros((2, 80, 300), np.float16),
                "labels": np.zeros((3, 5), np.int64),
            },
            "as many 'labels'",
        ),
        (
            {
                "features": np.zeros((2, 80, 200), np.float16),
                "labels": np.zeros((2, 5), np.int64),
            },
            r"\[2, 80, 200\]",
        ),
    ],
)
def test_clips_that_do_not_fit_are_refused(arrays, message, speech_model, tmp_path):
    (tmp_path / "clips.safetensors").write_bytes(save(arrays))
    gate = SPEECH_GATE.model_copy(update={"audio": "clips.safetensors"})
    with pytest.raises(SpecError, match=message):
        evaluate(
            gate,
            workload=make_speech_workload(),
            model=speech_model,
            ask=failing,
            data=tmp_path,
            cache=tmp_path,
        )


def test_the_committed_models_are_as_declared():
    for name, architecture, shapes in (
        ("bytes-llama", train_text.ARCHITECTURE, llama.parameter_shapes),
        ("digits-whisper", train_speech.ARCHITECTURE, whisper.parameter_shapes),
    ):
        path = WORKLOADS / "weights" / f"{name}.safetensors"
        assert {k: a.shape for k, a in load_file(path).items()} == shapes(architecture)
        assert path.stat().st_size < 3_000_000
        assert architecture.weights == f"weights/{name}.safetensors"
    assert isinstance(train_speech.ARCHITECTURE, WhisperModel)


def test_speech_requests_leave_room_for_the_end(speech_model, cache):
    seen = []

    def ask(requests):
        seen.extend(requests)
        return [Output(tokens=[1] * request.max_new_tokens) for request in requests]

    checks = run(SPEECH_GATE, speech_model, ask, cache, make_speech_workload())
    assert all(isinstance(request, SpeechRequest) for request in seen)
    assert {request.max_new_tokens for request in seen} == {train_speech.DIGITS_MAX + 1}
    # Saying nothing at all is wrong about every word.
    assert checks["word_error_rate"].value == 1


@pytest.mark.parametrize(
    ("gate", "precision", "limit"),
    [
        (AGREEMENT.model_copy(update={"int4_kl_divergence_max": 0.15}), "int4", 0.15),
        (AGREEMENT.model_copy(update={"int4_kl_divergence_max": 0.15}), "int8", 0.01),
        (AGREEMENT, "int4", 0.01),
    ],
)
def test_only_an_int4_target_has_the_limit_of_int4(gate, precision, limit, tmp_path):
    workload = Catalog.find().workload("llm-chat")
    (check,) = evaluate(
        gate,
        workload=workload,
        model=build_model(workload.model, workload.task, cache=tmp_path, data=tmp_path),
        ask=lambda requests: [],
        data=tmp_path,
        cache=tmp_path,
        precision=precision,
    )
    assert not check.passed
    assert check.limit == limit
