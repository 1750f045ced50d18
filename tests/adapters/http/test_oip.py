import json
from typing import Any

import numpy as np
import pytest

from harness.adapters.base import RowRequest, SpeechRequest, TextRequest
from harness.adapters.http.errors import AnswerError, StatusError
from harness.adapters.http.oip import HEAD_LENGTH, READY, TensorCodec
from harness.adapters.http.reply import Reply
from harness.adapters.http.secrets import Secret
from harness.errors import PrerequisiteError, UnsupportedError
from harness.schema.server import ServerAddress
from tests.servers import oip as reference
from tests.servers.script import Options, Request

ROW = RowRequest(np.array([0.25, 0.5, -1.0], np.float32))
CLIP = SpeechRequest(np.ones((2, 3), np.float32), np.array([0]), 3, audio_s=0.5)


def codec(**changes: Any) -> TensorCodec:
    tree = {"url": "http://a", "protocol": "oip-http", "model": "fraud/x", **changes}
    return TensorCodec(ServerAddress.model_validate_json(json.dumps(tree)), Secret())


def reply(document: Any, tail: bytes = b"") -> Reply:
    head = json.dumps(document).encode()
    headers = {"content-type": "application/json"}
    if tail:
        headers = {"content-type": "application/octet-stream", HEAD_LENGTH: str(len(head))}
    return Reply(200, headers, [(5, head + tail)], ended_ns=7)


def outputs(*tensors: dict[str, Any]) -> Reply:
    return reply({"outputs": list(tensors)})


def score(name: str = "p", **changes: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [1, 1], "data": [0.75], **changes}


def test_a_row_is_one_tensor_with_the_servers_names() -> None:
    used = codec(output="p")
    used.learn(READY, None)
    used.learn("/v2/models/x", {"inputs": [{"name": "rows", "datatype": "FP64"}]})
    body = used.encode(ROW)
    assert body.path == "/v2/models/fraud%2Fx/infer"
    assert json.loads(body.content) == {
        "inputs": [
            {"name": "rows", "shape": [1, 3], "datatype": "FP64", "data": [0.25, 0.5, -1.0]}
        ],
        "outputs": [{"name": "p"}],
    }


@pytest.mark.parametrize("tensors", ["json", "binary"])
@pytest.mark.parametrize("output", [None, "mean"])
def test_what_goes_out_is_what_the_reference_server_reads(tensors: str, output: str | None) -> None:
    used = codec(tensors=tensors, output=output)
    body = used.encode(ROW)
    headers = {"content-type": body.content_type, **body.headers}
    answer = reference.infer(Request("POST", body.path, headers, body.content, Options()), "m")
    assert answer.status == 200
    came = {"content-type": answer.content_type, **answer.headers}
    assert (HEAD_LENGTH in came) == (tensors == "binary")
    read = used.decode(ROW, Reply(200, came, [(5, answer.body)], ended_ns=7))
    assert read.output is not None
    assert read.output.score == pytest.approx(-0.25 / 3)
    assert (read.ended_ns, read.first_ns) == (7, 0)


def test_of_two_probabilities_the_second_is_that_of_fraud() -> None:
    answer = codec().decode(ROW, outputs(score(shape=[1, 2], data=[0.9, 0.1])))
    assert answer.output is not None
    assert answer.output.score == pytest.approx(0.1)


def test_the_named_output_is_read_wherever_its_bytes_are() -> None:
    first = {"name": "q", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    second = score(data=None, parameters={"binary_data_size": 4})
    tail = np.array([3], "<i8").tobytes() + np.array([0.5], "<f4").tobytes()
    answer = codec(output="p").decode(ROW, reply({"outputs": [first, second]}, tail))
    assert answer.output is not None
    assert answer.output.score == 0.5


def test_whole_numbers_are_the_tokens_of_a_clip() -> None:
    tokens = {"name": "t", "datatype": "INT64", "shape": [1, 3], "data": [[7, 8, 9]]}
    answer = codec().decode(CLIP, outputs(tokens))
    assert answer.output is not None
    assert list(answer.output.tokens) == [7, 8, 9]
    assert answer.tokens == 3
    with pytest.raises(AnswerError, match="whole numbers"):
        codec().decode(CLIP, outputs(score()))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no 'outputs'"),
        ({"outputs": []}, "0 outputs"),
        ({"outputs": [score("a"), score("b")]}, "2 outputs"),
        ({"outputs": [score(datatype="INT64", data=[1])]}, "labels"),
        ({"outputs": [score(shape=[1, 3], data=[0.1, 0.2, 0.7])]}, "3 values"),
        ({"outputs": [score(shape=[2, 2])]}, "of its shape"),
        ({"outputs": [score(shape=None)]}, "shape"),
        ({"outputs": [score(data=["x"])]}, "no numbers"),
        ({"outputs": [score(data=[[0.1], [0.2, 0.3]])]}, "no numbers"),
        ({"outputs": [score(parameters={"binary_data_size": 4})]}, "bytes"),
    ],
)
def test_an_answer_that_is_none_says_why(document: dict[str, Any], words: str) -> None:
    with pytest.raises(AnswerError, match=words):
        codec().decode(ROW, reply(document))


def test_models_that_do_not_fit_are_told_at_once() -> None:
    with pytest.raises(PrerequisiteError, match="2 tensors"):
        codec().learn("/v2/models/x", {"inputs": [{"name": "a"}, {"name": "b"}]})
    with pytest.raises(PrerequisiteError, match="BYTES"):
        codec().learn("/v2/models/x", {"inputs": [{"name": "a", "datatype": "BYTES"}]})
    with pytest.raises(UnsupportedError):
        codec().encode(TextRequest(np.array([1]), 2))


@pytest.mark.parametrize("status", [400, 500, 501])
def test_a_server_without_binary_tensors_says_what_to_do(status: int) -> None:
    refused = Reply(status, {"content-type": "application/json"}, [(5, b"{}")], ended_ns=7)
    used = codec(tensors="binary")
    with pytest.raises(StatusError, match="tensors: json") as raised:
        used.decode(ROW, refused)
    assert raised.value.status == status
    assert raised.value.hint == "set the target's 'server.tensors: json'"
    used.decode(ROW, outputs(score()))  # it has understood one: the next failure has another cause
    with pytest.raises(StatusError) as raised:
        used.decode(ROW, refused)
    assert "tensors" not in str(raised.value)


@pytest.mark.parametrize(("tensors", "status"), [("json", 500), ("binary", 503), ("binary", 404)])
def test_other_failures_are_not_laid_on_the_tensors(tensors: str, status: int) -> None:
    refused = Reply(status, {}, [(5, b"")], ended_ns=7)
    with pytest.raises(StatusError) as raised:
        codec(tensors=tensors).decode(ROW, refused)
    assert "tensors" not in str(raised.value)
