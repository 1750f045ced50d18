import io
import json
import wave
from typing import Any

import numpy as np
import pytest

from harness.adapters.base import RowRequest, ScoreTextRequest, SpeechRequest, TextRequest
from harness.adapters.http import errors
from harness.adapters.http.openai import TextCodec, as_words
from harness.adapters.http.reply import Reply
from harness.adapters.http.secrets import Secret
from harness.adapters.http.transcription import TranscriptionCodec, wav
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models.requests import Sampling
from harness.schema.server import ServerAddress

REQUEST = TextRequest(prompt=np.array([3, 5, 700]), max_new_tokens=4)
DONE = b"data: [DONE]\n\n"


def server(**changes: Any) -> ServerAddress:
    tree = {"url": "http://127.0.0.1:1/v1", "protocol": "openai-chat", "model": "m", **changes}
    return ServerAddress.model_validate_json(json.dumps(tree))


def codec(**changes: Any) -> TextCodec:
    return TextCodec(server(**changes), Secret("sk-secret-secret"))


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(**fields: Any) -> bytes:
    return event(choices=[{"delta": fields}])


def reply(*blocks: bytes, kind: str = "text/event-stream", status: int = 200) -> Reply:
    """Return a reply whose blocks came 10 ns apart, from 10 on."""
    chunks = [(10 * (i + 1), block) for i, block in enumerate(blocks)]
    return Reply(status, {"content-type": kind}, chunks, ended_ns=10 * len(blocks) + 5)


def test_a_chat_asks_for_a_greedy_stream_of_so_many_tokens_with_usage() -> None:
    body = codec(length=["ignore_eos", "min_tokens"], extra={"seed": 1}).encode(REQUEST)
    assert body.path == "/chat/completions"
    assert json.loads(body.content) == {
        "model": "m",
        "messages": [{"role": "user", "content": as_words([3, 5, 700])}],
        "max_tokens": 4,
        "min_tokens": 4,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 1,
    }
    assert len(as_words([3, 5, 700]).split()) == 3


def test_servers_that_want_other_fields_get_them() -> None:
    body = codec(limit="max_completion_tokens", usage=False, extra={"temperature": 1})
    fields = json.loads(body.encode(REQUEST).content)
    assert fields["max_completion_tokens"] == 4
    assert fields["temperature"] == 1
    assert not {"max_tokens", "stream_options"} & set(fields)


def test_a_request_that_draws_its_tokens_says_how() -> None:
    drawn = TextRequest(np.array([1, 2]), 4, Sampling(temperature=0.7, top_p=0.9, seed=5))
    fields = json.loads(codec().encode(drawn).content)
    assert (fields["temperature"], fields["top_p"], fields["seed"]) == (0.7, 0.9, 5)


def test_completions_can_carry_the_token_numbers_themselves() -> None:
    body = codec(protocol="openai-completions", prompt="token_ids").encode(REQUEST)
    assert body.path == "/completions"
    assert json.loads(body.content)["prompt"] == [3, 5, 700]
    assert json.loads(codec(protocol="openai-completions").encode(REQUEST).content)[
        "prompt"
    ] == as_words([3, 5, 700])


def test_fields_that_the_measurement_needs_cannot_be_changed_by_extra() -> None:
    fields = json.loads(codec(extra={"stream": False, "max_tokens": 1}).encode(REQUEST).content)
    assert fields["stream"] is True
    assert fields["max_tokens"] == 4


@pytest.mark.parametrize(
    "request_", [RowRequest(np.zeros(2, np.float32)), ScoreTextRequest(np.array([1]))]
)
def test_a_chat_gives_neither_scores_nor_logits(request_: Any) -> None:
    with pytest.raises(UnsupportedError):
        codec().encode(request_)


def test_first_and_last_are_those_of_text_and_tokens_are_those_of_usage() -> None:
    used = codec()
    answer = used.decode(
        REQUEST,
        reply(
            delta(role="assistant", content=""),
            delta(reasoning_content="hm"),
            delta(content="a b"),
            delta(content="c"),
            event(choices=[{"delta": {}, "finish_reason": "length"}]),
            event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 4}),
            DONE,
        ),
    )
    assert (answer.first_ns, answer.ended_ns, answer.tokens) == (20, 40, 4)
    assert used.describe() == {
        "prompt": "words",
        "tokens_counted_from": "usage",
        "tokens_per_chunk": 4 / 3,
        "prompt_tokens_by_server": 9,
    }


