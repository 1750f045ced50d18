"""Where a served target is reached, and by which protocol. A key is named here, never written."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from harness.schema.base import Positive, Spec, Text

Protocol = Literal[
    "openai-chat",
    "openai-completions",
    "openai-embeddings",
    "openai-transcriptions",
    "oip-http",
    "oip-grpc",
]
Scalar = bool | int | float | str

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
KEY_LIKE = re.compile(
    r"(?:Bearer\s+\S{8,}|Basic\s+\S{8,}"
    r"|(?:sk|gsk|hf|nvapi|csk|xai|pplx|ghp|glpat|r8|tgp|fw|key)[-_][A-Za-z0-9_\-]{12,}"
    r"|AIza[A-Za-z0-9_\-]{20,}|AKIA[A-Z0-9]{12,}|eyJ[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-.]+)",
)
"""How the keys of common providers begin."""
SECRET_NAME = re.compile(
    r"(?:^|[_\-.])(?:api[_\-]?key|secret|password|passwd|authorization|bearer|credential"
    r"|(?:access|auth|id|refresh)[_\-]?token)s?(?:$|[_\-.])",
    re.IGNORECASE,
)
NO_LITERAL = "holds what looks like a key; name it as api_key: {env: NAME}, and never write it"


ENVIRONMENT = "environment"
TENSORS: dict[Protocol, tuple[str | None, ...]] = {
    "oip-http": (None, "json", "binary"),
    "oip-grpc": (None, "binary", "typed"),
}


def check_url(value: str, example: str, remedy: str) -> None:
    """Raise ValueError if `value` is no plain URL. It is not shown: any part may hold a key."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(f"is not a URL, as in {example}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"is not an http or https URL, as in {example}")
    if "@" in parts.netloc:
        raise ValueError(f"must not hold a user name or password; {remedy}")
    if "?" in value or "#" in value:
        raise ValueError("must not hold a query or fragment; use 'api_key' or 'extra'")
    if any(ord(character) <= 32 or ord(character) > 126 for character in value):
        raise ValueError("must be printable ASCII without blanks")


def looks_like_a_key(text: str) -> bool:
    """Whether `text` begins as keys of common providers do. A plain word is not told from a key."""
    return KEY_LIKE.match(text.strip()) is not None


def refuse_keys(values: object, name: str = "") -> None:
    """Raise ValueError, without the value, if one in `values` looks like a key by name or text."""
    if isinstance(values, dict):
        for key, value in values.items():
            if isinstance(value, str) and SECRET_NAME.search(str(key)):
                raise ValueError(f"'{key}' {NO_LITERAL}")
            refuse_keys(value, str(key))
    elif isinstance(values, str) and looks_like_a_key(values):
        raise ValueError(f"'{name}' {NO_LITERAL}" if name else NO_LITERAL)


