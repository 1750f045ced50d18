import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main, models
from harness.models.training import train_fraud, train_speech, train_text


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*arguments, status=0, **options):
    result = CliRunner().invoke(main, ["models", *map(str, arguments)], **options)
    assert result.exit_code == status, result.output
    return result


def test_a_workload_is_built_listed_and_cleared(cache):
    assert "0 artefacts" in run("list").stdout
    built = run("build", "fraud-detection")
    assert str(cache) in built.stdout
    listed = run("list").stdout
    assert listed.splitlines()[0].split() == ["ARTEFACT", "size", "age", "for"]
    assert listed.count("fraud-detection, the model") == 2
    (folder,) = cache.iterdir()
    tree = json.loads(run("list", "--json").stdout)
    assert {Path(each["path"]).parent for each in tree["artefacts"]} == {folder}
    assert all(each["used_by"] == ["fraud-detection, the model"] for each in tree["artefacts"])
    assert "removed 2 artefacts" in run("clear", "--yes").stdout
    assert "nothing to remove" in run("clear").stdout


def test_nothing_is_cleared_without_a_yes(cache):
    run("build", "fraud-detection")
    refused = run("clear", status=130, input="n\n")
    assert "remove 2 artefacts" in refused.stderr
    assert json.loads(run("list", "--json").stdout)["artefacts"]
    run("clear", input="y\n")
    assert not json.loads(run("list", "--json").stdout)["artefacts"]


def test_unused_is_what_no_workload_is_built_from(cache):
    run("build", "fraud-detection")
    old = cache / "llama-0123456789abcdef" / "onnx"
    old.mkdir(parents=True)
    assert "no workload here" in run("list").stdout
    run("clear", "--unused", "--yes")
    assert not old.exists()
    assert len(json.loads(run("list", "--json").stdout)["artefacts"]) == 2


def test_an_unknown_workload_is_a_usage_error():
    assert "fraud-detection" in run("build", "fraud-detectoin", status=2).stderr


@pytest.fixture
def trained(monkeypatch):
    """Trainings that write their files at once; returns the commands that were run."""
    commands = []

    def start(arguments, **options):
        commands.append(arguments)
        folder = Path(arguments[arguments.index("--output") + 1])
        name = arguments[2].rpartition("_")[2]
        for file in models.TRAININGS[name].files:
            (folder / file).write_bytes(b"weights")
        return subprocess.CompletedProcess(arguments, 0)

    monkeypatch.setattr(models.subprocess, "run", start)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    return commands


@pytest.mark.parametrize("name", sorted(models.TRAININGS))
def test_training_writes_where_it_is_told_and_never_over_what_is_there(name, tmp_path, trained):
    training, out = models.TRAININGS[name], tmp_path / "weights"
    assert str(out / training.files[0]) in run("train", name, "--out", out).stdout
    assert sorted(path.name for path in out.iterdir()) == sorted(training.files)
    assert "already" in run("train", name, "--out", out, status=1).stderr
    assert len(trained) == 1
    run("train", name, "--out", out, "--overwrite")
    assert len(trained) == 2


def test_the_trainings_are_those_that_there_are():
    scripts = {each.__name__.rpartition(".")[2] for each in (train_fraud, train_text, train_speech)}
    assert {each.module for each in models.TRAININGS.values()} == scripts
    weights = Path(__file__).parents[2] / "workloads" / "weights"
    for each in models.TRAININGS.values():
        assert all((weights / file).exists() for file in each.files)


def test_a_training_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run("train", "fraud", "--out", tmp_path / "new", status=3)
    assert "needs lightgbm and torch" in result.stderr
    assert "[train,torch]" in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_training_needs_a_folder():
    assert "--out" in run("train", "fraud", status=2).stderr
