"""`harness compare` end to end: records in a store, names on the command line, exit statuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.measure.samples import Samples, write_parquet
from harness.schema.record import Verdict
from harness.store import Store, new_ulid, sha256_of
from tests.factories import make_point, make_record, make_target, make_workload

WORKLOAD = make_workload()
STEADY = (0.100, 0.101, 0.099, 0.1005, 0.0995)


def add(folder, target, run, latencies, **changes):
    found = []
    for repeat, latency in enumerate(latencies):
        draft = Store(folder).draft()
        record = make_record(
            WORKLOAD,
            make_target(target),
            scenario="single_stream",
            repeat=repeat,
            run=run,
            id=draft.id,
            points=(make_point(WORKLOAD, latency_s=latency, rate=1 / latency),),
            **changes,
        )
        found.append(draft.commit(record))
    return found


@pytest.fixture
def results(tmp_path):
    """Return a store with five interleaved runs of `old` and of `new`, which is 10 % slower."""
    folder, run = tmp_path / "results", new_ulid()
    add(folder, "old", run, STEADY)
    add(folder, "new", run, [v * 1.1 for v in reversed(STEADY)])
    return folder


def run(*arguments):
    result = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_slower_target_is_shown_and_ends_with_status_1(results):
    result = run("old", "new", "--results", results)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "new against old; a change of 2 % or less counts as none"
    assert "chat/single_stream, new against old: 5 against 5 run(s), paired by repeat" in lines
    (row,) = (line for line in lines if "latency_s.p90" in line and "150 ms" in line)
    assert "165 ms" in row
    assert "+10.0 % (+9.3 % to +10.7 %)" in row
    assert row.endswith("worse")
    assert "worse: chat/single_stream: latency_s.p90 is worse" in lines
    assert "energy_j_per_request: not compared: 5 of 5 runs of base: no powercap tree" in (
        result.stdout
    )
    assert "next:" not in result.stdout


def test_a_faster_one_ends_with_status_0(results):
    result = run("new", "old", "--results", results)
    assert result.exit_code == 0
    assert "nothing is proven worse by more than 2 %" in result.stdout


def test_a_large_change_is_written_as_a_factor(results):
    run_id = new_ulid()
    add(results, "slug", run_id, [v * 12 for v in STEADY])
    result = run("old", "slug", "--results", results)
    (row,) = (line for line in result.stdout.splitlines() if "latency_s.p90" in line[:20])
    assert "x 12.0 (x 11." in row
    assert "-91.7 % (" in result.stdout  # the throughput


def test_a_threshold_may_be_a_percentage_or_a_share(results):
    for text in ("20%", "0.2"):
        result = run("old", "new", "--results", results, "--threshold", text)
        assert result.exit_code == 0
        assert "equivalent" in result.stdout
    for text in ("many", "0", "200%"):
        assert run("old", "new", "--results", results, "--threshold", text).exit_code == 2


def test_json_holds_everything(results):
    result = run("old", "new", "--results", results, "--json", "--metric", "tpot_s.p50")
    tree = json.loads(result.stdout)
    assert result.exit_code == 1
    assert tree["regressions"] == ["chat/single_stream: tpot_s.p50 is worse"]
    (cell,) = tree["cells"]
    (metric,) = cell["metrics"]
    assert (metric["metric"], metric["outcome"], cell["paired"]) == ("tpot_s.p50", "worse", True)
    assert metric["difference"]["ratio"] == pytest.approx(1.1)
    assert metric["difference"]["low"] < 1.1 < metric["difference"]["high"]


def test_one_run_a_side_is_indicative_and_says_what_to_do(tmp_path):
    folder = tmp_path / "results"
    (first,) = add(folder, "box", new_ulid(), [0.1])
    (second,) = add(folder, "box", new_ulid(), [0.3])
    for names in ((first.record.run, second.record.run), (first.folder, second.folder)):
        result = run(*names, "--results", folder)
        assert result.exit_code == 0
        assert "+200.0 %" in result.stdout
        assert "indicative" in result.stdout
        assert "worse" not in result.stdout.replace("proven worse", "")
        assert result.stdout.splitlines()[-1].startswith("next: harness run --repeats 5 (1 run")


def test_two_results_folders_are_compared(results, tmp_path):
    other = tmp_path / "other"
    add(other, "old", new_ulid(), [v * 1.3 for v in STEADY])
    result = run(results, other)
    assert result.exit_code == 1
    assert "not compared: chat@new/single_stream only in" in result.stdout
    assert "chat/single_stream, old: 5 against 5 run(s), not paired" in result.stdout


def test_a_folder_that_is_not_there_is_not_taken_for_a_target(results, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, said in (("nowhere", "there is no folder"), ("empty", "is no folder of a record")):
        result = run(tmp_path / name, results)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "harness run" in result.stderr


def test_what_cannot_be_compared_says_why(results, tmp_path):
    result = run("old", "nwe", "--results", results)
    assert result.exit_code == 2
    assert "measured targets: new, old" in result.stderr
    result = run("old", "old", "--results", results)
    assert result.exit_code == 2
    assert "both sides are the same records" in result.stderr
    result = run("old", "new", "--results", results, "-w", "other")
    assert result.exit_code == 2
    assert "no workload and scenario in common" in result.stderr
    (tmp_path / "empty").mkdir()
    result = run("old", "new", "--results", tmp_path / "empty")
    assert result.exit_code == 2
    assert "there are no records" in result.stderr


def test_a_damaged_record_is_named_and_the_rest_is_compared(results):
    broken = sorted(results.glob("runs/*/*/*/*/record.json"))[0]
    broken.write_text("{}")
    result = run("old", "new", "--results", results)
    assert result.exit_code == 1
    assert str(broken) in result.stderr
    assert "4 against 4 run(s)" in result.stdout
    assert "next: harness run --repeats 5 (4 runs a side; 5 advised)" in result.stdout


def test_one_run_a_side_shows_the_noise_within_the_runs(tmp_path):
    rng = np.random.default_rng(4)
    folder = tmp_path / "results"
    for target, factor in (("old", 1.0), ("new", 1.1)):
        samples, at = Samples(0, 0), 0
        for step in (factor * 1e8 * np.exp(0.1 * rng.standard_normal(500))).astype(int).tolist():
            samples.rows.append((0, 0, at, at, -1, at + step, 0, 0, 1, 0))
            at += step
        draft = Store(folder).draft()
        write_parquet([samples], draft.folder / "samples.parquet")
        draft.commit(
            make_record(
                WORKLOAD,
                make_target(target),
                scenario="single_stream",
                run=new_ulid(),
                id=draft.id,
                points=(make_point(WORKLOAD, latency_s=0.1 * factor),),
                files={"samples.parquet": sha256_of(draft.folder / "samples.parquet")},
            )
        )
    result = run("old", "new", "--results", folder, "--metric", "latency_s.p50")
    assert result.exit_code == 0
    assert "within-run noise: 95 % interval of the change from the requests" in result.stdout
    (row,) = (line for line in result.stdout.splitlines() if "latency_s.p50" in line)
    assert "indicative" in row
    assert " % to +" in row
    answer = json.loads(
        run("old", "new", "--results", folder, "--metric", "latency_s.p50", "--json").stdout
    )
    within = answer["cells"][0]["metrics"][0]["within"]
    assert within["low"] < 1.1 < within["high"]
    assert within["n"] == 1_000


def test_where_no_figure_could_be_compared_the_answer_is_no_all_clear(tmp_path):
    invalid = {"verdict": Verdict(state="invalid")}
    for name in ("one", "two"):
        add(tmp_path / name, "box", new_ulid(), STEADY, **invalid)
    for options in ([], ["--json"]):
        result = run(tmp_path / "one", tmp_path / "two", *options)
        assert result.exit_code == 2
        assert "no figure of" in result.stderr
        assert "5 of 5 runs left out: invalid" in result.stdout


def test_a_cell_that_the_night_did_not_measure_ends_with_status_1(results, tmp_path):
    night = tmp_path / "night"
    add(night, "new", new_ulid(), STEADY)
    result = run(results, night, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["regressions"] == ["chat@old/single_stream: the new side has no run of it"]
    assert found["only_in_base"] == ["chat@old/single_stream"]
