"""The Open Inference Protocol over gRPC, against a real gRPC server."""

import base64
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from harness.adapters.base import Model, RowRequest, Session, SpeechRequest, TextRequest
from harness.adapters.http import errors
from harness.adapters.http.adapter import HttpAdapter
from harness.adapters.http.oip_grpc import GrpcTensorCodec
from harness.adapters.http.oip_messages import messages
from harness.adapters.http.reply import Reply
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.errors import PrerequisiteError, UnsupportedError
from harness.measure.clock import RealClock
from harness.measure.query import TimedQuery
from harness.models.transactions import draw_transactions
from harness.schema import Target
from harness.schema.server import ServerAddress
from tests.adapters.http.served import make_served
from tests.factories import make_target
from tests.servers.oip_grpc import onnx_scorer, served
from tests.servers.process import certificate, refused_port

KEY = "canary-Zq7vX3pL9mK2rT8w"
ROW = RowRequest(np.array([0.25, 0.75], np.float32))


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


def target_at(port: int, **server: Any) -> Target:
    changes = {"protocol": "oip-grpc", "model": "fraud", **server}
    return make_served(changes.pop("url", f"http://127.0.0.1:{port}"), **changes)


def ask(session: Session, request: Any = ROW) -> TimedQuery:
    """Return the query of `request`, answered and read."""
    query = TimedQuery([request], None, RealClock())
    query.issued_ns = RealClock.now_ns()
    session.submit(query)
    assert query.wait(10.0)
    query.read()
    return query


def asked(target: Target, model: Model, request: Any = ROW) -> TimedQuery:
    session = HttpAdapter().open(target, model)
    try:
        return ask(session, request)
    finally:
        session.close()


def test_the_messages_are_those_of_the_protocol() -> None:
    # By hand, from open_inference_grpc.proto: number << 3 | wire type, length, bytes.
    assert messages().write("ServerReadyRequest") == b""
    assert messages().write("ServerReadyResponse", ready=True) == b"\x08\x01"
    assert messages().write("ModelMetadataRequest", name="m") == b"\x0a\x01m"
    tensor = b"\x0a\x01x" + b"\x12\x04FP32" + b"\x1a\x02\x01\x02"
    sent = messages().write(
        "ModelInferRequest",
        model_name="m",
        parameters=[{"key": "p", "value": {"bool_param": False}}],
        inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 2]}],
        outputs=[{"name": "y"}],
        raw_input_contents=[b"abcdefgh"],
    )
    assert sent == (
        b"\x0a\x01m"
        + b"\x22\x07\x0a\x01p\x12\x02\x08\x00"
        + b"\x2a"
        + bytes([len(tensor)])
        + tensor
        + b"\x32\x03\x0a\x01y"
        + b"\x3a\x08abcdefgh"
    )
    typed = messages().write(
        "ModelInferRequest",
        inputs=[{"contents": {"fp32_contents": [1.0], "int64_contents": [3]}}],
    )
    inner = b"\x1a\x01\x03" + b"\x32\x04\x00\x00\x80\x3f"
    contents = b"\x2a" + bytes([len(inner)]) + inner
    assert typed == b"\x2a" + bytes([len(contents)]) + contents
    with pytest.raises(ValueError, match="no ModelInferResponse"):
        messages().read_inferred(b"\xff\xff\xff")


