import sys

import pytest

from harness.adapters.base import ScoreTextRequest, TextRequest
from harness.adapters.torch import TorchAdapter
from harness.errors import PrerequisiteError, SpecError, UnsupportedError
from tests.adapters.recorder import ask, draw_tokens, open_session

torch = pytest.importorskip("torch")


def test_without_torch_it_says_what_to_install(monkeypatch, llama_model):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(PrerequisiteError) as caught:
        open_session(TorchAdapter, llama_model)
    assert caught.value.hint == "pip install 'accelerator-harness[torch]'"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_cuda_it_does_not_fall_back_to_the_cpu(llama_model):
    with pytest.raises(PrerequisiteError, match="finds no CUDA device"):
        open_session(TorchAdapter, llama_model, device="cuda")


def test_what_it_cannot_compute_is_unsupported(llama_model, fraud_model):
    with pytest.raises(UnsupportedError, match="not in int8"):
        open_session(TorchAdapter, llama_model, precision="int8")
    with pytest.raises(UnsupportedError, match="not 'other'"):
        open_session(TorchAdapter, llama_model, device="other")
    with pytest.raises(UnsupportedError, match="wrong branches"):
        open_session(TorchAdapter, fraud_model, precision="bf16")


def test_options_are_checked(llama_model):
    with pytest.raises(SpecError, match="has no option 'thread'") as caught:
        open_session(TorchAdapter, llama_model, options={"thread": 2})
    assert caught.value.hint == "did you mean 'threads'?"
    for value in (0, True, 1.5, "2"):
        with pytest.raises(SpecError, match="whole number"):
            open_session(TorchAdapter, llama_model, options={"threads": value})


def test_threads_and_operators_are_those_that_run(llama_model):
    session = open_session(TorchAdapter, llama_model, options={"threads": 1})
    assert torch.get_num_threads() == 1
    described = session.describe()
    assert described["threads"] == 1
    # Three layers of four products, and the output matrix.
    assert described["operators"]["counts"]["aten.linear.default"] == 13
    placed = described["operators"]["assigned"]["model"]
    assert placed["aten.linear.default"] == {"torch": 13}
    session.close()


def test_a_cpu_reports_no_memory_held(llama_model, fraud_model):
    for model in (llama_model, fraud_model):
        assert "peak_memory_bytes" not in open_session(TorchAdapter, model).describe()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_s_memory_is_the_most_held_so_far(llama_model):
    session = open_session(TorchAdapter, llama_model, device="cuda", options={"max_batch": 8})
    opened = session.describe()["peak_memory_bytes"]
    assert opened >= 4 * llama_model.parameters
    ask(session, *(TextRequest(draw_tokens(20), 8) for _ in range(8)))
    assert session.describe()["peak_memory_bytes"] > opened


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_computes_the_same(llama_model):
    request = ScoreTextRequest(draw_tokens(20))
    (expected,) = ask(open_session(TorchAdapter, llama_model), request)
    session = open_session(TorchAdapter, llama_model, device="cuda")
    (output,) = ask(session, request)
    assert abs(output.logits - expected.logits).max() < 1e-3
    assert session.describe()["device_name"] == torch.cuda.get_device_name()
