import sys

import pytest

from harness.adapters.openvino import OpenVinoAdapter
from harness.errors import PrerequisiteError, UnsupportedError
from tests.adapters.recorder import open_session

openvino = pytest.importorskip("openvino")


def test_without_openvino_it_says_what_to_install(monkeypatch, llama_model):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(PrerequisiteError) as caught:
        open_session(OpenVinoAdapter, llama_model)
    assert caught.value.hint == "pip install 'accelerator-harness[openvino]'"


def test_what_it_cannot_compute_is_unsupported(llama_model):
    with pytest.raises(UnsupportedError, match="not 'cuda'"):
        open_session(OpenVinoAdapter, llama_model, device="cuda")


def test_a_precision_that_the_cpu_lacks_is_unsupported(llama_model):
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in ("bf16", "fp16"):
        if precision.upper() not in capabilities:
            with pytest.raises(UnsupportedError, match=f"not in {precision.upper()}"):
                open_session(OpenVinoAdapter, llama_model, precision=precision)


def test_fp32_is_fp32_in_every_product(llama_model, whisper_model):
    for model in (llama_model, whisper_model):
        session = open_session(OpenVinoAdapter, model)
        described = session.describe()
        assert described["precision_hint"] == "f32"
        for counts in described["precision_of_products"].values():
            assert set(counts) == {"f32"}
        session.close()


def test_the_cache_is_kept_by_the_runtime(llama_model):
    session = open_session(OpenVinoAdapter, llama_model)
    counts = session.describe()["operators"]["counts"]["model"]
    assert counts["MemoryInput"] == counts["MemoryOutput"] == 6
    session.close()


def test_trees_are_said_to_be_lowered(fraud_model):
    session = open_session(OpenVinoAdapter, fraud_model)
    assert "TreeEnsembleRegressor" in session.describe()["operators"]["lowered"][0]
    session.close()
    with pytest.raises(UnsupportedError, match="TreeEnsemble"):
        # What would happen without: the runtime's own words reach the user.
        open_session(OpenVinoAdapter, _standard(fraud_model))


def _standard(model):
    import dataclasses

    return dataclasses.replace(model, onnx=lambda dialect: model.onnx("standard"))
