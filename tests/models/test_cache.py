import multiprocessing
import os
import signal
import time
from pathlib import Path

import onnx
import pytest

from harness.models import build
from harness.models.build import build_model
from harness.models.cache import artefacts, remove
from harness.schema.model import LlamaModel

LLAMA = LlamaModel(
    family="llama",
    vocabulary=64,
    hidden=32,
    layers=1,
    heads=2,
    kv_heads=1,
    intermediate=48,
    context=16,
)
SPAWN = multiprocessing.get_context("spawn")


def of(cache: Path):
    return build_model(LLAMA, "text_generation", cache=cache, data=cache)


def _hang_halfway(cache: Path, halfway) -> None:
    def build_onnx(weights, architecture, folder):
        (folder / "model.onnx").write_bytes(b"half")
        halfway.set()
        time.sleep(60)

    build.llama_onnx.build_onnx = build_onnx
    of(cache).onnx("standard")


def _wait_and_build(cache: Path, waiting) -> None:
    model = of(cache)
    model.weights()
    waiting.set()
    model.onnx("standard")


@pytest.fixture
def hung(tmp_path):
    """A real process that has written half of a file and writes no more."""
    of(tmp_path).weights()
    halfway = SPAWN.Event()
    builder = SPAWN.Process(target=_hang_halfway, args=(tmp_path, halfway))
    builder.start()
    assert halfway.wait(30)
    yield builder
    builder.kill()
    builder.join(30)


def test_a_build_that_is_killed_in_mid_write_is_taken_over_by_who_waits(tmp_path, hung):
    waiting = SPAWN.Event()
    second = SPAWN.Process(target=_wait_and_build, args=(tmp_path, waiting))
    second.start()
    assert waiting.wait(30)
    folder = of(tmp_path).folder / "onnx"
    assert not folder.exists(), "half a folder is never seen"
    os.kill(hung.pid, signal.SIGKILL)
    second.join(60)
    assert second.exitcode == 0
    onnx.checker.check_model(str(folder / "model.onnx"))
    kinds = {each.path.name: each.kind for each in artefacts(tmp_path)}
    assert kinds == {"drawn": "model", "onnx": "model"}, "the half was swept away"


def test_what_is_being_built_is_not_removed(tmp_path, hung):
    (half,) = (each for each in artefacts(tmp_path) if each.kind == "left over")
    assert not remove(half)
    assert half.path.exists()
    os.kill(hung.pid, signal.SIGKILL)
    hung.join(30)
    assert remove(half)
    assert not half.path.exists()


def test_an_artefact_can_be_removed_and_made_again(tmp_path):
    model = of(tmp_path)
    folder = model.onnx("standard")
    weights = model.weights()
    found = artefacts(tmp_path)
    assert [each.path.name for each in found] == ["drawn", "onnx"]
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert (found[1].size_bytes, found[1].folder) == (size, model.folder.name)
    assert all(remove(each) for each in found)
    assert artefacts(tmp_path) == []
    assert not any(path.is_dir() for path in model.folder.iterdir())
    # Weights that are mapped stay readable.
    assert weights["model.norm.weight"].shape == (32,)
    assert of(tmp_path).onnx("standard") == folder
    assert all(remove(each) for each in found), "one that is there again is removed again"
    assert all(remove(each) for each in found), "one that is gone is no error"


def test_what_the_harness_did_not_make_is_not_seen(tmp_path):
    for name in ("photos", "llama-mine", "reference-1.npz", "ceilings"):
        (tmp_path / name).mkdir()
    (tmp_path / "ceilings" / "notes.txt").write_text("mine")
    (tmp_path / "llama-mine" / "onnx").mkdir()
    assert artefacts(tmp_path) == []
    assert artefacts(tmp_path / "nowhere") == []
