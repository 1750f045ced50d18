"""`harness index`: a line for each record, and a verdict only where there are figures."""

import json

from click.testing import CliRunner

from harness.cli import main
from harness.store import Store
from harness.units import DASH
from tests.factories import make_record


def run(*arguments):
    return CliRunner().invoke(main, ["index", *map(str, arguments)])


def test_a_record_without_figures_has_no_verdict(tmp_path):
    for status in ("ok", "unsupported", "failed"):
        draft = Store(tmp_path).draft()
        draft.commit(make_record(id=draft.id, status=status))

    _, *lines = run("--results", tmp_path).stdout.splitlines()

    assert {line.split()[4]: line.split()[5] for line in lines} == {
        "ok": "valid",
        "unsupported": DASH,
        "failed": DASH,
    }
    assert len(json.loads(run("--results", tmp_path, "--json").stdout)) == 3
