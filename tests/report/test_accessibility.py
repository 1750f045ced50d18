"""The pages by the rules of WCAG 2.2 AA that axe-core checks, in a real browser."""

import html
import json
import re
import subprocess
from functools import cache

import pytest

from harness.report import render
from harness.report.folder import pages
from tests.report.answered import answered
from tests.report.axe import NotFetchedError, axe_script
from tests.report.sampled import samples_of
from tests.report.test_browser import CHROMIUM, FLAGS, served
from tests.report.whole import whole

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa")
VIEWS = [(width, theme) for width in (1280, 390) for theme in ("light", "dark")]
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n')

RUNNER = """<script src="axe.min.js"></script><script>
window.addEventListener("load", () => axe.run(document, {{runOnly: {tags}}}).then(found =>
  parent.postMessage({{
    name: window.name,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    checked: found.passes.length,
    violations: found.violations.map(v =>
      v.id + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(" | ")),
  }}, "*")));
</script>"""

WRAPPER = """<!DOCTYPE html><title>axe</title><body>{frames}
<pre id="found"></pre>
<script>
const found = [];
addEventListener("message", event => {{
  found.push(event.data);
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


@cache
def the_script():
    try:
        return axe_script()
    except NotFetchedError as reason:
        return reason


def violations(page, folder):
    """Return {(width, theme): what axe-core finds} of `page`."""
    script = the_script()
    if isinstance(script, NotFetchedError):
        pytest.skip(str(script))
    (folder / "axe.min.js").write_text(script, encoding="utf-8")
    # The page forbids scripts, also ours: what is checked is the page without that line.
    opened, found = POLICY.subn("", page)
    assert found == 1
    runner = RUNNER.format(tags=json.dumps(TAGS))
    (folder / "page.html").write_text(opened.replace("</body>", f"{runner}</body>"), "utf-8")
    frames = "".join(
        f'<iframe name="{width} {theme}" src="page.html" '
        f'style="width:{width}px;height:900px;color-scheme:{theme}"></iframe>'
        for width, theme in VIEWS
    )
    (folder / "axe.html").write_text(WRAPPER.format(frames=frames), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            "--allow-file-access-from-files",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=120000",
            "--dump-dom",
            (folder / "axe.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert text is not None
    told = {each.pop("name"): each for each in json.loads(html.unescape(text[1]) or "[]")}
    assert set(told) == {f"{width} {theme}" for width, theme in VIEWS}
    for name, each in told.items():
        assert each["dark"] == name.endswith("dark")
        assert each["checked"] > 10
    return {name: each["violations"] for name, each in told.items()}


@pytest.fixture(scope="module")
def made():
    decision, records = answered(6)
    return dict(
        pages(decision, records, samples=samples_of, history=records, command="harness report x")
    )


CLEAN = {f"{width} {theme}": [] for width, theme in VIEWS}


@pytest.mark.parametrize("name", ["index.html", "target-acme-cpu-16-int8.html"])
def test_a_page_breaks_no_rule(made, name, tmp_path):
    assert violations(made[name], tmp_path) == CLEAN


def test_the_decision_over_many_targets_breaks_no_rule(tmp_path):
    assert violations(render(*answered(18)), tmp_path) == CLEAN


@pytest.mark.parametrize("page", [lambda: render(*whole()), served], ids=["decision", "record"])
def test_a_page_with_every_optional_part_breaks_no_rule(page, tmp_path):
    assert violations(page(), tmp_path) == CLEAN


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_a_record_s_page_breaks_no_rule(made, status, tmp_path):
    record = next(r for r in answered(6)[1] if r.status == status)
    assert violations(made[f"run-{record.id}.html"], tmp_path) == CLEAN


def test_the_check_sees_a_fault(made, tmp_path):
    faulty = made["target-edge-box.html"].replace("<h1>", '<img src="data:,"><h1>')
    assert all("image-alt" in str(found) for found in violations(faulty, tmp_path).values())
