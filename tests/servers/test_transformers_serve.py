"""`transformers serve` measured by the command line, beside the same model in-process."""

import pytest

from harness.measure.samples import read_parquet
from tests.servers.catalog import Catalog, served

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture(scope="module")
def measured(chat_server, llama_folder, tmp_path_factory):
    """Return the catalog after a run of both targets, a target's file of some 20 lines."""
    catalog = Catalog(tmp_path_factory.mktemp("chat"))
    catalog.add_chat(llama_folder, scenarios=[{"kind": "single_stream"}])
    catalog.add_cpu("torch")
    text = served("served", chat_server.url, "openai-chat", llama_folder, "end_mark: finish_reason")
    assert len(text.splitlines()) <= 24
    catalog.add_target(text, "served")
    # Status 1 is a finding: no gate can be evaluated on a server that gives no logits.
    catalog.harness("run", "-w", "chat", "-t", "served", "-t", "in-process", status=(0, 1))
    return catalog


@pytest.fixture(scope="module")
def stored(measured):
    return {record.cell.target: (record, folder) for record, folder in measured.records()}


def test_a_chat_server_is_measured_with_its_own_count_of_tokens(stored):
    record, folder = stored["served"]
    assert record.status == "ok"
    codes = {reason.code for reason in record.verdict.reasons}
    assert not codes & {"contract", "errors", "output-length", "client-bound"}, record.verdict
    assert record.session["tokens_counted_from"] == "usage"
    assert record.session["tokens_per_chunk"] == pytest.approx(1.0)
    assert record.session["client"]["reuse_share"] > 0.9
    rows = read_parquet(folder / "samples.parquet")
    assert (rows["tokens_out"] == 8).all()
    assert (rows["issued_ns"] < rows["first_ns"]).all()
    assert (rows["first_ns"] <= rows["ended_ns"]).all()
    (point,) = record.points
    steady = rows["scheduled_ns"].argsort()[point.warm_up_requests :]
    blocks = int((rows["first_ns"] == rows["ended_ns"])[steady].sum())
    each = point.metrics["tpot_s.p50"]
    # Where the server wrote faster than we were woken there is no time between tokens, never 0.
    assert each.n == point.requests - blocks
    if blocks > 0.05 * point.requests:
        assert each.value is None
        assert f"{blocks} of {point.requests} replies came in one block" in str(each.reason)
    elif each.value is None:  # on a busy machine they are too much alike to count
        assert "not supported by n" in str(each.reason)
    else:
        assert each.value > 20e-6  # the model alone takes longer


def test_prompts_have_the_very_tokens_of_the_workload(stored):
    record, folder = stored["served"]
    rows = read_parquet(folder / "samples.parquet")
    # The server's mean is of all requests asked for, those of the warm-up too.
    counted = record.session["prompt_tokens_by_server"]
    assert counted == pytest.approx(rows["tokens_in"].mean(), rel=0.1)


def test_a_gate_that_needs_logits_says_so(stored):
    record, _ = stored["served"]
    assert not record.quality_passed
    (check,) = record.quality
    assert "logits" in str(check)
    assert stored["in-process"][0].quality_passed


def test_the_comparison_says_what_the_server_costs_and_what_is_lost(measured):
    metrics = ["--metric", "throughput_requests_per_s", "--metric", "latency_s.p50"]
    found = measured.json("compare", "in-process", "served", *metrics, status=(1,))
    (cell,) = found["cells"]
    assert (cell["base_target"], cell["new_target"]) == ("in-process", "served")
    rate = next(m for m in cell["metrics"] if m["metric"] == "throughput_requests_per_s")
    assert rate["difference"]["ratio"] < 1
    # One run a side is shown and never judged; the gate that nobody could evaluate is a loss.
    assert rate["outcome"] == "indicative"
    assert cell["lost"] == ["the new side does not pass the quality gate, the base does"]
