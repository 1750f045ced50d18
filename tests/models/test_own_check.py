"""What is wrong with a user's own files is said by `harness validate`, before anything is run."""

import json

import numpy as np
import pytest

from harness.models.own_check import faults
from harness.models.weights import save_weights
from harness.schema.workload import Workload
from tests.adapters.recorder import LLAMA
from tests.factories import make_workload
from tests.models.own import NAMES, draw_rows, lightgbm_file, write_csv, xgboost_file
from tests.models.own_texts import tokenizer_file
from tests.models.test_hugging_face import CONFIG


def said(workload: Workload, folder) -> list[tuple[str, str]]:
    found = faults(workload, folder, folder / "cache")
    return [(".".join(map(str, place)), str(error)) for place, error in found]


@pytest.fixture
def trees(tmp_path):
    """Return a folder with a model, rows and labelled rows, and the workload that names them."""
    lightgbm_file(tmp_path / "model.txt")
    features, labels = draw_rows(200)
    write_csv(tmp_path / "rows.csv", features)
    write_csv(tmp_path / "labelled.csv", features, labels)
    workload = make_workload(
        task="tabular_classification",
        model={"family": "lightgbm", "file": "model.txt"},
        inputs={"kind": "rows", "file": "rows.csv"},
        quality=[{"kind": "labelled_rows", "file": "labelled.csv", "label": "fraud"}],
    )
    assert said(workload, tmp_path) == []
    return tmp_path, workload


@pytest.fixture
def llama(tmp_path):
    """Return a folder with a Hugging Face model in it, and the workload that names both."""
    from harness.models.llama import draw_weights

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text(json.dumps(CONFIG))
    save_weights(draw_weights(LLAMA), tmp_path / "own" / "model.safetensors")
    tokenizer_file(tmp_path / "own" / "tokenizer.json", size=LLAMA.vocabulary)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n')
    workload = make_workload(
        task="text_generation",
        model={"family": "hugging_face", "folder": "own"},
        inputs={
            "kind": "prompts_file",
            "file": "prompts.jsonl",
            "count": 1,
            "tokenizer": "own/tokenizer.json",
            "output_tokens": {"kind": "fixed", "value": 2},
        },
    )
    assert said(workload, tmp_path) == []
    return tmp_path, workload


def test_a_tree_file_cut_short_is_said(trees):
    folder, workload = trees
    path = folder / "model.txt"
    path.write_text(path.read_text()[:2000])
    ((place, text),) = said(workload, folder)
    assert (place, "cut short" in text) == ("model.file", True)


def test_rows_without_a_column_of_the_model_are_said_once(trees):
    folder, workload = trees
    path = folder / "rows.csv"
    path.write_text(path.read_text().replace(NAMES[4], "gadget", 1))
    ((place, text),) = said(workload, folder)
    assert place == "inputs.file"
    assert "feature 5" in text


def test_labels_that_are_no_labels_are_said(trees):
    folder, workload = trees
    path = folder / "labelled.csv"
    path.write_text(path.read_text().replace("fraud", "frod", 1))
    ((place, text),) = said(workload, folder)
    assert (place, "no column 'fraud'" in text) == ("quality.0.file", True)


def test_a_number_of_features_that_no_row_has_is_said(trees):
    folder, workload = trees
    document = json.loads(xgboost_file(folder / "model.json").read_text())
    document["learner"]["learner_model_param"]["num_feature"] = "99999999999999"
    (folder / "model.json").write_text(json.dumps(document))
    model = {"family": "xgboost", "file": "model.json"}
    workload = Workload.model_validate(workload.model_dump(mode="json") | {"model": model})
    ((_, text),) = said(workload, folder)
    assert "99999999999999 features" in text


def test_weights_cut_short_are_said(llama):
    folder, workload = llama
    path = folder / "own" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    ((place, text),) = said(workload, folder)
    assert (place, "cut short" in text) == ("model.folder", True)


def test_weights_of_another_shape_are_said(llama):
    folder, workload = llama
    arrays = {"model.norm.weight": np.ones(LLAMA.hidden, dtype=np.float32)}
    save_weights(arrays, folder / "own" / "model.safetensors")
    ((_, text),) = said(workload, folder)
    assert "missing" in text
    (folder / "own" / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 10**9}))
    ((_, text),) = said(workload, folder)
    assert "1000000000 layers" in text


def test_a_pointer_of_git_lfs_is_named(llama):
    folder, workload = llama
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (folder / "own" / "model.safetensors").write_text(text)
    ((_, error),) = faults(workload, folder, folder / "cache")
    assert "git lfs pull" in (error.hint or "")


def test_rotary_positions_that_are_no_object_are_said(llama):
    folder, workload = llama
    (folder / "own" / "config.json").write_text(json.dumps(CONFIG | {"rope_parameters": [1]}))
    ((_, text),) = said(workload, folder)
    assert "rotary positions" in text


def test_half_a_character_in_a_prompt_is_said(llama):
    folder, workload = llama
    (folder / "prompts.jsonl").write_text('{"prompt": "\\ud83d"}\n')
    ((place, text),) = said(workload, folder)
    assert (place, "half of a character" in text) == ("inputs.file", True)


def test_what_two_places_name_is_said_once(tmp_path):
    (tmp_path / "calls.csv").write_text("path,transcript\na.wav,yes\n")
    workload = make_workload(
        task="speech_to_text",
        model={"family": "served"},
        inputs={
            "kind": "audio_files",
            "list": "calls.csv",
            "output_tokens": {"kind": "fixed", "value": 4},
        },
        quality=[{"kind": "transcripts", "list": "calls.csv", "word_error_rate_max": 0.1}],
    )
    assert [place for place, _ in said(workload, tmp_path)] == ["inputs.list"]
