import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import SpecError
from harness.models.inputs import draw_lengths, draw_requests, inputs_hash
from harness.models.requests import RowRequest, SpeechRequest, TextRequest
from harness.models.transactions import draw_transactions
from harness.schema.lengths import Distribution
from tests.factories import make_fraud_workload, make_workload

WHISPER = {
    "family": "whisper",
    "vocabulary": 64,
    "frames": 200,
    "hidden": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 2,
    "text_context": 12,
}


def make_speech_workload(model=None, **inputs):
    return make_workload(
        "speech",
        task="speech_to_text",
        model=WHISPER | (model or {}),
        inputs={
            "kind": "audio",
            "count": 3,
            "duration_s": 1.5,
            "output_tokens": {"kind": "fixed", "value": 8},
        }
        | inputs,
    )


def rng():
    return np.random.default_rng(0)


def test_fixed_lengths():
    drawn = draw_lengths(Distribution(kind="fixed", value=7), 5, rng())
    assert drawn.tolist() == [7] * 5
    assert drawn.dtype == np.int64


def test_uniform_lengths_reach_both_ends_alike():
    drawn = draw_lengths(Distribution(kind="uniform", minimum=3, maximum=6), 8000, rng())
    counts = np.bincount(drawn)
    assert counts[:3].tolist() == [0, 0, 0]
    assert counts[3:] == pytest.approx([2000] * 4, rel=0.1)


def test_lognormal_lengths_have_the_mean_in_tokens():
    wide = Distribution(kind="lognormal", mean=200, sigma=0.6, minimum=1, maximum=100_000)
    drawn = draw_lengths(wide, 100_000, rng())
    assert drawn.mean() == pytest.approx(200, rel=0.01)
    assert np.log(drawn).std() == pytest.approx(0.6, rel=0.02)
    # The median is exp(mu), below the mean: mu = ln(mean) - sigma^2 / 2.
    assert np.median(drawn) == pytest.approx(200 * np.exp(-0.18), rel=0.01)


def test_lognormal_lengths_are_clipped():
    narrow = Distribution(kind="lognormal", mean=200, sigma=1.0, minimum=150, maximum=220)
    drawn = draw_lengths(narrow, 1000, rng())
    assert (drawn.min(), drawn.max()) == (150, 220)


@settings(max_examples=50, deadline=None)
@given(
    low=st.integers(1, 50),
    more=st.integers(0, 500),
    mean=st.floats(1, 300),
    sigma=st.floats(0.01, 3),
    kind=st.sampled_from(["uniform", "lognormal"]),
)
def test_lengths_stay_within_their_bounds(low, more, mean, sigma, kind):
    shape = {"mean": mean, "sigma": sigma} if kind == "lognormal" else {}
    distribution = Distribution(kind=kind, minimum=low, maximum=low + more, **shape)
    drawn = draw_lengths(distribution, 200, rng())
    assert low <= drawn.min()
    assert drawn.max() <= low + more == distribution.upper


def test_prompts_follow_the_workload():
    requests = draw_requests(make_workload())
    assert len(requests) == 8
    for request in requests:
        assert isinstance(request, TextRequest)
        assert request.prompt.dtype == np.int64
        assert 4 <= len(request.prompt) <= 16
        assert request.prompt.min() >= 0
        assert request.prompt.max() < 64
        assert request.max_new_tokens == 8
    assert len({request.prompt.tobytes() for request in requests}) == 8


def test_prompts_use_the_whole_vocabulary():
    workload = make_workload(
        inputs={
            "kind": "prompts",
            "count": 64,
            "prompt_tokens": {"kind": "fixed", "value": 64},
            "output_tokens": {"kind": "fixed", "value": 1},
        }
    )
    tokens = np.concatenate([request.prompt for request in draw_requests(workload)])
    assert set(tokens) == set(range(64))


@pytest.mark.parametrize("make", [make_workload, make_speech_workload, make_fraud_workload])
def test_requests_depend_on_the_seed_alone(make):
    workload = make()
    first = inputs_hash(draw_requests(workload))
    assert first == inputs_hash(draw_requests(workload))
    seeded = workload.inputs.model_copy(update={"seed": 9})
    other = workload.model_copy(update={"inputs": seeded})
    assert first != inputs_hash(draw_requests(other))


@pytest.mark.parametrize("make", [make_workload, make_speech_workload])
def test_more_requests_begin_with_the_same(make):
    workload = make()
    fewer = workload.inputs.model_copy(update={"count": 2})
    short = draw_requests(workload.model_copy(update={"inputs": fewer}))
    assert len(short) == 2
    assert inputs_hash(short) == inputs_hash(draw_requests(workload)[:2])


def test_clips_follow_the_workload():
    requests = draw_requests(make_speech_workload())
    assert len(requests) == 3
    for request in requests:
        assert isinstance(request, SpeechRequest)
        assert request.features.shape == (80, 200)
        assert request.features.dtype == np.float32
        assert request.prefix.tolist() == [0]
        assert (request.max_new_tokens, request.audio_s) == (8, 1.5)
        # Silence after the clip: the window is longer.
        assert (request.features[:, 155:] == request.features.min()).all()
    assert requests[0].features.tobytes() != requests[1].features.tobytes()


def test_outputs_must_fit_after_the_prefix():
    whole = {"vocabulary": 51_865}
    fits = make_speech_workload(whole, count=1, output_tokens={"kind": "fixed", "value": 9})
    assert len(draw_requests(fits)) == 1
    long = make_speech_workload(whole, count=1, output_tokens={"kind": "fixed", "value": 10})
    with pytest.raises(SpecError, match="13 positions, above the model's 'text_context' of 12"):
        draw_requests(long)


def test_rows_are_the_transactions():
    requests = draw_requests(make_fraud_workload())
    features, _, _ = draw_transactions(64, 0)
    assert all(isinstance(request, RowRequest) for request in requests)
    assert np.array_equal(np.stack([request.features for request in requests]), features)


def test_the_hash_sees_every_part():
    requests = draw_requests(make_workload())
    prompt = requests[0].prompt
    changed = prompt.copy()
    changed[-1] ^= 1
    variants = [
        requests[1:],
        requests[::-1],
        [dataclasses.replace(requests[0], max_new_tokens=9), *requests[1:]],
        [dataclasses.replace(requests[0], prompt=changed), *requests[1:]],
        [dataclasses.replace(requests[0], prompt=prompt.astype(np.int32)), *requests[1:]],
        [dataclasses.replace(requests[0], prompt=prompt[:-1]), *requests[1:]],
    ]
    hashes = {inputs_hash(variant) for variant in (requests, *variants)}
    assert len(hashes) == len(variants) + 1


def test_sampled_prompts_draw_from_seeds_of_their_own():
    greedy = make_workload()
    tree = greedy.inputs.model_dump() | {"sampling": {"temperature": 0.7, "top_p": 0.9}}
    sampled = draw_requests(make_workload(inputs=tree))
    assert all(request.sampling is None for request in draw_requests(greedy))
    assert {(r.sampling.temperature, r.sampling.top_p) for r in sampled} == {(0.7, 0.9)}
    assert len({request.sampling.seed for request in sampled}) == len(sampled)
    prompts = zip(sampled, draw_requests(greedy), strict=True)
    assert all(np.array_equal(a.prompt, b.prompt) for a, b in prompts)
    assert inputs_hash(sampled) != inputs_hash(draw_requests(greedy))
    more = draw_requests(make_workload(inputs=tree | {"count": 9}))
    assert [r.sampling for r in more[:8]] == [r.sampling for r in sampled]
