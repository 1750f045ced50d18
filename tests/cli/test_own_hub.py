"""A workload names a model on the hub: planned, fetched, measured and listed, end to end."""

import json
import shutil

import pytest

from harness.store import Store
from tests.cli.test_own_answers import harness, write
from tests.cli.test_own_language import only, place
from tests.factories import make_target
from tests.models.hub_server import NAME, RunningHub

__all__ = ["place"]

pytest.importorskip("huggingface_hub")
TOKEN = "hf_verysecrettoken"


@pytest.fixture
def hub(place, monkeypatch):
    """The page's folder as a gated repository, and two workloads: from there, and local."""
    path = only(place, "own-llama")
    text = path.read_text()
    local = text.replace("name: own-llama", "name: local-llama")
    path.with_name("local-llama.yaml").write_text(local)
    path.write_text(text.replace("  folder: my-llama\n", f"  hub: {NAME}\n"))
    runtime = {"adapter": "onnxruntime", "options": {"threads": 1}}
    write(place / "catalog" / "targets", make_target("cpu", runtime=runtime))
    with RunningHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        running.token = TOKEN
        running.add(path.parent / "my-llama", **{"pytorch_model.bin": b"\x80\x04."})
        yield running


def run(place, *workloads):
    named = [part for workload in workloads for part in ("-w", workload)]
    options = ["-t", "cpu", "-s", "single_stream", "--results", "results"]
    return harness(place, "run", *named, *options)


@pytest.mark.slow
def test_a_model_from_the_hub_is_the_same_as_its_folder(place, hub):
    ended = run(place, "own-llama", "local-llama")
    assert ended.returncode == 0, ended.stderr
    assert "fetching own-llama: small/llama at " in ended.stderr
    records = {r.record.cell.workload: r.record for r in Store(place / "results").records()}
    ours, local = records["own-llama"], records["local-llama"]
    assert (ours.status, local.status) == ("ok", "ok"), (ours.failure, local.failure)
    assert [(c.metric, c.value) for c in ours.quality] == [
        (c.metric, c.value) for c in local.quality
    ]
    assert all(check.passed for check in ours.quality)
    assert ours.session["inputs"] == local.session["inputs"]
    assert ours.session["model_shape"] == local.session["model_shape"]
    # Which bytes it was, exactly.
    assert ours.workload.model.revision == hub.refs["main"]
    source = ours.session["model_source"]
    assert (source["hub"], source["revision"]) == (NAME, hub.refs["main"])
    digests = {f"my-llama/{name}": digest for name, digest in source["files"].items()}
    assert digests.items() <= local.cell.files.items()
    assert "pytorch_model.bin" not in hub.fetched()
    written = [path for path in (place / "results").rglob("*") if path.is_file()]
    for secret in (TOKEN, str(place / "cache")):  # nor where it lies on this machine
        assert not [path for path in written if secret.encode() in path.read_bytes()]
    assert TOKEN not in ended.stdout + ended.stderr


@pytest.mark.slow
def test_other_weights_under_the_same_name_are_another_configuration(place, hub):
    assert run(place, "own-llama").returncode == 0
    folder = place / "catalog" / "workloads" / "my-llama"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": 0}))
    hub.add(folder)
    # A run keeps to the commit; only asked to does it take the new one.
    assert run(place, "own-llama").returncode == 0
    built = harness(place, "models", "build", "own-llama")
    assert f"own-llama: small/llama at main is commit {hub.refs['main']}" in built.stderr
    assert run(place, "own-llama").returncode == 0
    cells = [r.record.cell for r in Store(place / "results").records()]
    assert len(cells) == 3
    assert len({cell.workload_hash for cell in cells}) == 2


