from importlib import metadata
from pathlib import Path

import pytest
import yaml

from harness import catalog as catalog_module
from harness.catalog import Catalog, Origin, weight_files
from harness.cli.run import plan_of
from harness.errors import SpecError
from harness.execute.ledger import Options
from tests.factories import make_brief, make_fraud_workload, make_target, make_workload


def write(path, document, **changes):
    """Write `document` as YAML to `path`, with `changes` to its keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = {**document.model_dump(mode="json"), "name": path.stem, **changes}
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "workloads/chat.yaml", make_workload())
    write(tmp_path / "targets/box.yaml", make_target())
    write(tmp_path / "targets/acme/x1/card.yaml", make_target())
    write(tmp_path / "reports/briefs/question.yaml", make_brief())
    (tmp_path / "targets/_template.yaml").write_text("not: a target\n")
    (tmp_path / "targets/notes.txt").write_text("not YAML")
    return tmp_path


def only(*folders):
    """Return a catalog of these folders alone, the first of the highest rank."""
    return Catalog([Origin(f"o{rank}", rank, path) for rank, path in enumerate(folders)])


def test_entries_are_found_in_nested_folders_and_templates_are_not(folder):
    found = only(folder)
    assert [entry.name for entry in found.workloads()] == ["chat"]
    assert [entry.name for entry in found.targets()] == ["box", "card"]
    assert [entry.name for entry in found.briefs()] == ["question"]
    assert found.workload("chat").task == "text_generation"
    assert found.target("card").name == "card"
    assert found.brief("question").name == "question"
    assert found.brief(folder / "reports/briefs/question.yaml").name == "question"


def test_the_higher_origin_wins_by_name(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write(other / "targets/box.yaml", make_target(), title="The other box")
    write(other / "targets/extra.yaml", make_target())
    found = only(other, folder)
    assert found.target("box").title == "The other box"
    assert [(entry.name, entry.origin) for entry in found.targets()] == [
        ("box", "o0"),
        ("card", "o1"),
        ("extra", "o0"),
    ]
    assert only(folder, other).target("box").title == "The box target"


def test_equal_ranks_with_one_name_are_an_error(folder):
    write(folder / "targets/again/box.yaml", make_target())
    found = only(folder)
    assert [[entry.name for entry in group] for group in found.rivals("target")] == [["box", "box"]]
    assert [entry.name for entry in found.targets()] == ["box", "card"]
    with pytest.raises(SpecError, match=r"2 files hold the target 'box': .*again/box.yaml.*box"):
        found.target("box")
    assert found.target("card").name == "card"


def test_an_unknown_name_says_what_there_is(folder):
    with pytest.raises(SpecError, match="unknown target 'bx'") as caught:
        only(folder).target("bx")
    assert caught.value.hint == "did you mean 'box'? there are: box, card"
    with pytest.raises(SpecError) as caught:
        Catalog([]).workload("chat")
    assert caught.value.hint == "there are no workloads at all"


def test_a_broken_file_hides_no_other(folder):
    (folder / "targets/bad.yaml").write_text("a: [\n")
    found = only(folder)
    assert [entry.name for entry in found.targets()] == ["bad", "box", "card"]
    assert found.target("box").name == "box"
    with pytest.raises(SpecError, match=r"bad\.yaml:2:1: not YAML"):
        found.target("bad")


def test_the_data_folder_is_the_workloads_folder_of_the_origin(folder):
    write(folder / "workloads/deep/fraud.yaml", make_fraud_workload())
    found = only(folder)
    assert found.data_folder("fraud") == folder / "workloads"
    assert found.data_folder(found.entry("workload", "fraud")) == folder / "workloads"


def test_weight_files_stay_in_their_folder(folder):
    files = weight_files(make_fraud_workload(), folder)
    assert files == {("model", "weights"): folder / "weights/fraud.safetensors"}
    assert weight_files(make_workload(), folder) == {}
    for name in ("/etc/passwd", "../secret", "weights/../../secret"):
        bad = make_fraud_workload(model={"family": "trees_mlp", "weights": name})
        with pytest.raises(SpecError, match="is outside its folder"):
            weight_files(bad, folder)


def test_the_quality_models_files_count():
    workload = make_workload(
        quality=[
            {
                "kind": "perplexity",
                "model": {**make_workload().model.model_dump(), "weights": "w.safetensors"},
                "text": "t.txt",
            }
        ]
    )
    assert weight_files(workload, Path("d")) == {
        ("quality", 0, "model", "weights"): Path("d/w.safetensors"),
        ("quality", 0, "text"): Path("d/t.txt"),
    }


def test_the_given_folder_comes_before_the_checkout(folder):
    found = Catalog.find(folder)
    assert [origin.name for origin in found.origins[:2]] == ["catalog", "checkout"]
    assert found.entry("target", "box").origin == "catalog"


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_folder_without_entries_is_no_catalog(tmp_path, name):
    with pytest.raises(SpecError, match=r"no catalog; it has none of the folders workloads"):
        Catalog.find(tmp_path / name)


def test_only_the_folder_above_the_package_is_a_checkout(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "workloads").mkdir()
    assert catalog_module._checkout(tmp_path / "harness/catalog.py") == tmp_path
    installed = tmp_path / ".venv/lib/python3.11/site-packages/harness/catalog.py"
    assert catalog_module._checkout(installed) is None


def plug(monkeypatch, *points):
    entry_points = metadata.EntryPoints(
        metadata.EntryPoint(name, value, "harness.catalog") for name, value in points
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **kwargs: entry_points.select(**kwargs))


def test_a_plugin_is_found_without_running_its_code(tmp_path, monkeypatch):
    package = tmp_path / "acme_data_package"
    write(package / "targets/acme-x1.yaml", make_target())
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    plug(monkeypatch, ("acme", "acme_data_package"))
    found = Catalog.find()
    assert found.entry("target", "acme-x1").origin == "plugin:acme"
    assert found.broken == {}
    plug(monkeypatch, ("acme", "acme_data_package.targets"), ("gone", "acme_no_such_package"))
    found = Catalog.find()
    assert found.broken["plugin:gone"] == "no package 'acme_no_such_package'"
    assert "neither workloads/" in found.broken["plugin:acme"]


def test_two_plugins_with_one_name_are_rivals(tmp_path, monkeypatch):
    for name in ("acme_one", "acme_two"):
        write(tmp_path / name / "targets/same.yaml", make_target())
    monkeypatch.syspath_prepend(str(tmp_path))
    plug(monkeypatch, ("one", "acme_one"), ("two", "acme_two"))
    with pytest.raises(SpecError, match="2 files hold the target 'same'"):
        Catalog.find().target("same")


def test_everything_that_is_shipped_can_be_read():
    found = Catalog.find()
    assert found.workloads()
    assert found.targets()
    for entry in found.workloads():
        workload = found.workload(entry.name)
        for path in weight_files(workload, found.data_folder(entry)).values():
            assert path.is_file()
    for entry in found.targets():
        assert found.target(entry.name).name == entry.name
    for entry in found.briefs():
        assert found.brief(entry.name).name == entry.name


def test_what_lies_below_opt_in_is_found_by_name_and_not_run_unasked(folder):
    write(folder / "workloads/opt-in/large.yaml", make_workload())
    write(folder / "targets/acme/opt-in/slow.yaml", make_target())
    write(folder / "targets/opt-in.yaml", make_target())
    found = only(folder)
    assert {entry.name for entry in found.workloads() if entry.opt_in} == {"large"}
    assert {entry.name for entry in found.targets() if entry.opt_in} == {"slow"}
    assert found.workload("large").name == "large"

    def planned(**chosen):
        selection = {"workloads": (), "targets": (), "scenarios": ()} | chosen
        plan = plan_of(found, Options(**selection, profile="quick", seed=0, repeats=1))
        return {(each.cell.workload, each.cell.target) for each in plan}

    assert planned() == {("chat", name) for name in ("box", "card", "opt-in")}
    assert planned(workloads=("large",), targets=("slow",)) == {("large", "slow")}