class ApiKey(Spec):
    """Where the key is when a cell runs: an environment variable, or a file of nothing else.

    `header` is the one that it is sent in; `authorization` sends it as a bearer token.
    """

    env: str | None = None
    file: Text | None = None
    header: Literal["authorization", "api-key", "x-api-key"] = "authorization"

    @field_validator("env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        # The value is not shown: it may be the key itself.
        if value is not None and (not VARIABLE.fullmatch(value) or looks_like_a_key(value)):
            raise ValueError("is not the name of an environment variable, as in MY_API_KEY")
        return value

    @field_validator("file")
    @classmethod
    def _is_a_path(cls, value: str | None) -> str | None:
        if value is not None and looks_like_a_key(value):
            raise ValueError("is not the path of a file, as in /run/secrets/api-key")
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("needs exactly one of 'env' and 'file'")
        return self


class Tls(Spec):
    """How an https server's certificate is checked: by the system's authorities, or `ca_file`."""

    verify: bool = True
    ca_file: Text | None = None


class ProxyName(Spec):
    """The environment variable that holds a proxy's URL, user name and password included."""

    env: str

    @field_validator("env")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not VARIABLE.fullmatch(value) or looks_like_a_key(value):
            raise ValueError("is not the name of an environment variable, as in MY_PROXY")
        return value


class ServerAddress(Spec):
    """A server, its protocol, and how it is asked.

    `url` is the base that the protocol's paths follow: for OpenAI's it mostly ends in /v1, for the
    Open Inference Protocol over HTTP (`oip-http`) it stands before /v2, over gRPC (`oip-grpc`) it
    has no path, and https means TLS. `model` is the name that the server knows; without it an
    OpenAI server must list exactly one. `concurrency` is how many requests the server is to have at
    once; without it there is no limit but `connections` (of `oip-grpc` each carries up to 100
    requests). `client_processes` is how many processes of the harness share them, where one core is
    not enough to ask; `auto` takes more than one if a requested rate needs them and cores are
    spare. A reply must be whole after `timeout_s`.

    `proxy`: an http proxy to go through, by its URL or, where it needs a password, by the name of
    the variable that holds it; `environment` takes HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Without
    it those variables are not looked at.

    `prompt`: how prompts go to openai-completions, as words or as token numbers (the server's
    vocabulary must hold them). `limit`: the field that bounds an answer. `length`: which further
    fields keep it from ending early; OpenAI's own servers refuse both. `usage`: ask for the
    server's count of tokens, which a few servers refuse. `end_mark`: what must end a stream,
    [DONE] or, of servers that never send it, the last choice's reason for the end.

    `tensors`: how numbers travel. oip-http: `json` (if nothing is said) or `binary`; oip-grpc:
    `binary` (if nothing is said; raw_input_contents) or `typed` (contents). `output`: which of the
    model's outputs is the answer, needed where there are several. `extra` goes into every request's
    body (of transcriptions: into the form; of oip-grpc: into its parameters).
    """

    url: Text
    protocol: Protocol
    model: Text | None = None
    api_key: ApiKey | None = None
    concurrency: Annotated[int, Field(gt=0, le=4096)] | None = None
    connections: Annotated[int, Field(gt=0, le=4096)] = 256
    client_processes: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = 1
    timeout_s: Positive = 60.0
    tls: Tls = Tls()
    proxy: Text | ProxyName | None = None
    prompt: Literal["words", "token_ids"] = "words"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    usage: bool = True
    end_mark: Literal["done", "finish_reason"] = "done"
    length: tuple[Literal["ignore_eos", "min_tokens"], ...] = ()
    tensors: Literal["json", "binary", "typed"] | None = None
    output: Text | None = None
    extra: dict[str, Scalar | dict[str, Scalar]] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        check_url(value, "http://127.0.0.1:8000/v1", "use 'api_key'")
        return value

    @field_validator("proxy", mode="before")
    @classmethod
    def _is_a_proxy(cls, value: object) -> object:
        if not isinstance(value, str) or value == ENVIRONMENT:
            return value
        example = "http://proxy.example.com:3128"
        check_url(value, example, "name the whole URL as proxy: {env: NAME}")
        if urlsplit(value).scheme != "http":
            raise ValueError(f"must be reached by http, as in {example}; https goes through it")
        if urlsplit(value).path not in ("", "/"):
            raise ValueError(f"must not hold a path, as in {example}")
        return value

    @field_validator("api_key", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            raise ValueError("a key is never written here; name it as {env: NAME} or {file: PATH}")
        return value

    @field_validator("model")
    @classmethod
    def _is_no_key(cls, value: str) -> str:
        refuse_keys(value, "model")
        return value

    @field_validator("extra")
    @classmethod
    def _holds_no_keys(
        cls, value: dict[str, Scalar | dict[str, Scalar]]
    ) -> dict[str, Scalar | dict[str, Scalar]]:
        refuse_keys(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.prompt == "token_ids" and self.protocol != "openai-completions":
            raise ValueError("'prompt: token_ids' goes with protocol openai-completions only")
        if self.length and self.protocol not in ("openai-chat", "openai-completions"):
            raise ValueError("'length' goes with openai-chat and openai-completions only")
        if self.tensors not in TENSORS.get(self.protocol, (None,)):
            raise ValueError(
                "'tensors' is json or binary for oip-http, binary or typed for oip-grpc, and "
                "nothing for other protocols"
            )
        if self.model is None and self.protocol in TENSORS:
            raise ValueError(f"'model' is missing: {self.protocol} asks for it by its name")
        if self.output and self.protocol not in TENSORS:
            raise ValueError("'output' goes with protocols oip-http and oip-grpc only")
        if self.protocol == "oip-grpc":
            if self.client_processes != 1:
                raise ValueError("'client_processes' is not for oip-grpc, whose client is one")
            if urlsplit(self.url).path not in ("", "/"):
                raise ValueError("'url' has no path with oip-grpc, as in http://127.0.0.1:8001")
            if not self.tls.verify:
                raise ValueError(
                    "'tls.verify: false' is not possible with oip-grpc; name the server's "
                    "certificate as 'tls.ca_file'"
                )
        return self
