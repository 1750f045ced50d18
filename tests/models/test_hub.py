"""A model on the hub is pinned to a commit, fetched once and whole, and then a folder."""

import json
import multiprocessing
import re
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from harness.errors import PrerequisiteError, SpecError, StoreError
from harness.models import hub as hub_module
from harness.models.build import build_model
from harness.models.cache import artefacts, remove
from harness.models.hub import (
    fetch,
    missing,
    on_hub,
    pinned,
    placed,
    placed_if_there,
    told_of_hub,
)
from harness.models.own_folder import resolved
from harness.plan import make_cell, make_plan
from harness.schema import content_hash
from harness.schema.model import HuggingFaceModel
from harness.schema.record import Failure
from tests.factories import make_target, make_workload
from tests.models.hub_folder import INDEX, in_shards, llama_folder
from tests.models.hub_server import NAME, RunningHub

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with RunningHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        running.add(llama_folder(tmp_path / "own"))
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def on(**model):
    return make_workload(model={"family": "hugging_face", "hub": NAME, **model})


def bring(workload, cache, tell=lambda _: None):
    there = pinned(workload, cache)
    fetch(there.model, there.task, cache, tell)
    return there


def test_a_branch_is_looked_up_once_and_stands_for_that_commit(hub, cache, tmp_path):
    first = hub.refs["main"]
    assert pinned(on(), cache).model.revision == first
    second = hub.add(llama_folder(tmp_path / "new", seed=1))
    asked = len(hub.asked)
    assert pinned(on(), cache).model.revision == first
    assert len(hub.asked) == asked
    assert pinned(on(), cache, again=True).model.revision == second
    assert pinned(on(), cache).model.revision == second


def test_a_commit_needs_no_hub_and_a_folder_neither(cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    workload = on(revision="a" * 40)
    assert pinned(workload, cache) is workload
    local = make_workload(model={"family": "hugging_face", "folder": "own"})
    assert pinned(local, cache) is local
    assert placed(local, cache) is local


def test_other_weights_are_another_cell(hub, cache, tmp_path):
    def cell():
        workload = pinned(on(), cache, again=True)
        scenario = workload.scenarios[0]
        return make_cell(workload, make_target(), scenario, profile="quick", seed=0)

    first, again = cell(), cell()
    assert first == again
    hub.add(llama_folder(tmp_path / "new", seed=1))
    moved = cell()
    assert moved.id != first.id
    assert moved.workload_hash != first.workload_hash
    # What is named by its commit, and what stands for it, is the same.
    fixed = on(revision=hub.refs["main"])
    assert content_hash(fixed) == moved.workload_hash


def test_what_may_move_is_no_cell(hub):
    workload = on(revision="v1.0")
    with pytest.raises(SpecError, match=r"small/llama at v1\.0 on the hub may move") as caught:
        make_cell(workload, make_target(), workload.scenarios[0], profile="quick", seed=0)
    assert "40 hex digits" in caught.value.hint


def test_what_may_move_is_a_cell_where_it_fails_beforehand(hub, tmp_path):
    failures = {"chat": Failure(kind="prerequisite", message="no network")}
    machine = [(on(), tmp_path)], [make_target()], {}
    plan = make_plan(*machine, failures=failures)
    assert {(each.failure, each.estimate_s) for each in plan} == {(failures["chat"], 0.0)}
    with pytest.raises(SpecError, match="may move"):
        make_plan(*machine, failures={"other": failures["chat"]})


def test_only_what_is_read_is_fetched(hub, cache, tmp_path):
    more = {"pytorch_model.bin": b"\x80\x04.", "modeling.py": b"boom()", "README.md": b"#"}
    hub.add(tmp_path / "own", **more, **{"model.fp16.safetensors": b"x"})
    told = []
    workload = bring(on(), cache, lambda file: told.append(file.name))
    wanted = ["config.json", "model.safetensors", "tokenizer.json"]
    assert hub.fetched() == wanted == sorted(told)
    folder = Path(placed(workload, cache).model.folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*wanted, "fetched.json"])
    for name in wanted:
        assert (folder / name).read_bytes() == (tmp_path / "own" / name).read_bytes()


