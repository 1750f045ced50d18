"""A Hugging Face folder is a model of its own: what config.json says is built, or refused."""

import json

import numpy as np
import pytest

from harness.adapters.coverage import refusal
from harness.data_files import digests
from harness.errors import SpecError
from harness.models.build import build_model
from harness.models.inputs import draw_requests
from harness.models.own_folder import declared, resolved
from harness.models.weights import save_weights
from harness.schema.model import HuggingFaceModel, LlamaModel, WhisperModel
from tests.adapters.recorder import LLAMA, draw_tokens
from tests.factories import make_workload
from tests.models.own_texts import tokenizer_file
from tests.models.test_hugging_face import CONFIG

FOLDER = {"family": "hugging_face", "folder": "own"}


@pytest.fixture
def folder(tmp_path):
    from harness.models.llama import draw_weights

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text(json.dumps(CONFIG))
    save_weights(draw_weights(LLAMA), tmp_path / "own" / "model.safetensors")
    return tmp_path


def change(folder, **changes):
    path = folder / "own" / "config.json"
    tree = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in tree.items() if v is not ...}))


def of(folder, task="text_generation", **changes):
    return declared(HuggingFaceModel.model_validate(FOLDER | changes), task, folder)


def test_config_json_says_what_the_model_is(folder):
    model = of(folder)
    wanted = LLAMA.model_copy(update={"seed": 0, "weights": "own/model.safetensors"})
    assert model == wanted
    built = build_model(
        HuggingFaceModel.model_validate(FOLDER), "text_generation",
        cache=folder / "cache", data=folder,
    )  # fmt: skip
    assert built.architecture == wanted
    assert built.weights()["model.norm.weight"].shape == (LLAMA.hidden,)


def test_what_config_json_may_leave_out_is_as_transformers_has_it(folder):
    change(folder, num_key_value_heads=..., tie_word_embeddings=..., rms_norm_eps=...,
           rope_parameters=..., head_dim=...)  # fmt: skip
    model = of(folder)
    assert (model.kv_heads, model.tied_embeddings) == (LLAMA.heads, False)
    assert (model.norm_epsilon, model.rope_theta) == (1e-6, 10_000.0)


def test_null_is_what_config_json_leaves_out(folder):
    change(folder, num_key_value_heads=None, rope_theta=None, rope_scaling=None)
    with pytest.raises(SpecError, match="k_proj"):
        build_model(of(folder), "text_generation", cache=folder, data=folder).weights()
    assert of(folder).kv_heads == LLAMA.heads


def test_positions_are_bounded_unless_more_are_asked_for(folder):
    change(folder, max_position_embeddings=131_072)
    assert of(folder).context == 2048
    assert of(folder, context=4096).context == 4096
    change(folder, max_position_embeddings=48)
    with pytest.raises(SpecError, match="context 64"):
        of(folder, context=64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mistral"}, "describes a 'mistral' model"),
        ({"model_type": "whisper"}, "does not do text_generation"),
        ({"model_type": ...}, "describes a 'None' model"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type 'llama3'"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope_type 'linear'"),
        ({"rope_theta": 5e5}, r"the bases 500000\.0 and 10000\.0 of its rotary positions"),
        ({"attention_bias": True}, "attention_bias"),
        ({"head_dim": 5}, "head_dim 5"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"vocab_size": "many"}, "vocabulary"),
        ({"num_attention_heads": 7}, "multiple of 'heads'"),
        ({"hidden_size": ...}, "hidden"),
        ({"max_position_embeddings": "x"}, "max_position_embeddings"),
    ],
)
def test_another_architecture_is_refused_by_name(folder, changes, said):
    change(folder, **changes)
    with pytest.raises(SpecError, match=said):
        of(folder)


def test_missing_files_are_named_with_what_to_do(folder):
    (folder / "own" / "model.safetensors").rename(folder / "own" / "pytorch_model.bin")
    with pytest.raises(SpecError, match=r"no model\.safetensors") as caught:
        of(folder)
    assert "save the model as safetensors" in caught.value.hint
    (folder / "own" / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(SpecError) as caught:
        of(folder)
    assert caught.value.hint.endswith("weights: model.safetensors.index.json")
    (folder / "own" / "config.json").unlink()
    with pytest.raises(SpecError, match=r"cannot read .*config\.json"):
        of(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "{}"])
