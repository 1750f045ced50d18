"""What may reach the page: text, made visible and cut, never a bare number or nothing at all."""

from __future__ import annotations

import re

from markupsafe import Markup

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\ufffe\uffff]"
)
"""Characters that are invisible, reorder what stands beside them, or may not stand in HTML."""

LONGEST = 2000
"""What the documents allow a text of theirs; only what has no bound there is cut."""


def visible(text: str) -> str:
    r"""Return `text` with steering characters written out, as in `\u202e`."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def clip(text: str, longest: int = LONGEST) -> str:
    """Return `text`, or its first `longest` characters with a mark that there was more."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def on_page(value: object) -> str:
    """Return what a template prints for `value`.

    Markup passes; text is made visible and cut. Anything else is a fault of the template, since a
    number must go through `harness.units` and a missing one must give its reason: TypeError.
    """
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return clip(visible(value))
    raise TypeError(f"the page prints text, not {type(value).__name__}: {value!r}")
