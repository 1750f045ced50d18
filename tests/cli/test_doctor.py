import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import harness
from harness import plugins
from harness.cli import doctor, main
from harness.hardware import Detected
from harness.meters.base import MeterInfo, Unmeasurable
from harness.plugins import Plugin
from tests.factories import make_target


@pytest.fixture
def only(monkeypatch):
    """Leave no plugins but those that a test adds to the lists."""
    lists = {"adapters": [], "meters": []}
    monkeypatch.setattr(doctor, "adapters", lambda: lists["adapters"])
    monkeypatch.setattr(doctor, "meters", lambda: lists["meters"])
    return lists


def run(*arguments, status=0):
    result = CliRunner().invoke(main, ["doctor", *map(str, arguments)])
    assert result.exit_code == status, result.output
    assert result.stderr == ""
    return result.stdout


def checks(*arguments, status=0):
    found = json.loads(run(*arguments, "--json", status=status))
    assert found["schema"] == 1
    assert found["version"] == harness.__version__
    return {(check["section"], check["name"]): check for check in found["checks"]}


def test_what_it_reports(only, tmp_path):
    found = checks("--results", tmp_path)
    place = str(Path(harness.__file__).parent)
    assert place in found["installation", "harness"]["text"]
    assert found["packages", "numpy"]["state"] == "ok"
    assert found["hardware", "logical_cores"]["state"] == "ok"
    assert found["machine", "disk"]["text"].endswith(f"GB free for {tmp_path}")
    assert found["catalog", "checkout"]["state"] == "ok"
    assert found["machine", "load"]["state"] in ("ok", "warning")
    text = run("--results", tmp_path)
    assert text.splitlines()[-1] == "nothing is broken"


def test_a_broken_plugin_shows_its_last_traceback_line(only):
    only["adapters"].append(Plugin("bad", "acme", "acme_absent.adapter:X", "harness.adapters"))
    found = checks(status=1)["adapters registered", "bad"]
    assert found["state"] == "broken"
    assert "ModuleNotFoundError: No module named 'acme_absent'" in found["text"]
    assert found["remedy"] == "repair or reinstall acme"
    assert run(status=1).splitlines()[-1] == "1 broken"


def test_a_name_registered_twice(only):
    value = "harness.adapters.fake:FakeAdapter"
    for owner in ("acme", "zenith"):
        only["adapters"].append(Plugin("fake", owner, value, "harness.adapters"))
    assert "registered twice: by acme and zenith" in run(status=1)


class Meter:
    def __init__(self, answer):
        self.answer = answer

    def probe(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        pass


@pytest.mark.parametrize(
    ("answer", "state", "text", "status"),
    [
        (
            MeterInfo("m", "chip", ("gpu:0",), "NVML", 0.1, 0.05, "declared"),
            "ok",
            "chip: gpu:0, counter, a value every 100 ms (from NVML)",
            0,
        ),
        (Unmeasurable("no counter", "use bare metal"), "missing", "no counter", 0),
        (OSError("boom"), "broken", "probe() raised OSError: boom", 1),
    ],
)
def test_meters_are_probed(only, monkeypatch, answer, state, text, status):
    plugin = Plugin("m", "acme", "harness.meters.rapl:RaplMeter", "harness.meters")
    only["meters"].append(plugin)
    monkeypatch.setattr(doctor, "meter", lambda name: Meter(answer))
    check = checks(status=status)["meters", "m"]
    assert (check["state"], check["text"]) == (state, text)
    if state == "missing":
        assert check["remedy"] == "use bare metal"


def test_the_model_and_wall_logs_are_told_where_no_meter_works(only):
    found = checks()
    assert "tdp_w" in found["meters", "model"]["text"]
    assert "after the run" in found["meters", "wall"]["text"]
    assert found["meters", "wall"]["remedy"].startswith("harness import power")


def test_every_registered_meter_works_or_says_why_and_what_to_do(only):
    only["meters"] += plugins.meters()
    found = checks()
    for name in ("nvml", "rapl", "hwmon", "amd"):
        check = found["meters", name]
        assert check["state"] in ("ok", "missing"), check
        assert check["text"]
        assert check["state"] == "ok" or check["remedy"], check


def test_missing_packages(only, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else "1.0")
    check = checks()["packages", "torch"]
    assert (check["state"], check["remedy"]) == (
        "missing",
        "pip install 'accelerator-harness[torch]'",
    )
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert checks(status=1)["packages", "numpy"]["state"] == "broken"


@pytest.mark.parametrize(
    ("governor", "state"),
    [
        (Detected("performance", "sysfs"), "ok"),
        (Detected("powersave", "sysfs"), "warning"),
        (Detected(None, reason="no cpufreq"), "note"),
    ],
)
def test_the_governor(governor, state, tmp_path):
    [check] = [
        check
        for check in doctor._machine({"cpu_governor": governor}, tmp_path)
        if check.name == "cpu governor"
    ]
    assert check.state == state
    assert bool(check.remedy) == (state == "warning")


@pytest.mark.parametrize(("load", "state"), [(0.1, "ok"), (50.0, "warning")])
def test_the_load(monkeypatch, load, state, tmp_path):
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (load, 0.0, 0.0))
    facts = {"cpu_governor": Detected("performance", "sysfs")}
    [check] = [check for check in doctor._machine(facts, tmp_path) if check.name == "load"]
    assert check.state == state


def test_broken_catalog_files_are_named(only, tmp_path):
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/bad.yaml").write_text("x")
    good = make_target("good").model_dump(mode="json")
    (tmp_path / "targets/good.yaml").write_text(yaml.safe_dump(good))
    check = checks("--catalog", tmp_path, status=1)["catalog", "targets"]
    assert check["text"].endswith("of which cannot be read: bad")
    assert "none of the folders" in run("--catalog", tmp_path / "targets", status=1)
