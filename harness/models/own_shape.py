"""What a record says of a model in a user's own files: decisions read nothing but records."""

from __future__ import annotations

from collections.abc import Mapping

from harness.models import gguf_header
from harness.models.model import Declared, Model
from harness.schema.model import GgufModel, HuggingFaceModel, LlamaModel, WhisperModel


def told_of_model(declared: Declared, model: Model) -> Mapping[str, object]:
    """Return the shape in the files of `declared`, and the bytes of a GGUF file's weights.

    Empty for a model that the workload itself describes, or that only its server has.
    """
    if isinstance(declared, HuggingFaceModel):
        shape = model.architecture
        assert isinstance(shape, LlamaModel | WhisperModel), (
            "the folders that can be read are those"
        )
        return {"model_shape": shape.model_dump(mode="json", exclude={"weights", "seed"})}
    if isinstance(declared, GgufModel):
        assert model.file is not None, "a GGUF model is its file"
        header = gguf_header.read_header(model.file)
        return {
            "model_shape": header.as_llama(declared.context).model_dump(
                mode="json", exclude={"weights", "seed"}
            ),
            "weight_bytes": model.file.stat().st_size,
        }
    return {}
