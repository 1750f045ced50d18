"""`harness run` with a key and a proxy's password: sent where they belong, found nowhere after."""

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml

from harness.schema import Record
from harness.store import Store
from tests.adapters.http.served import make_served
from tests.cli.test_run_served import Chatterbox, chatterbox
from tests.factories import make_fraud_workload, make_workload
from tests.servers.oip_grpc import served
from tests.servers.proxy import proxied

WEIGHTS = Path(__file__).parents[2] / "workloads" / "weights" / "fraud.safetensors"
KEY = "canary/Zq7vX3+pL9mK2rT8w"
PASSWORD = "warden/Bd4sN8+hJ6cF1gY5u"
BASIC = f"Basic {base64.b64encode(f'user:{PASSWORD}'.encode()).decode()}"


def forms(text: str) -> set[bytes]:
    """Return `text` as it could stand in a file: plain, percent-encoded, base64 at any offset."""
    found = {text, text[7:], quote(text), quote(text, safe=""), quote_plus(text)}
    for before in ("", "x", "xx", "Bearer ", "user:"):
        encoded = base64.b64encode(f"{before}{text}".encode()).decode()
        found.add(encoded.rstrip("=")[8 if before else 0 : -1])
    return {form.encode() for form in found}


def write(folder: Path, document: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tree = document.model_dump(mode="json", exclude_none=True)
    (folder / f"{document.name}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def run(place: Path, workload: str, **variables: str) -> tuple[Record, str]:
    """Return the record of the one cell, and what the command printed."""
    command = [sys.executable, "-m", "harness.cli", "run", "--catalog", "catalog"]
    ended = subprocess.run(
        [*command, "--results", "results", "-w", workload, "-t", "served"],
        cwd=place,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    (stored,) = Store(place / "results").records()
    return stored.record, ended.stdout + ended.stderr


def assert_nowhere(place: Path, printed: str, *secrets: str) -> None:
    found = {"output": printed.encode()}
    found |= {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert len(found) > 4
    for where, content in found.items():
        for secret in secrets:
            for form in forms(secret):
                assert form not in content, where


def fraud(place: Path) -> None:
    workloads = place / "catalog" / "workloads"
    write(workloads, make_fraud_workload(scenarios=[{"kind": "single_stream"}]))
    (workloads / "weights").mkdir()
    shutil.copy(WEIGHTS, workloads / "weights")


def test_a_key_in_grpc_metadata_is_sent_and_found_nowhere(tmp_path: Path) -> None:
    fraud(tmp_path)
    with served() as server:
        url, key = f"http://127.0.0.1:{server.port}", {"env": "CANARY_KEY"}
        target = make_served(url, protocol="oip-grpc", model="no-key", api_key=key)
        write(tmp_path / "catalog" / "targets", target)
        record, printed = run(tmp_path, "fraud", CANARY_KEY=KEY)
    assert {seen.get("authorization") for seen in server.seen} == {f"Bearer {KEY}"}
    assert "the server repeats the key" in str(record.session["errors"])
    assert_nowhere(tmp_path, printed, KEY)


@pytest.mark.parametrize("protocol", ["openai-chat", "oip-grpc"])
def test_a_proxys_password_and_the_key_behind_it_are_found_nowhere(
    tmp_path: Path, protocol: str
) -> None:
    variables = {
        "CANARY_KEY": KEY,
        "A_PROXY": "",
        "no_proxy": "",
        "no_grpc_proxy": "",
    }
    target = {"protocol": protocol, "api_key": {"env": "CANARY_KEY"}, "proxy": {"env": "A_PROXY"}}
    with proxied(password=BASIC) as proxy, chatterbox() as url, served() as server:
        user = f"user:{quote(PASSWORD, safe='')}"
        variables["A_PROXY"] = f"http://{user}@127.0.0.1:{proxy.port}"
        if protocol == "oip-grpc":
            fraud(tmp_path)
            url = f"http://127.0.0.1:{server.port}"
            document = make_served(url, model="no-key", **target)
        else:
            chat = make_workload(name="fraud", scenarios=[{"kind": "single_stream"}])
            write(tmp_path / "catalog" / "workloads", chat)
            document = make_served(url, **target)
        write(tmp_path / "catalog" / "targets", document)
        record, printed = run(tmp_path, "fraud", **variables)
        if protocol == "openai-chat":
            assert Chatterbox.seen == {f"Bearer {KEY}"}
    assert record.session["proxy"] == "named by A_PROXY"
    assert proxy.asked
    assert_nowhere(tmp_path, printed, KEY, PASSWORD)
