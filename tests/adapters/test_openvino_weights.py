"""OpenVINO with weights compressed by NNCF: what is taken, and what the runtime makes of it."""

from importlib import metadata

import numpy as np
import pytest

from harness.adapters.base import RowRequest, ScoreSpeechRequest
from harness.adapters.openvino import OpenVinoAdapter
from harness.errors import PrerequisiteError
from harness.models import openvino_weights, whisper
from harness.models.exports import openvino_folder
from harness.models.quality_metrics import kl_divergence
from harness.models.transactions import draw_transactions
from harness.models.trees_mlp import reference_scores
from tests.adapters.recorder import WHISPER, ask, draw_features, draw_tokens, open_session

pytest.importorskip("openvino")
needs_nncf = pytest.mark.skipif(
    not any(each.name == "nncf" for each in metadata.distributions()), reason="NNCF is not here"
)


def test_without_nncf_it_says_what_to_install(monkeypatch, llama_model):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(PrerequisiteError, match="compresses weights with NNCF") as caught:
        openvino_weights.nncf_version()
    assert caught.value.hint == "pip install 'accelerator-harness[openvino-int]'"


@needs_nncf
@pytest.mark.parametrize(("precision", "kind"), [("int8", "u8"), ("int4", "i4")])
def test_the_products_of_a_language_model_run_on_compressed_weights(precision, kind, llama_model):
    described = open_session(OpenVinoAdapter, llama_model, precision=precision).describe()
    products = described["precision_of_products"]["model"]
    # Three layers of four products, and the output matrix, which int4 leaves at 8 bits.
    assert products[kind] == (13 if precision == "int8" else 12)
    assert products.get("u8") == (13 if precision == "int8" else 1)
    assert described["precision_hint"] == "f32"
    assert "NNCF weight compression" in described["quantisation"]["method"]
    weights = described["quantisation"]["weights_by_type"]["model"]
    # What is left are the tables of the rotation.
    assert weights.pop("f32") < 0.02 * llama_model.parameters
    assert set(weights) == {kind, "u8"}
    assert sum(weights.values()) > 0.9 * llama_model.parameters


@needs_nncf
@pytest.mark.parametrize(("precision", "limit"), [("int8", 0.002), ("int4", 0.2)])
def test_speech_on_compressed_weights_stays_close_but_is_not_fp32(precision, limit, whisper_model):
    session = open_session(OpenVinoAdapter, whisper_model, precision=precision)
    features, tokens = draw_features(1), draw_tokens(20)
    truth = whisper.reference_logits(whisper_model.weights(), WHISPER, features, tokens)
    (output,) = ask(session, ScoreSpeechRequest(features, tokens))
    assert 1e-7 < kl_divergence(truth, output.logits) < limit
    assert np.abs(output.logits - truth).max() > 1e-3 * truth.std()


@needs_nncf
@pytest.mark.parametrize(("precision", "limit"), [("int8", 0.02), ("int4", 0.1)])
def test_only_the_network_of_the_fraud_model_is_compressed(precision, limit, fraud_model):
    session = open_session(OpenVinoAdapter, fraud_model, precision=precision)
    features = draw_transactions(200, seed=4)[0]
    scores = [ask(session, RowRequest(row))[0].score for row in features]
    difference = np.abs(scores - reference_scores(fraud_model.weights(), features))
    # A rounded threshold or child would send a row down another branch.
    assert 1e-6 < difference.max() < limit
    weights = session.describe()["quantisation"]["weights_by_type"]["model"]
    assert sum(weights.values()) == sum(
        array.size
        for name, array in fraud_model.weights().items()
        if name.startswith("mlp.") and array.ndim == 2
    )


@needs_nncf
def test_the_files_are_built_once_and_say_nothing(llama_model, capfd):
    path = openvino_folder(llama_model, "int8") / "model.xml"
    stamp = path.stat().st_mtime_ns
    assert openvino_folder(llama_model, "int8") / "model.xml" == path
    assert path.stat().st_mtime_ns == stamp
    assert metadata.version("nncf") in path.parent.name
    assert capfd.readouterr().out == ""
