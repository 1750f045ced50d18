"""The key of a server: found when a cell opens its session, sent in one header, shown nowhere."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from harness.errors import PrerequisiteError
from harness.schema.server import ApiKey

PIECE = 8
"""A text that holds this many characters of a key in a row is not shown at all."""


class Secret:
    """A key that does not print itself. Without a declared key it is empty, and hides nothing."""

    __slots__ = ("_header", "_hidden", "_text")

    def __init__(
        self, text: str = "", header: str = "authorization", *, hidden: tuple[str, ...] = ()
    ) -> None:
        self._text = text
        self._header = header
        self._hidden = tuple(filter(None, (text, *hidden)))

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a key is not written anywhere")

    def headers(self) -> dict[str, str]:
        """Return the header to send, or none; what else is hidden is sent by others."""
        if not self._text:
            return {}
        value = f"Bearer {self._text}" if self._header == "authorization" else self._text
        return {self._header: value}

    def hiding(self, *texts: str) -> Secret:
        """Return this key with `texts` hidden beside it: a proxy's user name and password."""
        return Secret(self._text, self._header, hidden=(*self._hidden[bool(self._text) :], *texts))

    def clean(self, text: str) -> str:
        """Return `text`, which a server sent, or a remark instead of it if it repeats the key.

        Plain, percent-encoded and base64 forms are found, whole or in part.
        """
        lowered = text.lower()
        for form in {form for hidden in self._hidden for form in _forms(hidden)}:
            length = min(PIECE, len(form))
            pieces = (form[i : i + length].lower() for i in range(len(form) - length + 1))
            if any(piece in lowered for piece in pieces):
                return "(not shown: the server repeats the key)"
        return text


def find_key(declared: ApiKey | None, environ: Mapping[str, str] | None = None) -> Secret:
    """Return the key that `declared` names; PrerequisiteError if it is not there or not sendable.

    `environ`: the variables to look in (None: this process's).
    """
    if declared is None:
        return Secret()
    variables = os.environ if environ is None else environ
    if declared.env is not None:
        text = variables.get(declared.env, "")
        where = f"the environment variable {declared.env}"
        hint = f"export {declared.env}=... in the shell that runs the harness"
    else:
        assert declared.file is not None
        where = f"the file {declared.file}"
        hint = "write the key into that file, and nothing else"
        try:
            text = Path(declared.file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise PrerequisiteError(f"{where} cannot be read", hint=hint) from None
    text = text.strip()
    if not text:
        raise PrerequisiteError(f"the server's key is missing: {where} is empty", hint=hint)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise PrerequisiteError(
            f"{where} holds characters that cannot stand in a header", hint=hint
        )
    return Secret(text, declared.header)


def _forms(text: str) -> set[str]:
    """Return the plain, percent-encoded and base64 forms of `text`."""
    raw = text.encode()
    forms = {text, quote(text, safe=""), quote_plus(text)}
    forms |= {_core(base64.b64encode(b" " * shift + raw).decode(), shift) for shift in range(3)}
    forms |= {
        _core(base64.b64encode(f"Bearer {text}".encode()[shift:]).decode(), 0) for shift in range(3)
    }
    return forms - {""}


def _core(encoded: str, shift: int) -> str:
    """Return the part of a base64 text that the key alone decides."""
    start = 4 if shift else 0
    return encoded.rstrip("=")[start:-1]
