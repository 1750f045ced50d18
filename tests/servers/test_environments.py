"""Environments are made once, whole or not at all, also by two processes at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.environments import WHOLE, NotInstalled, environment, place

ROOT = Path(__file__).parents[2]
ASK = "import sys; from tests.servers.environments import *; environment({!r}, cache=Path({!r}))"


def requirements(folder, text="# nothing\n"):
    path = folder / "few.txt"
    path.write_text(text)
    return path


def test_an_environment_is_made_once(tmp_path):
    path = requirements(tmp_path)
    folder = environment(str(path), cache=tmp_path / "cache")
    python = folder / "bin" / "python"
    made = python.lstat().st_mtime_ns
    assert environment(str(path), cache=tmp_path / "cache") == folder
    assert python.lstat().st_mtime_ns == made
    subprocess.run([python, "-c", "import json"], check=True)


def test_another_list_is_another_environment(tmp_path):
    first = place(requirements(tmp_path), tmp_path)
    assert place(requirements(tmp_path, "# nothing else\n"), tmp_path) != first


def test_a_layered_one_reads_the_packages_of_the_tests_too(tmp_path):
    check = "import numpy"
    for text, status in (("# layered\n", 0), ("# nothing\n", 1)):
        folder = environment(str(requirements(tmp_path, text)), cache=tmp_path / "cache")
        ended = subprocess.run([folder / "bin" / "python", "-c", check], capture_output=True)
        assert ended.returncode == status


def test_what_a_killed_process_left_is_made_again(tmp_path):
    path = requirements(tmp_path)
    folder = place(path, tmp_path / "cache")
    folder.mkdir(parents=True)
    (folder / "half").touch()
    environment(str(path), cache=tmp_path / "cache")
    assert (folder / WHOLE).is_file()
    assert not (folder / "half").exists()


def test_two_processes_make_one_environment(tmp_path):
    path, cache = requirements(tmp_path), tmp_path / "cache"

    def ask(_):
        command = [sys.executable, "-c", ASK.format(str(path), str(cache))]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(ask, range(2)))
    assert [each.returncode for each in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert [each.name for each in cache.iterdir() if each.is_dir()] == [place(path, cache).name]


def test_what_cannot_be_installed_says_why_and_leaves_nothing(tmp_path):
    path = requirements(tmp_path, "./no-such-folder/no_such_package.whl\n")
    with pytest.raises(NotInstalled, match=r"pip failed: .*no_such_package"):
        environment(str(path), cache=tmp_path / "cache")
    assert not place(path, tmp_path / "cache").exists()


def test_what_is_not_to_be_installed_names_the_command(tmp_path):
    path = requirements(tmp_path)
    with pytest.raises(NotInstalled, match=r"python -m tests\.servers\.install"):
        environment(str(path), cache=tmp_path / "cache", install=False)
    assert not (tmp_path / "cache").exists()
