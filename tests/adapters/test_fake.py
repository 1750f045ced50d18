import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.adapters import fake
from harness.adapters.base import (
    Output,
    RowRequest,
    ScoreTextRequest,
    SpeechRequest,
    TextRequest,
)
from harness.adapters.fake import FakeAdapter
from harness.errors import OptionError, UnsupportedError
from harness.models.model import Model
from tests.factories import make_target, make_workload


def nothing(*_):
    raise AssertionError("the fake adapter needs no weights")


MODEL = Model("text_generation", make_workload().model, 0, Path(), nothing, nothing)
ROW = RowRequest(np.arange(3, dtype=np.float32))
TEXT = TextRequest(np.arange(5), 4)


class Query:
    """Keeps what it is told, with the time of a virtual clock."""

    def __init__(self, *requests, now=lambda: 0.0):
        self.requests = requests
        self.now = now
        self.calls = []

    def tokens(self, index, count):
        self.calls.append(("tokens", index, count, self.now()))

    def done(self, index, output):
        self.calls.append(("done", index, output, self.now()))

    def fail(self, error, index=None):
        self.calls.append(("fail", index, error, self.now()))


def session(adapter=None, **options):
    target = make_target(runtime={"adapter": "fake", "options": options})
    return (adapter or FakeAdapter()).open(target, MODEL)


def outputs(*requests, adapter=None, **options):
    query = Query(*requests)
    session(adapter, **{"max_batch": len(requests), **options}).submit(query)
    return [call[2] for call in query.calls if call[0] == "done"]


def test_answers_follow_from_the_request():
    first, again, other = outputs(TEXT, TEXT, TextRequest(np.arange(6), 4))
    assert first == again
    assert first != other
    assert len(first.tokens) == 4
    assert all(0 <= token < 64 for token in first.tokens)
    features = np.zeros((2, 3), dtype=np.float32)
    [speech] = outputs(SpeechRequest(features, np.array([1]), 7, 1.0))
    assert len(speech.tokens) == 7
    [row] = outputs(ROW)
    assert 0 <= row.score <= 1
    assert outputs(ROW) == [row]


def test_logits_need_an_answer_function():
    query = Query(ScoreTextRequest(np.arange(3)))
    session().submit(query)
    [(kind, _, error, _)] = query.calls
    assert kind == "fail"
    assert isinstance(error, UnsupportedError)
    logits = np.zeros((3, 64), dtype=np.float32)
    adapter = FakeAdapter(answer=lambda request: Output(logits=logits))
    [output] = outputs(ScoreTextRequest(np.arange(3)), adapter=adapter)
    assert output.logits is logits


def test_latency_on_a_virtual_clock_is_exact():
    clock = [0.0]

    def sleep(seconds):
        clock[0] += seconds

    query = Query(TEXT, now=lambda: clock[0])
    session(FakeAdapter(sleep=sleep), latency_s=1, token_s=0.25).submit(query)
    assert [(call[0], call[3]) for call in query.calls] == [
        ("tokens", 1.0),
        ("tokens", 1.25),
        ("tokens", 1.5),
        ("tokens", 1.75),
        ("done", 1.75),
    ]


def test_every_nth_request_fails():
    opened = session(fail_every=3, max_batch=2)
    query = Query(ROW, ROW)
    for _ in range(3):
        opened.submit(query)
    assert [call[0] for call in query.calls] == ["done", "done", "fail", "done", "done", "fail"]


def test_wrong_answers_have_the_right_shape():
    assert outputs(TEXT, wrong=True)[0].tokens != outputs(TEXT)[0].tokens
    assert len(outputs(TEXT, wrong=True)[0].tokens) == 4
    assert outputs(ROW, wrong=True)[0].score == pytest.approx(1 - outputs(ROW)[0].score)


def test_nan_spoils_the_request_that_is_named_or_all():
    scores = [output.score for output in outputs(ROW, ROW, ROW, fault="nan", fault_at=2)]
    assert np.isnan(scores).tolist() == [False, True, False]
    assert np.isnan([output.score for output in outputs(ROW, ROW, fault="nan")]).all()
    assert outputs(TEXT, fault="nan")[0].tokens == (-1, -1, -1, -1)


