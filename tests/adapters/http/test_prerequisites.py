import sys
from pathlib import Path
from typing import Any

import pytest

from harness.adapters.http.prerequisites import lacking, unserved
from harness.plan import make_plan, unsupported
from harness.schema.server import ServerAddress
from tests.adapters.http.served import make_served
from tests.factories import make_fraud_workload, make_workload


def address(url: str = "https://api.example.com/v1", **changes: Any) -> ServerAddress:
    found = make_served(url, **changes).server
    assert found is not None
    return found


def test_a_protocol_that_cannot_answer_the_task_names_those_that_can() -> None:
    assert unserved(address(), "text_generation", "llama") is None
    assert unserved(address(), "text_embedding", "served") == (
        "openai-chat does not serve text_embedding; openai-embeddings would"
    )
    assert unsupported(make_fraud_workload(), make_served("http://a"), Path()) == (
        "openai-chat does not serve tabular_classification; oip-http and oip-grpc would"
    )


SPEECH = {
    "task": "speech_to_text",
    "inputs": {
        "kind": "audio_files",
        "files": ["a.wav"],
        "output_tokens": {"kind": "fixed", "value": 4},
    },
    "quality": [{"kind": "transcripts", "list": "calls.csv", "word_error_rate_max": 0.2}],
}
WHISPER = {
    "family": "whisper", "vocabulary": 64, "hidden": 32, "encoder_layers": 1, "decoder_layers": 1,
    "heads": 4,
}  # fmt: skip


@pytest.mark.parametrize("protocol", ["oip-http", "oip-grpc"])
def test_recordings_of_a_served_model_are_no_features_and_the_plan_says_so(protocol: str) -> None:
    served = make_workload(**SPEECH, model={"family": "served"})
    over = make_served("http://a", protocol=protocol)
    refused = unsupported(served, over, Path())

    assert refused is not None
    assert refused.startswith(f"{protocol} takes features, and which ones a served model has is")
    assert "over openai-transcriptions" in refused
    plan = make_plan([(served, Path())], [over], {})
    assert {each.unsupported for each in plan} == {refused}
    as_files = make_served("http://a", protocol="openai-transcriptions")
    assert unsupported(served, as_files, Path()) is None
    assert unsupported(make_workload(**SPEECH, model=WHISPER), over, Path()) is None


def test_what_is_lacking_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(address()) is None
    monkeypatch.delenv("A_KEY", raising=False)
    assert "export A_KEY" in (lacking(address(api_key={"env": "A_KEY"})) or "")
    over_grpc = address("https://api.example.com", protocol="oip-grpc")
    assert lacking(over_grpc) is None
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert "[http,grpc]" in (lacking(over_grpc) or "")