def test_what_is_no_configuration_is_refused(folder, text):
    (folder / "own" / "config.json").write_text(text)
    with pytest.raises(SpecError, match=r"config\.json"):
        of(folder)


def workload(**changes):
    tree = {
        "model": FOLDER,
        "inputs": {
            "kind": "prompts_file", "file": "p.txt",
            "output_tokens": {"kind": "fixed", "value": 4},
        },
    }  # fmt: skip
    return make_workload(**(tree | changes))


def test_the_folders_own_tokenizer_is_taken(folder):
    tokenizer_file(folder / "own" / "tokenizer.json", size=LLAMA.vocabulary)
    (folder / "p.txt").write_text("why is it so?\n")
    made = workload()
    (request,) = draw_requests(made, folder)
    assert len(request.prompt) == 1 + len("why is it so?")
    names = {"p.txt", "own/config.json", "own/model.safetensors", "own/tokenizer.json"}
    assert set(digests(made, made.scenarios[0], folder)) == names
    known = resolved(made, folder)
    assert isinstance(known.model, LlamaModel)
    (again,) = draw_requests(known, folder)
    np.testing.assert_array_equal(again.prompt, request.prompt)


def test_the_plan_knows_who_runs_it(folder):
    class Trees:
        families = ("lightgbm",)

    class Llamas:
        families = ("llama",)

    assert "not 'llama'" in refusal(Trees(), "trees", workload(), folder)
    assert refusal(Llamas(), "llamas", workload(), folder) is None


def test_a_prompt_beyond_the_context_is_an_error_with_its_line(folder):
    tokenizer_file(folder / "own" / "tokenizer.json", size=LLAMA.vocabulary)
    (folder / "p.txt").write_text("short\n" + "a" * 44 + "\n")
    with pytest.raises(SpecError, match=r"p\.txt:2:1: 45 tokens of the prompt and 4 of the answer"):
        draw_requests(workload(), folder)


def test_folders_of_transformers_compute_what_transformers_does(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from harness.models.llama import reference_logits as llama_logits
    from harness.models.whisper import reference_logits as whisper_logits

    torch.manual_seed(0)
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=211, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    ))  # fmt: skip
    llama.save_pretrained(tmp_path / "own")
    tokens = draw_tokens(9)
    built = build_model(
        HuggingFaceModel.model_validate(FOLDER), "text_generation",
        cache=tmp_path / "cache", data=tmp_path,
    )  # fmt: skip
    with torch.no_grad():
        truth = llama(torch.tensor(tokens)[None]).logits[0].numpy()
    np.testing.assert_allclose(
        llama_logits(built.weights(), built.architecture, tokens), truth, atol=1e-4
    )
    whisper = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(
        vocab_size=211, num_mel_bins=20, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128,
        decoder_ffn_dim=128, max_source_positions=30, max_target_positions=24,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
    ))  # fmt: skip
    whisper.eval()
    whisper.save_pretrained(tmp_path / "heard")
    named = HuggingFaceModel(family="hugging_face", folder="heard")
    built = build_model(named, "speech_to_text", cache=tmp_path / "cache", data=tmp_path)
    assert isinstance(built.architecture, WhisperModel)
    assert (built.architecture.frames, built.architecture.text_context) == (60, 24)
    assert built.architecture.start_token == 1
    features = np.random.default_rng(0).standard_normal((20, 60), dtype=np.float32)
    with torch.no_grad():
        truth = whisper(
            input_features=torch.tensor(features)[None],
            decoder_input_ids=torch.tensor(tokens)[None],
        ).logits[0].numpy()  # fmt: skip
    found = whisper_logits(built.weights(), built.architecture, features, tokens)
    np.testing.assert_allclose(found, truth, atol=1e-4)
