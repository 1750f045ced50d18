"""The script for a GPU machine: what it would do, and what it finds wrong in a record."""

import json

import pytest

from harness.catalog import Catalog
from harness.schema import Target
from harness.schema.record import Roofline, Verdict
from tests.factories import make_fraud_workload, make_point, make_record, make_target
from tests.gpu import workloads


def test_every_command_of_a_dry_run_is_one_that_the_harness_takes(tmp_path, capsys):
    from harness.cli.run import SCENARIOS

    assert workloads.main(["--dry", "--out", str(tmp_path)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert json.loads(last)["passed"] is None
    catalog = Catalog.find()
    for stage, line in zip(workloads.STAGES, lines[1:], strict=True):
        assert stage in SCENARIOS
        assert f"run -s {stage} " in line
        for name in workloads.WORKLOADS:
            kinds = {scenario.kind for scenario in catalog.workload(name).scenarios}
            assert (f"-w {name} " in line) == (stage in kinds)
    assert not list(tmp_path.iterdir())


def test_without_a_gpu_it_says_so_and_what_it_would_do(tmp_path, capsys):
    from harness import hardware

    if hardware.detect()["gpu_count"].value:
        pytest.skip("this machine has a GPU")
    assert workloads.main(["--out", str(tmp_path)]) == 3
    said = capsys.readouterr()
    assert "no NVIDIA GPU" in said.err
    assert "would measure" in said.out


def test_on_the_chip_of_the_catalog_the_targets_keep_their_facts():
    catalog = Catalog.find()
    for tree in workloads.targets_of("NVIDIA H100 80GB HBM3", catalog):
        assert Target.model_validate(tree) == catalog.target(tree["name"])
        assert tree["runtime"]["device"] == "cuda"


def test_on_another_chip_no_fact_and_no_price_is_claimed():
    for tree in workloads.targets_of("NVIDIA L40S", Catalog.find()):
        target = Target.model_validate(tree)
        assert target.hardware.chip == "NVIDIA L40S"
        assert target.hardware.bandwidth_gb_per_s is None
        assert target.hardware.tdp_w is None
        assert target.price is None
        assert "h100" not in target.name


def record_of(workload="fraud-detection", stage="single_stream", device="cuda", **changes):
    document = make_fraud_workload(workload)
    target = make_target("nvidia-h100-torch", runtime={"adapter": "torch", "device": "cuda"})
    point = make_point(document, joules=100.0)
    energy = tuple(each.model_copy(update={"meter": "nvml"}) for each in point.energy)
    tree = {"session": {"device": device}, "points": (point.model_copy(update={"energy": energy}),)}
    return make_record(document, target, scenario=stage, **(tree | changes))


def test_a_sound_record_has_no_complaint():
    assert workloads.complaints(record_of()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"session": {"device": "cpu"}}, "it computed on 'cpu'"),
        ({"quality": ()}, "no quality gate ran"),
        ({"points": (make_point(make_fraud_workload()),)}, "no energy"),
        ({"verdict": Verdict(state="invalid", reasons=({"code": "x", "text": "y"},))}, "x: y"),
        (
            {"roofline": Roofline(share=1.2, limit_per_s=1.0, bound="memory", source="facts")},
            "120% of what the hardware can do",
        ),
    ],
)
def test_what_must_not_be_is_found(changes, said):
    (found,) = workloads.complaints(record_of(**changes))
    assert said in found


def test_the_result_passes_only_with_sound_records(capsys):
    target = {"name": "nvidia-h100-torch"}
    sound = workloads.judge([record_of()], [target])
    assert sound["passed"] is True
    assert "nvidia-h100-torch llm-chat server" in sound["missing"]
    parts = {"device": "cuda", "fallbacks": ["TreeEnsembleRegressor"]}
    assert workloads.judge([record_of(session=parts)], [target])["passed"] is True
    assert "on the CPU: ['TreeEnsembleRegressor']" in capsys.readouterr().out
    assert workloads.judge([record_of(device="cpu")], [target])["passed"] is False
    assert workloads.judge([], [target])["passed"] is False
    assert workloads.judge([record_of(status="failed", points=())], [target])["passed"] is False
