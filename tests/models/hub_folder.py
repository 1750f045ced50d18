"""A tiny Llama as `save_pretrained` writes it, to be put on a hub; whole or in shards."""

import json
from pathlib import Path

from harness.models.llama import draw_weights
from harness.models.weights import save_weights
from tests.adapters.recorder import LLAMA
from tests.models.own_texts import tokenizer_file
from tests.models.test_hugging_face import CONFIG

INDEX = "model.safetensors.index.json"


def llama_folder(path: Path, *, seed: int = 0) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    save_weights(draw_weights(LLAMA.model_copy(update={"seed": seed})), path / "model.safetensors")
    tokenizer_file(path / "tokenizer.json", size=LLAMA.vocabulary)
    return path


def in_shards(folder: Path) -> Path:
    """Cut the weights in `folder` into two files and an index."""
    weights = sorted(draw_weights(LLAMA).items())
    listed = {}
    for number, part in enumerate((weights[::2], weights[1::2]), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_weights(dict(part), folder / name)
        listed |= dict.fromkeys(dict(part), name)
    (folder / INDEX).write_text(json.dumps({"weight_map": listed}))
    (folder / "model.safetensors").unlink()
    return folder
