"""A user's own prompts and recordings, and the gates that are scored on a user's own data."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import Positive, Share, Spec, Text
from harness.schema.lengths import Distribution
from harness.schema.model import Count, Seed


class Sampled(Spec):
    """Tokens are drawn, not the likeliest: at `temperature`, from the mass `top_p` of likeliest."""

    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class PromptFileInputs(Spec):
    """Your own prompts: the first `count` of a file, in its order (all, if it has fewer).

    `.txt` has a prompt on each line, `.csv` a column `prompt`, `.jsonl` an object on each line,
    {"prompt": "..."} or {"messages": [{"role": ..., "content": ...}]}. `tokenizer` is the model's
    tokenizer.json; servers are sent the text. An empirical `output_tokens` of the same file is each
    prompt's own, not drawn. Decisions price a prompt by `prompt_tokens_mean` and reserve memory for
    `prompt_tokens_max`; a cell with a tokenizer holds both against the file.
    """

    kind: Literal["prompts_file"]
    file: Text
    tokenizer: Text | None = None
    count: Count = 64
    seed: Seed = 0
    output_tokens: Distribution
    prompt_tokens_mean: Positive | None = None
    prompt_tokens_max: Count | None = None
    sampling: Sampled | None = None

    @model_validator(mode="after")
    def _is_of_a_known_type(self) -> Self:
        if not self.file.endswith((".txt", ".csv", ".jsonl")):
            raise ValueError("'file' must end in .txt, .csv or .jsonl")
        return self


class AudioFileInputs(Spec):
    """Your own recordings: WAV files, named in `files` or in the column `file` of the CSV `list`.

    In `list` they are relative to its own folder. The first `count` are used, in the order given. A
    server is sent each file as it is. `duration_s_mean` is for decisions: a cell holds it against
    the files.
    """

    kind: Literal["audio_files"]
    files: tuple[Text, ...] = ()
    list: Text | None = None
    count: Count = 64
    seed: Seed = 0
    output_tokens: Distribution
    duration_s_mean: Positive | None = None

    @model_validator(mode="after")
    def _names_files_once(self) -> Self:
        if bool(self.files) == (self.list is not None):
            raise ValueError("either 'files' or 'list' names the recordings")
        return self


class ExactAnswers(Spec):
    """Your own questions, whose answers can be told right from wrong without a judge.

    `file` (.jsonl) has a `prompt` or `messages` on each line, and `answer`, `pattern`, or `choices`
    with `answer`. The first `questions` are asked. The gate holds if the share of right answers is
    known to be at least `accuracy_min`: the lower end of its 95 % Wilson interval. `tokenizer`
    (tokenizer.json) is for models that are computed here; servers answer with text.
    """

    kind: Literal["exact_answers"]
    file: Text
    tokenizer: Text | None = None
    questions: Count = 500
    max_new_tokens: Count = 64
    accuracy_min: Annotated[float, Field(gt=0, lt=1)]


class OwnText(Spec):
    """Your own text, scored by the workload's own model and by its fp32 reference.

    `tokens` / `window` windows of `window` tokens of the UTF-8 `file`, without overlap.
    """

    kind: Literal["own_text"]
    file: Text
    tokenizer: Text | None = None
    tokens: Count = 1024
    window: Count = 128
    perplexity_ratio_max: Positive = 1.02
    kl_divergence_max: Positive = 0.01


class Transcripts(Spec):
    """Your own recordings with what is said in them: columns `file` and `transcript` of a CSV.

    The word error rate of the first `clips`, after both texts are put into one form. `tokenizer`
    is for models that are computed here, which write at most `max_new_tokens`.
    """

    kind: Literal["transcripts"]
    list: Text
    tokenizer: Text | None = None
    clips: Count = 200
    max_new_tokens: Count = 128
    word_error_rate_max: Share
