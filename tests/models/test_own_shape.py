"""A record tells the shape of a model that is in a user's own files, and of no other."""

import json

from harness.models.build import build_model
from harness.models.own_shape import told_of_model
from harness.models.weights import save_weights
from harness.schema.model import GgufModel, HuggingFaceModel
from tests.adapters.recorder import LLAMA
from tests.models.own_texts import gguf_bytes
from tests.models.test_hugging_face import CONFIG


def built(model, folder):
    return build_model(model, "text_generation", cache=folder / "cache", data=folder)


def test_a_folder_tells_what_its_config_json_says(tmp_path):
    from harness.models.llama import draw_weights

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text(json.dumps(CONFIG))
    save_weights(draw_weights(LLAMA), tmp_path / "own" / "model.safetensors")
    model = HuggingFaceModel(family="hugging_face", folder="own")
    told = told_of_model(model, built(model, tmp_path))

    assert told == {"model_shape": LLAMA.model_dump(mode="json", exclude={"seed", "weights"})}


def test_a_gguf_file_tells_its_shape_and_its_size(tmp_path):
    content = gguf_bytes()
    (tmp_path / "own.gguf").write_bytes(content)
    model = GgufModel(family="gguf", file="own.gguf", context=64)
    told = told_of_model(model, built(model, tmp_path))

    assert told["weight_bytes"] == len(content)
    assert (told["model_shape"]["family"], told["model_shape"]["context"]) == ("llama", 64)


def test_a_model_that_the_workload_describes_is_not_told_again(tmp_path):
    assert told_of_model(LLAMA, built(LLAMA, tmp_path)) == {}
