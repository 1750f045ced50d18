"""Triton with the project's own fraud model: numbers as JSON and as bytes."""

import numpy as np
import pytest

from harness.models.trees_mlp import width
from tests.servers.catalog import Catalog, served
from tests.servers.scores import scores_here, scores_there

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.mark.parametrize(
    ("protocol", "tensors"),
    [("oip-http", "json"), ("oip-http", "binary"), ("oip-grpc", "binary"), ("oip-grpc", "typed")],
)
def test_a_served_row_has_the_score_of_the_same_model_in_process(
    triton_server, fraud_model, protocol, tensors
):
    size = width(fraud_model.weights())
    rows = np.random.default_rng(5).normal(0, 2, (40, size)).astype(np.float32)
    url = triton_server.urls[protocol]
    found = scores_there(url, fraud_model, rows, protocol=protocol, tensors=tensors)
    np.testing.assert_allclose(found, scores_here(fraud_model, rows), rtol=0, atol=1e-5)


def test_triton_is_measured_with_bytes_and_passes_the_gate(triton_server, tmp_path):
    catalog = Catalog(tmp_path)
    gate = {"kind": "pr_auc", "rows": 200, "score_difference_max": 1e-5}
    slo = [{"metric": "latency", "percentile": 99, "limit_s": 1.0}]
    catalog.add_fraud(scenarios=[{"kind": "single_stream"}], quality=[gate], slo=slo)
    text = served("triton", triton_server.url, "oip-http", "fraud", "tensors: binary")
    catalog.add_target(text, "triton")
    catalog.harness("run", "-w", "fraud", "-t", "triton")
    ((record, _),) = catalog.records()
    assert record.status == "ok"
    assert record.quality_passed
    assert not {r.code for r in record.verdict.reasons} & {"contract", "errors", "client-bound"}
