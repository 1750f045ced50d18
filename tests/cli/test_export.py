import subprocess
import sys
from pathlib import Path

from tests.cli.test_report import a_record, place, run

__all__ = ["place"]


def test_a_brief_becomes_a_folder_named_after_it(place):
    result = run("export", "question", "--catalog", "catalog")

    assert result.exit_code == 0, result.output
    folder = place / "reports" / "question"
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {"decision.json", "summary.md", "options.csv", "points.parquet"} <= names
    assert {"figures/chat-latency-p90.svg", "figures/chat-cost.png"} <= names
    assert (
        result.stdout
        == f"{len(names) - 1} files and their sums in reports/question; next: paste summary.md, "
        + ("or open options.csv\n")
    )
    assert "writing options.csv" in result.stderr
    assert "`harness export question`" in (folder / "summary.md").read_text(encoding="utf-8")


def test_the_exported_decision_is_that_of_map_and_can_be_exported_and_reported_again(place):
    run("map", "question", "--catalog", "catalog", "-o", "answer.json")
    first = run("export", "answer.json", "-o", "first", "--no-figures")
    again = run("export", "first/decision.json", "-o", "again", "--no-figures")

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert (place / "first" / "decision.json").read_bytes() == (place / "answer.json").read_bytes()
    assert not (place / "first" / "figures").exists()
    for path in (place / "first").iterdir():
        # The summary names the file that was asked for.
        if path.name not in ("summary.md", "SHA256SUMS"):
            assert (place / "again" / path.name).read_bytes() == path.read_bytes()
    assert run("report", "first/decision.json", "-o", "page.html").exit_code == 0


def test_the_same_command_makes_the_same_folder_anew(place):
    first = run("export", "question", "--catalog", "catalog", "-o", "out")
    again = run("export", "question", "--catalog", "catalog", "-o", "out", "--no-figures")

    assert (first.exit_code, again.exit_code) == (0, 0), again.output
    assert not (place / "out" / "figures").exists()
    refused = run("report", "question", "--catalog", "catalog", "-o", "out/")
    assert refused.exit_code == 1
    assert "harness report did not make it" in refused.stderr


def test_a_folder_in_use_is_refused_and_kept(place):
    (place / "out").mkdir()
    (place / "out" / "mine.txt").write_text("mine")

    result = run("export", "question", "--catalog", "catalog", "-o", "out")

    assert result.exit_code == 1
    assert "out is there already" in result.stderr
    assert "-o" in result.stderr
    assert [p.name for p in (place / "out").iterdir()] == ["mine.txt"]


def test_an_export_from_a_record_that_is_gone_writes_nothing(place):
    run("map", "question", "--catalog", "catalog", "-o", "answer.json")
    path = a_record(place)
    path.rename(path.with_suffix(".gone"))

    result = run("export", "answer.json", "-o", "out")

    assert result.exit_code == 1
    assert "is not in the results" in result.stderr
    assert not (place / "out").exists()


def test_a_report_needs_neither_pandas_nor_matplotlib(place):
    code = (
        "import sys\n"
        "sys.modules['pandas'] = sys.modules['matplotlib'] = None\n"
        "from harness.cli import main\n"
        "main(['report', 'question', '--catalog', 'catalog'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "", "HOME": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (place / "reports" / "question.html").is_file()
