"""A local folder as `save_pretrained` writes it: config.json beside weights, in one file or shards.

Shapes do not tell everything: heads, positions and norms are held against config.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data_files import SHARDS, shards_of
from harness.errors import SpecError
from harness.models.weights import load_weights
from harness.schema.model import LlamaModel

FIELDS = {
    "vocab_size": "vocabulary",
    "hidden_size": "hidden",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "intermediate_size": "intermediate",
    "rms_norm_eps": "norm_epsilon",
    "tie_word_embeddings": "tied_embeddings",
}
"""By name in config.json: the field of the workload's model that must have the same value."""
ROTARY = "rotary_emb.inv_freq"
"""How the name of a table ends that old files store, and that follows from the positions."""
PLAIN = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
"""What the Llama that is built here has; config.json may leave them out."""


def load_llama(path: Path, model: LlamaModel) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of the file `path`, or of the shards that it lists, by name.

    Where a config.json lies beside it, it must describe `model`. Arrays that follow from others
    (rotary tables, a tied output matrix) are left out. Raises SpecError if anything does not fit.
    """
    config = path.parent / "config.json"
    if config.is_file():
        check_config(config, model)
    if path.name.endswith(SHARDS):
        arrays: dict[str, NDArray[np.generic]] = {}
        for shard in shards_of(path):
            arrays |= load_weights(shard)
    else:
        arrays = load_weights(path)
    arrays = {n: a for n, a in arrays.items() if not n.endswith(ROTARY)}
    # A matrix that is not the embeddings' stays: it is more than the declared model has.
    if model.tied_embeddings and "lm_head.weight" in arrays:
        embedded = arrays.get("model.embed_tokens.weight")
        if embedded is not None and np.array_equal(arrays["lm_head.weight"], embedded):
            del arrays["lm_head.weight"]
    return arrays


def follows_from_others(name: str, model: LlamaModel) -> bool:
    """Return whether the array `name` of a file may be left out: a rotary table, a tied matrix."""
    tied = model.tied_embeddings and name == "lm_head.weight"
    return tied or name.endswith(ROTARY)


def stated(config: dict[str, object]) -> dict[str, object]:
    """Return what `config` says; null is what it leaves out."""
    return {name: value for name, value in config.items() if value is not None}


def rotary(config: dict[str, object], path: Path) -> tuple[object, object]:
    """Return the base of the rotary positions in `config` (None: not said), and their scaling.

    Old files have `rope_theta` and `rope_scaling`, new ones `rope_parameters`. SpecError if they
    contradict each other, since versions of transformers do not read the same ones.
    """
    parts = [config.get(name) or {} for name in ("rope_parameters", "rope_scaling")]
    thetas, scalings = [config.get("rope_theta")], []
    for part in parts:
        if not isinstance(part, dict):
            raise SpecError(f"{path} has rotary positions that are no object: {part!r}")
        thetas.append(part.get("rope_theta"))
        scalings.append(part.get("rope_type", part.get("type")))
    bases = [theta for theta in thetas if theta is not None]
    if any(base != bases[0] for base in bases):
        raise SpecError(
            f"{path} has the bases {' and '.join(map(repr, bases))} of its rotary positions",
            hint="leave the one that the model was trained with",
        )
    scaled = [scaling for scaling in scalings if scaling not in (None, "default")]
    return bases[0] if bases else None, scaled[0] if scaled else "default"


def end_tokens(weights: Path) -> frozenset[int]:
    """Return the tokens that end an answer, by the config.json beside `weights`; none without it.

    A file that is no configuration has none here: loading the weights says what is wrong with it.
    """
    try:
        config = json.loads((weights.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return frozenset()
    ends = config.get("eos_token_id") if isinstance(config, dict) else None
    return frozenset(e for e in (ends if isinstance(ends, list) else [ends]) if isinstance(e, int))


def check_config(path: Path, model: LlamaModel) -> None:
    """Raise SpecError, with what to write, unless the config.json at `path` describes `model`."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(f"{path} is not the configuration of a model: {error!r}") from error
    if kind != "llama":
        raise SpecError(f"{path} describes a '{kind}' model; only 'llama' ones can be built")
    theta, scaling = rotary(config, path)
    odd = [f"{n} {config[n]!r}" for n, value in PLAIN.items() if config.get(n, value) != value]
    if scaling != "default":
        odd.append(f"rope_type {scaling!r}")
    heads = config.get("num_attention_heads") or 1
    if config.get("head_dim") not in (None, config.get("hidden_size", 0) // heads):
        odd.append(f"head_dim {config['head_dim']}")
    if odd:
        raise SpecError(f"{path} has {', '.join(odd)}, which the Llama built here has not")
    said = {"num_key_value_heads": heads, "tie_word_embeddings": False} | stated(config)
    given = {ours: said.get(theirs) for theirs, ours in FIELDS.items()}
    given["rope_theta"] = theta
    wrong = {
        name: value
        for name, value in given.items()
        if value is not None and value != getattr(model, name)
    }
    positions = config.get("max_position_embeddings")
    if positions is not None and model.context > positions:
        wrong["context"] = positions
    if wrong:
        differ = ", ".join(f"{name} {getattr(model, name)}" for name in wrong)
        fields = ", ".join(f"{name}: {json.dumps(value)}" for name, value in wrong.items())
        raise SpecError(
            f"{path} describes another model than the workload, which has {differ}",
            hint=f"write under 'model': {fields}",
        )
