"""A Hugging Face folder as a model: what its config.json says, in the harness's own terms."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from harness.data_files import SHARDS, shards_of
from harness.errors import SpecError
from harness.models import hugging_face, llama, whisper
from harness.models.model import Architecture
from harness.models.weights import Stored, check_stored, stored_weights
from harness.schema.base import Task
from harness.schema.model import HuggingFaceModel, LlamaModel, Model, WhisperModel
from harness.schema.workload import Workload

MOST_BYTES = 10_000_000
MOST_LAYERS = 10_000
"""Far above any model: each is looked at, and a broken file may name any number."""
CONTEXT = 2048
"""Positions that are made ready unless the workload says otherwise; LlamaModel's own default."""
KINDS: dict[str, Task] = {"llama": "text_generation", "whisper": "speech_to_text"}
WHISPER_FIELDS = {
    "vocab_size": "vocabulary",
    "d_model": "hidden",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "encoder_attention_heads": "heads",
    "num_mel_bins": "mel_bands",
    "max_target_positions": "text_context",
}
"""By name in config.json: the field of a WhisperModel."""


def resolved(workload: Workload, data: Path) -> Workload:
    """Return `workload` with its Hugging Face folder, if it has one, as a declared architecture.

    Raises SpecError if the folder or its config.json is wrong, or does not fit the task.
    """
    if not isinstance(workload.model, HuggingFaceModel):
        return workload
    tree = workload.model_dump(mode="json", by_alias=True, exclude_none=True)
    tree["model"] = declared(workload.model, workload.task, data).model_dump(mode="json")
    for part in (tree["inputs"], *tree["quality"]):
        # The folder's own tokenizer, once the folder is no more to be seen.
        if part["kind"] in ("prompts_file", "exact_answers", "own_text", "transcripts"):
            part.setdefault("tokenizer", f"{workload.model.folder}/tokenizer.json")
    try:
        return Workload.model_validate(tree)
    except ValidationError as error:
        said = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise SpecError(f"the model in {workload.model.source} does not fit: {said}") from error


def known(model: Model, task: Task, data: Path) -> Architecture:
    """Return `model` as it is, or what the config.json of its folder declares."""
    return declared(model, task, data) if isinstance(model, HuggingFaceModel) else model


def declared(model: HuggingFaceModel, task: Task, data: Path) -> LlamaModel | WhisperModel:
    """Return the architecture in the folder of `model`, with its weights named.

    Raises SpecError for a folder without config.json or weights, another architecture, and what the
    models built here do not have.
    """
    if model.folder is None:
        raise SpecError(
            f"the model {model.source} is on the hub, and not fetched yet",
            hint="harness models build NAME, with the workload's name, fetches it",
        )
    folder = data / model.folder
    path = folder / "config.json"
    config = _config(path)
    kind = _kind(config, path, task)
    weights = folder / model.weights
    if not weights.is_file():
        shards = folder / "model.safetensors.index.json"
        hint = "save the model as safetensors; other formats are not read"
        if shards.is_file():
            hint = f"write under 'model': weights: {shards.name}"
        raise SpecError(f"there is no {model.weights} in {folder}", hint=hint)
    fields = _llama(config, model, path) if kind == "llama" else _whisper(config, model, path)
    fields |= {"family": kind, "weights": f"{model.folder}/{model.weights}"}
    try:
        found = (LlamaModel if kind == "llama" else WhisperModel).model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise SpecError(
            f"{path} is not the configuration of a model: {place}: {first['msg']}"
        ) from (error)
    for name in ("layers", "encoder_layers", "decoder_layers"):
        if getattr(found, name, 0) > MOST_LAYERS:
            raise SpecError(
                f"{path} names {getattr(found, name)} {name}; at most {MOST_LAYERS} are read"
            )
    if isinstance(found, LlamaModel):
        hugging_face.check_config(path, found)
    return found


