"""The models that a workload may declare: built from configuration, or a user's own files."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import Positive, Spec, Task, Text, absent

Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
HubName = Annotated[
    str,
    Field(max_length=96, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$"),
]
Revision = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$")]
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that does not move; branches and tags do."""
HUB_WEIGHTS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors(\.index\.json)?")


class LlamaModel(Spec):
    """A Llama-architecture decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

    Without `weights` the parameters are drawn from `seed`: right for speed, blind for quality.
    """

    family: Literal["llama"]
    vocabulary: Count
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    intermediate: Count
    context: Count = 2048
    rope_theta: Positive = 10000.0
    norm_epsilon: Positive = 1e-5
    tied_embeddings: bool = True
    seed: Seed = 0
    weights: Text | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError("'hidden' must be a multiple of 'heads'")
        if self.heads % self.kv_heads:
            raise ValueError("'heads' must be a multiple of 'kv_heads'")
        if (self.hidden // self.heads) % 2:
            raise ValueError("'hidden' / 'heads' must be even (rotary positions)")
        return self


class WhisperModel(Spec):
    """A Whisper-architecture encoder-decoder over log-mel frames (100 frames a second).

    `start_token` is what decoding starts from where the vocabulary is smaller than Whisper's own.
    """

    family: Literal["whisper"]
    mel_bands: Count = 80
    frames: Count = 3000
    vocabulary: Count
    hidden: Count
    encoder_layers: Count
    decoder_layers: Count
    heads: Count
    text_context: Count = 448
    start_token: Annotated[int, Field(ge=0)] | None = Field(default=None, exclude_if=absent)
    seed: Seed = 0
    weights: Text | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if (self.start_token or 0) >= self.vocabulary:
            raise ValueError("'start_token' is no token of the 'vocabulary'")
        if self.hidden % self.heads:
            raise ValueError("'hidden' must be a multiple of 'heads'")
        if self.frames % 2:
            raise ValueError("'frames' must be even (the second convolution has stride 2)")
        return self


class TreesMlpModel(Spec):
    """Gradient-boosted trees and a multi-layer perceptron; the score is the mean of the two.

    Both are trained, small and in the repository: `weights` names the file.
    """

    family: Literal["trees_mlp"]
    weights: Text


class TreeFileModel(Spec):
    """Your own trees for two classes: LightGBM's text model, or XGBoost's JSON model.

    `file` is relative to the workloads folder. The score is the probability of the second class.
    """

    family: Literal["lightgbm", "xgboost"]
    file: Text


class OnnxFileModel(Spec):
    """Your own ONNX file, from one matrix of rows to one score in [0, 1] per row.

    Of an output with a column for each class, `column` (from 0) is the score. `input` and `output`
    may be left out where the file has one of them. `data` names the files that hold weights beside
    the graph ("external data"); any other is refused. Files are relative to the workloads folder.
    """

    family: Literal["onnx"]
    file: Text
    data: tuple[Text, ...] = ()
    input: Text | None = None
    output: Text | None = None
    column: Annotated[int, Field(ge=0)] | None = None


class HuggingFaceModel(Spec):
    """A Llama or Whisper, as `save_pretrained` writes it: in a local folder or on the hub.

    What it is, its config.json says. `weights` is its safetensors file, or the
    model.safetensors.index.json that lists the shards. `context` is how many positions are made
    ready: 2048 unless said otherwise, and at most those that config.json names. `hub` is a name
    such as Organisation/model instead of a `folder`; `revision` is its commit (40 hex digits), or
    a branch or tag ("main" unless said otherwise), which stands for the commit it had when it was
    first looked up.
    """

    family: Literal["hugging_face"]
    folder: Text | None = Field(default=None, exclude_if=absent)
    hub: HubName | None = Field(default=None, exclude_if=absent)
    revision: Revision | None = Field(default=None, exclude_if=absent)
    weights: Text = "model.safetensors"
    context: Count | None = None

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("needs 'folder', or 'hub' with a name such as Organisation/model")
        if self.hub is None and self.revision is not None:
            raise ValueError("'revision' is of a model on the hub; a 'folder' has none")
        if self.hub is not None and not HUB_WEIGHTS.fullmatch(self.weights):
            raise ValueError(
                "'weights' on the hub is a file NAME.safetensors or NAME.safetensors.index.json: "
                "no other is fetched"
            )
        return self

    @property
    def commit(self) -> str | None:
        """The commit on the hub, if `revision` is one and does not move."""
        fixed = self.revision is not None and COMMIT.fullmatch(self.revision)
        return self.revision if fixed else None

    @property
    def source(self) -> str:
        """Where it is, in words."""
        return self.folder or f"{self.hub} at {self.revision or 'main'}"


class GgufModel(Spec):
    """Your own GGUF file of a Llama, run by llama.cpp as it is.

    `context` is how many positions are made ready, at most those that the file names.
    """

    family: Literal["gguf"]
    file: Text
    context: Count = 2048


class ServedModel(Spec):
    """A model that only servers have: nothing of it is built, loaded or computed here.

    Which one it is, is said by each target's `server.model`.
    """

    family: Literal["served"]


Model = Annotated[
    LlamaModel
    | WhisperModel
    | TreesMlpModel
    | TreeFileModel
    | OnnxFileModel
    | HuggingFaceModel
    | GgufModel
    | ServedModel,
    Field(discriminator="family"),
]

FAMILIES: dict[Task, dict[str, tuple[str, ...]]] = {
    "text_generation": {
        "llama": ("prompts", "prompts_file"),
        "hugging_face": ("prompts", "prompts_file"),
        "gguf": ("prompts", "prompts_file"),
        "served": ("prompts", "prompts_file"),
    },
    "text_embedding": {"served": ("texts",)},
    "speech_to_text": {
        "whisper": ("audio", "audio_files"),
        "hugging_face": ("audio", "audio_files"),
        "served": ("audio_files",),
    },
    "tabular_classification": {
        "trees_mlp": ("transactions", "rows"),
        "lightgbm": ("rows",),
        "xgboost": ("rows",),
        "onnx": ("rows",),
    },
}
"""By task: the families of models, and the kinds of inputs that each takes."""
