"""The share of prompt tokens from a cache, against known counts."""

import threading
import time

import numpy as np
import pytest

from harness.adapters.base import Output, RowRequest
from harness.adapters.receipt import Answer, Receipt
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.prompt_cache import cached_prompt_share, with_cached_prompts
from tests.factories import make_point, make_workload


def test_the_share_weighs_prompts_by_their_tokens() -> None:
    share = cached_prompt_share([(0, 100, 0), (1, 300, 200)])
    assert share.value == 0.5
    assert share.n == 2


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        prompt = rng.integers(50, 500, 120)
        cached = rng.binomial(prompt, rng.choice([0.2, 0.8], 120))
        rows = list(zip(range(120), prompt.tolist(), cached.tolist(), strict=True))
        share = cached_prompt_share(rows)
        assert share.low is not None
        assert share.high is not None
        held += share.low <= 0.5 <= share.high
    assert 0.91 <= held / 400 <= 0.98


def test_what_was_due_in_the_warm_up_does_not_count() -> None:
    assert cached_prompt_share([(0, 100, 0), (5, 100, 60)], since_ns=5).value == 0.6


def test_an_untold_share_says_why_and_single_prompts_have_none() -> None:
    workload = make_workload()
    point = make_point(workload)
    assert with_cached_prompts(point, workload, [], 0) is point
    inputs = {**workload.inputs.model_dump(), "shared_prefix": {"tokens": 5}}
    shared = make_workload(inputs=inputs)
    metric = with_cached_prompts(point, shared, [], 0).metrics["cached_prompt_share"]
    assert metric.value is None
    assert metric.reason == "the target does not say how many prompt tokens came from a cache"


class Cached:
    """Answers from another thread that 40 of 100 prompt tokens came from a cache."""

    max_batch = 1
    max_concurrency = None

    def describe(self):
        return {}

    def submit(self, query):
        threading.Thread(target=self._answer, args=(query,)).start()

    def _answer(self, query):
        at_ns = time.perf_counter_ns()
        answer = Answer(ended_ns=at_ns, output=Output(), prompt=(100, 40))
        query.received(0, Receipt(at_ns, lambda: answer))


@pytest.mark.parametrize("run", ["closed", "offline"])
def test_counts_are_kept_however_the_requests_were_sent(run) -> None:
    rows = [RowRequest(np.zeros(2, dtype=np.float32))] * 4
    driver = Driver(Cached(), rows, RealClock(), 0)
    samples = getattr(driver, run)(StopRule(0.0, 5.0, 12))
    assert len(samples.prompts) == len(samples.rows) >= 12
    due = samples.columns()["scheduled_ns"].tolist()
    assert sorted(at for at, _, _ in samples.prompts) == sorted(due)
    assert cached_prompt_share(samples.prompts).value == 0.4
