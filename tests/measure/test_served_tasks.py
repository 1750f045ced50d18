"""Conversations and tasks on the reference server, whose log says what it was really asked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.adapters.http.adapter import HttpAdapter
from harness.errors import UnsupportedError
from harness.measure import cell
from harness.measure.clock import RealClock
from harness.measure.job import Job, Result
from harness.measure.profile import PROFILES
from harness.measure.samples import read_parquet
from harness.models.inputs import draw_requests
from harness.plan import make_cell
from harness.schema import Workload
from tests.adapters.http.served import make_served
from tests.factories import make_workload
from tests.measure.test_served_matrix import TINY, Silent
from tests.servers.process import Reference

TURNS: dict[str, Any] = {
    "kind": "prompts",
    "count": 4,
    "prompt_tokens": {"kind": "uniform", "minimum": 2, "maximum": 6},
    "output_tokens": {"kind": "fixed", "value": 4},
    "turns": {"count": {"kind": "fixed", "value": 3}},
}


def workload_of(kind: str = "single_stream", **changes: Any) -> Workload:
    tree = {
        "inputs": TURNS,
        "scenarios": [{"kind": kind, **({"load": [0.2]} if kind == "server" else {})}],
        "agent": {"calls_per_task": 3, "order": "sequential"},
        "slo": [
            {"metric": "task_latency", "percentile": 50, "limit_s": 2.0},
            {"metric": "ttft", "percentile": 50, "limit_s": 1.0},
        ],
        **changes,
    }
    return make_workload(**tree)


@pytest.fixture(scope="module")
def reference():
    with Reference() as running:
        yield running


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "quick", TINY)
    for name, value in (("WINDOW_S", 0.1), ("WARM_UP_S", 0.02), ("CEILING_S", 0.05), ("TRIES", 1)):
        monkeypatch.setattr(f"harness.measure.rehearse.{name}", value)


def run(workload: Workload, url: str, place: Path, **server: Any) -> Result:
    target = make_served(url, **server)
    job = Job(
        cell=make_cell(workload, target, workload.scenarios[0], profile="quick", seed=0),
        workload=workload,
        target=target,
        data=place,
        cache=place / "cache",
        folder=place,
    )
    return cell.measure(job, HttpAdapter(), Silent(), RealClock())


@pytest.mark.parametrize("kind", ["single_stream", "closed_loop", "server"])
def test_turns_hold_the_answers_that_the_server_really_gave(
    reference: Reference, tmp_path: Path, kind: str
) -> None:
    workload = workload_of(kind)
    url = reference.url("cache=1,ttft_s=0.005,itl_s=0.001", path="/v1")
    reference.truth()
    result = run(workload, url, tmp_path)
    rows = read_parquet(tmp_path / "samples.parquet")
    point = result.points[-1]
    assert point.failed == 0, result.session.get("errors")
    assert not {r.code for r in result.verdict.reasons} & {"contract", "errors", "output-length"}
    # The last requests of the log are those of the samples.
    heard = [row["heard"] for row in reference.truth()][-rows["turn"].size :]
    assert sorted(heard) == sorted(rows["turn"].tolist())
    for task in np.unique(rows["task"]):
        assert sorted(rows["turn"][rows["task"] == task]) == [0, 1, 2]
    calls = (rows["ended_ns"] - rows["scheduled_ns"]).reshape(-1, 3) / 1e9
    in_order = kind == "single_stream"
    task = point.metrics["task_latency_s.p50"]
    assert task.n >= calls.shape[0] - point.warm_up_requests
    assert point.metrics["throughput_tasks_per_s"].value is not None
    assert {"ttft_first_turn_s.p50", "ttft_later_turns_s.p50"} <= set(point.metrics)
    if task.value is not None and in_order:
        # The tasks before the window's steady part are left out.
        assert task.value == pytest.approx(np.median(calls[-task.n :].sum(axis=1)), rel=0.3)
    added = np.array([len(r.added) for r in draw_requests(workload)])  # type: ignore[union-attr]
    if kind != "server":  # no warm-up is cut from an open loop, and here all rows count
        return
    share = 1 - added[rows["input"]].sum() / rows["tokens_in"].sum()
    assert point.metrics["cached_prompt_share"].value == pytest.approx(share)


def test_a_server_that_tells_no_cached_tokens_leaves_the_share_open(
    reference: Reference, tmp_path: Path
) -> None:
    result = run(workload_of(), reference.url(path="/v1"), tmp_path)
    share = result.points[-1].metrics["cached_prompt_share"]
    assert share.value is None
    assert share.reason is not None
    assert "does not say" in share.reason


def test_tasks_of_calls_at_once_are_served_at_once(reference: Reference, tmp_path: Path) -> None:
    workload = workload_of(
        inputs={**TURNS, "turns": None}, agent={"calls_per_task": 8, "order": "parallel"}
    )
    url = reference.url("ttft_s=0.02,tokens=4", path="/v1")
    result = run(workload, url, tmp_path, concurrency=16)
    rows = read_parquet(tmp_path / "samples.parquet")
    for task in np.unique(rows["task"]):
        of_task = rows["task"] == task
        start_ns, end_ns = rows["scheduled_ns"][of_task], rows["ended_ns"][of_task]
        assert of_task.sum() == 8
        # One after the other they would take as long as all of them together.
        assert np.ptp([start_ns.min(), end_ns.max()]) < 0.5 * (end_ns - start_ns).sum()
    point = result.points[-1]
    assert point.metrics["task_latency_s.p50"].n > 0
    assert "cached_prompt_share" not in point.metrics


def test_token_numbers_cannot_go_on_with_a_conversation(
    reference: Reference, tmp_path: Path
) -> None:
    url = reference.url(path="/v1")
    with pytest.raises(UnsupportedError, match="cannot go on with a conversation"):
        run(workload_of(), url, tmp_path, protocol="openai-completions", prompt="token_ids")


def test_completions_get_a_conversation_as_one_text(reference: Reference, tmp_path: Path) -> None:
    result = run(workload_of(), reference.url(path="/v1"), tmp_path, protocol="openai-completions")
    point = result.points[-1]
    assert point.failed == 0
    rows = read_parquet(tmp_path / "samples.parquet")
    assert rows["turn"].max() == 2
