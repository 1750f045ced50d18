"""One real server of each kind for all tests; where it cannot be installed, they are skipped."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.models.build import build_model
from harness.models.trees_mlp import width
from harness.schema.model import TreesMlpModel
from tests.servers.environments import NotInstalled
from tests.servers.fraud_mlserver import fraud_mlserver
from tests.servers.fraud_triton import fraud_triton
from tests.servers.llama_cpp_server import llama_cpp_server
from tests.servers.llama_folder import write_llama_folder
from tests.servers.transformers_serve import transformers_serve

DATA = Path(__file__).parents[2] / "workloads"
FRAUD = TreesMlpModel(family="trees_mlp", weights="weights/fraud.safetensors")


@contextmanager
def or_skip():
    try:
        yield
    except NotInstalled as error:
        pytest.skip(f"no real server here: {error}")


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    """Return a folder with a small Llama."""
    folder = tmp_path_factory.mktemp("served") / "tiny-llama"
    write_llama_folder(folder)
    return folder


@pytest.fixture(scope="session")
def chat_server(llama_folder, tmp_path_factory):
    """Return `transformers serve` on `llama_folder`, ready."""
    with or_skip():
        server = transformers_serve(llama_folder, tmp_path_factory.mktemp("transformers"))
    with server:
        yield server


@pytest.fixture(scope="session")
def fraud_model(tmp_path_factory):
    """Return the project's fraud model, in-process."""
    cache = tmp_path_factory.mktemp("models")
    return build_model(FRAUD, "tabular_classification", cache=cache, data=DATA)


@pytest.fixture(scope="session")
def fraud_server(fraud_model, tmp_path_factory):
    """Return MLServer on `fraud_model`, ready."""
    file = fraud_model.onnx("standard") / "model.onnx"
    with or_skip():
        server = fraud_mlserver(file, width(fraud_model.weights()), tmp_path_factory.mktemp("ml"))
    with server:
        yield server


@pytest.fixture(scope="session")
def triton_server(fraud_model, tmp_path_factory):
    """Return Triton on `fraud_model`, ready."""
    file = fraud_model.onnx("standard") / "model.onnx"
    with or_skip():
        server = fraud_triton(file, width(fraud_model.weights()), tmp_path_factory.mktemp("tri"))
    with server:
        yield server


@pytest.fixture(scope="session")
def gguf_server(tmp_path_factory):
    """Return llama.cpp's server on a small Llama of its own, ready."""
    with or_skip():
        server = llama_cpp_server(tmp_path_factory.mktemp("llama-cpp"))
    with server:
        yield server
