"""MLServer with the project's own fraud model, measured over the Open Inference Protocol."""

import numpy as np
import pytest

from harness.models.trees_mlp import width
from tests.servers.catalog import Catalog, served
from tests.servers.scores import scores_here, scores_there

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture(scope="module")
def measured(fraud_server, tmp_path_factory):
    """Return the catalog after a run in-process and of the server, with JSON and with bytes."""
    catalog = Catalog(tmp_path_factory.mktemp("fraud"))
    gate = {"kind": "pr_auc", "rows": 200, "score_difference_max": 1e-5}
    # A limit far above what is measured: how late this machine wakes anybody is not under test.
    slo = [{"metric": "latency", "percentile": 99, "limit_s": 1.0}]
    catalog.add_fraud(scenarios=[{"kind": "single_stream"}], quality=[gate], slo=slo)
    catalog.add_cpu("onnxruntime")
    for name, tensors in (("served", "json"), ("bytes", "binary")):
        text = served(name, fraud_server.url, "oip-http", "fraud", f"tensors: {tensors}")
        catalog.add_target(text, name)
    targets = [part for name in ("in-process", "served", "bytes") for part in ("-t", name)]
    catalog.harness("run", "-w", "fraud", *targets, status=(0, 1))
    return catalog


@pytest.fixture(scope="module")
def records(measured):
    return {record.cell.target: record for record, _ in measured.records()}


@pytest.mark.parametrize(
    ("protocol", "tensors"), [("oip-http", "json"), ("oip-grpc", "binary"), ("oip-grpc", "typed")]
)
def test_a_served_row_has_the_score_of_the_same_model_in_process(
    fraud_server, fraud_model, protocol, tensors
):
    size = width(fraud_model.weights())
    rows = np.random.default_rng(5).normal(0, 2, (40, size)).astype(np.float32)
    expected = scores_here(fraud_model, rows)
    assert max(expected) - min(expected) > 0.01
    url = fraud_server.urls[protocol]
    found = scores_there(url, fraud_model, rows, protocol=protocol, tensors=tensors)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_record_passes_the_gate_in_full(records):
    record = records["served"]
    assert record.status == "ok"
    assert record.quality_passed
    codes = {reason.code for reason in record.verdict.reasons}
    assert not codes & {"contract", "errors", "client-bound"}, record.verdict
    assert record.session["input"] == "features FP32"
    assert record.session["client"]["reuse_share"] > 0.9


BUSY = {"foreign-load", "pressure", "steal", "thread-wait"}


def test_the_comparison_says_what_the_server_costs(measured, records):
    invalid = [records[name].verdict for name in ("in-process", "served")]
    codes = {r.code for v in invalid if v.state == "invalid" for r in v.reasons}
    if codes & BUSY:
        pytest.skip(f"this machine is too busy to measure: {', '.join(sorted(codes))}")
    metric = "throughput_requests_per_s"
    found = measured.json("compare", "in-process", "served", "--metric", metric, status=(0, 1))
    (cell,) = found["cells"]
    assert [each["metric"] for each in cell["metrics"]] == [metric], cell["missing"]
    # A call of tens of microseconds goes over HTTP: a fifth is left at most, however noisy.
    assert cell["metrics"][0]["difference"]["ratio"] < 0.2
    assert cell["lost"] == []


def test_an_extension_that_the_server_does_not_know_is_a_failed_request(records):
    # MLServer 1.7.1 answers the binary tensor extension with status 500.
    record = records["bytes"]
    (point,) = record.points
    assert point.failed == point.requests > 0
    assert point.metrics["latency_s.p50"].value is None
    assert record.verdict.state == "invalid"
    assert "ServerError" in str(record.session["errors"])
    assert "set the target's 'server.tensors: json'" in str(record.session["errors"])
    assert not record.quality_passed