@pytest.mark.parametrize("tensors", ["binary", "typed"])
def test_served_scores_are_those_of_the_same_model_in_process(
    fraud_model: Model, tensors: str
) -> None:
    rows = draw_transactions(8, seed=3)[0]
    requests = [RowRequest(row) for row in np.asarray(rows, np.float32)]
    local = OnnxRuntimeAdapter().open(make_target(runtime={"adapter": "onnxruntime"}), fraud_model)
    with served(onnx_scorer(fraud_model.onnx("standard"))) as running:
        far = HttpAdapter().open(target_at(running.port, tensors=tensors), fraud_model)
        try:
            for request in requests:
                (here,), (there,) = ask(local, request).outputs, ask(far, request).outputs
                assert here is not None
                assert there is not None
                assert there.score == pytest.approx(here.score, abs=1e-6)
            described = far.describe()
        finally:
            far.close()
            local.close()
    assert described["input"] == "rows FP32"
    assert described["tensors"] == tensors
    client = described["client"]
    assert isinstance(client, dict)
    assert client["connections"] == 1
    assert client["requests"] == len(requests) + 2  # with the two probes


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("unavailable", errors.BusyError),
        ("exhausted", errors.RateLimitError),
        ("internal", errors.ServerError),
        ("unknown", errors.ServerError),
        ("no-key", errors.StatusError),
        ("forbidden", errors.StatusError),
        ("invalid", errors.StatusError),
        ("late", errors.TimeoutError_),
        ("slow", errors.TimeoutError_),
        ("garbage", errors.AnswerError),
    ],
)
def test_every_fault_is_an_error_of_its_own_and_shows_no_key(
    server: Any,
    fraud_model: Model,
    model: str,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CANARY_KEY", KEY)
    target = target_at(server.port, model=model, timeout_s=0.3, api_key={"env": "CANARY_KEY"})
    query = asked(target, fraud_model)
    assert query.errors is not None
    (found,) = query.errors
    assert type(found) is error
    assert query.outputs == [None]
    assert server.seen[-1]["authorization"] == f"Bearer {KEY}"
    out = "".join(capfd.readouterr()) + repr(found) + str(found.__cause__) + repr(vars(found))
    for form in (KEY, quote(KEY), base64.b64encode(KEY.encode()).decode()[:-2]):
        assert form not in out


def test_a_reply_that_is_too_large_is_not_kept(
    server: Any, fraud_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "harness.adapters.http.grpc_client.GrpcClient.__init__.__kwdefaults__",
        {"max_reply_bytes": 1 << 20},
    )
    query = asked(target_at(server.port, model="large"), fraud_model)
    assert query.errors is not None
    assert type(query.errors[0]) is errors.TooLargeError


def test_a_server_that_goes_away_cuts_the_reply_off(fraud_model: Model) -> None:
    with served() as running:
        session = HttpAdapter().open(target_at(running.port, model="slow"), fraud_model)
        try:
            query = TimedQuery([ROW], None, RealClock())
            session.submit(query)
            assert running.begun.wait(5.0)
            running.server.stop(0)
            assert query.wait(10.0)
            query.read()
            assert query.errors is not None
            # Which of the two depends on whether the server still said good-bye.
            assert isinstance(query.errors[0], errors.TruncatedError | errors.BusyError)
        finally:
            session.close()


def test_a_closed_session_ends_what_is_open(server: Any, fraud_model: Model) -> None:
    threads = {thread.name for thread in threading.enumerate()}
    session = HttpAdapter().open(target_at(server.port, model="slow"), fraud_model)
    query = TimedQuery([ROW], None, RealClock())
    session.submit(query)
    assert server.begun.wait(5.0)
    session.close()
    session.close()
    assert query.wait(5.0)
    query.read()
    assert query.errors is not None
    assert "closed" in str(query.errors[0])
    assert ask(session).errors is not None
    assert "grpc-client" not in {thread.name for thread in threading.enumerate()} - threads


def test_open_says_what_is_missing_and_what_to_do(server: Any, fraud_model: Model) -> None:
    for target, words in (
        (target_at(refused_port()), "refuses connections"),
        (target_at(0, url="http://no.such.invalid:1"), "not found"),
        (target_at(server.port, model="missing"), "NOT_FOUND"),
        (target_at(server.port, api_key={"file": "/nowhere"}), "/nowhere"),
    ):
        with pytest.raises(PrerequisiteError, match=words) as raised:
            HttpAdapter().open(target, fraud_model)
        assert raised.value.hint
    with served(is_ready=False) as running, pytest.raises(PrerequisiteError, match="not ready"):
        HttpAdapter().open(target_at(running.port), fraud_model)
    with served(datatype="BYTES") as running, pytest.raises(PrerequisiteError, match="BYTES"):
        HttpAdapter().open(target_at(running.port), fraud_model)


def test_without_grpc_the_command_that_installs_it_is_named(
    server: Any, fraud_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(PrerequisiteError, match="grpc") as raised:
        HttpAdapter().open(target_at(server.port), fraud_model)
    assert "[http,grpc]" in (raised.value.hint or "")


def test_a_server_without_metadata_is_measured_all_the_same(fraud_model: Model) -> None:
    with served(metadata=False) as running:
        (output,) = asked(target_at(running.port), fraud_model).outputs
    assert output is not None
    assert output.score == 0.5


def test_half_precision_travels_as_bytes_only(fraud_model: Model) -> None:
    with served(datatype="FP16") as running:
        (output,) = asked(target_at(running.port), fraud_model).outputs
        assert output is not None
        assert output.score == 0.5
        with pytest.raises(PrerequisiteError, match="no typed form"):
            HttpAdapter().open(target_at(running.port, tensors="typed"), fraud_model)


@pytest.mark.parametrize("tensors", ["binary", "typed"])
def test_a_clip_gets_its_tokens(server: Any, whisper_model: Model, tensors: str) -> None:
    clip = SpeechRequest(np.ones((2, 3), np.float32), np.array([0]), 4, audio_s=0.5)
    target = target_at(server.port, model="echo-tokens", tensors=tensors)
    session = HttpAdapter().open(target, whisper_model)
    try:
        query = ask(session, clip)
        described = session.describe()
    finally:
        session.close()
    (output,) = query.outputs
    assert output is not None
    assert list(output.tokens) == [0, 1, 2, 3]
    assert query.token_counts == [4]
    assert described["tokens_counted_from"] == "tensor"


def test_what_is_no_row_is_refused(llama_model: Model) -> None:
    address = target_at(1).server
    assert isinstance(address, ServerAddress)
    with pytest.raises(UnsupportedError):
        GrpcTensorCodec(address).encode(TextRequest(np.array([1]), 2))
    with pytest.raises(UnsupportedError):
        HttpAdapter().open(target_at(1), llama_model)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "0 outputs"),
        ({"outputs": [{"datatype": "BYTES", "shape": [1]}]}, "not numbers"),
        ({"outputs": [{"datatype": "FP32", "shape": [2]}]}, "of its shape"),
        ({"outputs": [{"datatype": "FP32", "shape": [1]}] * 2}, "of its shape"),
        (
            {
                "outputs": [{"datatype": "FP32", "shape": [1]}],
                "raw_output_contents": [b"abc"],
            },
            "bytes",
        ),
        ({"raw_output_contents": [b"abcd"]}, "1 blocks"),
    ],
)
def test_an_answer_that_is_none_says_why(fields: dict[str, Any], words: str) -> None:
    address = target_at(1).server
    assert isinstance(address, ServerAddress)
    content = messages().write("ModelInferResponse", **fields)
    with pytest.raises(errors.AnswerError, match=words):
        GrpcTensorCodec(address).decode(ROW, Reply(200, {}, [(5, content)], ended_ns=7))


def test_a_certificate_must_be_trusted(tmp_path: Path, fraud_model: Model) -> None:
    pair = certificate(tmp_path)
    if pair is None:
        pytest.skip("openssl is not installed")
    with served(certificate=pair) as running:
        url = f"https://localhost:{running.port}"
        with pytest.raises(PrerequisiteError, match="not trusted") as raised:
            HttpAdapter().open(target_at(0, url=url), fraud_model)
        assert "ca_file" in (raised.value.hint or "")
        target = target_at(0, url=url, tls={"ca_file": pair[0]})
        (output,) = asked(target, fraud_model).outputs
        assert output is not None
        assert output.score == 0.5


def test_a_second_connection_is_opened_when_the_first_is_full(
    server: Any, fraud_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.adapters.http.grpc_client.STREAMS", 2)
    session = HttpAdapter().open(target_at(server.port, connections=3), fraud_model)
    try:
        queries = [TimedQuery([ROW], None, RealClock()) for _ in range(12)]
        for query in queries:
            session.submit(query)
        assert all(query.wait(10.0) for query in queries)
        client = session.describe()["client"]
    finally:
        session.close()
    assert isinstance(client, dict)
    assert 1 < client["connections"] <= 3
