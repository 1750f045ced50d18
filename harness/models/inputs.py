"""The requests of a workload, drawn from its seed: the same on every machine and in every run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, SpecError
from harness.models.audio import FRAMES_PER_S, draw_clip, log_mel
from harness.models.conversation import TurnRequest, as_conversations
from harness.models.model import Architecture
from harness.models.own_audio import own_recordings, speech_requests
from harness.models.own_folder import known
from harness.models.own_inputs import own_prompts, text_shape
from harness.models.requests import (
    EmbedRequest,
    Request,
    RowRequest,
    Sampling,
    SpeechRequest,
    TextRequest,
)
from harness.models.rows import input_rows, read_rows
from harness.models.texts import WORDS, as_words
from harness.models.transactions import NAMES, draw_transactions
from harness.models.whisper import speech_prefix
from harness.schema.inputs import (
    AudioInputs,
    CardBursts,
    Inputs,
    PromptInputs,
    RowInputs,
    TextInputs,
    TransactionInputs,
)
from harness.schema.lengths import Distribution, Durations
from harness.schema.model import GgufModel, HuggingFaceModel, LlamaModel, ServedModel, WhisperModel
from harness.schema.own import AudioFileInputs, PromptFileInputs
from harness.schema.tasks import Turns
from harness.schema.workload import Workload
from harness.yaml_reader import display_name

MOST_LENGTHS = 10_000_000
MEAN_WITHIN = 0.01
PREFIXES, PREFIX_OF_EACH, DURATIONS, BURSTS, SAMPLING, TURNS, THINKS, STAND_INS = range(8)
CARD_COLUMNS = (
    "cross_border_share",
    "card_age_days",
    "account_age_days",
    "device_change",
    "device_age_log_days",
    "failed_pins_24h",
)
"""What the transactions of one card within minutes have in common."""


def draw_requests(workload: Workload, data: Path | None = None) -> list[Request]:
    """Return the requests of `workload`, `inputs.count` of them, drawn from `inputs.seed`.

    Of conversations all turns of `inputs.count` of them, one after the other.

    A larger count begins with the same prompts or clips. Raises SpecError if inputs and model do
    not go together. Files are relative to `data`.
    """
    inputs, model = workload.inputs, workload.model
    if isinstance(model, HuggingFaceModel):
        if data is None:
            raise SpecError(f"the folder of {model.source} is not known")
        model = known(model, workload.task, data)
    if isinstance(inputs, PromptInputs) and isinstance(model, LlamaModel | GgufModel | ServedModel):
        model = text_shape(model, inputs, data)
        if inputs.turns is not None:
            return list(_conversations(inputs, inputs.turns, model, data))
        return list(_prompts(inputs, model, data))
    if isinstance(inputs, PromptFileInputs | AudioFileInputs) and data is not None:
        return _own(inputs, workload, model, data)
    if isinstance(inputs, TextInputs):
        return list(_texts(inputs, data))
    if isinstance(inputs, AudioInputs) and isinstance(model, WhisperModel):
        return list(_clips(inputs, model, data))
    if isinstance(inputs, TransactionInputs):
        features, _, _ = draw_transactions(inputs.count, inputs.seed)
        if inputs.bursts:
            features = with_bursts(features, inputs.bursts, _apart(inputs.seed, BURSTS))
        return [RowRequest(features=row) for row in features]
    if isinstance(inputs, RowInputs) and data is not None:
        return [RowRequest(features=row) for row in input_rows(inputs, model, data)]
    raise SpecError(f"inputs of kind '{inputs.kind}' do not go with a {model.family} model")


def draw_lengths(
    distribution: Distribution, count: int, rng: np.random.Generator, data: Path | None = None
) -> NDArray[np.int64]:
    """Return `count` lengths in tokens (int64 [count]); a file is relative to `data`.

    uniform: every integer from minimum to maximum, both included. lognormal: exp of a normal with
    mean ln(mean) - sigma^2 / 2, rounded, then clipped to [minimum, maximum]; where the bounds cut
    much off, the mean of what is drawn is not `mean`. empirical: rows of the file, with
    replacement, clipped; SpecError if the declared mean is not the file's.
    """
    if distribution.kind == "fixed":
        return np.full(count, distribution.value, dtype=np.int64)
    if distribution.kind == "uniform":
        assert distribution.minimum is not None
        assert distribution.maximum is not None
        return rng.integers(distribution.minimum, distribution.maximum, size=count, endpoint=True)
    if distribution.kind == "empirical":
        known = known_lengths(distribution, data)
        return known[rng.integers(len(known), size=count)].astype(np.int64)
    drawn = np.rint(_lognormal(distribution, count, rng))
    return np.clip(drawn, distribution.minimum, distribution.maximum).astype(np.int64)


def draw_durations(
    durations: Durations, count: int, rng: np.random.Generator, data: Path | None = None
) -> NDArray[np.float64]:
    """Return `count` durations in seconds (float64 [count]), in whole frames of 10 ms.

    Drawn and cut as lengths are.
    """
    if durations.kind == "empirical":
        known = known_lengths(durations, data)
        drawn = known[rng.integers(len(known), size=count)]
    elif durations.kind == "uniform":
        assert durations.minimum is not None
        assert durations.maximum is not None
        drawn = rng.uniform(durations.minimum, durations.maximum, count)
    else:
        drawn = _lognormal(durations, count, rng)
    # Rounding must not lead out of the bounds again.
    cut = np.clip(drawn, durations.minimum, durations.maximum)
    frames = np.maximum(np.floor(cut * FRAMES_PER_S + 1e-6), 1)
    return frames / FRAMES_PER_S


def known_lengths(distribution: Distribution | Durations, data: Path | None) -> NDArray[np.float64]:
    """Return every length of the file of an empirical `distribution`, clipped, in its order.

    Raises SpecError if the file is wrong, if a length is not above 0 or not a whole number of
    tokens, or if the mean is not within 1 % of the declared one.
    """
    assert distribution.file is not None
    assert distribution.column is not None
    assert distribution.mean is not None
    if data is None:
        raise SpecError(f"the folder of {distribution.file} is not known")
    path = data / distribution.file
    _, values = read_rows(path, (distribution.column,), MOST_LENGTHS)
    lengths = values[:, 0]
    whole = isinstance(distribution, Distribution)
    wrong = (lengths <= 0) | ((lengths != np.rint(lengths)) & whole)
    if wrong.any():
        line = int(np.argmax(wrong))
        wanted = "a whole number of at least 1" if whole else "above 0"
        message = f"'{distribution.column}' must be {wanted}, is {lengths[line]:g}"
        raise SpecError.of([Problem(display_name(path), line + 2, 1, "", message)])
    cut: NDArray[np.float64] = np.clip(lengths, distribution.minimum, distribution.maximum)
    if abs(cut.mean() / distribution.mean - 1) > MEAN_WITHIN:
        raise SpecError(
            f"the mean of '{distribution.column}' in {distribution.file} is {cut.mean():.6g} after "
            f"the cut, not {distribution.mean:g}",
            hint=f"write mean: {cut.mean():.6g}",
        )
    return cut


def with_bursts(
    features: NDArray[np.float32], bursts: CardBursts, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return transactions `features` with runs of one card's: float32 [count, 30], same order.

    In a run the card's and the device's columns are those of its first row; the counts of the last
    hour and day rise by one with each row, and 5 to 60 seconds pass between two.
    """
    rows = features.copy()
    runs = round(len(rows) * bursts.share / bursts.length)
    slots = len(rows) // bursts.length
    column = {name: place for place, name in enumerate(NAMES)}
    for slot in rng.permutation(slots)[:runs]:
        begin = int(slot) * bursts.length
        run = rows[begin : begin + bursts.length]
        kept = [column[name] for name in CARD_COLUMNS]
        run[:, kept] = run[0, kept]
        run[1:, column["device_change"]] = 0.0
        for name in ("count_1h", "count_24h"):
            run[:, column[name]] = run[0, column[name]] + np.arange(bursts.length)
        gaps_s = rng.uniform(5.0, 60.0, bursts.length - 1)
        run[1:, column["since_last_log_s"]] = np.log(gaps_s)
    return rows


