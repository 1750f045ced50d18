"""The reference against transformers, which shares no code with it; the other forms against it."""

import numpy as np
import onnxruntime
import pytest

from harness.errors import SpecError
from harness.models import whisper
from harness.models.whisper_onnx import build_onnx
from harness.schema.model import WhisperModel

TOLERANCE = 1e-4
"""Of logits, relative to their standard deviation."""


def make(**changes) -> WhisperModel:
    sizes = {"mel_bands": 20, "frames": 60, "vocabulary": 97, "hidden": 48, "heads": 4}
    layers = {"encoder_layers": 2, "decoder_layers": 3, "text_context": 32}
    return WhisperModel.model_validate({"family": "whisper", **sizes, **layers, **changes})


ARCHITECTURE = make(seed=3)


@pytest.fixture(scope="module")
def weights():
    return whisper.draw_weights(ARCHITECTURE)


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(1).standard_normal((20, 60), dtype=np.float32)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(2).integers(0, ARCHITECTURE.vocabulary, 20)


@pytest.fixture(scope="module")
def truth(weights, features, tokens):
    return whisper.reference_logits(weights, ARCHITECTURE, features, tokens)


def close(logits, truth) -> bool:
    return logits.shape == truth.shape and np.abs(logits - truth).max() < TOLERANCE * truth.std()


def test_the_reference_agrees_with_transformers(weights, features, tokens, truth):
    torch = pytest.importorskip("torch")
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    a = ARCHITECTURE
    config = WhisperConfig(
        vocab_size=a.vocabulary,
        num_mel_bins=a.mel_bands,
        d_model=a.hidden,
        encoder_layers=a.encoder_layers,
        decoder_layers=a.decoder_layers,
        encoder_attention_heads=a.heads,
        decoder_attention_heads=a.heads,
        encoder_ffn_dim=4 * a.hidden,
        decoder_ffn_dim=4 * a.hidden,
        max_source_positions=a.frames // 2,
        max_target_positions=a.text_context,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    other = WhisperForConditionalGeneration(config).eval()
    positions = other.model.encoder.embed_positions.weight.detach().numpy()
    np.testing.assert_allclose(
        weights["model.encoder.embed_positions.weight"], positions, atol=1e-5
    )
    state = {name: torch.tensor(array) for name, array in weights.items()}
    loaded = other.load_state_dict(state, strict=False)
    assert loaded.unexpected_keys == []
    assert loaded.missing_keys == ["proj_out.weight"]
    with torch.inference_mode():
        inputs = torch.tensor(features[None]), torch.tensor(tokens[None])
        logits = other(inputs[0], decoder_input_ids=inputs[1]).logits[0].numpy()
    assert close(logits, truth)


def test_no_token_sees_a_later_one_and_all_hear_the_audio(weights, features, tokens, truth):
    part = whisper.reference_logits(weights, ARCHITECTURE, features, tokens[:9])
    assert close(part, truth[:9])
    louder = whisper.reference_logits(weights, ARCHITECTURE, features * 2, tokens)
    assert np.abs(louder - truth).max(axis=1).min() > 100 * TOLERANCE


def test_the_torch_module_agrees_with_and_without_its_caches(weights, features, tokens, truth):
    torch = pytest.importorskip("torch")
    from harness.models.whisper_torch import from_weights, to_weights

    module = from_weights(weights, ARCHITECTURE)
    audio, batch = torch.tensor(features[None]), torch.tensor(tokens[None])
    with torch.inference_mode():
        assert close(module(audio, batch)[0].numpy(), truth)
        cache = module.begin(audio)
        parts = [module.extend(batch[:, :7], cache), module.extend(batch[:, 7:12], cache)]
        parts += [module.extend(batch[:, i : i + 1], cache, 1) for i in range(12, 20)]
        assert close(torch.cat(parts, dim=1)[0].numpy(), truth)
        assert close(module.extend(batch, module.begin(audio), 2)[0].numpy(), truth[-2:])
    back = to_weights(module)
    assert list(back) == list(weights)
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


def test_a_new_torch_module_has_the_sinusoids_and_does_not_train_them():
    pytest.importorskip("torch")
    from harness.models.whisper_torch import Whisper

    positions = Whisper(ARCHITECTURE).encoder.embed_positions.weight
    assert np.array_equal(positions.numpy(), whisper.sinusoids(30, 48))
    assert not positions.requires_grad


def test_the_onnx_graphs_agree_step_by_step(weights, features, tokens, truth, tmp_path):
    build_onnx(weights, ARCHITECTURE, tmp_path)
    encoder, decoder = (
        onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
        for name in ("encoder.onnx", "decoder.onnx")
    )
    cross_names = [each.name for each in encoder.get_outputs()]
    cross = dict(
        zip(cross_names, encoder.run(cross_names, {"features": features[None]}), strict=True)
    )
    past_names = [each.name for each in decoder.get_inputs() if "past_" in each.name]
    names = ["logits", *(name.replace("past_", "present_") for name in past_names)]

    past = [np.zeros((1, 4, 0, 12), dtype=np.float32)] * len(past_names)
    for start, end, first in ((0, 7, 5), (7, 12, 0), (12, 13, 0), (13, 14, 0)):
        feeds = {"input_ids": tokens[None, start:end], "logits_from": np.array([first])}
        feeds |= cross | dict(zip(past_names, past, strict=True))
        logits, *past = decoder.run(names, feeds)
        assert close(logits[0], truth[start + first : end])


def test_drawn_weights_follow_the_seed():
    first, again = (whisper.draw_weights(make(seed=1)) for _ in range(2))
    other = whisper.draw_weights(make(seed=2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    same = {name for name in first if np.array_equal(first[name], other[name])}
    assert same == {"model.encoder.embed_positions.weight"}


def test_what_does_not_fit_is_refused(weights, features, tokens):
    with pytest.raises(ValueError, match="features are"):
        whisper.reference_logits(weights, ARCHITECTURE, features[:, :-2], tokens)
    with pytest.raises(ValueError, match="do not fit in a context of 32"):
        whisper.reference_logits(weights, ARCHITECTURE, features, np.zeros(33, dtype=np.int64))
    with pytest.raises(SpecError, match="even 'hidden'"):
        whisper.parameter_shapes(make(hidden=33, heads=3))


@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({}, [0]),
        ({"start_token": 5}, [5]),
        # English alone: tiny.en to medium.en.
        ({"vocabulary": 51_864}, [50_257, 50_362]),
        ({"vocabulary": 51_865}, [50_258, 50_259, 50_359, 50_363]),
        # large-v3 and turbo: with Cantonese all tasks are one further on.
        ({"vocabulary": 51_866, "mel_bands": 128}, [50_258, 50_259, 50_360, 50_364]),
        # Tokens of one's own come after Whisper's.
        ({"vocabulary": 51_900}, [50_258, 50_259, 50_359, 50_363]),
        ({"vocabulary": 51_900, "mel_bands": 128}, [50_258, 50_259, 50_360, 50_364]),
    ],
)
def test_decoding_starts_with_the_tokens_of_the_vocabulary(changes, prefix):
    assert whisper.speech_prefix(make(**changes)).tolist() == prefix


def test_a_start_token_outside_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="no token of the 'vocabulary'"):
        make(start_token=97)
