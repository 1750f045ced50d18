"""The reference against transformers, which shares no code with it; the other forms against it."""

import numpy as np
import onnxruntime
import pytest

from harness.models import llama
from harness.models.llama_onnx import build_onnx
from harness.schema.model import LlamaModel

TOLERANCE = 1e-4
"""Of logits, relative to their standard deviation."""


def make(**changes) -> LlamaModel:
    sizes = {"vocabulary": 97, "hidden": 64, "layers": 2, "heads": 4, "kv_heads": 4}
    tree = {"family": "llama", **sizes, "intermediate": 96, "context": 40, "seed": 3}
    return LlamaModel.model_validate({**tree, **changes})


VARIANTS = {
    "plain": make(),
    "grouped": make(kv_heads=2, tied_embeddings=False),
    "multi-query": make(kv_heads=1, rope_theta=500000.0, norm_epsilon=1e-3),
}


@pytest.fixture(scope="module", params=VARIANTS)
def case(request):
    """An architecture with its weights, tokens and reference logits."""
    architecture = VARIANTS[request.param]
    weights = llama.draw_weights(architecture)
    tokens = np.random.default_rng(1).integers(0, architecture.vocabulary, 24)
    return architecture, weights, tokens, llama.reference_logits(weights, architecture, tokens)


def close(logits, truth) -> bool:
    return logits.shape == truth.shape and np.abs(logits - truth).max() < TOLERANCE * truth.std()


def test_the_reference_agrees_with_transformers(case):
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    a, weights, tokens, truth = case
    config = LlamaConfig(
        vocab_size=a.vocabulary,
        hidden_size=a.hidden,
        num_hidden_layers=a.layers,
        num_attention_heads=a.heads,
        num_key_value_heads=a.kv_heads,
        intermediate_size=a.intermediate,
        max_position_embeddings=a.context,
        rms_norm_eps=a.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": a.rope_theta},
        tie_word_embeddings=a.tied_embeddings,
    )
    other = LlamaForCausalLM(config).eval()
    state = {name: torch.tensor(array) for name, array in weights.items()}
    loaded = other.load_state_dict(state, strict=False)
    assert loaded.unexpected_keys == []
    assert loaded.missing_keys == (["lm_head.weight"] if a.tied_embeddings else [])
    with torch.inference_mode():
        logits = other(torch.tensor(tokens[None])).logits[0].numpy()
    assert close(logits, truth)


def test_no_token_sees_a_later_one(case):
    architecture, weights, tokens, truth = case
    assert close(llama.reference_logits(weights, architecture, tokens[:9]), truth[:9])


def test_the_torch_module_agrees_with_and_without_its_cache(case):
    torch = pytest.importorskip("torch")
    from harness.models.llama_torch import from_weights

    architecture, weights, tokens, truth = case
    module = from_weights(weights, architecture)
    batch = torch.tensor(tokens[None])
    with torch.inference_mode():
        assert close(module(batch)[0].numpy(), truth)
        cache = module.make_cache()
        parts = [module(batch[:, :7], cache), module(batch[:, 7:12], cache)]
        parts += [module(batch[:, i : i + 1], cache, 1) for i in range(12, 24)]
        assert close(torch.cat(parts, dim=1)[0].numpy(), truth)
        cache.length = 0
        assert close(module(batch, cache, 2)[0].numpy(), truth[-2:])


def test_the_torch_module_gives_its_weights_back_also_after_training(case):
    torch = pytest.importorskip("torch")
    from harness.models.llama_torch import from_weights, to_weights

    architecture, weights, tokens, truth = case
    module = from_weights(weights, architecture)
    back = to_weights(module)
    assert list(back) == list(weights)
    assert all(np.array_equal(back[name], weights[name]) for name in weights)
    step = torch.optim.SGD(module.parameters(), lr=0.1)
    batch = torch.tensor(tokens[None])
    torch.nn.functional.cross_entropy(module(batch)[0, :-1], batch[0, 1:]).backward()
    step.step()
    trained = to_weights(module)
    assert all(not np.array_equal(trained[name], weights[name]) for name in weights)
    with torch.inference_mode():
        logits = module(batch)[0].numpy()
    assert not close(logits, truth)
    assert close(llama.reference_logits(trained, architecture, tokens), logits)


def test_the_onnx_graph_agrees_step_by_step_and_in_batches(case, tmp_path):
    architecture, weights, tokens, truth = case
    build_onnx(weights, architecture, tmp_path)
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    past_names = [each.name for each in session.get_inputs() if "past_" in each.name]
    names = ["logits", *(name.replace("past_", "present_") for name in past_names)]

    def run(tokens, first, past, padding=None):
        padding = np.zeros(len(tokens), dtype=np.int64) if padding is None else padding
        feeds = {"input_ids": tokens, "logits_from": np.array([first]), "padding": padding}
        logits, *past = session.run(names, feeds | dict(zip(past_names, past, strict=True)))
        return logits, past

    def empty(batch):
        shape = (batch, architecture.kv_heads, 0, architecture.hidden // architecture.heads)
        return [np.zeros(shape, dtype=np.float32)] * len(past_names)

    logits, past = run(tokens[None, :7], 5, empty(1))
    assert close(logits[0], truth[5:7])
    logits, past = run(tokens[None, 7:12], 0, past)
    assert close(logits[0], truth[7:12])
    logits, past = run(tokens[None, 12:13], 0, past)
    assert close(logits[0], truth[12:13])
    others = np.flip(tokens[:7])
    logits, _ = run(np.stack([tokens[:7], others]), 0, empty(2))
    assert close(logits[0], truth[:7])
    assert close(logits[1], llama.reference_logits(weights, architecture, others))
    padded = np.concatenate([np.full(3, 5), tokens[:4]])  # what stands in the padding is not seen
    logits, past = run(np.stack([padded, others]), 3, empty(2), np.array([3, 0]))
    assert close(logits[0], truth[:4])
    logits, _ = run(np.stack([tokens[4:6], others[:2]]), 0, past, np.array([3, 0]))
    assert close(logits[0], truth[4:6])


def test_drawn_weights_follow_the_seed():
    first, again = (llama.draw_weights(make()) for _ in range(2))
    other = llama.draw_weights(make(seed=4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert all(not np.array_equal(first[name], other[name]) for name in first)
    assert {array.dtype for array in first.values()} == {np.dtype(np.float32)}


def test_drawn_logits_are_neither_flat_nor_one_token_s():
    truth = llama.reference_logits(llama.draw_weights(make()), make(), np.arange(40))
    assert 0.5 < truth.std() < 2.0


def test_tokens_that_do_not_fit_are_refused():
    weights = llama.draw_weights(make())
    for count in (0, 41):
        with pytest.raises(ValueError, match="do not fit in a context of 40"):
            llama.reference_logits(weights, make(), np.zeros(count, dtype=np.int64))
