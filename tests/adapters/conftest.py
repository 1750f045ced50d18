"""Small models, built once for all tests of adapters."""

from pathlib import Path

import pytest

from harness.models.build import build_model
from harness.models.model import Model
from harness.schema.model import TreesMlpModel
from tests.adapters.recorder import LLAMA, WHISPER

WORKLOADS = Path(__file__).parents[2] / "workloads"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def llama_model(built: Path) -> Model:
    return build_model(LLAMA, "text_generation", cache=built, data=built)


@pytest.fixture(scope="session")
def whisper_model(built: Path) -> Model:
    return build_model(WHISPER, "speech_to_text", cache=built, data=built)


@pytest.fixture(scope="session")
def fraud_model(built: Path) -> Model:
    fraud = TreesMlpModel(family="trees_mlp", weights="weights/fraud.safetensors")
    return build_model(fraud, "tabular_classification", cache=built, data=WORKLOADS)
