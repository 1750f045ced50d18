"""ONNX Runtime's execution providers: asked for by name, never replaced in silence."""

import onnxruntime
import pytest

from harness.adapters import onnxruntime_providers
from harness.adapters.base import TextRequest
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.adapters.onnxruntime_providers import PROVIDERS, Provider, provider_of
from harness.adapters.options import read_options
from harness.errors import PrerequisiteError, SpecError, UnsupportedError
from tests.adapters.recorder import ask, draw_tokens, open_session
from tests.factories import make_target

AZURE = "AzureExecutionProvider"


def asked(name, device="cpu"):
    target = make_target(
        runtime={"adapter": "onnxruntime", "device": device, "options": {"provider": name}}
    )
    return provider_of(target, read_options(target, "provider"))


def test_the_cpu_s_provider_by_name_is_the_default(llama_model):
    request = TextRequest(draw_tokens(5), 6)
    tokens = []
    for options in ({}, {"provider": "cpu"}):
        session = open_session(OnnxRuntimeAdapter, llama_model, options={"threads": 1, **options})
        assert session.describe()["providers"] == ["CPUExecutionProvider"]
        tokens.append(list(ask(session, request)[0].tokens))
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_what_this_wheel_lacks_is_said_with_how_to_get_it(name):
    provider = PROVIDERS[name]
    if provider.name in onnxruntime.get_available_providers():
        assert asked(name, provider.devices[0]) == provider
        return
    with pytest.raises(PrerequisiteError, match=f"no {provider.name}, but .*CPU") as caught:
        asked(name, provider.devices[0])
    assert caught.value.hint == provider.install


def test_a_provider_that_is_there_is_taken_by_name(monkeypatch):
    # Of these none can run here: only the choice is tested.
    names = [each.name for each in PROVIDERS.values()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    for name, provider in PROVIDERS.items():
        for device in provider.devices:
            assert asked(name, device) == provider
    assert asked("tensorrt", "cuda").then == ("CUDAExecutionProvider",)
    assert asked("cuda", "cuda").memory == "cuda"


def test_a_provider_of_another_device_is_refused():
    with pytest.raises(UnsupportedError, match="goes with 'device: cuda', not 'cpu'"):
        asked("tensorrt", "cpu")


def test_an_unknown_provider_is_a_mistake_in_the_target():
    with pytest.raises(SpecError, match="knows no provider 'tensort'; it knows cpu, cuda"):
        asked("tensort")


@pytest.mark.skipif(AZURE not in onnxruntime.get_available_providers(), reason="not in this wheel")
def test_what_a_second_provider_does_not_take_is_a_fallback(monkeypatch, llama_model):
    # The wheel's second provider, which runs no operator of ours: all falls back to the CPU.
    azure = Provider(AZURE, ("cpu",), "pip install onnxruntime")
    monkeypatch.setitem(onnxruntime_providers.PROVIDERS, "azure", azure)
    session = open_session(OnnxRuntimeAdapter, llama_model, options={"provider": "azure"})
    described = session.describe()
    assert described["providers"] == [AZURE, "CPUExecutionProvider"]
    assert any(text.startswith("CPUExecutionProvider runs ") for text in described["fallbacks"])
    table = described["operators"]["assigned"]["model"]
    assert table["MatMul"] == {"CPUExecutionProvider": table["MatMul"]["CPUExecutionProvider"]}
    assert all(list(places) == ["CPUExecutionProvider"] for places in table.values())
    with pytest.raises(UnsupportedError, match="no dynamically quantised products"):
        open_session(
            OnnxRuntimeAdapter, llama_model, precision="int8", options={"provider": "azure"}
        )
