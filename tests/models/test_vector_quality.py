"""The gate of served embeddings: known vectors, and what is no vector at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.adapters.coverage import refusal
from harness.errors import SpecError
from harness.models.inputs import draw_requests
from harness.models.model import Model
from harness.models.quality import evaluate
from harness.models.requests import EmbedRequest, Output
from harness.schema import Workload
from harness.schema.record import QualityCheck
from tests.factories import make_workload

KNOWN = [("one two", [1.0, 0.0]), ("three", [0.6, 0.8])]


def embedding_workload(**changes: Any) -> Workload:
    tree: dict[str, Any] = {
        "task": "text_embedding",
        "model": {"family": "served"},
        "inputs": {"kind": "texts", "count": 3, "words": {"kind": "fixed", "value": 5}},
        "quality": [{"kind": "vector_agreement", "file": "v.jsonl", "cosine_min": 0.9}],
    }
    return make_workload(**{**tree, **changes})


def write(folder: Path, *lines: str) -> None:
    (folder / "v.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def known(folder: Path) -> None:
    write(folder, *(json.dumps({"text": text, "vector": vector}) for text, vector in KNOWN))


def judged(folder: Path, *vectors: list[float] | None) -> QualityCheck:
    """Return the check of a target that answers with `vectors`."""
    workload = embedding_workload()
    asked: list[EmbedRequest] = []

    def ask(requests: Any) -> list[Output]:
        asked.extend(requests)
        return [
            Output(vector=None if each is None else np.array(each, np.float32)) for each in vectors
        ]

    def nothing(*_: str) -> Any:
        raise AssertionError

    model = Model("text_embedding", workload.model, 0, folder, nothing, nothing)
    (check,) = evaluate(
        workload.quality[0], workload=workload, model=model, ask=ask, data=folder, cache=folder
    )
    assert [request.text for request in asked] == [text for text, _ in KNOWN]
    return check


def test_the_least_cosine_is_held_against_the_limit(tmp_path: Path) -> None:
    known(tmp_path)
    check = judged(tmp_path, [2.0, 0.0], [0.6, 0.8])
    assert (check.gate, check.metric, check.passed) == ("vector_agreement", "vector_cosine", True)
    assert check.value == pytest.approx(1.0)
    check = judged(tmp_path, [1.0, 0.0], [1.0, 0.0])
    assert check.value == pytest.approx(0.6)
    assert not check.passed
    check = judged(tmp_path, [-1.0, 0.0], [0.6, 0.8])
    assert check.value == pytest.approx(-1.0)
    assert not check.passed


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (None, "no vector"),
        ([1.0, 2.0, 3.0], "3 numbers, not 2"),
        ([0.0, 0.0], "zero"),
        ([float("nan"), 1.0], "not finite"),
    ],
)
def test_what_cannot_be_compared_fails_with_the_reason(
    tmp_path: Path, bad: list[float] | None, words: str
) -> None:
    known(tmp_path)
    check = judged(tmp_path, [1.0, 0.0], bad)
    assert check.value is None
    assert words in (check.reason or "")
    assert not check.passed


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("{", 2),
        ("[]", 2),
        ('{"text": "a"}', 2),
        ('{"text": "", "vector": [1, 2]}', 2),
        ('{"text": "a", "vector": [1]}', 2),
        ('{"text": "a", "vector": ["x", 1]}', 2),
        ('{"text": "a", "vector": [0, 0]}', 2),
        ('{"text": "a", "vector": [NaN, 1]}', 2),
    ],
)
def test_a_bad_line_of_the_file_is_named(tmp_path: Path, line: str, place: int) -> None:
    write(tmp_path, '{"text": "a", "vector": [1, 2]}', line)
    with pytest.raises(SpecError) as raised:
        judged(tmp_path, [1.0, 2.0])
    assert raised.value.problems[0].line == place


def test_a_file_that_is_empty_or_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        judged(tmp_path)
    (tmp_path / "v.jsonl").write_text("")
    with pytest.raises(SpecError, match="no lines"):
        judged(tmp_path)


def test_texts_are_drawn_from_the_seed_and_have_the_words_asked_for() -> None:
    workload = embedding_workload()
    first, second = draw_requests(workload), draw_requests(workload)
    assert first == second
    assert len({request.text for request in first if isinstance(request, EmbedRequest)}) == 3
    for request in first:
        assert isinstance(request, EmbedRequest)
        assert len(request.text.split()) == request.words == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quality": [{"kind": "reference_agreement"}]}, "vector_agreement"),
        ({"slo": [{"metric": "ttft", "percentile": 90, "limit_s": 1}]}, "latency"),
        ({"model": {"family": "trees_mlp", "weights": "x"}}, "family 'served'"),
    ],
)
def test_what_does_not_go_with_embeddings_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        embedding_workload(**changes)
    with pytest.raises(ValueError, match="no other task"):
        make_workload(quality=[{"kind": "vector_agreement", "file": "v.jsonl"}])


def test_the_file_of_vectors_is_part_of_the_workload() -> None:
    assert embedding_workload().files() == {("quality", 0, "file"): "v.jsonl"}


def test_only_servers_run_a_served_model(tmp_path: Path) -> None:
    workload = embedding_workload()
    assert "server" in (refusal(object(), "torch", workload, tmp_path) or "")
    assert refusal(object(), "http", workload, tmp_path) is None
