import sys

import numpy as np
import pytest

from harness.adapters.base import RowRequest
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models.model import Model
from harness.models.transactions import draw_transactions
from harness.models.trees_mlp import reference_scores
from tests.adapters.recorder import ask, open_session


def test_without_the_runtime_it_says_what_to_install(monkeypatch, llama_model):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PrerequisiteError, match="needs ONNX Runtime"):
        open_session(OnnxRuntimeAdapter, llama_model)


def test_a_provider_that_is_not_installed_is_missing_not_replaced(monkeypatch, llama_model):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(PrerequisiteError, match="has no CUDAExecutionProvider"):
        open_session(OnnxRuntimeAdapter, llama_model, device="cuda")


def test_what_it_cannot_compute_is_unsupported(monkeypatch, llama_model):
    import onnxruntime

    with pytest.raises(UnsupportedError, match="not in fp16"):
        open_session(OnnxRuntimeAdapter, llama_model, precision="fp16")
    with pytest.raises(UnsupportedError, match="not 'remote'"):
        open_session(OnnxRuntimeAdapter, llama_model, device="remote")
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with pytest.raises(UnsupportedError, match="no dynamically quantised products"):
        open_session(OnnxRuntimeAdapter, llama_model, device="cuda", precision="int8")
    with pytest.raises(UnsupportedError, match="int4 on the CPU only"):
        open_session(OnnxRuntimeAdapter, llama_model, device="cuda", precision="int4")


def test_a_graph_that_the_runtime_refuses_is_unsupported(tmp_path):
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    node = helper.make_node("Unheard", ["x"], ["y"], domain="example.org")
    graph = helper.make_graph([node], "graph", value[:1], value[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example.org", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    fake = Model(
        task="text_generation",
        architecture=None,  # type: ignore[arg-type]
        parameters=0,
        folder=tmp_path,
        weights=dict,
        onnx=lambda dialect: tmp_path,
    )
    with pytest.raises(UnsupportedError, match="Unheard"):
        open_session(OnnxRuntimeAdapter, fake)


def test_int8_says_which_products_it_took(llama_model, whisper_model):
    session = open_session(OnnxRuntimeAdapter, llama_model, precision="int8")
    told = session.describe()["quantisation"]
    assert len(told["products_int8"]) == 13
    assert "model/lm_head" in told["products_int8"], "tied embeddings must not keep it in fp32"
    assert told["products_fp32"] == []
    session.close()
    session = open_session(OnnxRuntimeAdapter, whisper_model, precision="int8")
    told = session.describe()["quantisation"]
    assert "decoder/proj_out" in told["products_int8"]
    assert told["products_fp32"] == [
        "encoder/model.encoder.conv1.weight",
        "encoder/model.encoder.conv2.weight",
    ]
    session.close()


def test_int8_fraud_scores_move_but_little(fraud_model):
    features = draw_transactions(64, seed=4)[0]
    truth = reference_scores(fraud_model.weights(), features)
    session = open_session(OnnxRuntimeAdapter, fraud_model, precision="int8")
    scores = [output.score for output in ask(session, *(RowRequest(row) for row in features))]
    assert 1e-6 < np.abs(scores - truth).max() < 0.1
    session.close()


def test_the_encoder_s_threads_leave_the_cores_to_the_decoder(whisper_model):
    session = open_session(OnnxRuntimeAdapter, whisper_model)
    encoder, decoder = session._engine._encoder, session._engine._decoder
    key = "session.force_spinning_stop"
    assert encoder.get_session_options().get_session_config_entry(key) == "1"
    with pytest.raises(RuntimeError, match="does not have configuration"):
        decoder.get_session_options().get_session_config_entry(key)
    assert session.describe()["encoder_threads"] == "stop spinning when a run ends"
    session.close()
