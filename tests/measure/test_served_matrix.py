"""Every scenario over every protocol, through the real cell: the same figures and the same verdict.

Windows are short, so nothing here is about how long anything takes.
"""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.adapters.http.adapter import HttpAdapter
from harness.measure import cell
from harness.measure.clock import RealClock
from harness.measure.job import Job, Reporter, Result
from harness.measure.profile import PROFILES, Profile
from harness.schema import Workload, content_hash
from harness.schema.base import ScenarioKind
from harness.schema.record import Cell
from harness.schema.server import Protocol
from tests.adapters.http.served import make_served
from tests.factories import make_fraud_workload, make_workload
from tests.servers.oip_grpc import served
from tests.servers.process import Reference

WORKLOADS = Path(__file__).parents[2] / "workloads"
TINY = Profile("quick", 0.05, 2, 0.15, 0.3, 0.4, 1.0, 2, 0.5, 1.0, None)
SCENARIOS: dict[str, dict[str, Any]] = {
    "single_stream": {},
    "multi_stream": {"samples": 2},
    "offline": {},
    "server": {"load": [0.5]},
    "closed_loop": {"concurrency": 2},
    "burst": {"load": [0.5]},
    "trace": {"file": "calls.csv"},
}
PROTOCOLS = (
    "openai-chat",
    "openai-completions",
    "openai-embeddings",
    "openai-transcriptions",
    "oip-http",
    "oip-grpc",
)
COUNTED: dict[str, tuple[str, object]] = {
    "openai-chat": ("tokens_counted_from", "usage"),
    "openai-completions": ("tokens_counted_from", "usage"),
    "openai-embeddings": ("input_tokens_counted_from", "usage"),
    "openai-transcriptions": ("tokens_counted_from", "usage"),
    "oip-http": ("tokens_counted_from", None),  # rows have no tokens
    "oip-grpc": ("tokens_counted_from", None),
}
CALLS = "time_s,input_tokens,output_tokens\n0,3,4\n0.02,4,4\n0.05,2,4\n"
VECTORS = '{"text": "one two", "vector": [1.0, 2.0]}\n'


class Silent(Reporter):
    def __init__(self) -> None:
        pass

    def _write(self, event: object) -> None:
        pass


def workload_for(protocol: str, kind: str) -> Workload:
    common = {
        "scenarios": [{"kind": kind, **SCENARIOS[kind]}],
        "slo": [{"metric": "latency", "percentile": 50, "limit_s": 2.0}],
    }
    if protocol == "openai-embeddings":
        return make_workload(
            task="text_embedding",
            model={"family": "served"},
            inputs={"kind": "texts", "count": 4, "words": {"kind": "fixed", "value": 5}},
            quality=[{"kind": "vector_agreement", "file": "vectors.jsonl"}],
            **common,
        )
    if protocol == "openai-transcriptions":
        return make_workload(
            task="speech_to_text",
            model={
                "family": "whisper",
                "vocabulary": 64,
                "hidden": 16,
                "encoder_layers": 1,
                "decoder_layers": 1,
                "heads": 2,
                "frames": 100,
                "text_context": 32,
            },
            inputs={
                "kind": "audio",
                "count": 2,
                "duration_s": 1.0,
                "output_tokens": {"kind": "fixed", "value": 4},
            },
            **common,
        )
    if protocol.startswith("oip"):
        return make_fraud_workload(**common)
    return make_workload(**common)


def run(protocol: str, kind: str, url: str, place: Path) -> Result:
    """Return the result of the cell of one scenario over one protocol."""
    workload = workload_for(protocol, kind)
    target = make_served(url, protocol=protocol)
    identity = Cell(
        id="0" * 16,
        workload=workload.name,
        workload_version=workload.version,
        workload_hash=content_hash(workload),
        target=target.name,
        target_hash=content_hash(target),
        scenario=workload.scenarios[0],
        profile="quick",
        seed=0,
    )
    (place / "calls.csv").write_text(
        "time_s,input_tokens,output_tokens\n0,3,4\n0.02,4,4\n0.05,2,4\n"
    )
    (place / "vectors.jsonl").write_text(VECTORS)
    (place / "weights").symlink_to(WORKLOADS / "weights")
    job = Job(
        cell=identity,
        workload=workload,
        target=target,
        data=place,
        cache=place / "cache",
        folder=place,
    )
    return cell.measure(job, HttpAdapter(), Silent(), RealClock())


@pytest.fixture(scope="module")
def reference():
    with Reference() as running:
        yield running


@pytest.fixture(scope="module")
def over_grpc():
    with served() as running:
        yield running


def test_the_matrix_is_whole() -> None:
    assert set(SCENARIOS) == set(get_args(ScenarioKind))
    assert set(PROTOCOLS) == set(COUNTED) == set(get_args(Protocol))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCENARIOS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_scenario_is_measured_over_every_protocol(
    reference: Reference,
    over_grpc: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    kind: str,
) -> None:
    monkeypatch.setitem(PROFILES, "quick", TINY)
    for name, value in (("WINDOW_S", 0.1), ("WARM_UP_S", 0.02), ("CEILING_S", 0.05), ("TRIES", 1)):
        monkeypatch.setattr(f"harness.measure.rehearse.{name}", value)
    url = reference.url("tokens=4", path="" if protocol == "oip-http" else "/v1")
    if protocol == "oip-grpc":
        url = f"http://127.0.0.1:{over_grpc.port}"
    result = run(protocol, kind, url, tmp_path)
    point = result.points[-1]
    assert point.requests > 0
    assert point.failed == 0, result.session.get("errors")
    wanted = {"throughput_requests_per_s", "error_rate"}
    if kind != "offline":
        wanted |= {"latency_s.p50", "latency_s.p99", "slo_attainment", "goodput_requests_per_s"}
        assert [check.limit.metric for check in point.slo] == ["latency"]
        assert point.slo_state in ("met", "missed", "unproven")
    if protocol in ("openai-chat", "openai-completions"):
        wanted.add("throughput_output_tokens_per_s")
        wanted |= set() if kind == "offline" else {"ttft_s.p50", "tpot_s.p50"}
    if protocol == "openai-transcriptions":
        wanted.add("throughput_audio_s_per_s")
    assert wanted <= set(point.metrics)
    extra = {name.partition(".")[0] for name in set(point.metrics) - wanted}
    assert extra <= {"latency_s", "ttft_s", "tpot_s", "energy_j_per_request"} | {
        name for name in extra if name.startswith(("energy", "good_energy", "requests_per"))
    }
    assert result.verdict.state in ("valid", "noisy", "invalid")
    codes = {reason.code for reason in result.verdict.reasons}
    assert not codes & {"contract", "errors", "output-length"}, result.verdict
    name, source = COUNTED[protocol]
    assert result.session[name] == source
    assert result.session["protocol"] == protocol
    client = result.session["client"]
    assert isinstance(client, dict)
    assert client["requests"] >= point.requests
    assert point.trust is not None
    assert point.trust.calibration is not None
    assert (tmp_path / "samples.parquet").stat().st_size > 0
    json.dumps(result.session)
