"""What is built is what runs: sdist, wheel and editable install, each used from another folder."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(*command, **options):
    return subprocess.run(
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    ).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a folder with the sdist, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def sources(built, tmp_path_factory):
    """Return the folder of the unpacked sdist."""
    folder = tmp_path_factory.mktemp("sources")
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    [unpacked] = folder.iterdir()
    return unpacked


def declared(folder):
    """Return the YAML files that are entries, in the checkout `folder`, as the wheel calls them."""
    names = {"workloads": "workloads", "targets": "targets", "reports/briefs": "briefs"}
    return {
        f"{name}/{path.relative_to(folder / source).as_posix()}"
        for source, name in names.items()
        for path in (folder / source).rglob("*.yaml")
        if not path.name.startswith("_")
    }


def listed(*, python=sys.executable, cwd="/", **environment):
    """Return the entries that `harness list` finds when it runs in the folder `cwd`."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**inherited, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    code = "from harness.cli import main; main(['list', '--json'])"
    rows = json.loads(run(python, "-c", code, cwd=cwd, env=environment))
    return [row for row in rows if row["kind"] in ("workload", "target", "brief")]


def test_the_sdist_holds_what_it_takes(sources):
    assert declared(sources) == declared(ROOT)
    assert (sources / "LICENSE").is_file()
    assert not (sources / ".venv").exists()
    assert not list((sources / "results").rglob("*.parquet"))


def test_the_wheel_holds_the_data_and_nothing_else(built):
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    data = {name.removeprefix("harness/_data/") for name in names if "/_data/" in name}
    assert declared(ROOT) <= data
    weights = {f"workloads/weights/{p.name}" for p in (ROOT / "workloads/weights").iterdir()}
    assert weights
    assert weights <= data
    assert "harness/py.typed" in names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"harness", f"accelerator_harness-{harness.__version__}.dist-info"}


def test_an_installed_wheel_finds_every_file_from_anywhere(built, tmp_path):
    [wheel] = built.glob("*.whl")
    options = ["--no-deps", "--no-index", "--quiet", "--target", tmp_path]
    run(sys.executable, "-m", "pip", "install", *options, wheel)
    rows = listed(PYTHONPATH=str(tmp_path))
    found = {Path(row["path"]).relative_to(tmp_path / "harness/_data").as_posix() for row in rows}
    assert found == declared(ROOT)
    assert {row["origin"] for row in rows} == {"packaged"}
    assert {row["status"] for row in rows} == {"ok"}
    code = "from harness.cli import main; main(['validate'])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = run(sys.executable, "-c", code, cwd="/", env=environment)
    assert done.endswith(f"{len(rows)} files fine\n")


def editable_needs_a_package_that_is_missing():
    """Without dev-mode-dirs, hatchling builds editable wheels with a package of its own choice."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    explicit = "dev-mode-dirs" in settings.get("build", {})
    return not explicit and importlib.util.find_spec("editables") is None


@pytest.mark.skipif(
    editable_needs_a_package_that_is_missing(), reason="needs the package 'editables'"
)
def test_an_editable_install_reads_the_checkout(sources, tmp_path):
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin/python"
    [site] = environment.glob("lib/python*/site-packages")
    # The dependencies of the environment that the tests run in, without its own editable install.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", *options, "--editable", sources)
    before = listed(python=python)
    assert {row["origin"] for row in before} == {"checkout"}
    assert {Path(row["path"]).is_relative_to(sources) for row in before} == {True}
    [target, *_] = sorted((sources / "targets").glob("[a-z]*.yaml"))
    text = target.read_text().replace(f"name: {target.stem}", "name: edited-live")
    added = sources / "targets/edited-live.yaml"
    added.write_text(text)
    try:
        after = {row["name"]: row["status"] for row in listed(python=python)}
    finally:
        added.unlink()
    assert after["edited-live"] == "ok"
    assert len(after) == len(before) + 1
    assert not list(site.rglob("*.yaml"))
    assert not (sources / "harness/_data").exists()