def test_an_exception_at_open_or_at_a_request():
    with pytest.raises(RuntimeError, match="the fault 'exception'"):
        session(fault="exception")
    query = Query(ROW)
    opened = session(fault="exception", fault_at=2)
    opened.submit(query)
    opened.submit(query)
    assert [call[0] for call in query.calls] == ["done", "fail"]


def test_asynchronous_answers_come_before_close_returns():
    opened = session(asynchronous=True, max_concurrency=0)
    assert opened.max_concurrency is None
    queries = [Query(ROW) for _ in range(5)]
    for query in queries:
        opened.submit(query)
    opened.close()
    assert [[call[0] for call in query.calls] for query in queries] == [["done"]] * 5


def test_a_closed_session_fails_queries():
    opened = session()
    opened.close()
    query = Query(ROW)
    opened.submit(query)
    assert [call[0] for call in query.calls] == ["fail"]


def test_it_says_that_it_is_no_hardware():
    described = session().describe()
    assert described["simulated"] is True
    assert described["options"]["latency_s"] == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"latncy_s": 1},
        {"latency_s": "1"},
        {"latency_s": True},
        {"latency_s": -1},
        {"max_batch": 0},
        {"max_batch": 1.5},
        {"wrong": 1},
        {"fault": "segfalt"},
        {"fault_at": "clse"},
        {"fault_at": 0},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(OptionError, match="option"):
        session(**options)


DYING = """
import sys
from pathlib import Path
from harness.adapters.fake import FakeAdapter
from harness.models.model import Model
from harness.schema import Target
target = Target.model_validate_json(sys.argv[1])
print("ready", flush=True)
FakeAdapter().open(target, Model("tabular_classification", None, 0, Path(), None, None))
print("opened", flush=True)
"""


def start(**options):
    target = make_target(runtime={"adapter": "fake", "options": options}).model_dump_json()
    environment = {**os.environ, "PYTHONFAULTHANDLER": ""}
    return subprocess.Popen(
        [sys.executable, "-c", DYING, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("segfault", -signal.SIGSEGV),
        ("abort", -signal.SIGABRT),
        ("exit", 7),
        ("exit_0", 0),
        ("sigkill", -signal.SIGKILL),
    ],
)
def test_deaths(fault, code):
    process = start(fault=fault)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert output == "ready\n"


@pytest.mark.parametrize(("fault", "heeds"), [("hang", True), ("hang_ignoring_sigterm", False)])
def test_hangs(fault, heeds):
    process = start(fault=fault)
    assert process.stdout.readline() == "ready\n"
    if not heeds:
        # The kernel's list of ignored signals says when the fault has happened.
        while not ignores_sigterm(process.pid):
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
    else:
        process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGTERM if heeds else -signal.SIGKILL)


def ignores_sigterm(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    raise AssertionError("no SigIgn line")


def test_a_hang_may_close_its_output():
    process = start(fault="hang_closing_output")
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.read() == ""
    assert process.stderr.read() == ""
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)


def test_junk_goes_to_pipes_but_not_to_the_output():
    read, write = os.pipe()
    target = make_target(runtime={"adapter": "fake", "options": {"fault": "junk"}})
    done = subprocess.run(
        [sys.executable, "-c", DYING, target.model_dump_json()],
        pass_fds=(write,),
        capture_output=True,
        check=True,
    )
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert b"no JSON" in pipe.read()
    assert done.stdout == b"ready\nopened\n"


def test_spin_uses_the_processor():
    process = start(fault="spin")
    assert process.stdout.readline() == "ready\n"
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)


def test_memory_stops_at_its_limit():
    process = start(fault="memory", memory_gb=0.1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "MemoryError: the fault 'memory' holds 0.1 GB" in errors


def test_flood_writes_and_goes_on():
    process = start(fault="flood", flood_mb=2)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert 1_900_000 < len(output) < 2_100_000
    assert output.endswith("opened\n")


@pytest.mark.parametrize("own_session", [False, True])
def test_a_grandchild_is_left_behind(own_session):
    before = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    fake._leave_a_process(own_session=own_session)
    process = fake._LEFT.pop()
    assert process.pid not in before
    assert process.poll() is None
    assert (os.getsid(process.pid) != os.getsid(0)) is own_session
    process.kill()
    process.wait()


def test_every_fault_is_known():
    assert set(fake.DEATHS) < set(fake.FAULTS)
