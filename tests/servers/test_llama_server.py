"""llama.cpp's server over chat. Its file is checked everywhere, the server where it is built."""

import pytest

from harness.measure.samples import read_parquet
from tests.factories import make_workload
from tests.servers.catalog import Catalog, served
from tests.servers.llama_cpp_server import LLAMA, TOKENS, write_gguf


def test_the_file_is_one_that_llama_cpp_loads(tmp_path):
    llama_cpp = pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    model = llama_cpp.Llama(str(write_gguf(tmp_path)), n_ctx=64, n_threads=1, verbose=False)
    try:
        assert model.n_vocab() == len(TOKENS)
        ids = model.tokenize(b"time year", add_bos=False)
        assert model.detokenize(ids).strip() == b"time year"
        assert len(ids) == len(" time year")
    finally:
        model.close()


@pytest.mark.servers
@pytest.mark.slow
def test_llama_server_is_measured_over_chat(gguf_server, tmp_path):
    catalog = Catalog(tmp_path)
    slo = [{"metric": "ttft", "percentile": 90, "limit_s": 1.0}]
    scenarios = [{"kind": "single_stream"}, {"kind": "closed_loop", "concurrency": 4}]
    model = LLAMA.model_dump(mode="json")
    catalog.add(make_workload("chat", model=model, slo=slo, scenarios=scenarios))
    lines = ("length: [ignore_eos]", "concurrency: 4")
    catalog.add_target(
        served("llama-server", gguf_server.url, "openai-chat", "tiny-llama", *lines), "llama-server"
    )
    catalog.harness("run", "-w", "chat", "-t", "llama-server", status=(0, 1))
    found = catalog.records()
    assert len(found) == len(scenarios)
    for record, folder in found:
        assert record.status == "ok"
        codes = {reason.code for reason in record.verdict.reasons}
        # Not "client-bound": on a busy machine with so fast a server it may well be.
        assert not codes & {"contract", "errors", "output-length"}, record.verdict
        assert record.session["tokens_counted_from"] == "usage"
        assert (read_parquet(folder / "samples.parquet")["tokens_out"] == 8).all()
