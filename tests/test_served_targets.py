"""Targets with a `server`: what a YAML file may say, and that no key ever stands in one."""

from pathlib import Path

import pytest

from harness.documents import load_document
from harness.errors import SpecError
from harness.schema import Target, content_hash
from tests.factories import make_target

HEAD = """\
schema: 1
name: served
title: Served
description: A served target.
hardware: {chip: X1, vendor: Acme, kind: asic}
site: {tier: cloud, region: eu-1, jurisdiction: eu}
"""
REMOTE = "runtime: {adapter: http, device: remote}\n"
SERVER = """\
server:
  url: https://api.example.com/v1
  protocol: openai-chat
  model: meta-llama/Llama-3.1-8B-Instruct
"""
OVER_GRPC = """\
server:
  url: http://127.0.0.1:8001
  protocol: oip-grpc
  model: fraud
"""
KEY = "sk-proj-Zq7vX3pL9mK2rT8wZq7vX3pL9mK2rT8w"


def load(folder: Path, text: str) -> Target:
    path = folder / "served.yaml"
    path.write_text(text)
    return load_document(path, Target)


def test_a_served_target_needs_some_twenty_lines(tmp_path: Path) -> None:
    target = load(
        tmp_path, HEAD + REMOTE + SERVER + "  api_key: {env: EXAMPLE_KEY}\n  length: [ignore_eos]\n"
    )
    assert target.server is not None
    assert target.server.api_key is not None
    assert target.server.api_key.env == "EXAMPLE_KEY"
    assert target.server.length == ("ignore_eos",)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (f"api_key: {KEY}", 12),
        (f"api_key: {{env: {KEY}}}", 18),
        (f"api_key: {{file: {KEY}}}", 19),
        (f"api_key: {{env: A, {KEY}: 1}}", None),
        (f"extra: {{user: {KEY}}}", 10),
        ("extra: {api_key: abcdefgh}", 10),
        ("extra: {headers: {Authorization: abcdefgh}}", 10),
        (f"extra: {{nested: {{x: 'Bearer {KEY}'}}}}", 10),
    ],
)
def test_a_literal_key_is_an_error_with_its_place_and_is_not_shown(
    tmp_path: Path, line: str, column: int | None
) -> None:
    with pytest.raises(SpecError) as raised:
        load(tmp_path, f"{HEAD}{REMOTE}{SERVER}  {line}\n")
    (problem, *_) = raised.value.problems
    assert problem.line == 12
    if column is not None:
        assert problem.column == column
        assert KEY not in str(raised.value)
        assert "abcdefgh" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https://{KEY}@api.example.com/v1",
        f"https://user:{KEY}@api.example.com/v1",
        f"https://api.example.com/v1?key={KEY}",
        f"https://api.example.com/v1#{KEY}",
        f"ftp://{KEY}",
        "http://",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://host/v1 \\r\\nx: y",
    ],
)
def test_a_url_holds_no_user_no_query_and_nothing_that_is_not_one(tmp_path: Path, url: str) -> None:
    text = SERVER.replace("https://api.example.com/v1", f'"{url}"')
    with pytest.raises(SpecError) as raised:
        load(tmp_path, HEAD + REMOTE + text)
    assert raised.value.problems[0].path == "server.url"
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (REMOTE, "needs a 'server'"),
        ("runtime: {adapter: torch}\n" + SERVER, "device: remote"),
        (REMOTE + SERVER + "  api_key: {}\n", "exactly one"),
        (REMOTE + SERVER + "  api_key: {env: A, file: /b}\n", "exactly one"),
        (REMOTE + SERVER + "  prompt: token_ids\n", "openai-completions only"),
        (REMOTE + SERVER + "  tensors: binary\n", "nothing for other protocols"),
        (REMOTE + SERVER + "  output: p\n", "oip-http and oip-grpc only"),
        (REMOTE + OVER_GRPC + "  tensors: json\n", "binary or typed for oip-grpc"),
        (REMOTE + OVER_GRPC.replace(":8001", ":8001/v2"), "no path"),
        (REMOTE + OVER_GRPC + "  tls: {verify: false}\n", "ca_file"),
        (REMOTE + OVER_GRPC + "  client_processes: 2\n", "not for oip-grpc"),
        (REMOTE + SERVER + "  client_processes: 0\n", "client_processes"),
        (REMOTE + SERVER + "  proxy: https://proxy:3128\n", "by http"),
        (REMOTE + SERVER + "  proxy: http://proxy:3128/x\n", "a path"),
        (REMOTE + SERVER + "  proxy: everywhere\n", "http://proxy.example.com:3128"),
        (REMOTE + SERVER + "  proxy: {env: 'a b'}\n", "MY_PROXY"),
        (REMOTE + SERVER.replace("openai-chat", "oip-http") + "  length: [min_tokens]\n", "only"),
        (f"runtime: {{adapter: torch, options: {{api_key: {KEY}}}}}\n", "looks like a key"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as raised:
        load(tmp_path, HEAD + text)
    assert KEY not in str(raised.value)


def test_targets_without_a_server_keep_their_identity() -> None:
    target = make_target()
    assert "server" not in target.model_dump(mode="json")
    served = make_target(
        runtime={"adapter": "http", "device": "remote"},
        server={"url": "http://a/v1", "protocol": "openai-chat", "model": "m"},
    )
    assert Target.model_validate_json(served.model_dump_json()) == served
    assert content_hash(served) != content_hash(target)
