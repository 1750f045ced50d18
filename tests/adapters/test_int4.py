"""Quantised weights, by every runtime that has them: what was taken, is the result still good."""

from pathlib import Path

import numpy as np
import pytest

from harness.adapters.base import ScoreTextRequest
from harness.adapters.genai import GenaiAdapter
from harness.adapters.llama_cpp import LlamaCppAdapter
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.openvino import OpenVinoAdapter
from harness.catalog import Catalog
from harness.errors import UnsupportedError
from harness.models import llama
from harness.models.build import build_model
from harness.models.quality import evaluate
from harness.models.quality_metrics import kl_divergence
from tests.adapters.recorder import LLAMA, ask, draw_tokens, open_session

WORKLOADS = Path(__file__).parents[2] / "workloads"
QUANTISED = [
    ("onnxruntime", OnnxRuntimeAdapter, "int4"),
    ("onnxruntime_genai", GenaiAdapter, "int4"),
    ("llama_cpp", LlamaCppAdapter, "int8"),
    ("llama_cpp", LlamaCppAdapter, "int4"),
    ("nncf", OpenVinoAdapter, "int8"),
    ("nncf", OpenVinoAdapter, "int4"),
]


@pytest.mark.parametrize(("package", "adapter", "precision"), QUANTISED)
def test_the_trained_language_model_stays_good(package, adapter, precision, built):
    pytest.importorskip(package)
    workload = Catalog.find().workload("llm-chat")
    gate = workload.quality[0]
    if precision == "int4":
        # Of a model this small 4 bits move the distribution more; a ruined one is at 0.4.
        limits = {"perplexity_ratio_max": 1.03, "kl_divergence_max": 0.03}
        gate = gate.model_copy(update=limits)
    model = build_model(gate.model, workload.task, cache=built, data=WORKLOADS)
    session = open_session(adapter, model, precision=precision)
    checks = evaluate(
        gate,
        workload=workload,
        model=model,
        ask=lambda requests: [ask(session, request)[0] for request in requests],
        data=WORKLOADS,
        cache=built,
    )
    session.close()
    assert len(checks) == 3
    assert all(check.passed for check in checks), checks


@pytest.mark.parametrize(("package", "adapter", "precision"), QUANTISED)
def test_quantised_weights_move_the_logits_but_keep_the_model(
    package, adapter, precision, llama_model
):
    pytest.importorskip(package)
    tokens = draw_tokens(24)
    truth = llama.reference_logits(llama_model.weights(), LLAMA, tokens)
    session = open_session(adapter, llama_model, precision=precision)
    (output,) = ask(session, ScoreTextRequest(tokens))
    session.close()
    assert 1e-6 < kl_divergence(truth, output.logits) < (0.2 if precision == "int4" else 0.002)
    assert np.abs(output.logits - truth).max() > 0.01


def test_onnxruntime_says_which_products_are_int4(llama_model, whisper_model):
    session = open_session(OnnxRuntimeAdapter, llama_model, precision="int4")
    told = session.describe()["quantisation"]
    assert len(told["products_int4"]) == 13
    assert "model/lm_head" in told["products_int4"]
    assert told["products_fp32"] == []
    assert session.describe()["operators"]["counts"]["model"]["com.microsoft.MatMulNBits"] == 13
    session.close()
    session = open_session(OnnxRuntimeAdapter, whisper_model, precision="int4")
    told = session.describe()["quantisation"]
    assert "decoder/proj_out" in told["products_int4"]
    assert "encoder/model.encoder.conv1.weight" in told["products_fp32"]
    session.close()


def test_a_model_with_nothing_to_quantise_is_unsupported(fraud_model):
    with pytest.raises(UnsupportedError, match="nothing that int4 quantisation takes"):
        open_session(OnnxRuntimeAdapter, fraud_model, precision="int4")
