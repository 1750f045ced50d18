"""The page in a real browser: nothing sticks out, nothing runs, nothing is fetched."""

import html
import json
import re
import shutil
import subprocess

import pytest

from harness.report import render
from harness.report.folder import pages
from tests.report.answered import answered
from tests.report.sampled import samples_of
from tests.report.test_page import hostile_answer
from tests.report.whole import whole

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

PROBE = """<!DOCTYPE html><title>probe</title><body>
<iframe style="width:{width}px;height:900px;border:0" srcdoc="{page}"></iframe>
<pre id="found"></pre>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {{
  const inner = frame.contentDocument;
  const root = inner.documentElement;
  const blocks = ".card, figure, .warnings, header, nav, h1, h2, h3, p";
  const clipped = [...inner.querySelectorAll(blocks)]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
    .map(e => e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 40));
  document.getElementById("found").textContent = JSON.stringify({{
    width: root.clientWidth, content: root.scrollWidth, title: document.title, clipped,
    fetched: inner.defaultView.performance.getEntriesByType("resource").map(e => e.name),
  }});
}});
</script>"""


def probe(page, width, folder):
    """Return what the browser finds about `page` in a window of `width` pixels, and its log."""
    wrapper = folder / "probe.html"
    wrapper.write_text(PROBE.format(width=width, page=html.escape(page)), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=10000",
            "--dump-dom",
            wrapper.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console


@pytest.fixture(scope="module")
def page():
    return render(*answered(6))


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_sticks_out(page, width, tmp_path):
    found, console = probe(page, width, tmp_path)
    assert found == {
        "width": width,
        "content": width,
        "title": "probe",
        "clipped": [],
        "fetched": [],
    }
    assert console == []


def served():
    """Return the page of a record of a served target."""
    decision, records = whole()
    made = dict(pages(decision, records, samples=samples_of, history=records, command="x"))
    own = next(r for r in records if r.cell.label == "chat@model-api/server")
    return made[f"run-{own.id}.html"]


def beside(decision, records):
    """Return the pages of a target and of a record with the most on them."""
    made = dict(pages(decision, records, samples=samples_of, history=records, command="x"))
    noisy = next(r for r in records if r.cell.label == "fraud@acme-cpu-16-int8/server")
    return made["target-acme-cpu-16-int8.html"], made[f"run-{noisy.id}.html"]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_where_every_optional_part_is_there(width, tmp_path):
    for each in (render(*whole()), served()):
        found, console = probe(each, width, tmp_path)
        assert (found["content"], found["clipped"], found["fetched"]) == (width, [], [])
        assert console == []


def test_hostile_text_runs_nothing_in_the_optional_parts(tmp_path):
    found, console = probe(render(*hostile_answer(*whole())), 390, tmp_path)
    assert (found["title"], found["content"], found["fetched"]) == ("probe", 390, [])
    assert console == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_a_target_s_or_a_record_s_page(width, tmp_path):
    for each in beside(*answered(6)):
        found, console = probe(each, width, tmp_path)
        assert (found["content"], found["clipped"], found["fetched"]) == (width, [], [])
        assert console == []


def test_hostile_text_runs_nothing_on_a_target_s_or_a_record_s_page(tmp_path):
    for each in beside(*hostile_answer()):
        found, console = probe(each, 390, tmp_path)
        assert (found["title"], found["content"], found["fetched"]) == ("probe", 390, [])
        assert console == []


def test_the_probe_sees_what_sticks_out_and_what_runs(tmp_path):
    wide = (
        "<!DOCTYPE html><p style='width:900px'>x</p><script>parent.document.title='broken'</script>"
    )
    found, _ = probe(wide, 390, tmp_path)
    assert found["content"] > 390
    assert found["title"] == "broken"


def test_hostile_text_runs_nothing_and_sticks_out_nowhere(tmp_path):
    found, console = probe(render(*hostile_answer()), 390, tmp_path)
    assert (found["title"], found["content"], found["fetched"]) == ("probe", 390, [])
    assert console == []
