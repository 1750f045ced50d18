"""`harness map` end to end: a catalog of YAML files, a store of records, an answer."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import main
from harness.cli.map import _swings
from harness.execute.ledger import Ledger, Options
from harness.schema import Decision
from harness.schema.confidence import Swing
from harness.store import Store
from tests.factories import make_brief, make_point, make_record, make_target, make_workload

WORKLOAD = make_workload()
FAST, SLOW, NONE = (make_target(name) for name in ("fast", "slow", "unmeasured"))


@pytest.fixture
def catalog(tmp_path):
    folder = tmp_path / "catalog"
    brief = make_brief(targets=["fast", "slow", "unmeasured"])
    for kind, documents in (
        ("workloads", [WORKLOAD]),
        ("targets", [FAST, SLOW, NONE]),
        ("briefs", [brief]),
    ):
        for document in documents:
            path = folder / kind / f"{document.name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(document.model_dump(mode="json"), sort_keys=False))
    return folder


@pytest.fixture
def results(tmp_path):
    """Return a store with a good record of `fast` and one of `slow` that misses its SLO."""
    folder = tmp_path / "results"
    broken = make_point(WORKLOAD, rate=52.5, load=0.84, latency_s=9.0)
    add(folder, FAST, make_point(WORKLOAD, rate=50.0, load=0.8), broken, headline=0)
    add(folder, SLOW, make_point(WORKLOAD, latency_s=0.4, load=0.5), headline=None)
    return folder


def add(folder, target, *points, **changes):
    draft = Store(folder).draft()
    draft.commit(make_record(WORKLOAD, target, points=points, id=draft.id, **changes))


def run(*arguments):
    result = CliRunner().invoke(main, ["map", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_answer_reads_from_choice_to_next_command(catalog, results):
    result = run("question", "--catalog", catalog, "--results", results)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    start = lines.index("chat: The chat workload")
    assert "fast costs $91.25 per million output tokens" in lines[start + 1]
    assert "the only one of 3 targets that can serve the workload" in lines[start + 1]
    choice = next(line for line in lines if line.strip().startswith("choice"))
    assert "met: p90 latency 150 ms of 500 ms" in choice
    assert "$8,760" in choice
    slow = next(line for line in lines if line.strip().startswith("slow"))
    assert "slo" in slow
    assert "p90 latency is 600 ms at 50 % load, the best tested; at most 500 ms" in slow
    unmeasured = next(line for line in lines if line.strip().startswith("unmeasured"))
    assert unmeasured.endswith("-> harness run -w chat -t unmeasured")
    place = f"--catalog {catalog} --results {results}"
    assert lines[-1] == f"next: harness report question {place}"
    why = "no powercap tree on this machine -> run on bare metal"
    assert f"  energy not measured on fast: {why}" in lines
    assert "a year of the fleet" not in result.stdout


def test_the_first_lines_are_the_answer_in_short(catalog, results):
    lines = run("question", "--catalog", catalog, "--results", results).stdout.splitlines()

    title, cost, choice, sure, end = lines[:5]
    assert title.endswith(", 2 records)")
    assert cost == "  $8,760 a year"
    cents = "$91.25 per million output tokens"
    assert choice == f"  chat  fast: 1 unit, $8,760 a year, {cents}, SLO met"
    assert sure == "        ● The only feasible target; no other target is feasible"
    assert end == ""


def test_the_short_answer_names_the_runner_up_and_that_it_costs_the_same(catalog, tmp_path):
    for target, rate in ((FAST, 50.0), (SLOW, 20.0)):
        add(tmp_path, target, make_point(WORKLOAD, rate=rate, load=0.8), headline=0)

    lines = run("question", "--catalog", catalog, "--results", tmp_path).stdout.splitlines()

    assert lines[3].endswith("; runner-up slow: 1 unit, the same cost, SLO met")


def test_the_short_answer_names_what_has_no_target_and_counts_the_warnings(catalog, results):
    for other in results.glob("runs/*/*/*/*/record.json"):
        other.write_text("{torn")

    lines = run("question", "--catalog", catalog, "--results", results).stdout.splitlines()

    assert lines[1] == "  No workload has a target that can be recommended."
    assert lines[2].startswith("  chat  none: No target can be chosen")
    assert lines[3] == "  2 warnings before you sign: on standard error and in the report"


def test_two_options_are_told_with_how_sure_and_what_would_change_it(catalog, tmp_path):
    folder = tmp_path / "results"
    for target, rate in ((FAST, 50.0), (SLOW, 20.0)):
        add(folder, target, make_point(WORKLOAD, rate=rate, load=0.8), headline=0)

    out = run("question", "--catalog", catalog, "--results", folder).stdout

    sure = next(line for line in out.splitlines() if "how sure:" in line)
    assert "robust: in 100 % of 2,000 draws no other option is cheaper" in sure
    assert "units of fast: 1 needed and 0 spare; each unit has its own queue" in out
    changes = out[out.index("what would change this answer") :]
    assert "- price of fast above $1.00 an hour (a tie now): slow" in changes
    assert "- limit of p90 latency <= 500 ms below 158 ms" in changes


def test_what_moves_the_lead_most_has_its_unit():
    volume = Swing(
        input="volume",
        unit="requests/month",
        low=1e6,
        high=2e6,
        usd_per_year_at_low=10.0,
        usd_per_year_at_high=-20.0,
        turns=True,
    )

    told = _swings(SimpleNamespace(swings=(volume,))).splitlines()[1]

    assert "1,000,000 requests/month" in told
    assert told.endswith("turns the order")


def test_a_year_of_a_fleet_is_told_with_what_is_not_known(catalog, tmp_path):
    node = make_point(WORKLOAD, joules=1000.0).energy[0].model_copy(update={"boundary": "node"})
    add(tmp_path, FAST, make_point(WORKLOAD, rate=50.0, load=0.8, energy=(node,)), headline=0)
    add(tmp_path, SLOW, make_point(WORKLOAD, rate=20.0, load=0.8, joules=9.0), headline=0)
    lines = run("question", "--catalog", catalog, "--results", tmp_path).stdout.splitlines()

    start = next(i for i, x in enumerate(lines) if "a year of the fleet" in x)
    fast, slow, why = lines[start + 1 : start + 4]
    assert fast.split()[:3] == ["fast", "1,139", "kWh"]
    assert "in the rent" in fast
    assert slow.split()[:3] == ["slow", "not", "known"]
    assert "facility energy of slow not known: only package was metered" in why
    assert "-> meter the node or the wall" in why


def test_a_target_that_runs_only_when_named_is_told_of_when_it_ran(catalog, results):
    brief = make_brief(name="open")
    (catalog / "briefs" / "open.yaml").write_text(
        yaml.safe_dump(brief.model_dump(mode="json"), sort_keys=False)
    )
    opt_in = catalog / "targets" / "opt-in"
    opt_in.mkdir()
    for name in ("slow", "unmeasured"):
        (catalog / "targets" / f"{name}.yaml").rename(opt_in / f"{name}.yaml")

    result = run("open", "--catalog", catalog, "--results", results, "--json")

    (answered,) = json.loads(result.stdout)["workloads"]
    told = {each["target"] for each in answered["outcomes"]}
    assert {"fast", "slow"} <= told
    assert not {"unmeasured", "cpu-genai"} & told


def test_a_target_that_was_skipped_says_why(catalog, results):
    ledger = Ledger.begin(results, "01RUN", Options((), (), (), "quick", 0), [])
    ledger.append("skip", target="unmeasured", reason="no NVIDIA GPU on this machine")
    result = run("question", "--catalog", catalog, "--results", results)

    unmeasured = next(x for x in result.stdout.splitlines() if x.strip().startswith("unmeasured"))
    assert "the newest run skipped the target: no NVIDIA GPU on this machine" in unmeasured
    assert unmeasured.endswith("-> on a machine that can run it: harness run -w chat -t unmeasured")


def test_json_is_the_decision(catalog, results):
    result = run("question", "--catalog", catalog, "--results", results, "--json")

    decision = Decision.model_validate_json(result.stdout)
    assert decision.workloads[0].choice.target == "fast"
    stored = {s.record.id: s.sha256 for s in Store(results).records()}
    assert {r.id: r.sha256 for r in decision.records} == stored


def test_the_decision_goes_to_a_file_and_twice_is_the_same(catalog, results, tmp_path):
    digests = set()
    for name in ("a", "b"):
        path = tmp_path / name / "decision.json"
        result = run("question", "--catalog", catalog, "--results", results, "-o", path)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1].startswith("next: harness report question --cat")
        assert f"decision in {path}" in result.stdout
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        Decision.model_validate_json(path.read_bytes())

    assert len(digests) == 1


def test_a_dash_writes_json_to_standard_output(catalog, results):
    result = run("question", "--catalog", catalog, "--results", results, "-o", "-")

    assert json.loads(result.stdout)["workloads"][0]["choice"]["target"] == "fast"


def test_a_workload_without_a_feasible_target_is_a_finding(catalog, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("question", "--catalog", catalog, "--results", tmp_path / "empty")

    assert result.exit_code == 1
    assert f"warning: no record in {tmp_path / 'empty'}" in result.stderr
    assert "No target can be chosen" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("next: harness report question --catalog ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("map", "question"),
        ("report", "question", "-o", "-"),
        ("export", "question"),
        ("index",),
        ("compare", "fast", "slow"),
    ],
)
def test_a_results_folder_that_is_not_there_is_no_folder_without_records(
    catalog, tmp_path, monkeypatch, arguments
):
    monkeypatch.setenv("HARNESS_CATALOG", str(catalog))
    missing = tmp_path / "missing"
    result = CliRunner().invoke(main, [*arguments, "--results", str(missing)])

    assert result.exit_code == 2
    assert f"there is no results folder {missing}" in result.stderr
    assert "harness run" in result.stderr
    assert "--results" in result.stderr
    assert result.stdout == ""
    assert not missing.exists()


def test_the_months_of_an_option_are_told_or_said_to_be_told_elsewhere(catalog, tmp_path):
    names = ["fast", "slow", "third", "fourth"]
    for name in names[2:]:
        path = catalog / "targets" / f"{name}.yaml"
        document = make_target(name).model_dump(mode="json")
        path.write_text(yaml.safe_dump(document, sort_keys=False))
    brief = make_brief(targets=names).model_dump(mode="json")
    (catalog / "briefs" / "question.yaml").write_text(yaml.safe_dump(brief, sort_keys=False))
    folder = tmp_path / "four"
    for name, rate in zip(names, (50.0, 40.0, 30.0, 20.0), strict=True):
        add(folder, make_target(name), make_point(WORKLOAD, rate=rate, load=0.8), headline=0)

    lines = run("question", "--catalog", catalog, "--results", folder).stdout.splitlines()

    begin = next(n for n, line in enumerate(lines) if line.strip().startswith("over 36 months"))
    told = [line.split("  ") for line in lines[begin + 1 : begin + 5]]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in told]
    assert [len(row) for row in cells] == [6] * 4
    assert all(cell.startswith("$") for row in cells[:2] for cell in row[3:])
    assert [row[3:] for row in cells[2:]] == [["not told"] * 3] * 2
    assert lines[begin + 5].strip() == (
        "months are told of the choice, the runner-up and the best of each kind of supply"
    )


def test_a_record_that_cannot_be_read_is_named(catalog, results):
    path = next(results.glob("runs/*/*/*/*/record.json"))
    path.write_text("{torn")
    result = run("question", "--catalog", catalog, "--results", results)

    assert f"warning: not read: {path}" in result.stderr


def test_a_broken_target_is_named_and_hides_no_other(catalog, results):
    brief = catalog / "briefs" / "whole.yaml"
    tree = make_brief(name="whole").model_dump(mode="json")
    brief.write_text(yaml.safe_dump(tree))
    (catalog / "targets" / "broken.yaml").write_text("schema: 1\nname: broken\n")
    result = run("whole", "--catalog", catalog, "--results", results, "--json")

    assert "warning: not read: target broken" in result.stderr
    decision = Decision.model_validate_json(result.stdout)
    assert decision.workloads[0].choice.target == "fast"
    assert any("target broken" in warning for warning in decision.warnings)


def test_a_brief_that_is_not_there_is_a_usage_error(catalog):
    result = run("nothing", "--catalog", catalog)

    assert result.exit_code == 2
    assert "unknown brief" in result.stderr


def test_a_file_that_cannot_be_written_is_an_error_without_a_traceback(catalog, results, tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "decision.json"
    result = run("question", "--catalog", catalog, "--results", results, "-o", path)

    assert result.exit_code == 1
    assert "error: cannot write" in result.stderr


def test_the_shipped_brief_is_answered_without_any_runtime(tmp_path):
    code = (
        "import sys\n"
        "from harness.cli.map import answer\n"
        "from pathlib import Path\n"
        f"decision = answer('demo', Path({str(tmp_path)!r}), None)\n"
        "assert [w.workload for w in decision.workloads] == "
        "['llm-chat', 'speech-to-text', 'fraud-detection']\n"
        "heavy = {'torch', 'onnxruntime', 'openvino', 'onnx', 'matplotlib', 'pandas', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == "[]"


def test_a_shared_fleet_that_saves_nothing_costs_the_same(catalog, results):
    brief = make_brief(name="shared", targets=["fast", "slow"], portfolio={})
    tree = brief.model_dump(mode="json")
    (catalog / "briefs" / "shared.yaml").write_text(yaml.safe_dump(tree))

    out = run("shared", "--catalog", catalog, "--results", results).stdout

    assert "one fleet of 1 unit of 1 target serves 1 workload for $8,760 a year" in out
    assert "  the same as $8,760 a year for each workload on a fleet of its own" in out
    assert "; as one shared fleet $8,760 a year" in out.splitlines()[1]
