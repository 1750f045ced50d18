import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from harness.errors import StoreError
from harness.files import sha256_of
from harness.report.export import csv_text, decision_json, export, parquet_bytes
from harness.report.tables import table
from harness.schema import Decision
from tests.report.answered import answered
from tests.report.kinds import EVIDENCE, all_kinds
from tests.report.test_page import hostile_answer

TABLES = (
    "options", "rejections", "fleet_year",
    "unit_costs", "tco", "bill", "break_evens", "pareto", "levers", "relaxations", "tasks",
    "bursts", "fleet_plan", "fleet_units", "fleet_shares", "fleet_limits", "fleet_relaxations",
    "volume_costs", "points", "energy", "records", "clients",
)  # fmt: skip
COLUMNS = (
    ("name", "text", "A name."),
    ("share", "number", "A share."),
    ("things", "count", "Things."),
    ("sure", "flag", "Whether."),
)


def one(name, share=None, things=None, sure=None):
    return table("t", COLUMNS, [{"name": name, "share": share, "things": things, "sure": sure}])


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "out"
    export(*all_kinds(), path, command="harness export branch-bank", figures=False)
    return path


def test_the_folder_has_the_decision_the_summary_and_every_table_twice(folder):
    names = sorted(path.name for path in folder.iterdir())
    tables = ["columns", *TABLES]
    assert names == sorted(
        [f"{t}.{kind}" for t in tables for kind in ("csv", "parquet")]
        + ["SHA256SUMS", "decision.json", "summary.md"]
    )
    text = (folder / "decision.json").read_text()
    assert Decision.model_validate_json(text) == all_kinds()[0]
    assert text == decision_json(all_kinds()[0])
    assert (folder / "summary.md").read_text(encoding="utf-8").startswith("# Which target?")


def test_every_kind_of_evidence_reaches_both_formats(folder):
    for name in ("options", "points", "energy", "records"):
        rows = read_csv(folder / f"{name}.csv")
        frame = pandas.read_parquet(folder / f"{name}.parquet")
        assert len(rows) == len(frame)
        for target, evidence in EVIDENCE.items():
            told = {r["evidence"] for r in rows if r["target"] == target and r["record"]}
            assert told == {evidence}
            assert evidence in set(frame[frame["target"] == target]["evidence"].dropna())
        assert "noisy" in {r["validity"] for r in rows}


def test_what_is_not_known_is_empty_in_csv_and_null_in_parquet(folder):
    rows = read_csv(folder / "points.csv")
    empty = [r for r in rows if r["value"] == ""]
    assert empty
    assert {r["reason"] for r in empty} == {"not supported by n"}
    frame = pandas.read_parquet(folder / "points.parquet")
    assert frame["value"].isna().sum() == len(empty)
    assert frame["n"].dtype == "Int64"


def test_numbers_come_back_exactly(folder):
    decision, _ = all_kinds()
    rows = {(r["workload"], r["target"]): r for r in read_csv(folder / "options.csv")}
    frame = pandas.read_parquet(folder / "options.parquet").set_index(["workload", "target"])
    for each in decision.workloads:
        for option in each.options:
            place = (each.workload, option.target)
            assert float(rows[place]["cost_usd_per_unit"]) == option.cost_per_unit_usd.value
            assert frame.loc[place, "cost_usd_per_unit"] == option.cost_per_unit_usd.value
            assert float(rows[place]["throughput_high"]) == option.throughput.high
    margins = [r["rule_margin"] for r in rows.values() if r["rule_margin"]]
    assert any(m.startswith("-") for m in margins)
    assert all(float(m) < 1 for m in margins)


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("x")', "+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "＝1", "\n-2", "'=1", "=\x1b1"
    ],
)  # fmt: skip
def test_a_text_that_looks_like_a_formula_gets_an_apostrophe(text):
    (row,) = csv.DictReader(io.StringIO(csv_text(one(text))))
    assert row["name"].startswith("'")
    assert not re.search("[\t\n\x1b]", row["name"])
    assert not pandas.read_parquet(io.BytesIO(parquet_bytes(one("=1"))))["name"][0].startswith("'")


def test_numbers_stay_numbers():
    text = csv_text(one("a", -1.5, 3, False))
    assert text == "name,share,things,sure\na,-1.5,3,False\n"
    assert csv_text(one("b")) == "name,share,things,sure\nb,,,\n"
    assert csv_text(one("c", 1e-300)).endswith("c,1e-300,,\n")
    assert csv_text(one("d", 0.1 + 0.2)).endswith("d,0.30000000000000004,,\n")


def test_a_table_without_rows_keeps_its_columns():
    empty = table("t", COLUMNS, [])
    assert csv_text(empty) == "name,share,things,sure\n"
    frame = pandas.read_parquet(io.BytesIO(parquet_bytes(empty)))
    assert [*frame.columns] == ["name", "share", "things", "sure"]


def test_hostile_text_steers_nothing(tmp_path):
    folder = tmp_path / "out"
    export(*hostile_answer(), folder, command="harness export x", figures=False)
    for path in folder.glob("*.csv"):
        data = path.read_text(encoding="utf-8")
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", data)
        rows = read_csv(path)
        assert data.count("\n") == len(rows) + 1
        for row in rows:
            assert None not in row
            for name, cell in row.items():
                if cell[:1] in "=+-@" and cell:
                    float(cell)
                assert len(cell) < 10_000, name
    assert "\x1b" not in (folder / "decision.json").read_text()


def test_the_same_input_gives_the_same_bytes(folder, tmp_path):
    again = tmp_path / "again"
    export(*all_kinds(), again, command="harness export branch-bank", figures=False)
    for path in folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_folder_that_holds_anything_is_left_as_it_is(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(StoreError, match="is there already") as caught:
        export(*answered(), tmp_path, command="x", figures=False)
    assert "-o" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_an_export_that_ends_half_way_leaves_nothing(tmp_path):
    def stop(name):
        if name == "points.csv":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(*answered(), tmp_path / "out", command="x", figures=False, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_columns_file_explains_every_column(folder):
    told = {(r["table"], r["column"]) for r in read_csv(folder / "columns.csv")}
    for name in TABLES:
        with (folder / f"{name}.csv").open(encoding="utf-8") as stream:
            header = next(csv.reader(stream))
        assert {(name, column) for column in header} <= told
    assert json.loads((folder / "decision.json").read_text())["schema"] == 1


def test_other_processes_with_another_locale_zone_and_hash_seed_give_the_same_bytes(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from harness.report.export import export\n"
        "from tests.report.kinds import all_kinds\n"
        "export(*all_kinds(), Path(sys.argv[1]), command='harness export branch-bank')\n"
    )
    made = []
    for number, (seed, zone, locale) in enumerate(
        (("1", "Asia/Tokyo", "C"), ("2", "America/Lima", "de_DE.UTF-8"))
    ):
        folder = tmp_path / str(number)
        subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            cwd=tmp_path,
            env={
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "PYTHONHASHSEED": seed,
                "TZ": zone,
                "LC_ALL": locale,
                "HOME": str(Path.home()),
                "PATH": "",
            },
            check=True,
            capture_output=True,
        )
        made.append({p.relative_to(folder): sha256_of(p) for p in folder.rglob("*.*")})
    assert made[0] == made[1]
    assert len(made[0]) == 62
