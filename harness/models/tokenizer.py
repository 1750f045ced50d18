"""A user's own tokenizer.json, read by the `tokenizers` package: text to token numbers and back.

The file is data. Nothing is downloaded, and no code of a model runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import PrerequisiteError, SpecError
from harness.models.own_files import content_of, state_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_BYTES = 200_000_000
LEAST_SHARE = 0.9
"""Of a model's vocabulary: models pad theirs, but a smaller tokenizer is another model's."""
END_MARKS = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<eos>")
"""How tokens are called that end an answer; a tokenizer.json does not say which one does.

A config.json does, but it may name the end of a text alone, and not that of a turn.
"""


class OwnTokenizer:
    """A tokenizer.json. `source` is its name in messages.

    `ends` are the tokens that end an answer, beside those that are called so.
    """

    def __init__(
        self, tokenizer: Tokenizer, source: str, ends: frozenset[int] = frozenset()
    ) -> None:
        self._tokenizer = tokenizer
        self.source = source
        # By the highest number: there may be gaps between added tokens.
        self.size = 1 + max(tokenizer.get_vocab().values(), default=-1)
        found = (tokenizer.token_to_id(mark) for mark in END_MARKS)
        self.ends = ends.union(token for token in found if token is not None)

    def ending(self, ends: frozenset[int]) -> OwnTokenizer:
        """Return the same tokenizer with `ends` among the tokens that end an answer."""
        return OwnTokenizer(self._tokenizer, self.source, ends)

    def encode(self, text: str, *, special: bool = True) -> NDArray[np.int64]:
        """Return the token numbers of `text`, int64 [length].

        `special`: with what the tokenizer itself puts around a text, as a mark of the beginning.
        """
        return np.array(
            self._tokenizer.encode(text, add_special_tokens=special).ids, dtype=np.int64
        )

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens` up to the first that ends an answer, without marks."""
        whole = [int(token) for token in tokens]
        stop = next((place for place, t in enumerate(whole) if t in self.ends), len(whole))
        known = [token for token in whole[:stop] if token < self.size]
        return self._tokenizer.decode(known, skip_special_tokens=True)

    def check(self, vocabulary: int) -> None:
        """Raise SpecError unless the tokenizer can be that of a model with `vocabulary` tokens."""
        if LEAST_SHARE * vocabulary <= self.size <= vocabulary:
            return
        raise SpecError(
            f"the tokenizer {self.source} has {self.size} tokens, the model {vocabulary}: it is "
            "another model's",
            hint="name the tokenizer.json that came with the model",
        )


def open_tokenizer(path: Path) -> OwnTokenizer:
    """Return the tokenizer in the file `path`.

    Raises SpecError if it is no tokenizer.json, PrerequisiteError without the package.
    """
    return _open(*state_of(path, "tokenizer"))


@lru_cache(maxsize=4)
def _open(path: Path, size: int, changed_ns: int) -> OwnTokenizer:
    content = content_of(path, "tokenizer", MOST_BYTES)
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise PrerequisiteError(
            f"the tokenizer {path} needs the package 'tokenizers': {error}",
            hint="pip install 'accelerator-harness[text]'",
        ) from error
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not a tokenizer.json: {error}") from error
    if not isinstance(document, dict) or "model" not in document:
        raise SpecError(
            f"{path} is not a tokenizer.json: it has no 'model'",
            hint="a tokenizer_config.json or a vocab.json does not do",
        )
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except BaseException as error:
        # A panic of the library is no Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise SpecError(f"{path} is not a tokenizer.json: {str(error)[:200]}") from error
    # Truncation would cut prompts silently, padding would lengthen them.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return OwnTokenizer(tokenizer, path.name)