def _lognormal(
    distribution: Distribution | Durations, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    mean, sigma = distribution.mean, distribution.sigma
    assert mean is not None
    assert sigma is not None
    return rng.lognormal(math.log(mean) - sigma**2 / 2, sigma, count)


def inputs_hash(requests: Sequence[Request]) -> str:
    """Return the sha256 (hex) of `requests`: types, shapes, values and order."""
    digest = hashlib.sha256()
    for request in requests:
        digest.update(f"{type(request).__name__}\n".encode())
        for field in fields(request):
            value = getattr(request, field.name)
            if value is None:
                continue
            if isinstance(value, np.ndarray):
                digest.update(f"{field.name} {value.dtype.str} {value.shape}\n".encode())
                digest.update(np.ascontiguousarray(value).tobytes())
            else:
                digest.update(f"{field.name} {value!r}\n".encode())
    return digest.hexdigest()


def _prompts(inputs: PromptInputs, model: LlamaModel, data: Path | None) -> list[TextRequest]:
    asked, wanted, *streams = _streams(inputs.seed, 2 + inputs.count)
    lengths, outputs = inputs.prompt_tokens, inputs.output_tokens
    prompts = draw_lengths(lengths, inputs.count, asked, data)
    if lengths.kind == outputs.kind == "empirical" and lengths.file == outputs.file:
        # From the same rows: the very same draws again.
        wanted = _streams(inputs.seed, 1)[0]
    answers = draw_lengths(outputs, inputs.count, wanted, data)
    return [
        TextRequest(
            prompt=np.concatenate(
                [prefix, rng.integers(0, model.vocabulary, size=int(length), dtype=np.int64)]
            ),
            max_new_tokens=int(output),
            sampling=sampling,
        )
        for rng, prefix, length, output, sampling in zip(
            streams,
            _prefixes(inputs, model.vocabulary),
            prompts,
            answers,
            draw_sampling(inputs, inputs.count),
            strict=True,
        )
    ]


def _conversations(
    inputs: PromptInputs, turns: Turns, model: LlamaModel, data: Path | None
) -> list[TurnRequest]:
    """Return every turn of `inputs.count` conversations, drawn as single prompts are."""
    counts = draw_lengths(turns.count, inputs.count, _apart(inputs.seed, TURNS), data).tolist()
    total = sum(counts)
    alone = inputs.model_copy(update={"count": total, "turns": None, "shared_prefix": None})
    prompts = _prompts(alone, model, data)
    thinks = turns.think_s
    if isinstance(thinks, Durations):
        drawn = draw_durations(thinks, total, _apart(inputs.seed, THINKS), data)
        thinks_s: list[float] = drawn.tolist()
    else:
        thinks_s = [thinks or 0.0] * total
    rng = _apart(inputs.seed, STAND_INS)
    stand_ins = [rng.integers(0, model.vocabulary, p.max_new_tokens) for p in prompts]
    return as_conversations(
        prompts, _prefixes(inputs, model.vocabulary), counts, thinks_s, stand_ins
    )


def _own(
    inputs: PromptFileInputs | AudioFileInputs, workload: Workload, model: Architecture, data: Path
) -> list[Request]:
    """Return the user's own prompts or recordings; what they do not say is drawn."""

    def draw(count: int) -> NDArray[np.int64]:
        return draw_lengths(inputs.output_tokens, count, _streams(inputs.seed, 2)[1], data)

    if isinstance(inputs, PromptFileInputs):
        assert isinstance(model, LlamaModel | GgufModel | ServedModel)
        tokenizer, sampling = workload.tokenizer(inputs), partial(draw_sampling, inputs)
        return list(own_prompts(inputs, tokenizer, model, data, draw=draw, draw_sampling=sampling))
    recordings = own_recordings(inputs, data)
    lengths = draw(len(recordings)).tolist()
    if isinstance(model, ServedModel):
        return list(speech_requests(recordings, None, np.zeros(0, dtype=np.int64), lengths))
    assert isinstance(model, WhisperModel)
    prefix = speech_prefix(model)
    _check_positions(inputs.output_tokens.upper, prefix, model)
    return list(speech_requests(recordings, model, prefix, lengths))


def _check_positions(output: int, prefix: NDArray[np.int64], model: WhisperModel) -> None:
    # The last token is put out, never fed back.
    needed = len(prefix) + output - 1
    if needed > model.text_context:
        raise SpecError(
            f"{output} output tokens after a prefix of {len(prefix)} need {needed} positions, "
            f"above the model's 'text_context' of {model.text_context}"
        )


def _texts(inputs: TextInputs, data: Path | None) -> list[EmbedRequest]:
    asked, *streams = _streams(inputs.seed, 1 + inputs.count)
    lengths = draw_lengths(inputs.words, inputs.count, asked, data).tolist()
    return [
        EmbedRequest(as_words(rng.integers(0, len(WORDS), length).tolist()), length)
        for rng, length in zip(streams, lengths, strict=True)
    ]


def draw_sampling(inputs: Inputs, count: int) -> list[Sampling | None]:
    """Return how each of `count` answers is drawn, from a seed of its own; None where greedy."""
    if not isinstance(inputs, PromptInputs | PromptFileInputs) or inputs.sampling is None:
        return [None] * count
    seeds = _apart(inputs.seed, SAMPLING).integers(0, 2**32, count).tolist()
    return [Sampling(inputs.sampling.temperature, inputs.sampling.top_p, seed) for seed in seeds]


def _prefixes(inputs: PromptInputs, vocabulary: int) -> list[NDArray[np.int64]]:
    """Return what each prompt begins with: nothing, or one of the shared prefixes."""
    shared = inputs.shared_prefix
    if shared is None:
        return [np.zeros(0, dtype=np.int64)] * inputs.count
    rng = _apart(inputs.seed, PREFIXES)
    prefixes = [rng.integers(0, vocabulary, shared.tokens) for _ in range(shared.prefixes)]
    draws = _apart(inputs.seed, PREFIX_OF_EACH).random((inputs.count, 2))
    return [
        prefixes[int(which * shared.prefixes)] if has < shared.share else np.zeros(0, np.int64)
        for has, which in draws
    ]


def _clips(inputs: AudioInputs, model: WhisperModel, data: Path | None) -> list[SpeechRequest]:
    prefix = speech_prefix(model)
    _check_positions(inputs.output_tokens.upper, prefix, model)
    wanted, *streams = _streams(inputs.seed, 1 + inputs.count)
    outputs = draw_lengths(inputs.output_tokens, inputs.count, wanted, data)
    given = inputs.duration_s
    if isinstance(given, Durations):
        lasts_s = draw_durations(given, inputs.count, _apart(inputs.seed, DURATIONS), data).tolist()
    else:
        lasts_s = [given] * inputs.count
    return [
        SpeechRequest(
            features=log_mel(
                draw_clip(duration_s, rng), bands=model.mel_bands, frames=model.frames
            ),
            prefix=prefix,
            max_new_tokens=int(output),
            audio_s=duration_s,
        )
        for rng, output, duration_s in zip(streams, outputs, lasts_s, strict=True)
    ]


def _apart(seed: int, number: int) -> np.random.Generator:
    """Return a generator of its own, that no stream of `_streams` is."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, number)))


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    """Return independent generators, one for each thing drawn: no draw shifts another."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(count)]
