"""Texts of frequent English words, for models whose vocabulary is not known."""

from __future__ import annotations

from collections.abc import Sequence

_FREQUENT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point
home water room mother area money story fact month lot right study book eye job word business issue
side kind head house service friend father power hour game line end member law car city name
"""
WORDS = tuple(_FREQUENT.split())
"""Frequent English nouns: with the blank before them one token each in most vocabularies."""


def as_words(ids: Sequence[int]) -> str:
    """Return one word for each token number: the same numbers, the same text, everywhere.

    Prompts with an equal beginning keep it, so that a server's cache of prefixes sees the same.
    """
    return " ".join([WORDS[i % len(WORDS)] for i in ids])
