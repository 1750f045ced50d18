"""`harness run` on served targets: every scenario, against the reference server."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import yaml

from harness.measure.samples import read_parquet
from harness.schema import Record
from harness.store import Store
from tests.adapters.http.served import make_served
from tests.factories import make_fraud_workload, make_workload
from tests.servers.process import Reference, refused_port

WEIGHTS = Path(__file__).parents[2] / "workloads" / "weights" / "fraud.safetensors"
KEY = "canary/Zq7vX3+pL9mK2rT8w"
FORMS = (
    KEY,
    KEY[7:],
    quote(KEY, safe=""),
    base64.b64encode(KEY.encode()).decode().rstrip("="),
    base64.b64encode(f"Bearer {KEY}".encode()).decode().rstrip("="),
)
ALL = [
    {"kind": "single_stream"},
    {"kind": "multi_stream", "samples": 4},
    {"kind": "offline"},
    {"kind": "closed_loop", "concurrency": 4},
    {"kind": "server", "load": [0.5]},
    {"kind": "burst", "load": [0.5]},
]


def write(folder: Path, document) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tree = document.model_dump(mode="json", exclude_none=True)
    (folder / f"{document.name}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def run(place: Path, *, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    """Run the catalog's one workload on its one target, and on nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "CANARY_KEY"}
    if key is not None:
        environment["CANARY_KEY"] = key
    command = [sys.executable, "-m", "harness.cli", "run", "--catalog", "catalog"]
    (workload,) = (place / "catalog" / "workloads").glob("*.yaml")
    return subprocess.run(
        [*command, "--results", "results", "-w", workload.stem, "-t", "served"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def records(place: Path) -> list[Record]:
    return [stored.record for stored in Store(place / "results").records()]


def codes(record: Record) -> set[str]:
    return {reason.code for reason in record.verdict.reasons}


@pytest.mark.slow
def test_all_scenarios_are_measured_over_chat(tmp_path: Path) -> None:
    workload = make_workload(
        scenarios=ALL, slo=[{"metric": "ttft", "percentile": 90, "limit_s": 0.5}]
    )
    write(tmp_path / "catalog" / "workloads", workload)
    with Reference() as server:
        url = server.url("ttft_s=0.02,itl_s=0.004")
        write(tmp_path / "catalog" / "targets", make_served(url))
        ended = run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    stored = list(Store(tmp_path / "results").records())
    found = {each.record.cell.scenario.kind: each.record for each in stored}
    folders = {each.record.cell.scenario.kind: each.folder for each in stored}
    assert set(found) == {scenario["kind"] for scenario in ALL}
    for kind, record in found.items():
        assert record.status == "ok"
        assert not codes(record) & {"contract", "errors", "output-length"}
        client = record.session["client"]
        assert isinstance(client, dict)
        assert client["reuse_share"] > 0.5
        assert record.session["tokens_counted_from"] == "usage"
        rows = read_parquet(folders[kind] / "samples.parquet")
        assert (rows["tokens_out"] == 8).all()
        # From the sending, as nobody knows how busy this machine is: the least is the schedule.
        first_s = (rows["first_ns"] - rows["issued_ns"]) / 1e9
        between_s = (rows["ended_ns"] - rows["first_ns"]) / 1e9 / 7
        assert 0.020 <= first_s.min() < 0.030
        assert 0.0036 < float(np.median(between_s)) < 0.0050


def test_several_client_processes_measure_as_one(tmp_path: Path) -> None:
    workload = make_workload(
        scenarios=[{"kind": "closed_loop", "concurrency": 4}],
        slo=[{"metric": "ttft", "percentile": 90, "limit_s": 5.0}],
    )
    write(tmp_path / "catalog" / "workloads", workload)
    with Reference() as server:
        url = server.url("ttft_s=0.02,itl_s=0.004,listed=reference")
        write(tmp_path / "catalog" / "targets", make_served(url, model=None, client_processes=2))
        ended = run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    (stored,) = Store(tmp_path / "results").records()
    record = stored.record
    assert not codes(record) & {"contract", "errors", "output-length"}
    client = record.session["client"]
    assert isinstance(client, dict)
    assert (client["processes"], client["crashed"]) == (2, 0)
    assert record.session["model"] == "reference"
    (point,) = record.points
    assert point.trust is not None
    assert point.trust.processes == 2
    assert point.trust.busiest_share is not None
    assert point.trust.handover_p50_s is not None
    assert point.trust.calibration is not None
    assert point.trust.calibration.first_error_p50_s is not None, point.trust.calibration.reason
    rows = read_parquet(stored.folder / "samples.parquet")
    assert (rows["tokens_out"] == 8).all()
    assert ((rows["first_ns"] - rows["issued_ns"]) >= 20_000_000).all()


@pytest.mark.parametrize("tensors", ["json", "binary"])
def test_fraud_rows_are_measured_over_the_open_inference_protocol(
    tmp_path: Path, tensors: str
) -> None:
    workloads = tmp_path / "catalog" / "workloads"
    write(
        workloads, make_fraud_workload(scenarios=[{"kind": "single_stream"}, {"kind": "offline"}])
    )
    (workloads / "weights").mkdir()
    shutil.copy(WEIGHTS, workloads / "weights")
    with Reference() as server:
        target = make_served(server.url(path=""), protocol="oip-http", tensors=tensors)
        write(tmp_path / "catalog" / "targets", target)
        ended = run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    for record in records(tmp_path):
        assert record.status == "ok"
        assert record.session["input"] == "rows FP32"
        assert not codes(record) & {"contract", "errors"}
        # The reference server does not compute the workload's model, and the gate sees it.
        assert not record.quality_passed


def test_a_missing_key_skips_the_target_and_names_the_variable(tmp_path: Path) -> None:
    workload = make_workload(scenarios=[{"kind": "single_stream"}])
    write(tmp_path / "catalog" / "workloads", workload)
    url = f"http://127.0.0.1:{refused_port()}/v1"
    write(tmp_path / "catalog" / "targets", make_served(url, api_key={"env": "CANARY_KEY"}))
    ended = run(tmp_path, key=None)
    assert "CANARY_KEY" in ended.stdout + ended.stderr
    assert not records(tmp_path)


def test_a_server_that_is_not_there_is_a_prerequisite_with_a_remedy(tmp_path: Path) -> None:
    workload = make_workload(scenarios=[{"kind": "single_stream"}])
    write(tmp_path / "catalog" / "workloads", workload)
    url = f"http://127.0.0.1:{refused_port()}/v1"
    write(tmp_path / "catalog" / "targets", make_served(url))
    run(tmp_path)
    (record,) = records(tmp_path)
    assert record.failure is not None
    assert record.failure.kind == "prerequisite"
    assert "refuses connections" in record.failure.message
    assert record.failure.hint


def test_failed_requests_are_errors_and_have_no_latency(tmp_path: Path) -> None:
    workload = make_workload(scenarios=[{"kind": "single_stream"}])
    write(tmp_path / "catalog" / "workloads", workload)
    with Reference() as server:
        url = server.url("fault=no-done")
        write(tmp_path / "catalog" / "targets", make_served(url, api_key={"env": "CANARY_KEY"}))
        ended = run(tmp_path)
    assert ended.returncode in (0, 1), ended.stderr
    (record,) = records(tmp_path)
    (point,) = record.points
    assert point.failed == point.requests > 0
    assert point.metrics["error_rate"].value == 1.0
    assert point.metrics["latency_s.p50"].value is None
    assert record.verdict.state == "invalid"
    assert "NoEndMarkError" in json.dumps(record.session["errors"])


class Chatterbox(BaseHTTPRequestHandler):
    """Refuses every request, and repeats the key in its words, headers and status in all forms."""

    protocol_version = "HTTP/1.1"
    turns = itertools.count()
    seen: set[str]

    def do_GET(self) -> None:
        self._answer(404, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.add(str(self.headers["authorization"]))
        form = FORMS[next(self.turns) % len(FORMS)]
        self._answer(401, {"error": {"message": f"the key {form} is wrong", form: form}})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response_only(status, KEY)
        self.send_header("server", f"chatterbox {KEY}")
        self.send_header("content-type", KEY)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def chatterbox() -> Iterator[str]:
    """Run the server; yields its base URL."""
    Chatterbox.seen = set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Chatterbox) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


def test_the_key_is_sent_and_is_found_nowhere_afterwards(tmp_path: Path) -> None:
    write(tmp_path / "catalog" / "workloads", make_workload(scenarios=[{"kind": "single_stream"}]))
    with chatterbox() as url:
        target = make_served(url, api_key={"env": "CANARY_KEY"})
        write(tmp_path / "catalog" / "targets", target)
        ended = run(tmp_path)
        assert Chatterbox.seen == {f"Bearer {KEY}"}
    (record,) = records(tmp_path)
    assert "the server repeats the key" in json.dumps(record.session["errors"])
    found = {"output": (ended.stdout + ended.stderr).encode()}
    found |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(found) > 4
    for place, content in found.items():
        for form in FORMS:
            assert form.encode() not in content, place
