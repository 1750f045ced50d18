import json

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import main
from harness.schema import Target
from harness.store import Store
from tests.factories import make_point, make_record, make_target, make_workload


@pytest.fixture
def folder(tmp_path):
    documents = {
        "workloads/chat.yaml": make_workload("chat"),
        "workloads/box.yaml": make_workload("box"),
        "targets/box.yaml": make_target("box"),
        "targets/card.yaml": make_target("card", description="One\nline   of text."),
    }
    for name, document in documents.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(document.model_dump(mode="json")))
    return tmp_path


def run(folder, *arguments):
    return CliRunner().invoke(main, ["show", *arguments, "--catalog", str(folder)])


def test_text(folder):
    lines = run(folder, "card").stdout.splitlines()
    assert lines[0].startswith("target card (catalog: ")
    assert "description: One line of text." in lines
    assert "  memory_gb: not given" in lines
    assert "  usd_per_hour: 1" in lines
    assert "  options: {}" in lines


def test_lists_are_indented_under_their_key(folder):
    lines = run(folder, "chat").stdout.splitlines()
    start = lines.index("scenarios:")
    assert lines[start + 1 : start + 4] == [
        "  - kind: single_stream",
        "  - kind: offline",
        "  - kind: server",
    ]
    assert "  requests_per_month: 1,000,000" in lines


def test_json_is_the_document(folder):
    tree = json.loads(run(folder, "card", "--json").stdout)
    assert (tree.pop("kind"), tree.pop("origin")) == ("target", "catalog")
    assert tree.pop("path") == str(folder / "targets/card.yaml")
    document = Target.model_validate_json(json.dumps(tree), strict=True)
    assert document == make_target("card", description="One\nline   of text.")


def test_a_name_of_several_kinds_needs_the_kind(folder):
    result = run(folder, "box")
    assert result.exit_code == 2
    assert "'box' is the name of a workload and of a target" in result.stderr
    assert "hint: say which: --kind workload" in result.stderr
    assert run(folder, "box", "--kind", "target").stdout.startswith("target box ")


def test_an_unknown_name(folder):
    result = run(folder, "crd")
    assert result.exit_code == 2
    assert "no workload, target or brief is called 'crd'" in result.stderr
    assert "did you mean 'card'?" in result.stderr


def test_a_broken_file_says_where(folder):
    (folder / "targets/card.yaml").write_text("schema: 1\nname: card\nnmae: x\n")
    result = run(folder, "card")
    assert result.exit_code == 2
    assert "card.yaml:3:1: nmae: unknown key 'nmae'" in result.stderr
    assert "hint: did you mean 'name'?" in result.stderr


def test_a_record_is_shown_with_the_bound_that_mlperf_would_give(tmp_path):
    workload = make_workload()
    point = make_point(workload, latency_s=0.1)
    (name, metric), *_ = point.metrics.items()
    certified = {name: metric.model_copy(update={"certified": 0.123})}
    draft = Store(tmp_path).draft()
    stored = draft.commit(
        make_record(
            workload,
            make_target("box"),
            scenario="single_stream",
            id=draft.id,
            points=(point.model_copy(update={"metrics": point.metrics | certified}),),
        )
    )
    lines = run(tmp_path, str(stored.folder)).stdout.splitlines()
    assert lines[0].startswith(f"record {draft.id} (")
    assert any(line.strip() == "certified: 0.123" for line in lines)
    assert not any("counts:" in line for line in lines)
    shown = json.loads(run(tmp_path, str(stored.folder), "--json").stdout)
    assert (shown["kind"], shown["id"]) == ("record", draft.id)
