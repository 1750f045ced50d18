"""Options of targets: what is known, and the CPUs that a process is confined to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.adapters import options
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.options import asked_cpus, bind, read_options
from harness.errors import SpecError
from tests.adapters.recorder import open_session
from tests.factories import make_target

CPUS = sorted(os.sched_getaffinity(0))


def target(**given):
    return make_target(runtime={"adapter": "x", "options": given})


def test_cpus_are_named_as_a_list_of_ranges(monkeypatch):
    monkeypatch.setattr(options, "_allowed", lambda: set(range(16)))
    assert asked_cpus(target(affinity="0-3,8")) == (0, 1, 2, 3, 8)
    assert asked_cpus(target(affinity=5)) == (5,)
    assert asked_cpus(target()) is None


@pytest.mark.parametrize("value", ["", "a", "3-1", "1,,2", "-1", True, 1.5, "cores", "0-99999999"])
def test_what_names_no_cpus_is_refused(value):
    with pytest.raises(SpecError, match="must be 'physical' or CPUs such as"):
        asked_cpus(target(affinity=value))


def test_cpus_that_do_not_exist_are_an_error_and_named(monkeypatch):
    monkeypatch.setattr(options, "_allowed", lambda: {0, 1, 2})
    with pytest.raises(SpecError, match=r"asks for the CPUs 3-4,9, .* it has 0-2"):
        asked_cpus(target(affinity="2-4,9"))


def test_physical_takes_one_cpu_of_each_core(monkeypatch):
    monkeypatch.setattr(options, "_allowed", lambda: {0, 1, 2, 3})
    siblings = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}

    def read(path):
        number = int(path.parts[-3].removeprefix("cpu"))
        return _Text(siblings[number])

    monkeypatch.setattr(options, "read", read)
    assert asked_cpus(target(affinity="physical")) == (0, 1)


class _Text:
    def __init__(self, value):
        self.value = value


def test_more_threads_than_cpus_are_refused_and_fewer_cpus_lower_the_default():
    one = str(CPUS[0])
    with pytest.raises(SpecError, match=r"2 threads on the CPUs .* take turns"):
        read_options(target(affinity=one, threads=2))
    assert read_options(target(affinity=one)).threads == 1


def test_a_target_without_the_option_is_left_where_it_is():
    bind(target(threads=1))
    assert sorted(os.sched_getaffinity(0)) == CPUS


def test_what_is_not_shared_belongs_to_one_adapter(llama_model):
    with pytest.raises(SpecError, match="has no option 'compile'; it has affinity, max_batch"):
        read_options(target(compile=True))
    assert read_options(target(compile=True), "compile").compile
    with pytest.raises(SpecError, match="'compile' must be true or false, not 1"):
        read_options(target(compile=1), "compile")
    with pytest.raises(SpecError, match="'provider' must be the name"):
        open_session(OnnxRuntimeAdapter, llama_model, options={"provider": 3})


BOUND = """
import json, os, sys
from pathlib import Path
from harness.adapters.options import bind, read_options
from tests.factories import make_target

target = make_target(runtime={"adapter": sys.argv[1], "options": {"affinity": sys.argv[2]}})
bind(target)
from harness import plugins
from harness.models.build import build_model
from tests.adapters.recorder import LLAMA, ask, draw_tokens
from harness.adapters.base import TextRequest

folder = Path(sys.argv[3])
model = build_model(LLAMA, "text_generation", cache=folder, data=folder)
session = plugins.adapter(sys.argv[1]).open(target, model)
ask(session, TextRequest(draw_tokens(5), 3))
tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
places = sorted({cpu for task in tasks for cpu in os.sched_getaffinity(task)})
described = session.describe()
said = {name: described[name] for name in ("affinity", "threads")}
print(json.dumps({"places": places, **said}))
"""


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch", "llama-cpp"])
def test_every_thread_of_a_runtime_keeps_to_the_cpus_asked_for(runtime, tmp_path):
    pytest.importorskip(runtime.replace("-", "_"))
    cpu = CPUS[-1]
    done = subprocess.run(
        [sys.executable, "-c", BOUND, runtime, str(cpu), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"places": [cpu], "affinity": [cpu], "threads": 1}
