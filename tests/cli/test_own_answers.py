"""A served language model is chosen by its answers to the user's questions, end to end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.store import Store
from tests.adapters.http.served import make_served
from tests.factories import make_brief, make_workload
from tests.servers.process import Reference

WORDS = ("paris", "rome", "oslo", "bern", "lima", "cairo", "delhi", "tunis")
SERVED = {
    "model": {"family": "served"},
    "inputs": {
        "kind": "prompts_file",
        "file": "data/prompts.jsonl",
        "output_tokens": {"kind": "fixed", "value": 8},
    },
    "quality": [{"kind": "exact_answers", "file": "data/questions.jsonl", "accuracy_min": 0.85}],
    "scenarios": [{"kind": "server", "load": [0.5]}],
    "slo": [{"metric": "ttft", "percentile": 90, "limit_s": 2.0}],
    "demand": {"requests_per_month": 10_000, "peak_factor": 2.0},
}


def write(folder: Path, document) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tree = document.model_dump(mode="json", exclude_none=True)
    (folder / f"{document.name}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workload of own prompts and questions, and a brief that asks which target to take."""
    catalog = tmp_path / "catalog"
    write(catalog / "workloads", make_workload("assistant", **SERVED))
    data = catalog / "workloads" / "data"
    data.mkdir()
    prompts = [
        {"messages": [{"role": "system", "content": "Be short."},
                      {"role": "user", "content": f"Tell of {word}."}]}
        for word in WORDS
    ]  # fmt: skip
    (data / "prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in prompts))
    questions = [
        {"prompt": f"Question {n}. Repeat: {word} {n}", "answer": f"{word.title()} {n}."}
        for n in range(4)
        for word in WORDS
    ]
    (data / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    return tmp_path


def harness(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments, "--catalog", "catalog"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env={**os.environ, "HARNESS_CACHE": str(place / "cache")},
    )


@pytest.mark.slow
def test_the_server_that_answers_rightly_is_chosen_and_the_other_is_not(place: Path) -> None:
    catalog = place / "catalog"
    write(catalog / "briefs", make_brief("assistant", targets=["good", "poor"]))
    with Reference() as server:
        write(catalog / "targets", make_served(server.url("ttft_s=0.002"), "good"))
        write(catalog / "targets", make_served(server.url("ttft_s=0.002,knows=0.5"), "poor"))
        checked = harness(place, "validate", "catalog")
        assert checked.returncode == 0, checked.stdout
        ended = harness(
            place, "run", "-w", "assistant", "-t", "good", "-t", "poor", "--results", "results"
        )
    assert ended.returncode == 0, ended.stderr
    records = {r.record.target.name: r.record for r in Store(place / "results").records()}
    (good,), (poor,) = records["good"].quality, records["poor"].quality
    assert (good.gate, good.metric) == ("exact_answers", "accuracy_low")
    assert good.passed
    assert good.value == pytest.approx(32 / (32 + 1.96**2), abs=1e-3)
    assert good.reason is not None
    assert good.reason.startswith("32 of 32 answers are right")
    assert not poor.passed
    assert poor.value is not None
    assert poor.value < 0.7
    record = records["good"]
    assert record.status == "ok"
    assert set(record.cell.files) == {"data/prompts.jsonl", "data/questions.jsonl"}
    # What the server counted in the user's own messages: "Be short. Tell of paris."
    assert record.session["prompt_tokens_by_server"] == 5
    assert record.session["inputs"]["count"] == len(WORDS)
    mapped = harness(place, "map", "question", "--results", "results", "--json")
    assert mapped.returncode == 0, mapped.stderr
    decision = json.loads(mapped.stdout)["workloads"][0]
    assert decision["choice"]["target"] == "good"
    assert "exact_answers: accuracy_low" in json.dumps(decision)