def test_it_is_fetched_once_and_then_needs_no_hub(hub, cache):
    workload = pinned(on(), cache)
    lacks = missing(workload.model, cache)
    stored = hub.commits[workload.model.revision].files
    assert lacks.size_bytes == sum(map(len, stored.values()))
    bring(on(), cache)
    hub.refuse = 503, ""
    bring(on(), cache)
    assert missing(workload.model, cache) is None
    assert placed(on(), cache) == placed(workload, cache)


def test_shards_are_fetched_as_the_index_lists_them(hub, cache, tmp_path):
    folder = in_shards(llama_folder(tmp_path / "cut"))
    hub.add(folder, **{"model-00009-of-00009.safetensors": b"stale"})
    with pytest.raises(SpecError, match=r"no model\.safetensors") as caught:
        bring(on(), cache)
    assert caught.value.hint == f"write under 'model': weights: {INDEX}"
    workload = bring(on(weights=INDEX), cache)
    assert "model-00009-of-00009.safetensors" not in hub.fetched()
    there = resolved(placed(workload, cache), tmp_path)
    built = build_model(there.model, there.task, cache=cache, data=tmp_path)
    assert "model.norm.weight" in built.weights()


@pytest.mark.parametrize(
    "listed", ["../own/model.safetensors", "pytorch_model.bin", "gone.safetensors"]
)
def test_an_index_that_lists_something_else_is_refused(hub, cache, tmp_path, listed):
    index = json.dumps({"weight_map": {"a": listed}}).encode()
    hub.add(tmp_path / "own", **{INDEX: index, "pytorch_model.bin": b"\x80\x04."})
    with pytest.raises(SpecError, match=r"index\.json.* lists '"):
        bring(on(weights=INDEX), cache)
    assert [each.folder for each in artefacts(cache) if each.path.name != "at-main"] == []


def test_a_repository_without_safetensors_is_refused_before_anything_is_fetched(
    hub, cache, tmp_path
):
    (tmp_path / "own" / "model.safetensors").rename(tmp_path / "own" / "pytorch_model.bin")
    hub.add(tmp_path / "own")
    with pytest.raises(SpecError, match=r"no model\.safetensors in small/llama at .* on the hub"):
        bring(on(), cache)
    assert hub.fetched() == []


def test_another_architecture_is_refused_before_its_weights_are_fetched(hub, cache, tmp_path):
    path = tmp_path / "own" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "mistral"}))
    hub.add(tmp_path / "own")
    with pytest.raises(SpecError, match="describes a 'mistral' model"):
        bring(on(), cache)
    assert hub.fetched() == ["config.json"]


def test_a_wrong_hash_leaves_nothing_in_the_cache(hub, cache):
    hub.altered.add("model.safetensors")
    with pytest.raises(StoreError, match="not what the hub announced"):
        bring(on(), cache)
    with pytest.raises(PrerequisiteError, match="not in the cache") as caught:
        placed(on(), cache)
    assert "harness models build" in caught.value.hint
    hub.altered.clear()
    bring(on(), cache)
    assert on_hub(placed(on(), cache)) is None


