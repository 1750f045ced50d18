"""A folder that a command made is made again in the same place; any other is left as it is."""

import shutil
import subprocess

import pytest

from harness.errors import SpecError, StoreError
from harness.report.made import SUMS, make_folder

PAGES = {"index.html": "first", "run-1.html": "a record", "figures/cost.svg": "a figure"}


def make(folder, pages=PAGES, by="harness report"):
    return make_folder(folder, by, pages.items(), lambda name: None)


def held(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS
    }


def test_nothing_of_the_last_time_stays(tmp_path):
    make(tmp_path / "out")
    assert make(tmp_path / "out", {"index.html": "second"}) == ("index.html",)

    assert held(tmp_path / "out") == {"index.html": "second"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_page_that_was_taken_away_does_not_stand_in_the_way(tmp_path):
    make(tmp_path / "out")
    (tmp_path / "out" / "run-1.html").unlink()
    make(tmp_path / "out")

    assert held(tmp_path / "out") == PAGES


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("notes.txt", "mine", "holds notes.txt, not written by harness report"),
        ("figures/mine.svg", "mine", "holds figures/mine.svg, not written by harness report"),
        ("index.html", "edited", "index.html in it was changed since harness report wrote it"),
        (SUMS, "edited", "harness report did not make it"),
        (SUMS, "\udcff", "harness report did not make it"),
    ],
)
def test_what_someone_put_into_the_folder_is_not_lost(tmp_path, name, text, said):
    folder = tmp_path / "out"
    make(folder)
    (folder / name).write_text(text, errors="surrogateescape")
    before = held(folder)

    with pytest.raises(StoreError, match="is there already") as caught:
        make(folder, {"index.html": "second"})

    assert said in caught.value.message
    assert "-o" in caught.value.hint
    assert held(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_comes_into_the_folder_while_the_pages_are_made_is_not_lost(tmp_path):
    folder = tmp_path / "out"
    make(folder)

    def slow():
        yield "index.html", "second"
        (folder / "notes.txt").write_text("mine")

    with pytest.raises(StoreError, match=r"holds notes\.txt"):
        make_folder(folder, "harness report", slow(), lambda name: None)
    assert held(folder) == {**PAGES, "notes.txt": "mine"}


def test_a_folder_of_another_command_or_of_nobody_is_left_as_it_is(tmp_path):
    make(tmp_path / "out", by="harness export")
    with pytest.raises(StoreError, match="harness report did not make it"):
        make(tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="no folder"):
        make(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty")
    assert held(tmp_path / "out") == held(tmp_path / "empty") == PAGES


def test_a_link_to_the_folder_stays_a_link(tmp_path):
    make(tmp_path / "monday")
    (tmp_path / "latest").symlink_to("monday")
    make(tmp_path / "latest", {"index.html": "second"})

    assert (tmp_path / "latest").is_symlink()
    assert held(tmp_path / "monday") == {"index.html": "second"}


@pytest.mark.parametrize("name", [".", ".."])
def test_the_working_folder_is_not_pulled_away(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SpecError, match="the folder that you work in") as caught:
        make(tmp_path / "here" / name)
    assert "-o" in caught.value.hint


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_sums_are_those_that_sha256sum_checks(tmp_path):
    make(tmp_path / "out")
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(": OK") == len(PAGES)