def check_headers(model: HuggingFaceModel, task: Task, data: Path) -> None:
    """Raise SpecError unless the weights of `model` are whole files with the arrays of its shape.

    Only the headers are read, so that it takes no time for gigabytes. Raises as `declared`.
    """
    found = declared(model, task, data)
    path = data / found.weights if found.weights else data
    stored: dict[str, Stored] = {}
    for each in shards_of(path) if path.name.endswith(SHARDS) else (path,):
        stored |= stored_weights(each)
    if isinstance(found, WhisperModel):
        check_stored(stored, whisper.parameter_shapes(found), str(path))
        return
    kept = {n: s for n, s in stored.items() if not hugging_face.follows_from_others(n, found)}
    check_stored(kept, llama.parameter_shapes(found), str(path))


def check_kind(path: Path, task: Task) -> None:
    """Raise SpecError unless the config.json at `path` is of a kind that is built, and of `task`.

    It needs no weights, and is asked before they are fetched.
    """
    _kind(_config(path), path, task)


def _kind(config: dict[str, object], path: Path, task: Task) -> str:
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SpecError(
            f"{path} describes a '{kind}' model; 'llama' and 'whisper' ones can be built",
            hint="serve it, and measure it as a served target",
        )
    if KINDS[kind] != task:
        raise SpecError(f"{path} describes a '{kind}' model, which does not do {task}")
    return kind


def _config(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SpecError(f"{path} is larger than {MOST_BYTES:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(
            f"cannot read {path}: {error.strerror}",
            hint="'folder' is one that save_pretrained wrote, relative to the folder of workloads",
        ) from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise SpecError(f"{path} is not the configuration of a model")
    return config


def _llama(config: dict[str, object], model: HuggingFaceModel, path: Path) -> dict[str, object]:
    theta, _ = hugging_face.rotary(config, path)
    # What a config.json may leave out, as transformers reads it.
    said = {
        "num_key_value_heads": config.get("num_attention_heads"),
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-6,
    } | hugging_face.stated(config)
    fields = {ours: said.get(theirs) for theirs, ours in hugging_face.FIELDS.items()}
    positions = config.get("max_position_embeddings", CONTEXT)
    if not isinstance(positions, int):
        raise SpecError(f"{path}: max_position_embeddings is {positions!r}")
    fields["rope_theta"] = 10_000.0 if theta is None else theta
    fields["context"] = model.context or min(positions, CONTEXT)
    return fields


def _whisper(config: dict[str, object], model: HuggingFaceModel, path: Path) -> dict[str, object]:
    fields = {ours: config.get(theirs) for theirs, ours in WHISPER_FIELDS.items()}
    positions, hidden = config.get("max_source_positions"), config.get("d_model")
    heads = config.get("encoder_attention_heads")
    if not isinstance(positions, int) or not isinstance(hidden, int):
        raise SpecError(f"{path} has no max_source_positions or d_model")
    odd = [
        f"{name} {config[name]!r} (it takes {wanted!r})"
        for name, wanted in (
            ("encoder_ffn_dim", 4 * hidden),
            ("decoder_ffn_dim", 4 * hidden),
            ("decoder_attention_heads", heads),
            ("activation_function", "gelu"),
            ("scale_embedding", False),
        )
        if config.get(name, wanted) != wanted
    ]
    if odd:
        raise SpecError(f"{path} has {', '.join(odd)}, which the Whisper built here has not")
    if model.context is not None:
        raise SpecError("'model.context' is for text; a Whisper has the one of its config.json")
    start, size = config.get("decoder_start_token_id"), config.get("vocab_size")
    # transformers writes Whisper's own start also beside a small vocabulary, which lacks it.
    if (
        isinstance(start, int)
        and isinstance(size, int)
        and 0 < start < size < whisper.ENGLISH_VOCABULARY
    ):
        fields["start_token"] = start
    return fields | {"frames": 2 * positions}
