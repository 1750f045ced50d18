"""Tasks of several calls and conversations, on a session whose service times are known exactly."""

import heapq
import itertools
import threading
import time

import numpy as np
import pytest

from harness.adapters.base import Output, RowRequest
from harness.measure.chains import Chained, Chains
from harness.measure.drive import StopRule
from harness.measure.samples import read_parquet, write_parquet
from harness.measure.summary import Window
from harness.measure.task_drive import TaskDriver
from harness.models.inputs import draw_requests
from harness.schema.tasks import AgentTask
from harness.schema.workload import SloLimit
from harness.traffic import poisson_arrivals
from tests.factories import make_fraud_workload, make_workload
from tests.measure.virtual import KnownSession, VirtualClock

ROWS = [RowRequest(np.full(2, i, dtype=np.float32)) for i in range(16)]
TASK_SLO = SloLimit(metric="task_latency", percentile=90, limit_s=0.1)


def chained(calls=5, order="sequential", turns=False):
    return Chained(AgentTask(calls_per_task=calls, order=order), turns)


def driver_of(session, kind=None, *, inputs=ROWS, clock=None, **options):
    clock = clock or session.clock
    return TaskDriver(session, inputs, clock, kind or chained(), 3, **options)


def window_of(samples, kind):
    return Window(samples, [0.0] * 10_000, chained=kind)


class Staggered(KnownSession):
    """Takes a whole batch at once and answers its requests one after the other, a step apart."""

    def submit(self, query):
        self.batches.append(len(query.requests))
        for index in range(len(query.requests)):
            self.clock.spend(0.01)
            query.done(index, Output(score=0.5))


def test_a_task_of_calls_one_after_another_takes_the_sum_of_them() -> None:
    session = KnownSession(VirtualClock(), lambda _: 0.01)
    samples = driver_of(session).closed_loop(1, StopRule(0.5, 5.0, 10))
    window = window_of(samples, chained())
    assert window.tasks.count == 10
    assert window.tasks.failed == 0
    assert np.array_equal(window.task_latency_s, np.full(10, 0.05))
    assert np.array_equal(window.latency_s, np.full(50, 0.01))
    columns = samples.columns()
    assert columns["task"].tolist() == np.repeat(np.arange(10), 5).tolist()
    assert columns["turn"].tolist() == [0, 1, 2, 3, 4] * 10


def test_a_task_of_calls_at_once_takes_as_long_as_the_slowest() -> None:
    session = Staggered(VirtualClock(), lambda _: 0.0, max_batch=8)
    kind = chained(5, "parallel")
    samples = driver_of(session, kind).closed_loop(1, StopRule(0.5, 5.0, 10))
    window = window_of(samples, kind)
    assert session.batches == [5] * 10
    assert np.allclose(window.task_latency_s, 0.05, atol=1e-12)
    assert np.allclose(window.latency_s[:5], [0.01, 0.02, 0.03, 0.04, 0.05], atol=1e-12)


def test_calls_at_once_meet_in_a_queue_of_a_session_that_takes_one() -> None:
    session = KnownSession(VirtualClock(), lambda _: 0.01)
    kind = chained(5, "parallel")
    samples = driver_of(session, kind).closed_loop(1, StopRule(0.5, 5.0, 10))
    window = window_of(samples, kind)
    assert np.array_equal(window.task_latency_s, np.full(10, 0.05))
    assert np.allclose(window.latency_s.reshape(10, 5)[3], [0.01, 0.02, 0.03, 0.04, 0.05])


@pytest.mark.parametrize("order", ["sequential", "parallel"])
def test_poisson_tasks_wait_as_a_queue_of_one_server_does(order) -> None:
    times_s = np.random.default_rng(0).exponential(0.004, 40_000)
    session = KnownSession(VirtualClock(), lambda number: times_s[number])
    kind = chained(4, order)
    samples = driver_of(session, kind).open(150.0, StopRule(100.0, 400.0, 1))
    window = window_of(samples, kind)
    arrivals = poisson_arrivals(150.0 / 4, 400.0, 3 + 7919)[: window.tasks.count]
    truth = simulated(arrivals, times_s, 4, order)
    assert window.tasks.count > 3_000
    assert np.allclose(np.sort(window.task_latency_s), np.sort(truth), atol=1e-6)