def test_without_usage_tokens_are_the_events_with_text_and_the_record_says_so() -> None:
    used = codec(protocol="openai-completions")
    text = event(choices=[{"text": "a"}])
    answer = used.decode(REQUEST, reply(text, event(choices=[{"text": ""}]), text, DONE))
    assert (answer.first_ns, answer.ended_ns, answer.tokens) == (10, 30, 2)
    assert used.describe()["tokens_counted_from"] == "chunks"
    used.decode(REQUEST, reply(text, event(choices=[], usage={"completion_tokens": 3}), DONE))
    assert used.describe()["tokens_counted_from"] == "chunks and usage"


def test_letters_cut_between_blocks_are_read() -> None:
    raw = 'data: {"choices": [{"delta": {"content": "日本"}}]}\n\n'.encode()
    at = raw.index("本".encode()) + 1
    answer = codec().decode(REQUEST, reply(raw[:at], raw[at:], DONE))
    assert (answer.first_ns, answer.tokens) == (20, 1)


GOOD = delta(content="a")


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        ([GOOD], errors.NoEndMarkError),
        ([GOOD, DONE, DONE], errors.TwoEndMarksError),
        ([GOOD, DONE, GOOD], errors.TwoEndMarksError),
        ([GOOD, event(error={"message": "out of memory"}), DONE], errors.ErrorEventError),
        ([GOOD, b"event: error\ndata: {}\n\n"], errors.ErrorEventError),
        ([b'data: {"choices": [\n\n', DONE], errors.JsonError),
        ([b'data: "\xe6\x97"\n\n', DONE], errors.EncodingError),
        ([b"data: []\n\n", DONE], errors.AnswerError),
        ([event(choices=7), DONE], errors.AnswerError),
        ([event(choices=[{"delta": 7}]), DONE], errors.AnswerError),
        ([DONE], errors.AnswerError),
        ([], errors.NoEndMarkError),
    ],
)
def test_every_broken_stream_has_its_error(blocks: list[bytes], error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        codec().decode(REQUEST, reply(*blocks))
    assert type(raised.value) is error


def test_a_server_that_never_sends_done_must_give_a_reason_for_the_end() -> None:
    used = codec(end_mark="finish_reason")
    last = event(choices=[{"delta": {}, "finish_reason": "length"}], usage={"completion_tokens": 2})
    assert used.decode(REQUEST, reply(GOOD, GOOD, last)).tokens == 2
    assert used.decode(REQUEST, reply(GOOD, last, DONE)).tokens == 2
    for blocks in ([GOOD], [GOOD, DONE], [last, GOOD]):
        with pytest.raises(errors.NoEndMarkError):
            used.decode(REQUEST, reply(*blocks))
    with pytest.raises(errors.NoEndMarkError, match="end_mark: finish_reason"):
        codec().decode(REQUEST, reply(GOOD, last))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (307, errors.RedirectError),
        (400, errors.StatusError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (503, errors.BusyError),
    ],
)
def test_every_refusal_has_its_error(status: int, error: type[Exception]) -> None:
    refused = reply(b'{"error": {"message": "as you wish"}}', status=status)
    refused.headers["retry-after"] = "7"
    with pytest.raises(error) as raised:
        codec().decode(REQUEST, refused)
    assert type(raised.value) is error
    if status in (429, 503):
        assert raised.value.retry_after_s == 7.0  # type: ignore[attr-defined]


def test_a_page_and_a_packed_reply_are_no_answers() -> None:
    with pytest.raises(errors.ContentTypeError, match="text/html"):
        codec().decode(REQUEST, reply(b"<html>", kind="text/html; charset=utf-8"))
    packed = reply(GOOD, DONE)
    packed.headers["content-encoding"] = "gzip"
    with pytest.raises(errors.EncodingError):
        codec().decode(REQUEST, packed)


