import sys
from pathlib import Path
from typing import Any

import pytest

from harness.adapters.http.prerequisites import lacking, unserved
from harness.plan import unsupported
from harness.schema.server import ServerAddress
from tests.adapters.http.served import make_served
from tests.factories import make_fraud_workload


def address(url: str = "https://api.example.com/v1", **changes: Any) -> ServerAddress:
    found = make_served(url, **changes).server
    assert found is not None
    return found


def test_a_protocol_that_cannot_answer_the_task_names_those_that_can() -> None:
    assert unserved(address(), "text_generation") is None
    assert unserved(address(), "text_embedding") == (
        "openai-chat does not serve text_embedding; openai-embeddings would"
    )
    assert unsupported(make_fraud_workload(), make_served("http://a"), Path()) == (
        "openai-chat does not serve tabular_classification; oip-http and oip-grpc would"
    )


def test_what_is_lacking_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(address()) is None
    monkeypatch.delenv("A_KEY", raising=False)
    assert "export A_KEY" in (lacking(address(api_key={"env": "A_KEY"})) or "")
    over_grpc = address("https://api.example.com", protocol="oip-grpc")
    assert lacking(over_grpc) is None
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert "[http,grpc]" in (lacking(over_grpc) or "")
