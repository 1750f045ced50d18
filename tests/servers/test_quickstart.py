"""The five commands of docs/served-quickstart.md, run as they stand on a real server."""

import re
import shlex
from pathlib import Path

import pytest

from tests.servers.catalog import Catalog

pytestmark = [pytest.mark.servers, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "served-quickstart.md"
FINDING = 1
"""Exit status of `run` and `map` here: nobody can evaluate a gate on logits that a server keeps."""


def commands():
    """Return the arguments of the page's second block of commands."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = blocks[1].replace("\\\n", " ").splitlines()
    assert all(line.startswith("$ harness ") for line in lines)
    return [shlex.split(line)[2:] for line in lines]


def test_the_page_has_five_commands_from_an_endpoint_to_a_report():
    assert [command[0] for command in commands()] == ["new", "plan", "run", "map", "report"]


def test_the_five_commands_lead_from_an_endpoint_to_a_report(chat_server, llama_folder, tmp_path):
    endpoint = {
        "http://127.0.0.1:8000/v1": chat_server.url,
        "my-org/my-model": str(llama_folder),
        "Acme X1": "CPU of this machine",
        "npu": "cpu",
        "bf16": "fp32",
    }
    place = Catalog(tmp_path, folder=tmp_path)
    for command in commands():
        arguments = [endpoint.get(each, each) for each in command]
        if command[0] == "new":
            # As the page says of this very server.
            assert "--set end_mark=finish_reason" in PAGE.read_text()
            arguments += ["--set", "end_mark=finish_reason"]
        may_find = command[0] in ("run", "map")
        place.harness(*arguments, status=(0, FINDING) if may_find else (0,))
    records = [record for record, _ in place.records()]
    assert {record.cell.scenario.kind for record in records} == {
        "single_stream", "offline", "server",
    }  # fmt: skip
    for record in records:
        assert record.status == "ok"
        assert not {r.code for r in record.verdict.reasons} & {
            "contract",
            "errors",
            "output-length",
        }
    report = (tmp_path / "reports" / "demo.html").read_text()
    assert "my-server" in report
    assert "CPU of this machine, its server" in report
    assert "no logits" in report
