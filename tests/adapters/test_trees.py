"""Native trees: the same scores as the arrays, the workload's or the user's own."""

import numpy as np
import pytest

from harness.adapters.base import RowRequest
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.openvino import OpenVinoAdapter
from harness.adapters.torch import TorchAdapter
from harness.adapters.trees import LightGbmAdapter, XgBoostAdapter
from harness.errors import AdapterError, UnsupportedError
from harness.models.build import build_model
from harness.models.transactions import draw_transactions
from harness.models.trees_mlp import reference_scores
from harness.plugins import adapter as plugin
from harness.schema.model import TreeFileModel
from tests.adapters.recorder import ask, open_session
from tests.models.own import NAMES, draw_rows, lightgbm_file, xgboost_file

NATIVE = {"lightgbm": LightGbmAdapter, "xgboost": XgBoostAdapter}
OTHERS = {"onnxruntime": OnnxRuntimeAdapter, "openvino": OpenVinoAdapter, "torch": TorchAdapter}
WRITERS = {"lightgbm": (lightgbm_file, "model.txt"), "xgboost": (xgboost_file, "model.json")}


@pytest.fixture(params=NATIVE)
def library(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture(scope="module", params=WRITERS)
def own(request, tmp_path_factory):
    pytest.importorskip(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    write, name = WRITERS[request.param]
    write(folder / name)
    model = TreeFileModel(family=request.param, file=name)
    return build_model(model, "tabular_classification", cache=folder / "cache", data=folder)


def scores_of(session, rows):
    outputs = ask(session, *(RowRequest(row) for row in rows))
    return np.array([output.score for output in outputs])


def test_the_fraud_model_is_scored_as_the_reference_does(library, fraud_model):
    session = open_session(NATIVE[library], fraud_model, options={"threads": 1, "max_batch": 512})
    rows = draw_transactions(512, seed=4)[0]
    # A row at a threshold goes left, just above it right.
    weights = fraud_model.weights()
    for row, node in zip(rows[:200], np.flatnonzero(weights["trees.value"] == 0), strict=False):
        row[weights["trees.feature"][node]] = weights["trees.threshold"][node]
    truth = reference_scores(weights, rows)
    assert np.abs(scores_of(session, rows) - truth).max() < 2e-6
    (single,) = ask(session, RowRequest(rows[0]))
    assert single.score == pytest.approx(truth[0], abs=2e-6)
    session.close()


def test_the_description_says_that_numpy_runs_the_network(library, fraud_model):
    described = open_session(NATIVE[library], fraud_model, options={"threads": 1}).describe()
    assert described["runtime"] == library
    assert described["threads"] == 1
    assert described["operators"]["assigned"] == {
        "model": {"Tree": {library: 150}, "Gemm": {"numpy": 3}}
    }
    assert described["fallbacks"] == ["numpy runs the network: the library has trees only"]


@pytest.mark.parametrize("runtime", [*NATIVE, *OTHERS])
def test_a_user_s_own_trees_score_alike_on_every_runtime(own, runtime):
    pytest.importorskip(runtime)
    adapter = (NATIVE | OTHERS)[runtime]
    session = open_session(adapter, own, options={"threads": 1})
    rows = draw_rows(300, seed=9)[0]
    assert np.abs(scores_of(session, rows) - reference_scores(own.weights(), rows)).max() < 2e-6
    described = session.describe()
    if runtime in NATIVE:
        is_own = own.architecture.family == runtime
        assert ("own file" in described["model"]) is is_own
        assert described["fallbacks"] == []
    session.close()


def test_a_row_of_another_width_fails_instead_of_reading_beyond_it(library, own):
    session = open_session(NATIVE[library], own)
    with pytest.raises(AdapterError, match=r"not float32 of 5"):
        ask(session, RowRequest(np.zeros(len(NAMES) - 1, dtype=np.float32)))


def test_text_and_other_precisions_are_unsupported(library, llama_model, own):
    with pytest.raises(UnsupportedError, match="not 'llama'"):
        open_session(NATIVE[library], llama_model)
    with pytest.raises(UnsupportedError, match="not in int8"):
        open_session(NATIVE[library], own, precision="int8")


def test_both_are_registered(library):
    assert type(plugin(library)) is NATIVE[library]
