import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.adapters.fake import FakeAdapter
from harness.cli import main
from tests.adapters.http.served import make_served
from tests.factories import make_brief, make_fraud_workload, make_target, make_workload

ROOT = Path(__file__).parents[2]


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document.model_dump(mode="json"), sort_keys=False))
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "workloads/chat.yaml", make_workload("chat"))
    write(tmp_path / "targets/box.yaml", make_target("box"))
    write(tmp_path / "briefs/question.yaml", make_brief("chat", targets=("box",)))
    return tmp_path


def run(*arguments, status=0):
    result = CliRunner().invoke(main, ["validate", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.stdout


def test_fine_files_are_counted(folder):
    assert run(folder, "--catalog", folder) == "3 files fine\n"
    assert run("targets/box.yaml") == "1 file fine\n"
    assert run("targets", "workloads") == "2 files fine\n"


def test_every_problem_of_every_file_is_said(folder):
    (folder / "targets/a.yaml").write_text("a: [\n")
    text = (folder / "targets/box.yaml").read_text()
    (folder / "targets/b.yaml").write_text(text.replace("tier: cloud", "tier: clod"))
    lines = run("targets", status=2).splitlines()
    assert lines[0].startswith("error: targets/a.yaml:2:1: not YAML")
    assert "error: targets/b.yaml:2:7: name: the name 'box' is not the file's name 'b'" in lines
    assert any("site.tier: must be one of cloud, on_premises, edge" in line for line in lines)
    assert "hint: did you mean 'cloud'?" in lines
    assert lines[-1] == "3 files checked, 3 problems"


def test_json(folder):
    assert json.loads(run(folder, "--catalog", folder, "--json")) == {
        "schema": 1,
        "files": 3,
        "problems": [],
        "warnings": [],
    }
    (folder / "targets/bad.yaml").write_text("hardware: 1\n")
    found = json.loads(run("targets", "--json", status=2))
    assert found["problems"][0]["source"] == "targets/bad.yaml"
    assert all(problem["line"] == 1 for problem in found["problems"])


def test_weight_files_must_exist(folder):
    write(folder / "workloads/deep/fraud.yaml", make_fraud_workload("fraud"))
    text = run("workloads", status=2)
    assert "model.weights: no such file: workloads/weights/fraud.safetensors" in text
    (folder / "workloads/weights").mkdir()
    (folder / "workloads/weights/fraud.safetensors").touch()
    assert run("workloads") == "2 files fine\n"


def test_weight_files_must_be_inside(folder):
    bad = make_fraud_workload("fraud", model={"family": "trees_mlp", "weights": "../../x"})
    write(folder / "workloads/fraud.yaml", bad)
    assert "is outside its folder" in run("workloads", status=2)


def test_an_adapter_that_is_not_installed_is_a_warning(folder):
    write(folder / "targets/card.yaml", make_target("card", runtime={"adapter": "fkae"}))
    text = run("targets")
    assert "warning: targets/card.yaml:20:12: runtime.adapter: no adapter 'fkae'" in text
    assert "hint: did you mean 'fake'?" in text
    assert text.endswith("2 files fine\n")


@pytest.mark.parametrize(
    ("adapter", "given", "message"),
    [
        ("onnxruntime", {"thread": 2}, "the onnxruntime adapter has no option 'thread'"),
        ("onnxruntime", {"threads": 0}, "option 'threads' must be a whole number of at least 1"),
        ("onnxruntime", {"affinity": "two"}, "option 'affinity' must be 'physical' or CPUs"),
        ("onnxruntime-genai", {"continuous": 4}, "has no option 'continuous'"),
        ("lightgbm", {"compile": True}, "has no option 'compile'"),
        ("fake", {"latency_s": -1.0}, "must be a number of at least 0, not -1.0"),
        ("fake", {"fault": "flod"}, "option 'fault' must be one of none, exception"),
    ],
)
def test_an_option_that_the_adapter_does_not_take_has_its_line(folder, adapter, given, message):
    runtime = {"adapter": adapter, "options": given}
    path = write(folder / "targets/card.yaml", make_target("card", runtime=runtime))
    (name,) = given
    lines = path.read_text().splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.strip().startswith(f"{name}:")]
    text = run("targets", status=2)
    assert f"error: targets/card.yaml:{number}:" in text
    assert f"runtime.options.{name}: " in text
    assert message in text


def test_a_check_of_options_that_breaks_down_has_its_line_and_no_traceback(folder, monkeypatch):
    def check(self, target):
        return target.runtime.options["needed"]

    monkeypatch.setattr(FakeAdapter, "check_options", check)
    write(folder / "targets/card.yaml", make_target("card", runtime={"adapter": "fake"}))
    text = run("targets", status=2)
    assert re.search(
        r"error: targets/card.yaml:\d+:\d+: runtime\.options: the adapter 'fake'", text
    )
    assert "could not check the options: KeyError: 'needed'" in text


def test_a_served_target_has_no_options(folder):
    served = make_served("http://127.0.0.1:8000")
    runtime = served.runtime.model_copy(update={"options": {"threads": 2}})
    write(folder / "targets/served.yaml", served.model_copy(update={"runtime": runtime}))
    text = run("targets", status=2)
    assert "runtime.options.threads: the http adapter has no option 'threads'; it has none" in text


def test_cpus_of_another_machine_are_no_fault_of_the_file(folder):
    runtime = {"adapter": "onnxruntime", "options": {"affinity": "60-63", "threads": 4}}
    write(folder / "targets/big.yaml", make_target("big", runtime=runtime))
    assert run("targets") == "2 files fine\n"


def test_a_run_with_a_wrong_option_begins_nothing(folder):
    runtime = {"adapter": "fake", "options": {"latency": 0.01}}
    write(folder / "targets/card.yaml", make_target("card", runtime=runtime))
    result = CliRunner().invoke(
        main, ["plan", "-w", "fraud-detection", "-t", "card", "--catalog", str(folder)]
    )
    assert result.exit_code == 2
    assert "runtime.options.latency: the fake adapter has no option 'latency'" in result.output
    assert "did you mean 'latency_s'?" in result.output


def test_briefs_name_what_exists(folder):
    write(folder / "briefs/question.yaml", make_brief("chta", targets=("bax",)))
    text = run("briefs", "--catalog", folder, status=2)
    assert "workloads[0].workload: unknown workload 'chta'" in text
    assert "targets[0]: unknown target 'bax'" in text


def test_the_kind_follows_from_the_keys_and_then_from_the_folder(folder):
    write(folder / "anywhere/box.yaml", make_target("box"))
    assert run("anywhere") == "1 file fine\n"
    (folder / "targets/empty.yaml").write_text("schema: 1\nname: empty\n")
    assert "missing key 'hardware'" in run("targets/empty.yaml", status=2)
    (folder / "anywhere/odd.yaml").write_text("schema: 1\n")
    assert "neither a workload, nor a target, nor a brief" in run("anywhere/odd.yaml", status=2)


def test_what_is_no_yaml_file(folder):
    assert "the name must end in .yaml" in run(write(folder / "box.yml", make_target()), status=2)
    assert "cannot be read: No such file" in run("absent.yaml", status=2)
    (folder / "none").mkdir()
    assert "the folder holds no .yaml files" in run("none", status=2)


def test_without_paths_the_whole_catalog_with_rivals(folder):
    write(folder / "targets/deep/box.yaml", make_target("box"))
    text = run("--catalog", folder, status=2)
    assert "targets/box.yaml: 2 files are called box.yaml" in text
    assert "targets/deep/box.yaml: 2 files are called box.yaml" in text


def test_hostile_names_cannot_steer_the_terminal(folder):
    path = folder / "targets/\x1b[31m.yaml"
    path.write_text("hardware: 1\n")
    text = run("targets", status=2)
    assert "\x1b" not in text
    assert "\\x1b[31m.yaml" in text


def test_the_template_and_all_that_is_shipped_are_fine():
    run(ROOT / "targets/_template.yaml")
    text = run()
    assert "error:" not in text
