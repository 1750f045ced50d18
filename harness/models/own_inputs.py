"""A user's own prompts and recordings as requests, and the shape of text models that are files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models.gguf_header import own_gguf
from harness.models.prompts import check_mean, encoded, own_lengths, read_prompts
from harness.models.requests import Sampling, TextRequest
from harness.models.texts import WORDS
from harness.models.tokenizer import open_tokenizer
from harness.schema.inputs import PromptInputs
from harness.schema.model import GgufModel, LlamaModel, ServedModel
from harness.schema.own import PromptFileInputs

BOUNDLESS = 10**9
"""Positions of a server's model, which is not known to have fewer."""
TextModel = LlamaModel | GgufModel | ServedModel


def text_shape(model: TextModel, inputs: PromptInputs, data: Path | None) -> LlamaModel:
    """Return a Llama with the vocabulary and the context of `model`, to draw prompts for.

    What a server has is not known: its prompts are sent as words, so their numbers are those of
    words. SpecError if a GGUF file does not hold the longest prompt with its output.
    """
    if isinstance(model, LlamaModel):
        return model
    if isinstance(model, ServedModel):
        return LlamaModel(
            family="llama",
            vocabulary=len(WORDS),
            hidden=2,
            layers=1,
            heads=1,
            kv_heads=1,
            intermediate=1,
            context=BOUNDLESS,
        )
    if data is None:
        raise SpecError(f"the folder of {model.file} is not known")
    if inputs.upper > model.context:
        raise SpecError(
            f"prompt and output together reach {inputs.upper} tokens, above the model's context of "
            f"{model.context}"
        )
    return own_gguf(model, data).as_llama(model.context)


def text_limits(model: TextModel, data: Path) -> tuple[int, int] | None:
    """Return the vocabulary and the context of `model`; None of a served one."""
    if isinstance(model, ServedModel):
        return None
    if isinstance(model, LlamaModel):
        return model.vocabulary, model.context
    return own_gguf(model, data).vocabulary, model.context


def own_prompts(
    inputs: PromptFileInputs,
    tokenizer: str | None,
    model: TextModel,
    data: Path,
    *,
    draw: Callable[[int], NDArray[np.int64]],
    draw_sampling: Callable[[int], Sequence[Sampling | None]],
) -> list[TextRequest]:
    """Return the user's prompts; output lengths are the file's own, or drawn by `draw`.

    Without `tokenizer` (a file's name) only a server can answer them. Raises SpecError, with the
    lines, for what is wrong in the file, does not fit the model, or is not as declared.
    """
    path = data / inputs.file
    prompts = read_prompts(path, inputs.count)
    outputs = inputs.output_tokens
    if outputs.kind == "empirical" and outputs.file == inputs.file:
        lengths = own_lengths(prompts, outputs, path)
    elif any("output_tokens" in each.fields for each in prompts):
        raise SpecError(
            f"{inputs.file} has output_tokens for its prompts, which the workload does not use",
            hint=f"write output_tokens: {{kind: empirical, file: {inputs.file}, column: "
            "output_tokens, mean: ..., maximum: ...}, or take them out of the file",
        )
    else:
        lengths = draw(len(prompts))
    tokens = [np.zeros(0, dtype=np.int64)] * len(prompts)
    if tokenizer is not None:
        limits = text_limits(model, data)
        opened = open_tokenizer(data / tokenizer)
        if limits is not None:
            opened.check(limits[0])
        context = limits[1] if limits is not None else None
        tokens = encoded(prompts, opened, path, context=context, outputs=lengths.tolist())
        _hold_against(inputs, [len(ids) for ids in tokens])
    return [
        TextRequest(ids, int(length), sampling, prompt.messages)
        for ids, length, sampling, prompt in zip(
            tokens, lengths, draw_sampling(len(prompts)), prompts, strict=True
        )
    ]


def _hold_against(inputs: PromptFileInputs, lengths: Sequence[int]) -> None:
    """Raise SpecError unless prompts of so many tokens are as `inputs` declares."""
    if inputs.prompt_tokens_max is not None and max(lengths) > inputs.prompt_tokens_max:
        raise SpecError(
            f"a prompt of {inputs.file} has {max(lengths)} tokens, above 'prompt_tokens_max'",
            hint=f"write prompt_tokens_max: {max(lengths)}",
        )
    if inputs.prompt_tokens_mean is not None:
        what = f"the mean prompt of {inputs.file}, in tokens,"
        mean = sum(lengths) / len(lengths)
        check_mean(what, mean, inputs.prompt_tokens_mean, "prompt_tokens_mean")


def told_of(requests: Sequence[object], count: int) -> dict[str, object]:
    """Return what a record says of a user's own inputs: which fell short, and prompts' tokens.

    `count` is how many the workload asks for; a file may have fewer, which then come more often.
    """
    short: dict[str, object] = {}
    if len(requests) < count:
        reason = f"the file has {len(requests)} of the {count} inputs asked for; they take turns"
        short = {"count_asked": count, "count_reason": reason}
    return short | _tokens_of(requests)


def _tokens_of(requests: Sequence[object]) -> dict[str, object]:
    own = [r for r in requests if type(r) is TextRequest and r.messages is not None]
    lengths = [len(request.prompt) for request in own]
    if not own:
        return {}
    if not all(lengths):
        return {"prompt_tokens": None, "prompt_tokens_reason": "no tokenizer is named"}
    mean = sum(lengths) / len(lengths)
    return {"prompt_tokens": {"mean": mean, "minimum": min(lengths), "maximum": max(lengths)}}
