import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.adapters.base import EmbedRequest, TextRequest
from harness.adapters.http.adapter import HttpAdapter
from harness.adapters.http.embeddings import EmbeddingCodec
from harness.adapters.http.errors import AnswerError
from harness.adapters.http.reply import Reply
from harness.adapters.http.secrets import Secret
from harness.errors import UnsupportedError
from harness.measure.clock import RealClock
from harness.measure.query import TimedQuery
from harness.models.build import build_model
from harness.schema.model import ServedModel
from harness.schema.server import ServerAddress
from tests.adapters.http.served import make_served
from tests.servers.openai import embedding
from tests.servers.process import Reference

TEXT = EmbedRequest("one two three", 3)


def codec(**changes: Any) -> EmbeddingCodec:
    tree = {"url": "http://a/v1", "protocol": "openai-embeddings", "model": "m", **changes}
    return EmbeddingCodec(ServerAddress.model_validate_json(json.dumps(tree)), Secret())


def reply(document: Any) -> Reply:
    content = json.dumps(document).encode()
    return Reply(200, {"content-type": "application/json"}, [(5, content)], ended_ns=7)


def vector(held: Any, **fields: Any) -> Reply:
    return reply({"data": [{"index": 0, "embedding": held}], **fields})


def test_the_body_asks_for_the_vector_of_one_text() -> None:
    body = codec().encode(TEXT)
    assert body.path == "/embeddings"
    asked = {"encoding_format": "float", "model": "m", "input": "one two three"}
    assert json.loads(body.content) == asked
    base64_body = codec(extra={"encoding_format": "base64"}).encode(TEXT)
    assert json.loads(base64_body.content)["encoding_format"] == "base64"
    with pytest.raises(UnsupportedError):
        codec().encode(TextRequest(np.array([1]), 2))


def test_numbers_and_base64_are_the_same_vector() -> None:
    used = codec()
    wanted = np.array([0.5, -1.0, 2.0], np.float32)
    for held in (wanted.tolist(), base64.b64encode(wanted.astype("<f4").tobytes()).decode()):
        answer = used.decode(TEXT, vector(held, usage={"prompt_tokens": 5}))
        assert answer.output is not None
        assert answer.output.vector is not None
        np.testing.assert_array_equal(answer.output.vector, wanted)
        assert (answer.ended_ns, answer.first_ns, answer.tokens) == (7, 0, 0)
    told = {"dimensions": 3, "input_tokens_counted_from": "usage", "input_tokens": 5.0}
    assert used.describe() == told


def test_without_usage_the_words_are_counted_and_that_is_said() -> None:
    used = codec()
    used.decode(TEXT, vector([1.0]))
    assert used.describe()["input_tokens_counted_from"] == "words"
    assert used.describe()["input_tokens"] == 3


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"data": []},
        {"data": [{"embedding": [1.0]}, {"embedding": [1.0]}]},
        {"data": ["x"]},
        {"data": [{"embedding": None}]},
        {"data": [{"embedding": []}]},
        {"data": [{"embedding": [[1.0]]}]},
        {"data": [{"embedding": ["x"]}]},
        {"data": [{"embedding": "!!!"}]},
        {"data": [{"embedding": "AAA="}]},
        {"data": [{"embedding": [1e300]}]},
    ],
)
def test_an_answer_that_is_no_vector_is_an_error(document: Any) -> None:
    with pytest.raises(AnswerError):
        codec().decode(TEXT, reply(document))


def test_a_real_server_is_asked(tmp_path: Path) -> None:
    served = ServedModel(family="served")
    model = build_model(served, "text_embedding", cache=tmp_path, data=tmp_path)
    with Reference() as server:
        target = make_served(server.url(), protocol="openai-embeddings")
        session = HttpAdapter().open(target, model)
        query = TimedQuery([TEXT], None, RealClock())
        session.submit(query)
        assert query.wait(10.0)
        query.read()
        session.close()
    (output,) = query.outputs
    assert output is not None
    assert output.vector is not None
    np.testing.assert_allclose(output.vector, embedding(TEXT.text), rtol=1e-6)


def test_nothing_of_a_served_model_is_here(tmp_path: Path) -> None:
    served = ServedModel(family="served")
    model = build_model(served, "text_embedding", cache=tmp_path, data=tmp_path)
    for ask in (model.weights, lambda: model.onnx("standard"), lambda: model.computed):
        with pytest.raises(UnsupportedError, match="server's alone"):
            ask()
    assert model.parameters == 0
    assert not list(tmp_path.iterdir())