def test_a_plan_says_what_is_fetched_and_then_needs_no_network(place, hub):
    arguments = ("plan", "-w", "own-llama", "-t", "cpu")
    planned = harness(place, *arguments)
    assert planned.returncode == 0, planned.stderr
    (line,) = [line for line in planned.stdout.splitlines() if "fetches" in line]
    commit = hub.refs["main"]
    assert line.startswith(f"own-llama: fetches the model small/llama at {commit} first: ")
    assert line.endswith("kB")
    tree = json.loads(harness(place, *arguments, "--json").stdout)
    assert tree[0]["fetch"]["bytes"] > 50_000
    assert hub.fetched() == []
    hub.refuse = 503, ""
    unknown = harness(place, *arguments)
    assert unknown.returncode == 0, unknown.stderr
    assert "status 503" in unknown.stdout
    hub.refuse = None
    built = harness(place, "models", "build", "own-llama")
    assert built.returncode == 0, built.stderr
    assert "parameters in" in built.stdout
    hub.refuse = 503, ""
    known = harness(place, *arguments)
    assert known.returncode == 0, known.stderr
    assert "fetches" not in known.stdout
    assert json.loads(harness(place, *arguments, "--json").stdout)[0]["fetch"] is None
    again = harness(place, "models", "build", "own-llama")
    assert again.returncode == 0, again.stderr
    assert "taken as it was last looked up" in again.stderr


def test_validate_looks_into_what_was_fetched_and_asks_no_hub(place, hub):
    assert harness(place, "validate", "catalog").returncode == 0
    assert hub.asked == []
    assert harness(place, "models", "build", "own-llama").returncode == 0
    prompts = place / "catalog" / "workloads" / "data" / "prompts.txt"
    prompts.write_text("a" * 130)
    wrong = harness(place, "validate", "catalog/workloads/own-llama.yaml")
    assert wrong.returncode == 2
    assert "131 tokens" in wrong.stdout


def test_the_cache_lists_it_under_its_workload(place, hub):
    shutil.rmtree(place / "cache", ignore_errors=True)
    assert harness(place, "models", "build", "own-llama").returncode == 0
    listed = json.loads(harness(place, "models", "list", "--json").stdout)["artefacts"]
    parts = {each["path"].rpartition("/")[2]: each for each in listed}
    assert parts[hub.refs["main"]]["used_by"] == ["own-llama, the model"]
    assert harness(place, "models", "clear", "--unused", "--yes").returncode == 0
    kept = json.loads(harness(place, "models", "list", "--json").stdout)["artefacts"]
    assert [each["path"] for each in kept] == [each["path"] for each in listed]


def test_a_closed_model_fails_its_cells_with_what_to_do(place, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    ended = run(place, "own-llama")
    assert ended.returncode == 1
    assert "FAILED: prerequisite: small/llama is gated" in ended.stderr
    assert "set HF_TOKEN" in ended.stderr
    assert "1 cell measured, 1 failed" in ended.stdout
    assert "Traceback" not in ended.stderr
    written = [path for path in (place / "results").rglob("*") if path.is_file()]
    assert not [path for path in written if b"hf_another" in path.read_bytes()]
    assert "hf_another" not in ended.stderr
    planned = harness(place, "plan", "-w", "own-llama", "-w", "local-llama", "-t", "cpu")
    assert planned.returncode == 0, planned.stderr
    (line,) = [line for line in planned.stdout.splitlines() if "own-llama" in line]
    assert line.startswith("skipped own-llama: small/llama is gated")
    assert "set HF_TOKEN" in line
    tree = json.loads(harness(place, "plan", "-w", "own-llama", "-t", "cpu", "--json").stdout)
    assert "is gated" in tree[0]["skip"]
    assert harness(place, "models", "build", "own-llama").returncode == 3


def records_of(place):
    records = [stored.record for stored in Store(place / "results").records()]
    return {record.cell.workload: (record.status, record.failure) for record in records}


def failure_beside_a_good_workload(place):
    """Run both workloads: the local one is measured, and how the other fails is returned."""
    ended = run(place, "own-llama", "local-llama")
    assert ended.returncode == 1, ended.stderr
    found = records_of(place)
    assert found["local-llama"] == ("ok", None)
    status, failure = found["own-llama"]
    assert (status, failure.kind) == ("failed", "prerequisite")
    return failure


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_fails_one_workload_and_the_others_run(
    place, hub, monkeypatch
):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    failure = failure_beside_a_good_workload(place)
    assert "cannot be reached for small/llama" in failure.message
    assert "is there a network?" in failure.hint


@pytest.mark.slow
def test_a_download_that_breaks_off_fails_one_workload_and_the_others_run(place, hub):
    hub.altered = {"model.safetensors"}
    failure = failure_beside_a_good_workload(place)
    assert "is not what the hub announced" in failure.message
