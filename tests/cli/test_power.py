"""`harness power`: live readings over real files, and what is said where nothing can be read."""

import json
import os
import pty
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner

from harness import plugins
from harness.cli import main
from harness.meters.base import MeterInfo, Unmeasurable
from harness.meters.hwmon import HwmonMeter
from harness.meters.rapl import RaplMeter
from tests.cli.test_run import write
from tests.factories import make_target
from tests.meters.test_rapl import SPAN_UJ, zone


def run(place, *arguments, status=0):
    result = CliRunner().invoke(main, ["power", "box", "--catalog", str(place), *arguments])
    assert result.exit_code == status, result.output
    return result


class Writer:
    """Counts real files up at a known power until it is stopped, as the kernel would."""

    def __init__(self, watts, span_uj, *paths):
        self.done = threading.Event()
        self.watts, self.span_uj = watts, span_uj
        self.starts = {path: int(path.read_text()) for path in paths}
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.began_s = time.perf_counter()
        self.thread.start()
        return self

    def run(self):
        while not self.done.wait(0.001):
            added_uj = round(self.watts * (time.perf_counter() - self.began_s) * 1e6)
            for path, start_uj in self.starts.items():
                new = path.with_suffix(".new")
                new.write_text(f"{(start_uj + added_uj) % self.span_uj}\n")
                new.replace(path)  # at once, as a read of the kernel's file is

    def __exit__(self, *error):
        self.done.set()
        self.thread.join()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A catalog with a CPU target, whose meters read trees of files under the same folder."""
    write(tmp_path / "targets", make_target("box"))
    made = {
        "rapl": lambda: RaplMeter(tmp_path / "powercap"),
        "hwmon": lambda: HwmonMeter(tmp_path / "class"),
    }
    monkeypatch.setattr(plugins, "meter", lambda name: made[name]())
    return tmp_path


@pytest.fixture
def drawing(place):
    """The same with one package that draws 60 W."""
    counter = zone(place / "powercap", "intel-rapl:0", "package-0", 1_000_000)
    with Writer(60.0, SPAN_UJ, counter):
        yield place


def test_a_line_a_reading_and_the_mean(drawing):
    out = run(drawing, "--seconds", "0.9", "--interval", "0.3").stdout.splitlines()

    assert out[0] == "power of box: The box target"
    assert out[1].startswith("  rapl: package, cpu:0, a value every ")
    assert out[2].startswith("  hwmon: does not read here: ")
    assert out[3].startswith("    -> ")
    assert out[5].split() == ["rapl", "(package)"]
    readings = out[6:-3]
    assert 1 <= len(readings) <= 3
    assert [line.split()[0] for line in out[-3:]] == ["mean", "lowest", "highest"]
    # On a busy machine the counter's writer falls behind and catches up.
    assert 15 < float(out[-3].split()[1]) < 240


def test_json_is_the_meters_and_then_a_line_a_reading(drawing):
    lines = run(drawing, "--seconds", "0.5", "--interval", "0.2", "--json").stdout.splitlines()

    head, *readings = map(json.loads, lines)
    assert head["target"] == "box"
    [meter] = head["meters"]
    assert (meter["meter"], meter["boundary"], meter["covers"]) == ("rapl", "package", ["cpu:0"])
    [missing] = head["missing"]
    assert missing["meter"] == "hwmon"
    assert missing["reason"]
    assert missing["remedy"]
    assert readings
    for reading in readings:
        assert reading["watts"]["rapl"] == pytest.approx(60, rel=0.9)
        assert reading["reasons"] == {}


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_where_no_meter_works_it_says_why_and_ends_with_3(place, option):
    result = run(place, "--seconds", "5", *option, status=3)

    assert "powercap" in result.stdout
    assert "no meter reads the device of box here" in result.stderr
    assert "harness import power" in result.stderr
    assert " W" not in result.stdout


class Mute:
    """A meter that works and has no power to show."""

    def __init__(self, answer):
        self.answer = answer

    def probe(self):
        return MeterInfo("rapl", "package", ("cpu:0",), "test", 0.001, 0.05, "declared")

    def watts(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        pass


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "the meter gives no power now"),
        (float("nan"), "the meter gives no power now"),
        (OSError("gone"), "the meter failed: OSError: gone"),
    ],
)
def test_a_meter_without_a_figure_is_never_0_watts(place, monkeypatch, answer, reason):
    class Gone:
        def probe(self):
            return Unmeasurable("none here", "buy one")

    monkeypatch.setattr(plugins, "meter", lambda n: Mute(answer) if n == "rapl" else Gone())
    text = run(place, "--seconds", "0.1").stdout

    assert reason in text
    assert "mean" not in text
    lines = run(place, "--seconds", "0.1", "--json").stdout.splitlines()
    reading = json.loads(lines[1])
    assert (reading["watts"], reading["reasons"]) == ({"rapl": None}, {"rapl": reason})


def test_a_target_that_is_not_there_is_a_wrong_use(place):
    result = CliRunner().invoke(main, ["power", "bux", "--catalog", str(place)])

    assert result.exit_code == 2
    assert "box" in result.stderr


TERMINAL = """
import sys
from pathlib import Path
from harness import plugins
from harness.cli import main
from harness.meters.hwmon import HwmonMeter
from harness.meters.rapl import RaplMeter
root = Path(sys.argv[1])
made = {"rapl": RaplMeter(root / "powercap"), "hwmon": HwmonMeter(root / "class")}
plugins.meter = made.__getitem__
main(["power", "box", "--catalog", str(root), "--seconds", "0.5", "--interval", "0.2"])
"""


def test_on_a_terminal_one_line_changes(drawing):
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", TERMINAL, str(drawing)], stdout=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # the child has closed its end
            break
        if not part:
            break
        text += part
    os.close(ours)

    assert child.wait(30) == 0
    assert text.count(b"\r\x1b[2K") >= 2
    assert b"mean" in text.splitlines()[-3]
