"""A folder that transformers wrote is a workload's model, if the workload says what it is."""

import json

import numpy as np
import pytest

from harness.data_files import digests
from harness.errors import SpecError
from harness.models.build import build_model
from harness.models.llama import draw_weights, reference_logits
from harness.models.weights import save_weights
from harness.schema.model import LlamaModel
from tests.adapters.recorder import LLAMA, draw_tokens
from tests.factories import make_workload

CONFIG = {
    "model_type": "llama",
    "vocab_size": LLAMA.vocabulary,
    "hidden_size": LLAMA.hidden,
    "num_hidden_layers": LLAMA.layers,
    "num_attention_heads": LLAMA.heads,
    "num_key_value_heads": LLAMA.kv_heads,
    "intermediate_size": LLAMA.intermediate,
    "max_position_embeddings": LLAMA.context,
    "rms_norm_eps": LLAMA.norm_epsilon,
    "tie_word_embeddings": LLAMA.tied_embeddings,
    "rope_parameters": {"rope_type": "default", "rope_theta": LLAMA.rope_theta},
    "hidden_act": "silu",
    "head_dim": LLAMA.hidden // LLAMA.heads,
}
INDEX = "own/model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.json").write_text(json.dumps(CONFIG))
    arrays = draw_weights(LLAMA)
    save_weights(arrays, own / "model.safetensors")
    names, parts = sorted(arrays), {}
    for number, some in enumerate((names[::2], names[1::2])):
        shard = f"model-{number}.safetensors"
        save_weights({name: arrays[name] for name in some}, own / shard)
        parts |= dict.fromkeys(some, shard)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": parts}))
    return tmp_path


def build(folder, name="own/model.safetensors", **changes):
    model = LlamaModel.model_validate(LLAMA.model_dump() | {"weights": name} | changes)
    return build_model(model, "text_generation", cache=folder / "cache", data=folder)


@pytest.mark.parametrize("name", ["own/model.safetensors", INDEX])
def test_one_file_and_shards_are_the_same_model(folder, name):
    tokens = draw_tokens(9)
    truth = reference_logits(draw_weights(LLAMA), LLAMA, tokens)
    np.testing.assert_array_equal(
        reference_logits(build(folder, name).weights(), LLAMA, tokens), truth
    )


def test_a_changed_shard_is_another_model_and_another_cell(folder):
    workload = make_workload(model=LLAMA.model_dump() | {"weights": INDEX}, inputs={
        "kind": "prompts", "count": 2,
        "prompt_tokens": {"kind": "fixed", "value": 4},
        "output_tokens": {"kind": "fixed", "value": 4},
    })  # fmt: skip
    before = build(folder, INDEX).folder, digests(workload, workload.scenarios[0], folder)
    assert set(before[1]) == {INDEX, "own/model-0.safetensors", "own/model-1.safetensors"}
    shard = folder / "own/model-1.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4] + b"\0\0\0\x01")
    after = build(folder, INDEX).folder, digests(workload, workload.scenarios[0], folder)
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_attention_heads": 2, "head_dim": 32, "num_key_value_heads": 2}, "heads: 2"),
        ({"rope_parameters": {"rope_theta": 500000.0}}, "rope_theta: 500000.0"),
        ({"rms_norm_eps": 1e-6}, "norm_epsilon: 1e-06"),
        ({"max_position_embeddings": 16}, "context: 16"),
        ({"rope_scaling": {"type": "linear"}, "rope_parameters": None}, "rope_type 'linear'"),
        ({"head_dim": 128}, "head_dim 128"),
        ({"attention_bias": True}, "attention_bias True"),
        ({"model_type": "mistral"}, "describes a 'mistral' model"),
    ],
)
def test_a_configuration_that_shapes_do_not_tell_is_checked(folder, config, said):
    (folder / "own/config.json").write_text(json.dumps(CONFIG | config))
    with pytest.raises(SpecError) as caught:
        build(folder).weights()
    assert said in f"{caught.value} {caught.value.hint}"


def test_a_tied_output_matrix_may_be_stored_twice_but_not_differ(folder):
    arrays = draw_weights(LLAMA)
    path = folder / "own/model.safetensors"
    twin = arrays["model.embed_tokens.weight"]
    save_weights(arrays | {"lm_head.weight": twin}, path)
    assert "lm_head.weight" not in build(folder).weights()
    save_weights(arrays | {"lm_head.weight": twin + np.float32(1)}, path)
    with pytest.raises(SpecError, match="unknown"):
        build(folder).weights()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", ""])
def test_a_list_of_shards_may_not_lead_elsewhere(folder, name):
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(SpecError, match="not a file beside it"):
        build(folder, INDEX)
