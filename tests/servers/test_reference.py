"""The reference server: what it answers without a client of ours."""

import base64
import json
import struct
import urllib.error
import urllib.request

import numpy as np
import pytest

from tests.servers.faults import MENU, spoiled
from tests.servers.openai import embedding, token
from tests.servers.process import Reference
from tests.servers.script import Answer, Options, script


@pytest.fixture(scope="module")
def server():
    with Reference() as server:
        yield server


def post(server, path, document, options="", headers=None):
    """Return (headers, body) of the answer; `document` is JSON or bytes."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    request = urllib.request.Request(server.url(options, path), data, headers or {})
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.headers, reply.read()


def events(raw):
    lines = [line for line in raw.decode().split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


CHAT = {"model": "m", "messages": [{"role": "user", "content": "three little words"}]}


def test_a_stream_has_its_tokens_its_usage_and_its_end(server):
    asked = {**CHAT, "max_tokens": 5, "stream": True, "stream_options": {"include_usage": True}}
    headers, raw = post(server, "/v1/chat/completions", asked, "role=1")
    *rows, end = events(raw)
    role, *parts, last = map(json.loads, rows)
    assert headers["content-type"].startswith("text/event-stream")
    assert end == "[DONE]"
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [part["choices"][0]["delta"]["content"] for part in parts] == list(map(token, range(5)))
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None] * 4 + ["length"]
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def test_events_may_hold_several_tokens(server):
    asked = {"prompt": "a b", "max_tokens": 5, "stream": True}
    _, raw = post(server, "/v1/completions", asked, "per_event=2")
    *rows, end = events(raw)
    assert end == "[DONE]"
    texts = [json.loads(row)["choices"][0]["text"] for row in rows]
    assert texts == [token(0) + token(1), token(2) + token(3), token(4)]


def test_an_answer_that_is_not_streamed_says_the_same(server):
    _, raw = post(server, "/v1/chat/completions", {**CHAT, "max_tokens": 3})
    told = json.loads(raw)
    assert told["choices"][0]["message"]["content"] == token(0) + token(1) + token(2)
    assert told["usage"]["completion_tokens"] == 3
    _, raw = post(server, "/v1/completions", {"prompt": [1, 2, 3, 4], "max_tokens": 1}, "usage=0")
    assert "usage" not in json.loads(raw)


def test_the_schedule_is_kept_and_logged(server):
    server.truth()
    asked, options = {**CHAT, "max_tokens": 4, "stream": True}, "ttft_s=0.05,itl_s=0.02"
    post(server, "/v1/chat/completions", asked, options, {"x-request-id": "mine"})
    (row,) = server.truth()
    assert (row["id"], row["path"], row["fault"]) == ("mine", "/v1/chat/completions", "")
    after_s = [(at_ns - row["received_ns"]) / 1e9 for at_ns in row["writes_ns"]]
    wanted_s = [0.05, 0.07, 0.09, 0.11]
    assert all(at >= due - 0.001 for at, due in zip(after_s, wanted_s, strict=True))
    assert row["ended_ns"] >= row["writes_ns"][-1]
    assert server.truth() == []


def test_options_stand_in_a_header_too(server):
    headers = {"x-reference": "tokens=2,usage=0"}
    _, raw = post(server, "/v1/chat/completions", {**CHAT, "stream": True}, "tokens=9", headers)
    assert len(events(raw)) == 2 + 1


def test_embeddings_follow_from_the_text(server):
    _, raw = post(server, "/v1/embeddings", {"model": "m", "input": ["a", "b"]})
    rows = json.loads(raw)["data"]
    assert [row["embedding"] for row in rows] == [embedding("a"), embedding("b")]
    _, raw = post(server, "/v1/embeddings", {"input": "a", "encoding_format": "base64"})
    packed = base64.b64decode(json.loads(raw)["data"][0]["embedding"])
    assert list(struct.unpack("<8f", packed)) == embedding("a")


def form(*fields):
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        + value
        + b"\r\n"
        for name, value in fields
    ]
    return b"".join(parts) + b"--edge--\r\n", {"content-type": "multipart/form-data; boundary=edge"}


def test_a_transcription_is_whole_or_streamed(server):
    path = "/v1/audio/transcriptions"
    body, headers = form(("model", b"m"), ("file", b"RIFF\r\n\r\nwave"))
    _, raw = post(server, path, body, "tokens=2", headers)
    assert json.loads(raw)["text"] == token(0) + token(1)
    body, headers = form(("file", b"RIFF"), ("stream", b"true"))
    _, raw = post(server, path, body, "tokens=2", headers)
    kinds = [json.loads(row)["type"] for row in events(raw)]
    assert kinds == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    body, headers = form(("model", b"m"))
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        post(server, path, body, "", headers)
    caught.value.close()


ROWS = np.array([[1, 2, 3], [4, 5, 9]], dtype="<f4")


def tensor(**changes):
    return {"name": "rows", "datatype": "FP32", "shape": [2, 3], **changes}


def test_open_inference_takes_and_gives_numbers(server):
    asked = {"id": "7", "inputs": [tensor(data=ROWS.ravel().tolist())]}
    _, raw = post(server, "/v2/models/any/infer", asked)
    told = json.loads(raw)
    assert (told["model_name"], told["id"]) == ("any", "7")
    assert told["outputs"][0] == {
        "name": "mean",
        "datatype": "FP32",
        "shape": [2, 1],
        "data": [2.0, 6.0],
    }
    assert json.loads(server.get("/v2/models/any"))["inputs"][0]["datatype"] == "FP32"
    assert json.loads(server.get("/v2/health/ready")) == {"ready": True}


def test_open_inference_takes_and_gives_bytes(server):
    asked = {
        "inputs": [tensor(parameters={"binary_data_size": ROWS.nbytes})],
        "outputs": [{"name": "mean", "parameters": {"binary_data": True}}],
    }
    start = json.dumps(asked).encode()
    headers = {"inference-header-content-length": str(len(start))}
    told, raw = post(server, "/v2/models/any/infer", start + ROWS.tobytes(), "", headers)
    size = int(told["inference-header-content-length"])
    assert json.loads(raw[:size])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(raw[size:], "<f4").tolist() == [2.0, 6.0]


def test_what_is_not_there_is_said(server):
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        server.get("/v3")
    caught.value.close()
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        post(server, "/v1/chat/completions", CHAT, "fault=unheard-of")
    caught.value.close()
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        post(server, "/v1/chat/completions", CHAT, "speed=1")
    assert b"speed" in caught.value.read()
    caught.value.close()


STREAM = Answer(events=((0.0, b"data: \xc3\xaa\n\n", True), (0.1, b"data: [DONE]\n\n", False)))


@pytest.mark.parametrize("fault", sorted(set(MENU) - {"drop"}))
def test_each_fault_changes_the_reply(fault):
    assert spoiled(STREAM, fault) != script(STREAM)
    assert spoiled(STREAM, "") == script(STREAM)


def test_a_reply_of_n_bytes_has_n_bytes():
    whole = b"".join(step.data for step in script(STREAM).steps)
    for size in range(len(whole)):
        steps = spoiled(STREAM, f"reset:{size}").steps
        assert b"".join(step.data for step in steps) == whole[:size]


def test_options_name_what_they_do_not_know():
    assert Options.of("ttft_s=0.5,role=1,tokens=3") == Options(ttft_s=0.5, role=True, tokens=3)
    with pytest.raises(AttributeError, match="speed"):
        Options.of("speed=1")
