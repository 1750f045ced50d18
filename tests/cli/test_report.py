"""`harness report` end to end: a catalog of YAML files, a store of records, one HTML file."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import main
from harness.files import sha256_of
from harness.measure.power_import import save_import
from harness.measure.samples import Samples, write_parquet
from harness.schema.power_import import ImportedReading, PowerImport
from harness.schema.record import EnergyReading
from harness.store import Store
from tests.factories import (
    START,
    make_brief,
    make_point,
    make_record,
    make_target,
    make_workload,
    ulid,
)

WORKLOAD = make_workload()
FAST, SLOW = make_target("fast"), make_target("slow")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with a catalog and a store of two records, and make it the current one."""
    brief = make_brief(targets=["fast", "slow"])
    for kind, documents in (
        ("workloads", [WORKLOAD]),
        ("targets", [FAST, SLOW]),
        ("briefs", [brief]),
    ):
        for document in documents:
            path = tmp_path / "catalog" / kind / f"{document.name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(document.model_dump(mode="json"), sort_keys=False))
    add(tmp_path / "results", FAST, make_point(WORKLOAD, rate=50.0, load=0.8), headline=0)
    add(tmp_path / "results", SLOW, make_point(WORKLOAD, latency_s=0.4, load=0.5), headline=None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add(folder, target, point, **changes):
    draft = Store(folder).draft()
    draft.commit(make_record(WORKLOAD, target, points=(point,), id=draft.id, **changes))


def run(*arguments):
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def a_record(place):
    return sorted((place / "results").glob("runs/*/*/*/*/record.json"))[0]


def test_a_brief_becomes_a_file_named_after_it(place):
    result = run("report", "question", "--catalog", "catalog")

    assert result.exit_code == 0, result.output
    page = (place / "reports" / "question.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "The fast target" in page
    assert "harness report question" in page
    last = result.stdout.splitlines()[-1]
    assert last.startswith("report in reports/question.html; next: ")
    assert [p.name for p in (place / "reports").iterdir()] == ["question.html"]


def test_a_decision_shows_the_records_it_was_made_from(place):
    assert run("map", "question", "--catalog", "catalog", "-o", "answer.json").exit_code == 0
    add(place / "results", FAST, make_point(WORKLOAD, rate=4321.0, load=0.9), headline=0)

    result = run("report", "answer.json", "-o", "sub/page.html")

    assert result.exit_code == 0, result.output
    page = (place / "sub" / "page.html").read_text(encoding="utf-8")
    for pin in json.loads((place / "answer.json").read_text())["records"]:
        assert pin["id"] in page
        assert pin["sha256"] in page
    assert "4,321" not in page
    assert "harness report answer.json" in page


def test_standard_output_is_the_page_and_nothing_else(place):
    piped = run("report", "question", "--catalog", "catalog", "-o", "-")
    run("report", "question", "--catalog", "catalog", "-o", "page.html")

    assert piped.exit_code == 0
    assert piped.stdout == (place / "page.html").read_text(encoding="utf-8")
    assert not (place / "reports").exists()


def test_a_record_that_is_gone_is_refused(place):
    run("map", "question", "--catalog", "catalog", "-o", "answer.json")
    path = a_record(place)
    path.rename(path.with_suffix(".gone"))

    result = run("report", "answer.json")

    assert result.exit_code == 1
    assert f"record {path.parent.name} (chat@fast/server) is not in the results" in result.stderr
    assert "--results" in result.stderr
    assert not (place / "reports").exists()


def test_a_record_that_changed_is_refused(place):
    run("map", "question", "--catalog", "catalog", "-o", "answer.json")
    path = a_record(place)
    path.write_text(
        path.read_text().replace('"harness_version": "0.1.0"', '"harness_version": "9"')
    )

    result = run("report", "answer.json")

    assert result.exit_code == 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() in result.stderr
    assert not (place / "reports").exists()


def import_energy(place, joules):
    """Join a reading of `joules` from a wall meter to the first record; return the file."""
    path = a_record(place)
    reading = EnergyReading(
        meter="wall",
        joules=joules,
        duration_s=10.0,
        boundary="wall",
        provenance="external",
        uncertainty=0.05,
    )
    joined = ImportedReading(
        record=path.parent.name,
        record_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        point=0,
        began_at=None,
        reading=reading,
    )
    document = PowerImport(
        schema=1,
        id=ulid(77),
        imported_at=START,
        logs=(),
        sensor=0.05,
        sensor_source="test",
        skew_s=1.0,
        readings=(joined,),
        harness_version="0.1.0",
    )
    return save_import(document, place / "results")


def test_a_record_with_other_wall_readings_than_then_is_refused(place):
    run("map", "question", "--catalog", "catalog", "-o", "before.json")
    imported = import_energy(place, 30_000.0)

    result = run("report", "before.json")

    assert result.exit_code == 1
    assert f"import {ulid(77)} (sha256 " in result.stderr
    assert "none then" in result.stderr
    run("map", "question", "--catalog", "catalog", "-o", "after.json")
    assert run("report", "after.json", "-o", "page.html").exit_code == 0
    page = (place / "page.html").read_text(encoding="utf-8")
    assert hashlib.sha256(imported.read_bytes()).hexdigest() in page
    # The same id with other joules in it is another import.
    import_energy(place, 10.0)
    assert run("report", "after.json").exit_code == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 1}', b"\xff\x00", b"null"])
def test_what_is_no_decision_is_a_wrong_specification(place, content):
    (place / "odd.json").write_bytes(content)

    result = run("report", "odd.json")

    assert result.exit_code == 2
    assert "odd.json: not a decision" in result.stderr
    assert "harness map" in result.stderr


def test_a_file_that_is_not_there_and_a_brief_nobody_knows(place):
    assert run("report", "absent.json").exit_code == 2
    unknown = run("report", "questoin", "--catalog", "catalog")
    assert unknown.exit_code == 2
    assert "question" in unknown.stderr


def test_a_place_that_cannot_be_written_is_told(place):
    (place / "reports").write_text("a file in the way")

    result = run("report", "question", "--catalog", "catalog")

    assert result.exit_code == 1
    assert "cannot write reports/question.html" in result.stderr


def test_nothing_heavy_is_needed(place):
    code = (
        "import sys\n"
        "for name in ('torch', 'onnxruntime', 'openvino', 'onnx', 'pandas', 'lightgbm'):\n"
        "    sys.modules[name] = None\n"
        "from harness.cli import main\n"
        "main(['report', 'question', '--catalog', 'catalog'])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={"PYTHONPATH": str(root), "PATH": "", "HOME": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (place / "reports" / "question.html").is_file()


def test_a_name_that_ends_in_a_slash_is_a_folder_of_pages(place):
    result = run("report", "question", "--catalog", "catalog", "-o", "out/")

    assert result.exit_code == 0, result.output
    names = {path.name for path in (place / "out").iterdir()}
    ids = {a.parent.name for a in (place / "results").glob("runs/*/*/*/*/record.json")}
    assert names == {
        "SHA256SUMS",
        "index.html",
        "target-fast.html",
        "target-slow.html",
        *(f"run-{each}.html" for each in ids),
    }
    assert 'href="target-fast.html"' in (place / "out" / "index.html").read_text(encoding="utf-8")
    assert "harness report question -o out/" in (place / "out" / "target-slow.html").read_text()
    assert result.stdout.splitlines()[-1] == (
        "5 pages in out; next: open out/index.html in a browser"
    )


def test_a_page_of_a_record_shows_its_samples(place):
    samples = Samples(0, 0)
    samples.rows = [
        (0, n, n * 10**7, n * 10**7, -1, n * 10**7 + 10**6, 1, 1, 1, 0) for n in range(9)
    ]
    draft = Store(place / "results").draft()
    write_parquet([samples], draft.folder / "samples.parquet")
    files = {"samples.parquet": sha256_of(draft.folder / "samples.parquet")}
    point = make_point(WORKLOAD, rate=60.0, load=0.9)
    draft.commit(make_record(WORKLOAD, FAST, points=(point,), id=draft.id, files=files))

    result = run("report", "question", "--catalog", "catalog", "-o", "out/")

    assert result.exit_code == 0, result.output
    page = (place / "out" / f"run-{draft.id}.html").read_text(encoding="utf-8")
    assert "9 of 9 answered requests are drawn" in page
    assert files["samples.parquet"] in page


def test_the_nightly_report_takes_the_place_of_the_last_one(place):
    assert run("report", "question", "--catalog", "catalog", "-o", "out/").exit_code == 0
    record = a_record(place).parent
    shutil.rmtree(record)

    result = run("report", "question", "--catalog", "catalog", "-o", "out")

    assert result.exit_code == 0, result.output
    assert (place / "out" / "index.html").is_file()
    assert not (place / "out" / f"run-{record.name}.html").exists()


def test_a_folder_that_holds_anything_is_refused(place):
    (place / "out").mkdir()
    (place / "out" / "mine.txt").write_text("x")

    result = run("report", "question", "--catalog", "catalog", "-o", "out")

    assert result.exit_code == 1
    assert "out is there already" in result.stderr
    assert [path.name for path in (place / "out").iterdir()] == ["mine.txt"]
