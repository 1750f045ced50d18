"""The page in a real browser: nothing sticks out, nothing runs, nothing is fetched."""

import html
import json
import re
import shutil
import subprocess

import pytest

from harness.report import render
from tests.report.answered import answered
from tests.report.test_page import hostile_answer

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
