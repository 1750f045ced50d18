"""The scenarios of a workload: what may be declared, and how what may not is told."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from harness.catalog import weight_files
from harness.cli.run import SCENARIOS
from harness.errors import SpecError
from harness.report.words import SCENARIOS as WORDS
from harness.schema import ScenarioKind
from harness.schema.scenario import Burst, Trace
from tests.factories import make_workload

SPIKES = {"spike_factor": 10, "spike_s": 1, "spike_every_s": 10}
EVERY = (
    {"kind": "single_stream"},
    {"kind": "multi_stream"},
    {"kind": "offline"},
    {"kind": "server"},
    {"kind": "closed_loop", "concurrency": 8},
    {"kind": "burst", **SPIKES},
    {"kind": "trace", "file": "traces/day.csv", "speed": 60},
)


def test_every_kind_can_be_declared_and_has_words() -> None:
    workload = make_workload(scenarios=EVERY)
    kinds = {s.kind for s in workload.scenarios}
    assert kinds == set(get_args(ScenarioKind)) == set(SCENARIOS) == set(WORDS)
    assert workload.scenario("multi_stream").samples == 8  # type: ignore[union-attr]
    burst = workload.scenario("burst")
    assert isinstance(burst, Burst)
    assert (burst.load, burst.shape) == ((0.5,), 0.25)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"kind": "multi_stream", "samples": 1}, "greater than 1"),
        ({"kind": "closed_loop", "concurrency": 0}, "greater than 0"),
        ({"kind": "burst", "shape": 1.0}, "less than 1"),
        ({"kind": "burst", "load": [0.8, 0.5]}, "rising list"),
        ({"kind": "burst", "spike_s": 1.0}, "go together"),
        ({"kind": "burst", **SPIKES, "spike_s": 10.0}, "shorter than"),
        ({"kind": "trace"}, "required"),
        ({"kind": "trace", "file": "t.csv", "speed": 0}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(scenario, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_workload(scenarios=[scenario])


def test_a_trace_is_a_file_of_the_workloads_folder() -> None:
    files = weight_files(make_workload(scenarios=EVERY), Path("d"))
    assert files["scenarios", 6, "file"] == Path("d/traces/day.csv")
    outside = Trace(kind="trace", file="../day.csv")
    with pytest.raises(SpecError, match="outside its folder"):
        weight_files(make_workload(scenarios=[outside.model_dump()]), Path("d"))
