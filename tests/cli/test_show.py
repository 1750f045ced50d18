import json

import pytest
import yaml
from click.testing import CliRunner

from harness import hardware
from harness.cli import main
from harness.schema import Target
from harness.schema.record import Ending, EnvironmentField, Reason, Verdict
from harness.store import Store
from tests.factories import make_metric, make_point, make_record, make_target, make_workload


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


def test_a_target_that_takes_the_cpu_it_finds_names_the_one_of_this_machine(folder):
    here = hardware.cpu_model()
    lines = run(folder, "cpu-onnxruntime").stdout.splitlines()
    assert lines[-1] == f"detected on this machine: {here.value or here.reason}"
    assert "detected" not in run(folder, "card").stdout


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


def keep(results, **changes):
    """Store a record of two loads; return it as stored."""
    workload = make_workload()
    low, high = (
        make_point(workload, rate=rate, latency_s=0.1, load=load)
        for rate, load in ((5.0, 0.4), (9.0, 0.8))
    )
    name = "latency_s.p90"
    told = low.metrics[name].model_copy(update={"certified": 0.123, "widened": 0.12})
    low = low.model_copy(
        update={
            "metrics": low.metrics | {name: told},
            "ending": Ending(why="time_box", supports="p90 of latency: bounded from above only"),
            "warm_up_requests": 7,
        }
    )
    draft = Store(results).draft()
    record = make_record(
        workload,
        make_target("box"),
        id=draft.id,
        points=(low, high),
        headline=0,
        capacity=make_metric(6.0, unit="requests/s", better="higher"),
        session={"runtime": "fake", "left_running": ["4711 helper --serve"]},
        environment={
            "cpu_model": EnvironmentField(value="Test CPU"),
            "calibration": EnvironmentField(value=None, unavailable="this machine has none"),
        },
        **changes,
    )
    return draft.commit(record)


def test_a_record_shows_its_verdict_first_and_what_its_figures_support(tmp_path):
    stored = keep(tmp_path)
    lines = run(tmp_path, str(stored.folder)).stdout.splitlines()
    assert lines[0] == f"record {stored.record.id} (chat@box/server)"
    assert "verdict: valid; ok; measured" in lines
    assert "capacity: 6.00 requests/s (5.70–6.30); proven 5.00 requests/s" in lines
    assert "calibration: unavailable: this machine has none" in lines
    assert "left running: 4711 helper --serve" in lines
    rows = [" ".join(line.split()) for line in lines]
    assert "* 40 % 5.00 (4.75–5.25) 150 ms (142–158) met 50 + 7 warm-up 0 10.0 s, time box" in rows
    assert "80 % 9.00 (8.55–9.45) 150 ms (142–158) met 90 0 10.0 s" in rows
    assert "  load 40 %: p90 of latency: bounded from above only" in lines
    assert "latency_s.p90 150 ms (142–158) ↔ 12 % 123 ms 200" in rows
    assert (
        "rapl: not measured: no powercap tree on this machine; to enable it: run on bare metal"
        in rows
    )
    assert not any("counts" in line for line in lines)
    assert len(lines) < 60


def test_a_record_is_shown_by_its_id(tmp_path):
    stored = keep(tmp_path)
    by_id = run(tmp_path, stored.record.id, "--results", str(tmp_path))
    assert by_id.stdout == run(tmp_path, str(stored.folder)).stdout

    unknown = run(tmp_path, "0" * 26, "--results", str(tmp_path))
    assert unknown.exit_code == 2
    assert f"no record {'0' * 26} in {tmp_path}" in unknown.stderr
    bare = run(tmp_path, str(tmp_path))
    assert bare.exit_code == 2
    assert "a folder without record.json" in bare.stderr


def test_a_record_that_failed_says_how(tmp_path):
    draft = Store(tmp_path).draft()
    stored = draft.commit(make_record(id=draft.id, status="failed"))
    shown = run(tmp_path, str(stored.folder)).stdout
    assert "failure: crash: the cell ended: crash" in shown
    assert "points" not in shown


def test_text_of_a_record_cannot_steer_the_terminal(tmp_path):
    verdict = Verdict(state="noisy", reasons=(Reason(code="x", text="\x1b[2Jgone"),))
    shown = run(tmp_path, str(keep(tmp_path, verdict=verdict).folder)).stdout
    assert "\\x1b[2Jgone" in shown
    assert "\x1b" not in shown


def test_the_json_of_a_record_has_all_but_the_histograms(tmp_path):
    stored = keep(tmp_path)
    shown = json.loads(run(tmp_path, str(stored.folder), "--json").stdout)
    assert (shown["kind"], shown["id"], shown["imports"]) == ("record", stored.record.id, {})
    assert shown["points"][0]["metrics"]["latency_s.p90"]["certified"] == 0.123
    assert "latency" not in shown["points"][0]
