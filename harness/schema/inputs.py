"""The inputs of a workload: drawn at random, or a user's own."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import Positive, Spec, Text, absent
from harness.schema.lengths import Distribution, Durations
from harness.schema.model import Count, Seed
from harness.schema.own import AudioFileInputs, PromptFileInputs, Sampled
from harness.schema.tasks import Turns


class SharedPrefix(Spec):
    """A common beginning, such as a system prompt, before `share` of the prompts.

    Each of these begins with one of `prefixes` sequences of `tokens` random tokens, which come on
    top of `prompt_tokens`.
    """

    tokens: Count
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    prefixes: Count = 1


class CardBursts(Spec):
    """Runs of `length` transactions of one card within minutes; `share` of all rows are in one."""

    share: Annotated[float, Field(gt=0, le=1)]
    length: Annotated[int, Field(ge=2, le=1000)] = 8


class PromptInputs(Spec):
    """Prompts of random tokens. Generation runs to the drawn output length.

    It is greedy without `sampling`; with it each request draws from a seed of its own. With `turns`
    the prompts are those of `count` conversations, and hold what was said before.
    """

    kind: Literal["prompts"]
    count: Count = 64
    seed: Seed = 0
    prompt_tokens: Distribution
    output_tokens: Distribution
    shared_prefix: SharedPrefix | None = None
    sampling: Sampled | None = None
    turns: Turns | None = Field(default=None, exclude_if=absent)

    @property
    def upper(self) -> int:
        """The most positions that a prompt and its output can take, with what was said before."""
        prefix = self.shared_prefix.tokens if self.shared_prefix else 0
        turns = self.turns.count.upper if self.turns else 1
        return prefix + turns * (self.prompt_tokens.upper + self.output_tokens.upper)


class TextInputs(Spec):
    """Texts of frequent English words, drawn at random: about as many tokens as words."""

    kind: Literal["texts"]
    count: Count = 64
    seed: Seed = 0
    words: Distribution


class AudioInputs(Spec):
    """Clips of synthetic speech-like sound, padded to the model's window as log-mel frames."""

    kind: Literal["audio"]
    count: Count = 8
    seed: Seed = 0
    duration_s: Positive | Durations = 30.0
    output_tokens: Distribution

    @property
    def longest_s(self) -> float:
        """The longest clip that can be drawn."""
        longest = self.duration_s
        if isinstance(longest, Durations):
            assert longest.maximum is not None
            return longest.maximum
        return longest


class TransactionInputs(Spec):
    """Card transactions as feature rows, drawn from the generator that the model was trained on."""

    kind: Literal["transactions"]
    count: Count = 4096
    seed: Seed = 0
    bursts: CardBursts | None = None


class RowInputs(Spec):
    """The first `count` rows of your own CSV file, in the file's order (all, if it has fewer).

    The first line names the columns. `columns` are the features in the model's order; left out, all
    columns of the file are. Values are numbers.
    """

    kind: Literal["rows"]
    file: Text
    columns: tuple[Text, ...] = ()
    count: Count = 4096
    seed: Seed = 0

    @model_validator(mode="after")
    def _no_column_twice(self) -> Self:
        for name in self.columns:
            if self.columns.count(name) > 1:
                raise ValueError(f"'columns' names {name!r} twice")
        return self


Inputs = Annotated[
    PromptInputs
    | PromptFileInputs
    | TextInputs
    | AudioInputs
    | AudioFileInputs
    | TransactionInputs
    | RowInputs,
    Field(discriminator="kind"),
]
