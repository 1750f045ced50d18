import subprocess
import sys
from pathlib import Path

import pytest

from harness import plan as plan_module
from harness.adapters.fake import FakeAdapter
from harness.hardware import Detected
from harness.plan import make_cell, make_plan, missing
from tests.factories import make_target, make_workload

NO_GPU = {"gpu_count": Detected(None, reason="no driver")}
ONE_GPU = {"gpu_count": Detected(1, "NVML")}
DATA = Path("data")


def labels(plan) -> list[str]:
    return [planned.cell.label for planned in plan]


def test_targets_that_are_compared_run_close_in_time() -> None:
    plan = make_plan(
        [(make_workload("one"), DATA), (make_workload("two"), DATA)],
        [make_target("a"), make_target("b")],
        NO_GPU,
    )
    assert labels(plan)[:4] == [
        "one@a/single_stream",
        "one@b/single_stream",
        "one@a/offline",
        "one@b/offline",
    ]
    assert len(plan) == 12
    assert len({planned.cell.id for planned in plan}) == 12
    assert all(planned.skip is None for planned in plan)


def test_repeats_take_the_targets_in_turns_and_back() -> None:
    plan = make_plan(
        [(make_workload(), DATA)],
        [make_target("a"), make_target("b"), make_target("c")],
        NO_GPU,
        scenarios=["offline", "server"],
        repeats=3,
    )
    cells = [(p.cell.scenario.kind, p.cell.repeat, p.cell.target) for p in plan]
    assert cells == [
        (scenario, repeat, target)
        for scenario in ("offline", "server")
        for repeat, targets in enumerate(("abc", "cba", "abc"))
        for target in targets
    ]
    assert len({p.cell.id for p in plan}) == len(plan) == 18


def test_a_steady_drift_is_the_same_for_both_of_two_targets() -> None:
    plan = make_plan(
        [(make_workload(), DATA)],
        [make_target("a"), make_target("b")],
        NO_GPU,
        scenarios=["server"],
        repeats=6,
    )
    places = {name: [i for i, p in enumerate(plan) if p.cell.target == name] for name in "ab"}
    assert sum(places["a"]) == sum(places["b"])


def test_one_repeat_is_the_plan_without_repeats() -> None:
    arguments = [(make_workload(), DATA)], [make_target("a"), make_target("b")], NO_GPU
    assert make_plan(*arguments, repeats=1) == make_plan(*arguments)
    # The first repeat is the same cell as the one without repeats.
    ids = {p.cell.id for p in make_plan(*arguments, repeats=2)}
    assert {p.cell.id for p in make_plan(*arguments)} < ids


@pytest.mark.parametrize("scenario", [{}, {"load": [0.5, 0.8]}])
def test_a_served_cell_is_estimated_with_or_without_declared_loads(scenario) -> None:
    workload = make_workload(scenarios=[{"kind": "server", **scenario}])
    (planned,) = make_plan([(workload, DATA)], [make_target()], NO_GPU)
    assert 20 < planned.estimate_s < 120


def test_scenarios_can_be_chosen() -> None:
    plan = make_plan([(make_workload(), DATA)], [make_target()], NO_GPU, scenarios=["server"])
    assert labels(plan) == ["chat@box/server"]


def test_a_gpu_target_is_skipped_with_its_reason() -> None:
    target = make_target("gpu", runtime={"adapter": "fake", "device": "cuda"})
    skip = missing(target, NO_GPU)
    assert skip is not None
    assert "no NVIDIA GPU" in skip
    assert "no driver" in skip
    assert missing(target, ONE_GPU) is None


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch) -> None:
    target = make_target("box", runtime={"adapter": "openvino"})
    monkeypatch.setattr(plan_module.importlib.util, "find_spec", lambda name: None)
    skip = missing(target, NO_GPU)
    assert skip is not None
    assert "openvino" in skip
    assert "pip install" in skip


@pytest.mark.parametrize(
    ("packages", "lacks"),
    [
        ("numpy", None),
        (("numpy", "numpy.linalg"), None),
        ("no_such_sdk", "the package 'no_such_sdk' is not installed"),
        (("numpy", "no_such_sdk.runtime"), "the package 'no_such_sdk.runtime' is not installed"),
    ],
)
def test_a_package_may_be_named_alone_and_within_another(monkeypatch, packages, lacks) -> None:
    monkeypatch.setattr(FakeAdapter, "packages", packages, raising=False)
    skip = missing(make_target("box"), NO_GPU)
    assert skip is None if lacks is None else str(skip).startswith(lacks)


def test_an_unknown_adapter_is_named() -> None:
    skip = missing(make_target("box", runtime={"adapter": "onnxruntim"}), NO_GPU)
    assert skip is not None
    assert "onnxruntime" in skip


@pytest.mark.parametrize(
    "change", ["workload", "version", "target", "seed", "profile", "scenario", "repeat"]
)
def test_the_identity_of_a_cell_follows_everything_that_changes_it(change: str) -> None:
    workload, target = make_workload(), make_target()
    base = make_cell(workload, target, workload.scenarios[0], profile="quick", seed=0)
    assert base == make_cell(workload, target, workload.scenarios[0], profile="quick", seed=0)
    options = {"profile": "quick", "seed": 0}
    scenario = workload.scenarios[0]
    if change == "workload":
        workload = make_workload(title="Another")
    elif change == "version":
        workload = make_workload(version=2)
    elif change == "target":
        target = make_target(title="Another")
    elif change == "seed":
        options["seed"] = 1
    elif change == "profile":
        options["profile"] = "rigorous"
    elif change == "scenario":
        scenario = workload.scenarios[1]
    else:
        options["repeat"] = 1
    assert make_cell(workload, target, scenario, **options).id != base.id


def test_planning_imports_no_runtime() -> None:

    code = (
        "import sys; from harness.plan import missing; from tests.factories import make_target\n"
        "missing(make_target('x', runtime={'adapter': 'torch', 'device': 'cuda'}), {})\n"
        "print([m for m in ('torch', 'onnxruntime', 'openvino', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
