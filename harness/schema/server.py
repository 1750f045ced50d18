"""Where a served target is reached, and by which protocol. A key is named here, never written."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from harness.schema.base import Positive, Spec, Text

Protocol = Literal["openai-chat", "openai-completions", "openai-transcriptions", "oip-http"]
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


class ServerAddress(Spec):
    """A server, its protocol, and how it is asked.

    `url` is the base that the protocol's paths follow: for OpenAI's it mostly ends in /v1, for the
    Open Inference Protocol (`oip-http`) it stands before /v2. `model` is the name that the server
    knows. `concurrency` is how many requests the server is to have at once; without it there is no
    limit but `connections`. A reply must be whole after `timeout_s`.

    `prompt`: how prompts go to openai-completions, as words or as token numbers (the server's
    vocabulary must hold them). `limit`: the field that bounds an answer. `length`: which further
    fields keep it from ending early; OpenAI's own servers refuse both. `usage`: ask for the
    server's count of tokens, which a few servers refuse. `end_mark`: what must end a stream,
    [DONE] or, of servers that never send it, the last choice's reason for the end.

    `tensors`: how oip-http carries numbers. `output`: which of the model's outputs is the answer,
    needed where there are several. `extra` goes into every request's body (of transcriptions: into
    the form).
    """

    url: Text
    protocol: Protocol
    model: Text
    api_key: ApiKey | None = None
    concurrency: Annotated[int, Field(gt=0, le=4096)] | None = None
    connections: Annotated[int, Field(gt=0, le=4096)] = 256
    timeout_s: Positive = 60.0
    tls: Tls = Tls()
    prompt: Literal["words", "token_ids"] = "words"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    usage: bool = True
    end_mark: Literal["done", "finish_reason"] = "done"
    length: tuple[Literal["ignore_eos", "min_tokens"], ...] = ()
    tensors: Literal["json", "binary"] = "json"
    output: Text | None = None
    extra: dict[str, Scalar | dict[str, Scalar]] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        # Not shown either: a name or a query may hold a key.
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise ValueError("is not a URL, as in http://127.0.0.1:8000/v1") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("is not an http or https URL, as in http://127.0.0.1:8000/v1")
        if "@" in parts.netloc:
            raise ValueError("must not hold a user name or password; use 'api_key'")
        if "?" in value or "#" in value:
            raise ValueError("must not hold a query or fragment; use 'api_key' or 'extra'")
        if any(ord(character) <= 32 or ord(character) > 126 for character in value):
            raise ValueError("must be printable ASCII without blanks")
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
        if (self.tensors == "binary" or self.output) and self.protocol != "oip-http":
            raise ValueError("'tensors' and 'output' go with protocol oip-http only")
        return self
