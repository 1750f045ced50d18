import json

import pytest
import yaml
from click.testing import CliRunner

from harness import hardware
from harness.cli import main
from tests.factories import make_brief, make_target, make_workload


@pytest.fixture
def folder(tmp_path):
    documents = {
        "workloads/only-here.yaml": make_workload("only-here"),
        "targets/box.yaml": make_target("box"),
        "briefs/question.yaml": make_brief("only-here"),
    }
    for name, document in documents.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(document.model_dump(mode="json")))
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(main, ["list", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(*arguments):
    return {row["name"]: row for row in json.loads(run(*arguments, "--json"))}


def test_workloads_targets_and_briefs(folder):
    found = rows("workloads", "--catalog", folder)
    assert found["only-here"]["origin"] == "catalog"
    assert found["only-here"]["scenarios"] == "single_stream, offline, server"
    assert found["only-here"]["path"] == str(folder / "workloads/only-here.yaml")
    assert len(found) > 1  # the checkout's own are there too
    target = rows("targets", "--catalog", folder)["box"]
    assert (target["adapter"], target["precision"]) == ("fake", "fp32")
    assert target["price"] == "$1.00 per hour"
    assert target["chip"] == "Acme Test chip"
    assert rows("briefs", "--catalog", folder)["question"]["workloads"] == "only-here"


def test_a_target_that_takes_the_cpu_it_finds_names_the_one_of_this_machine():
    target = rows("targets")["cpu-onnxruntime"]
    here = hardware.cpu_model()
    assert target["chip"] == f"{here.value or here.reason} (this machine)"
    assert "detected" not in run("targets")


def test_adapters_and_meters():
    assert rows("adapters")["fake"]["value"] == "harness.adapters.fake:FakeAdapter"
    assert {"nvml", "rapl"} <= set(rows("meters"))
    assert {row["kind"] for row in rows().values()} >= {"workload", "target", "adapter", "meter"}


def test_text_has_a_table_for_each_kind(folder):
    text = run("--catalog", folder)
    for heading in ("WORKLOADS", "TARGETS", "BRIEFS", "ADAPTERS", "METERS"):
        assert heading in text
    [line] = [line for line in text.splitlines() if line.startswith("box ")]
    assert line.endswith("The box target")
    assert "catalog" in line


def test_a_broken_file_is_listed_as_broken(folder):
    (folder / "targets/bad.yaml").write_text("schema: [\n")
    found = rows("targets", "--catalog", folder)
    assert found["bad"]["status"] == "broken"
    assert "bad.yaml:2:1: not YAML" in found["bad"]["problem"]
    assert found["box"]["status"] == "ok"
    [line] = [x for x in run("targets", "--catalog", folder).splitlines() if x.startswith("bad ")]
    assert "BROKEN: " in line


def test_rivals_are_listed_as_broken(folder):
    (folder / "targets/deep").mkdir()
    (folder / "targets/deep/box.yaml").write_text((folder / "targets/box.yaml").read_text())
    assert "2 files hold the target 'box'" in rows("targets", "--catalog", folder)["box"]["problem"]


def test_a_wrong_folder_is_a_wrong_specification(tmp_path):
    result = CliRunner().invoke(main, ["list", "--catalog", str(tmp_path)])
    assert result.exit_code == 2
    assert "no catalog" in result.stderr