def simulated(arrivals, times_s, calls, order):
    """Return how long each task takes: first come, first served by one server."""
    tick = itertools.count()
    waiting = []
    for task, at in enumerate(arrivals):
        for _ in range(calls if order == "parallel" else 1):
            heapq.heappush(waiting, (at, next(tick), task))
    left = [calls] * len(arrivals)
    free, served, took = 0.0, 0, {}
    while waiting:
        due, _, task = heapq.heappop(waiting)
        free = max(free, due) + times_s[served]
        served += 1
        left[task] -= 1
        if not left[task]:
            took[task] = free - arrivals[task]
        elif order == "sequential":
            heapq.heappush(waiting, (free, next(tick), task))
    return np.array(list(took.values()))


def test_a_failed_call_fails_its_task_and_ends_it() -> None:
    session = KnownSession(VirtualClock(), lambda _: 0.01, fail_every=7)
    samples = driver_of(session).closed_loop(1, StopRule(1.0, 5.0, 30))
    window = window_of(samples, chained())
    columns = samples.columns()
    for task in range(window.tasks.count):
        statuses = columns["status"][columns["task"] == task].tolist()
        assert statuses == [0] * 5 or statuses == [0] * (len(statuses) - 1) + [1]
    assert window.tasks.failed == window.failed > 3
    assert window.missed("task_latency") == window.tasks.failed
    assert window.within([TASK_SLO]) == 5 * window.tasks.latency_s.size
    metrics = window.chain_metrics([TASK_SLO])
    done = window.tasks.count - window.tasks.failed
    assert metrics["task_error_rate"].value == window.tasks.failed / window.tasks.count
    assert metrics["goodput_tasks_per_s"].value == pytest.approx(done / window.duration_s)
    assert metrics["goodput_tasks_per_s"].unit == "tasks/s"


def test_a_task_with_one_slow_call_is_no_good_task() -> None:
    session = KnownSession(VirtualClock(), lambda number: 0.03 if number % 10 == 3 else 0.01)
    samples = driver_of(session).closed_loop(1, StopRule(0.5, 5.0, 100))
    window = window_of(samples, chained())
    per_call = SloLimit(metric="latency", percentile=90, limit_s=0.02)
    assert window.chain_metrics([TASK_SLO])["task_slo_attainment"].value == 1.0
    assert window.chain_metrics([TASK_SLO, per_call])["task_slo_attainment"].value == 0.5


def test_a_call_that_is_late_fails_its_task() -> None:
    session = KnownSession(VirtualClock(), lambda number: 0.2 if number == 2 else 0.01)
    samples = driver_of(session, deadline_s=0.1).closed_loop(1, StopRule(0.3, 5.0, 20))
    columns = samples.columns()
    assert columns["status"][columns["task"] == 0].tolist() == [0, 0, 3]
    assert window_of(samples, chained()).tasks.failed == 1


def test_tasks_that_began_in_the_warm_up_count_in_the_rate_they_ended_in() -> None:
    """Else as many tasks as there are users would be missing, of a window of few."""
    session = KnownSession(VirtualClock(), lambda _: 0.01)
    whole = driver_of(session).closed_loop(8, StopRule(0.5, 9.0, 200))
    started_ns = sorted(whole.columns()["scheduled_ns"])[100]
    window = window_of(whole, chained()).since(started_ns)
    rate = window.chain_metrics([TASK_SLO])["throughput_tasks_per_s"]
    done = {}
    for task, ended, status in zip(
        *(whole.columns()[name].tolist() for name in ("task", "ended_ns", "status")), strict=True
    ):
        done.setdefault(task, []).append((ended, status))
    ended = [max(e for e, _ in calls) for calls in done.values() if len(calls) == 5]
    assert rate.n == sum(at > started_ns for at in ended)
    assert rate.n > window.tasks.count
    # The session is never idle: 20 tasks of 5 calls of 10 ms a second.
    assert rate.value == pytest.approx(20, rel=0.15)


def test_tasks_of_an_overloaded_target_are_unserved_and_count_as_failed() -> None:
    session = KnownSession(VirtualClock(), lambda _: 0.05)
    samples = driver_of(session).open(100.0, StopRule(2.0, 4.0, 1))
    window = window_of(samples, chained())
    assert window.tasks.failed > 10
    assert window.unserved > 0
    assert session.clock.now_ns() < 1_000_000_000 + 2.2 * 2 * 1e9