def test_too_little_disk_is_told_before_anything_is_fetched(hub, cache, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(StoreError, match="has 1 left") as caught:
        bring(on(), cache)
    assert "HARNESS_CACHE" in caught.value.hint
    assert hub.fetched() == []


def test_a_disk_that_fills_up_is_told_with_the_folder(hub, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub_module, "download", full)
    with pytest.raises(StoreError, match=r"cannot write .*hub-.*: No space left") as caught:
        bring(on(), cache)
    assert "HARNESS_CACHE" in caught.value.hint


def test_a_cached_file_that_was_changed_is_not_measured(hub, cache):
    workload = bring(on(), cache)
    path = Path(placed(workload, cache).model.folder) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(StoreError, match=r"model\.safetensors is no more the file") as caught:
        bring(on(), cache)
    shutil.rmtree(path.parent)
    assert str(path.parent) in caught.value.hint
    bring(on(), cache)


def test_a_record_tells_the_commit_and_the_hashes(hub, cache, tmp_path):
    workload = bring(on(), cache)
    told = told_of_hub(workload.model, placed(workload, cache))["model_source"]
    assert (told["hub"], told["revision"]) == (NAME, hub.refs["main"])
    assert set(told["files"]) == {"config.json", "model.safetensors", "tokenizer.json"}
    own = tmp_path / "own" / "model.safetensors"
    assert told["files"]["model.safetensors"] == hub_module.sha256_of(own)
    local = make_workload(model={"family": "hugging_face", "folder": "own"})
    assert told_of_hub(local.model, local) == {}


def test_the_plan_says_what_a_runtime_refuses_once_the_model_is_here(hub, cache, tmp_path):
    target = make_target(runtime={"adapter": "lightgbm"})

    def refused():
        plan = make_plan([(pinned(on(), cache), tmp_path)], [target], {}, cache=cache)
        return plan[0].unsupported

    assert refused() is None
    bring(on(), cache)
    assert "not 'llama'" in refused()


def test_it_is_listed_and_cleared_as_other_artefacts(hub, cache):
    workload = bring(on(), cache)
    found = artefacts(cache)
    assert {each.path.name for each in found} == {workload.model.revision, "at-main"}
    assert all(remove(each) for each in found)
    assert placed_if_there(on(), cache) == on()


def fetch_here(cache, name):
    from harness.models.hub import fetch, pinned

    workload = pinned(on(), Path(cache))
    fetch(workload.model, workload.task, Path(cache), lambda file: None)


def test_two_processes_at_once_fetch_it_once(hub, cache):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fetch_here, args=(cache, n)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert hub.fetched() == ["config.json", "model.safetensors", "tokenizer.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.models.hub import fetch, pinned
from tests.models.test_hub import on

def tell(file):
    if file.name == "tokenizer.json":  # config.json and the weights are there by now
        os.kill(os.getpid(), signal.SIGKILL)

cache = Path(sys.argv[1])
workload = pinned(on(), cache)
fetch(workload.model, workload.task, cache, tell)
"""


def test_a_kill_in_the_middle_leaves_no_half_model(hub, cache):
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(cache)], cwd=Path(__file__).parents[2], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert "model.safetensors" in hub.fetched()
    assert placed_if_there(pinned(on(), cache), cache).model.hub == NAME
    assert [each.kind for each in artefacts(cache)].count("left over") == 1
    workload = bring(on(), cache)
    assert Path(placed(workload, cache).model.folder).is_dir()
    assert "left over" not in [each.kind for each in artefacts(cache)]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "needs 'folder', or 'hub'"),
        ({"hub": NAME, "folder": "own"}, "needs 'folder', or 'hub'"),
        ({"folder": "own", "revision": "main"}, "'revision' is of a model on the hub"),
        ({"hub": NAME, "weights": "pytorch_model.bin"}, "no other is fetched"),
        ({"hub": NAME, "weights": "../model.safetensors"}, "no other is fetched"),
        ({"hub": "../x"}, "pattern"),
        ({"hub": "a/b/c"}, "pattern"),
        ({"hub": NAME, "revision": "../../x?y"}, "pattern"),
    ],
)
def test_a_model_is_in_one_place_and_named_plainly(model, said):
    with pytest.raises(ValidationError, match=said):
        HuggingFaceModel.model_validate({"family": "hugging_face", **model})


def test_the_pages_example_is_fine():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (block,) = [b for b in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if " hub: " in b]
    model = HuggingFaceModel.model_validate(yaml.safe_load(block)["model"])
    assert model.source == "HuggingFaceTB/SmolLM2-135M at main"


def test_workloads_with_a_folder_keep_their_identity():
    tree = HuggingFaceModel(family="hugging_face", folder="own").model_dump(mode="json")
    assert set(tree) == {"family", "folder", "weights", "context"}
