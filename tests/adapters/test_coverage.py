"""Operator coverage: what runs where, what is refused, and what the plan knows beforehand."""

import numpy as np
import onnx
import pytest

from harness.adapters.coverage import assigned, fallbacks, refusal
from harness.adapters.genai import GenaiAdapter
from harness.adapters.llama_cpp import LlamaCppAdapter
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.openvino import OpenVinoAdapter
from harness.adapters.torch import TorchAdapter
from harness.adapters.trees import LightGbmAdapter
from harness.errors import UnsupportedError
from harness.models.build import build_model
from harness.plan import make_plan
from harness.schema.model import OnnxFileModel
from tests.adapters.recorder import open_session
from tests.factories import make_target, make_workload
from tests.models.own import onnx_file, own_workload


@pytest.fixture
def tree_file(tmp_path, fraud_model):
    """A user's ONNX file that has a tree operator."""
    content = onnx.load(fraud_model.onnx("standard") / "model.onnx")
    onnx.save_model(content, tmp_path / "trees.onnx")
    return OnnxFileModel(family="onnx", file="trees.onnx")


def test_onnxruntime_says_which_provider_runs_each_operator(fraud_model):
    table = open_session(OnnxRuntimeAdapter, fraud_model).describe()["operators"]["assigned"]
    assert table["model"]["ai.onnx.ml.TreeEnsembleRegressor"] == {"CPUExecutionProvider": 1}
    assert sum(table["model"]["Gemm"].values()) == 3
    assert all(list(places) == ["CPUExecutionProvider"] for places in table["model"].values())


def test_what_runs_elsewhere_is_a_fallback_by_operator_and_count():
    table = {"model": assigned([("Gemm", "CUDA"), ("Gemm", "CUDA"), ("Tree", "CPU")])}
    assert table == {"model": {"Gemm": {"CUDA": 2}, "Tree": {"CPU": 1}}}
    assert fallbacks(table, "CUDA") == ["CPU runs 1 Tree of model"]


def test_trees_on_openvino_are_unsupported_by_the_operator_s_name(tmp_path, tree_file):
    pytest.importorskip("openvino")
    model = build_model(tree_file, "tabular_classification", cache=tmp_path / "c", data=tmp_path)
    said = r"^operator ai.onnx.ml.TreeEnsembleRegressor: OpenVINO has no implementation"
    with pytest.raises(UnsupportedError, match=said):
        open_session(OpenVinoAdapter, model)
    assert open_session(OnnxRuntimeAdapter, model).describe()["operators"]["counts"]


def test_the_plan_says_so_without_loading_the_runtime(tmp_path, tree_file):
    workload = own_workload(tree_file.model_dump(), scenarios=[{"kind": "single_stream"}])
    said = "operator ai.onnx.ml.TreeEnsembleRegressor: openvino has no implementation"
    assert refusal(OpenVinoAdapter(), "openvino", workload, tmp_path) == said
    assert refusal(OnnxRuntimeAdapter(), "onnxruntime", workload, tmp_path) is None
    targets = [make_target(name, runtime={"adapter": name}) for name in ("openvino", "onnxruntime")]
    plan = {p.target.name: p for p in make_plan([(workload, tmp_path)], targets, {})}
    assert plan["openvino"].unsupported == said
    assert plan["onnxruntime"].unsupported is None
    assert plan["openvino"].estimate_s < plan["onnxruntime"].estimate_s


def test_an_onnx_file_without_trees_may_run_on_openvino(tmp_path):
    pytest.importorskip("openvino")
    onnx_file(tmp_path / "model.onnx")
    own = OnnxFileModel(family="onnx", file="model.onnx", column=1)
    workload = own_workload(own.model_dump())
    assert refusal(OpenVinoAdapter(), "openvino", workload, tmp_path) is None
    model = build_model(own, "tabular_classification", cache=tmp_path / "c", data=tmp_path)
    assert open_session(OpenVinoAdapter, model).describe()["operators"]["lowered"] == []


def test_text_on_a_library_of_trees_is_refused_in_the_plan(tmp_path):
    said = refusal(LightGbmAdapter(), "lightgbm", make_workload(), tmp_path)
    assert said == (
        "the lightgbm adapter runs models of family trees_mlp, lightgbm, xgboost, not 'llama'"
    )


def test_a_gguf_file_is_refused_in_the_plan_by_what_needs_onnx(tmp_path):
    gate = {
        "kind": "exact_answers",
        "file": "questions.jsonl",
        "tokenizer": "tokenizer.json",
        "accuracy_min": 0.5,
    }
    workload = make_workload(model={"family": "gguf", "file": "m.gguf"}, quality=[gate])
    for adapter, name in ((OnnxRuntimeAdapter(), "onnxruntime"), (OpenVinoAdapter(), "openvino")):
        said = refusal(adapter, name, workload, tmp_path)
        assert said is not None
        assert said.startswith(f"the {name} adapter runs models of family llama, whisper")
        assert said.endswith("not 'gguf'")


def test_a_file_that_cannot_be_read_does_not_stop_the_plan(tmp_path):
    workload = own_workload({"family": "onnx", "file": "missing.onnx"})
    assert refusal(OpenVinoAdapter(), "openvino", workload, tmp_path) is None
    assert np.isfinite(make_plan([(workload, tmp_path)], [make_target()], {})[0].estimate_s)


@pytest.mark.parametrize(
    ("package", "adapter", "place"),
    [
        ("onnxruntime_genai", GenaiAdapter, "CPUExecutionProvider"),
        ("llama_cpp", LlamaCppAdapter, "llama.cpp"),
        ("torch", TorchAdapter, "torch"),
        ("openvino", OpenVinoAdapter, "CPU"),
    ],
)
def test_every_runtime_says_where_its_operators_run(package, adapter, place, llama_model):
    pytest.importorskip(package)
    described = open_session(adapter, llama_model).describe()
    operators = described["operators"]
    assert set(operators) == {"counts", "assigned", "unsupported", "lowered"}
    assert operators["assigned"]["model"]
    assert all(list(places) == [place] for places in operators["assigned"]["model"].values())
    assert described["fallbacks"] == []
