"""The gate on a user's own text: right scores do not excuse wrong generation."""

import numpy as np
import pytest

from harness.models import llama, reference
from harness.models.quality import evaluate
from harness.models.requests import Output, TextRequest
from harness.models.text_quality import regret_limit
from harness.models.training import train_text
from tests.factories import make_workload
from tests.models.own_texts import byte_tokenizer_file
from tests.models.test_quality import (
    WORKLOADS,
    int8_rows,
    load,
    make_model,
    matrices,
    text_target,
)

torch = pytest.importorskip("torch")


def int4_blocks(matrix):
    """Blocks of 32 weights in 4 bits; each one's largest becomes -8."""
    count = matrix.shape[1]
    blocks = np.pad(matrix, ((0, 0), (0, -count % 32))).reshape(len(matrix), -1, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    step = np.where(largest == 0, 1, largest) / -8
    return (np.clip(np.rint(blocks / step), -8, 7) * step).reshape(len(matrix), -1)[:, :count]


def forgets_its_cache(module, cache, token):
    return module(torch.tensor([[token]]), module.make_cache())


def shifts_positions(module, cache, token):
    """Rotate what is new as if it stood eight positions further on than it does."""
    tables = module.cosines, module.sines
    module.cosines, module.sines = (torch.roll(table, -8, 0) for table in tables)
    try:
        return module(torch.tensor([[token]]), cache)
    finally:
        module.cosines, module.sines = tables


@pytest.fixture(scope="module")
def model():
    return make_model(train_text.ARCHITECTURE, load("bytes-llama"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def judge(folder, model, ask, cache, **gate):
    byte_tokenizer_file(folder / "tokenizer.json")
    (folder / "text.txt").write_bytes((WORKLOADS / "weights/bytes-heldout.txt").read_bytes())
    spec = {"kind": "own_text", "file": "text.txt", "tokenizer": "tokenizer.json"} | gate
    workload = make_workload(model=train_text.ARCHITECTURE.model_dump(), quality=[spec])
    checks = evaluate(
        workload.quality[0], workload=workload, model=model, ask=ask, data=folder, cache=cache
    )
    return {check.metric: check for check in checks}


@pytest.mark.parametrize(
    ("change", "divergence"),
    [(lambda matrix: matrix, 1e-9), (int8_rows, 1e-3), (int4_blocks, 0.03)],
    ids=["fp32", "int8", "int4"],
)
def test_a_sound_target_passes(change, divergence, model, cache, tmp_path):
    ask = text_target(matrices(model.weights(), change))
    checks = judge(tmp_path, model, ask, cache, kl_divergence_max=0.03, perplexity_ratio_max=1.05)
    assert list(checks) == ["perplexity_ratio", "kl_divergence", "generation_regret"]
    assert all(check.passed for check in checks.values())
    assert checks["kl_divergence"].value < divergence
    bound = regret_limit(checks["kl_divergence"].value, 1.0, 0.03)
    assert checks["generation_regret"].limit <= bound


@pytest.mark.parametrize("step", [forgets_its_cache, shifts_positions])
@pytest.mark.parametrize(
    "change", [lambda matrix: matrix, int8_rows, int4_blocks], ids=["fp32", "int8", "int4"]
)
def test_a_target_that_scores_rightly_and_generates_wrongly_fails_by_its_regret_alone(
    change, step, model, cache, tmp_path
):
    ask = text_target(matrices(model.weights(), change), step=step)
    checks = judge(tmp_path, model, ask, cache, kl_divergence_max=0.03, perplexity_ratio_max=1.05)
    failed = [metric for metric, check in checks.items() if not check.passed]
    assert failed == ["generation_regret"]


def test_the_limit_of_the_regret_is_the_tighter_of_two():
    assert regret_limit(2e-4, 0.0, 0.03) == pytest.approx(0.005 + 0.02)
    assert regret_limit(0.02, 0.004, 0.03) == pytest.approx(0.03 + 0.016)
    assert regret_limit(0.5, 1.0, 0.02) == pytest.approx(0.005 + 0.2)


def test_tokens_that_cannot_be_judged_fail_every_check(model, cache, tmp_path):
    def ask(requests):
        if isinstance(requests[0], TextRequest):
            return [Output(tokens=[256] * request.max_new_tokens) for request in requests]
        return text_target(model.weights())(requests)

    checks = judge(tmp_path, model, ask, cache)
    assert len(checks) == 3
    assert all("outside [0, 256)" in check.reason for check in checks.values())


@pytest.mark.parametrize("window", [1, 2, 8, 61, 128])
def test_continuations_cost_the_reference_no_more_than_the_scoring(
    window, model, tmp_path, monkeypatch
):
    lengths = []
    real = llama.reference_logits

    def counted(weights, architecture, tokens):
        lengths.append(len(tokens))
        return real(weights, architecture, tokens)

    monkeypatch.setattr(llama, "reference_logits", counted)
    ask = text_target(model.weights())
    checks = judge(tmp_path, model, ask, tmp_path / "cache", tokens=2 * window, window=window)
    assert all(check.passed for check in checks.values())
    assert lengths[:2] == [window, window]
    assert len(lengths) == 4
    assert max(lengths) <= window
    # The same continuations again cost nothing.
    judge(tmp_path, model, ask, tmp_path / "cache", tokens=2 * window, window=window)
    assert len(lengths) == 4


def test_what_was_chosen_and_after_what_voids_kept_regrets(model, tmp_path):
    text = np.arange(40, 60)
    halves = [(text[:10], text[10:]), (text[:9], text[9:]), (text[:10], text[11:])]
    kept = [reference.regrets(model, [a], [b], tmp_path)[0] for a, b in halves]
    assert [len(each) for each in kept] == [10, 11, 9]
    assert kept[1][1:].tolist() == pytest.approx(kept[0].tolist())
    again = reference.regrets(model, [text[:10]], [text[10:]], tmp_path)[0]
    assert again.tobytes() == kept[0].tobytes()
    other = np.append(text[10:-1], 7)
    assert reference.regrets(model, [text[:10]], [other], tmp_path)[0][-1] != kept[0][-1]