def test_the_servers_own_words_are_shown_short_and_without_the_key() -> None:
    def message(said: str) -> str:
        refused = reply(json.dumps({"error": {"message": said}}).encode(), status=400)
        with pytest.raises(errors.StatusError) as raised:
            codec().decode(REQUEST, refused)
        return str(raised.value)

    assert message("no field 'ignore_eos'").endswith("no field 'ignore_eos'")
    assert len(message("x" * 5000)) < 300
    assert "secret" not in message("bad key sk-secret-secret")


def test_a_model_that_is_named_is_asked_and_a_list_without_it_is_a_note() -> None:
    for document in ({"data": [{"id": "m"}]}, {"data": []}, {"data": "odd"}, None):
        used = codec()
        used.learn("/models", document)
        assert not used.served.unlisted
        assert "model_note" not in used.describe()
    used = codec()
    used.learn("/models", {"data": [{"id": n} for n in "gfedcba"] + [{"id": 5}, "odd"]})
    assert used.served.unlisted
    assert json.loads(used.encode(REQUEST).content)["model"] == "m"
    assert used.describe()["model_note"] == "not in the server's list: a, b, c, d, e and 2 more"
    missing = used.served.missing("the server answered with status 404")
    assert missing.message == "the server has no model 'm': the server answered with status 404"
    assert "a, b, c" in (missing.hint or "")


def test_a_model_that_is_not_named_is_the_only_one_listed() -> None:
    used = codec(model=None)
    used.learn("/models", {"data": [{"id": "only"}]})
    assert json.loads(used.encode(REQUEST).content)["model"] == "only"
    assert used.describe()["model"] == "only"
    with pytest.raises(PrerequisiteError, match="has 2 models: a, b") as raised:
        codec(model=None).learn("/models", {"data": [{"id": "b"}, {"id": "a"}]})
    assert "server.model" in (raised.value.hint or "")
    for document in (None, {"data": []}, {"data": [{"id": ""}]}):
        with pytest.raises(PrerequisiteError, match="does not say which models"):
            codec(model=None).learn("/models", document)


def test_a_server_s_list_does_not_show_our_key() -> None:
    used = codec()
    used.learn("/models", {"data": [{"id": "sk-secret-secret"}]})
    assert "sk-secret-secret" not in str(used.describe())
    assert "sk-secret-secret" not in (used.served.missing("").hint or "")


def test_tensors_need_the_model_s_name() -> None:
    with pytest.raises(ValueError, match="'model' is missing"):
        server(protocol="oip-http", model=None)


CLIP = SpeechRequest(np.ones((2, 3), np.float32), np.array([0]), 3, audio_s=0.5)


def test_a_clip_goes_out_as_a_wav_of_its_length() -> None:
    used = TranscriptionCodec(server(protocol="openai-transcriptions"), Secret())
    body = used.encode(CLIP)
    assert body.path == "/audio/transcriptions"
    assert body == used.encode(CLIP)
    mark = body.content_type.partition("boundary=")[2].encode()
    parts = body.content.split(b"--" + mark)
    assert parts[-1] == b"--\r\n"
    assert b'name="model"\r\n\r\nm\r\n' in body.content
    assert wav(CLIP) in parts[-2]
    with wave.open(io.BytesIO(wav(CLIP))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        assert file.getnframes() == 8000
    other = SpeechRequest(np.zeros((2, 3), np.float32), np.array([0]), 3, audio_s=0.5)
    assert wav(other) != wav(CLIP)


def test_a_transcription_has_the_servers_count_of_tokens_or_none() -> None:
    used = TranscriptionCodec(server(protocol="openai-transcriptions"), Secret())
    said = {"text": "hello", "usage": {"output_tokens": 3}}
    answer = used.decode(CLIP, reply(json.dumps(said).encode(), kind="application/json"))
    assert (answer.tokens, answer.first_ns, answer.ended_ns) == (3, 0, 15)
    answer = used.decode(CLIP, reply(b'{"text": "hello"}', kind="application/json"))
    assert answer.tokens == 0
    assert used.describe()["answer_length"] == "free"
    with pytest.raises(errors.AnswerError):
        used.decode(CLIP, reply(b'{"words": "hello"}', kind="application/json"))