def test_later_stages_go_on_with_the_tasks_of_the_first() -> None:
    session = KnownSession(VirtualClock(), lambda _: 0.01)
    driver = driver_of(session)
    first = driver.closed_loop(1, StopRule(0.2, 5.0, 10))
    sent = len(first.rows)
    first.follow(driver.closed_loop(1, StopRule(0.2, 5.0, 10), sent=sent))
    columns = first.columns()
    assert columns["task"].tolist() == np.repeat(np.arange(len(columns["task"]) // 5), 5).tolist()
    again = driver.closed_loop(1, StopRule(0.2, 5.0, 10))
    assert again.columns()["task"][0] == 0
    other = driver_of(KnownSession(VirtualClock(), lambda _: 0.01))
    whole = other.closed_loop(1, StopRule(0.4, 5.0, 10)).columns()
    assert whole["input"].tolist() == columns["input"].tolist()


def test_samples_of_tasks_keep_their_columns_in_the_file(tmp_path) -> None:
    session = KnownSession(VirtualClock(), lambda _: 0.01)
    samples = driver_of(session).closed_loop(2, StopRule(0.2, 5.0, 10))
    write_parquet([samples], tmp_path / "samples.parquet")
    table = read_parquet(tmp_path / "samples.parquet")
    assert table["turn"].max() == 4
    assert list(table)[-2:] == ["task", "turn"]


class Timers:
    """Answers every request `after_s` later, any number at a time; keeps when each came."""

    max_batch = 1

    def __init__(self, after_s, max_concurrency):
        self.after_s = after_s
        self.max_concurrency = max_concurrency
        self.seen = []

    def submit(self, query):
        self.seen.append(time.perf_counter())
        done = [query.done, 0, Output(tokens=(1, 2), score=0.5)]
        if self.max_concurrency is None:
            threading.Timer(self.after_s, done[0], done[1:]).start()
        else:
            time.sleep(self.after_s)
            query.done(*done[1:])


@pytest.mark.parametrize("most", [None, 16])
@pytest.mark.parametrize(("order", "lasts_s"), [("sequential", 0.45), ("parallel", 0.15)])
def test_a_target_of_many_at_once_takes_the_sum_or_the_slowest(most, order, lasts_s) -> None:
    from harness.measure.clock import RealClock

    session, kind = Timers(0.15, most), chained(3, order)
    driver = driver_of(session, kind, clock=RealClock())
    for samples in (
        driver.closed_loop(2, StopRule(0.5, 3.0, 12)),
        driver.open(20.0, StopRule(0.6, 3.0, 12)),
    ):
        window = window_of(samples, kind)
        assert window.tasks.failed == 0
        assert window.tasks.count >= 4
        assert lasts_s - 0.001 <= window.task_latency_s.min()
        assert np.median(window.task_latency_s) < 2 * lasts_s


def conversations(**turns):
    inputs = {
        "kind": "prompts",
        "count": 6,
        "prompt_tokens": {"kind": "uniform", "minimum": 2, "maximum": 6},
        "output_tokens": {"kind": "fixed", "value": 4},
        "turns": turns,
    }
    return make_workload(inputs=inputs, scenarios=[{"kind": "single_stream"}])


class Talking(KnownSession):
    """Answers with tokens that follow from the prompt's length, and keeps every prompt."""

    def __init__(self, clock):
        super().__init__(clock, lambda _: 0.01)
        self.prompts = []

    def submit(self, query):
        (request,) = query.requests
        self.prompts.append(request.prompt.tolist())
        for _ in range(request.max_new_tokens):
            self.clock.spend(0.0025)
            query.tokens(0, 1)
        query.done(0, Output(tokens=answer_to(request.prompt.tolist(), request.max_new_tokens)))


def answer_to(prompt, count):
    return [(len(prompt) + i) % 64 for i in range(count)]


def test_each_turn_holds_the_prompts_and_the_answers_before_it() -> None:
    workload = conversations(count={"kind": "uniform", "minimum": 2, "maximum": 4})
    inputs = draw_requests(workload)
    assert [r.turn for r in inputs].count(0) == 6
    assert max(len(r.prompt) for r in inputs) + 4 <= workload.inputs.upper
    session = Talking(VirtualClock())
    kind = Chained(None, turns=True)
    samples = driver_of(session, kind, inputs=inputs).closed_loop(1, StopRule(1.0, 5.0, 10))
    columns = samples.columns()
    seen = {}
    for prompt, task, turn, tokens in zip(
        session.prompts, columns["task"], columns["turn"], columns["tokens_in"], strict=True
    ):
        assert len(prompt) == tokens
        if turn:
            before = seen[task]
            said = before + answer_to(before, 4)
            assert prompt[: len(said)] == said
            assert 2 <= len(prompt) - len(said) <= 6
        seen[task] = prompt
    assert columns["turn"].max() == 3
    metrics = window_of(samples, kind).chain_metrics([])
    assert metrics["ttft_first_turn_s.p50"].value == pytest.approx(0.0025)
    assert metrics["ttft_later_turns_s.p50"].n == int((columns["turn"] > 0).sum())


def test_a_turn_is_due_when_its_user_has_thought() -> None:
    workload = conversations(count={"kind": "fixed", "value": 3}, think_s=0.5)
    kind = Chained.of(workload)
    session = Talking(VirtualClock())
    inputs = draw_requests(workload)
    samples = driver_of(session, kind, inputs=inputs).closed_loop(1, StopRule(4.0, 9.0, 1))
    columns = samples.columns()
    for at in np.nonzero(columns["turn"])[0]:
        assert columns["scheduled_ns"][at] == columns["ended_ns"][at - 1] + 500_000_000
    assert np.allclose(window_of(samples, kind).latency_s, 0.01)
    assert columns["scheduled_ns"].max() < 5e9


def test_a_task_of_turns_counts_the_time_between_them() -> None:
    workload = conversations(count={"kind": "fixed", "value": 3}, think_s=0.5)
    workload = make_workload(
        inputs=workload.inputs.model_dump(mode="json"),
        scenarios=[{"kind": "server"}],
        agent={"calls_per_task": 3, "order": "sequential"},
    )
    kind = Chained.of(workload)
    session = Talking(VirtualClock())
    inputs = draw_requests(workload)
    samples = driver_of(session, kind, inputs=inputs).closed_loop(1, StopRule(4.0, 9.0, 1))
    assert np.allclose(window_of(samples, kind).task_latency_s, 1.03)


def test_an_answer_without_tokens_breaks_the_contract() -> None:
    workload = conversations(count={"kind": "fixed", "value": 2})
    session = KnownSession(VirtualClock(), lambda _: 0.01)
    kind, inputs = Chained.of(workload), draw_requests(workload)
    samples = driver_of(session, kind, inputs=inputs).closed_loop(1, StopRule(0.1, 5.0, 4))
    assert any("without its tokens" in text for text in samples.complaints)


def test_more_conversations_begin_with_the_same_ones() -> None:
    few = draw_requests(conversations(count={"kind": "uniform", "minimum": 1, "maximum": 3}))
    tree = conversations(count={"kind": "uniform", "minimum": 1, "maximum": 3})
    inputs = tree.inputs.model_copy(update={"count": 12})
    many = draw_requests(tree.model_copy(update={"inputs": inputs}))
    assert [r.added.tolist() for r in many[: len(few)]] == [r.added.tolist() for r in few]
    assert len(many) > len(few)


def test_every_input_is_used_equally_often() -> None:
    chains = Chains(ROWS, chained(4), 1)
    used = [place for number in range(8) for place in chains.chain(number).inputs]
    assert sorted(used) == sorted([*range(16)] * 2)
    assert chains.calls == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slo": [TASK_SLO.model_dump()]}, "'agent'"),
        (
            {
                "agent": {"calls_per_task": 4, "order": "parallel"},
                "scenarios": [{"kind": "offline"}],
            },
            "the scenario 'offline' sends single requests",
        ),
        (
            {
                "agent": {"calls_per_task": 4, "order": "parallel"},
                "scenarios": [{"kind": "server"}],
                "demand": {
                    "requests_per_month": 100,
                    "agent": {"calls_per_task": 5, "order": "parallel"},
                },
            },
            "state the same",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_reason(changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        make_fraud_workload(**changes)


def test_a_later_stage_of_few_tasks_has_arrivals_left() -> None:
    for seed in range(40):
        session = KnownSession(VirtualClock(), lambda _: 0.01)
        driver = TaskDriver(session, ROWS, session.clock, chained(), seed)
        driver.open(1.0, StopRule(1.0, 5.0, 1))
        later = driver.open(1.0, StopRule(1.0, 5.0, 1), sent=5)
        assert later.rows
