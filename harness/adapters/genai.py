"""onnxruntime-genai: ONNX Runtime's own loop for decoders, with one operator for attention."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.session import SequenceSession, read_options
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models.exports import genai_folder
from harness.models.onnx_graph import count_operators
from harness.schema.workload import LlamaModel

if TYPE_CHECKING:
    import onnxruntime_genai

PRECISIONS = ("fp32", "int4")


class GenaiAdapter:
    """Opens Llama models in onnxruntime-genai. Option: threads. One text at a time."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime_genai",)
    install: ClassVar[str] = "pip install 'accelerator-harness[genai]'"
    families: ClassVar[tuple[str, ...]] = ("llama",)

    def open(self, target: Target, model: Model) -> Session:
        """Load `model` on the CPU in the target's precision.

        Raises PrerequisiteError without onnxruntime-genai, UnsupportedError for another device,
        precision or family of models.
        """
        options = read_options(target)
        try:
            import onnxruntime_genai
        except ImportError as error:
            raise PrerequisiteError(
                "the onnxruntime-genai adapter needs onnxruntime-genai",
                hint=self.install,
            ) from error
        runtime, architecture = target.runtime, model.architecture
        if not isinstance(architecture, LlamaModel):
            raise UnsupportedError(
                f"the onnxruntime-genai adapter runs llama models, not {architecture.family}"
            )
        if runtime.device != "cpu":
            raise UnsupportedError(
                f"the onnxruntime-genai adapter drives 'cpu', not '{runtime.device}'"
            )
        if runtime.precision not in PRECISIONS:
            raise UnsupportedError(
                f"the onnxruntime-genai adapter computes in {', '.join(PRECISIONS)}, "
                f"not in {runtime.precision}"
            )
        if options.max_sequences > 1:
            raise UnsupportedError("the onnxruntime-genai adapter takes one text at a time")
        folder = genai_folder(model, runtime.precision)
        configuration = onnxruntime_genai.Config(str(folder))
        settings = {"intra_op_num_threads": options.threads}
        configuration.overlay(json.dumps({"model": {"decoder": {"session_options": settings}}}))
        engine = _Engine(onnxruntime_genai.Model(configuration), architecture)
        description = {
            "runtime": "onnxruntime-genai",
            "version": onnxruntime_genai.__version__,
            "device": "cpu",
            "precision": runtime.precision,
            "threads": options.threads,
            "call": "Generator.generate_next_token; the cache is one buffer of the runtime",
            "operators": {
                "counts": {"model": count_operators(folder / "model.onnx")},
                "unsupported": [],
                "lowered": [],
            },
            "fallbacks": [],
        }
        return SequenceSession(architecture, engine, description)


class _Engine:
    """One generator for all requests, wound back before each: its buffers stay."""

    def __init__(self, model: onnxruntime_genai.Model, architecture: LlamaModel) -> None:
        import onnxruntime_genai

        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(max_length=architecture.context + 1, batch_size=1)
        self._model = model
        self._generator = onnxruntime_genai.Generator(model, parameters)
        self._generated = False

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        self._generator.rewind_to(0)
        self._generated = False

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        # The generator itself feeds the token that it has chosen.
        if not self._generated:
            self._generator.append_tokens(tokens.astype(np.int32))
            self._generated = True
        self._generator.generate_next_token()
        chosen: NDArray[np.int64] = self._generator.get_next_tokens().astype(np.int64)
        return chosen

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        self._generator.append_tokens(tokens.astype(np.int32))
        logits: NDArray[np.float32] = self._generator.get_logits()[:, -1]
        return logits

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        self._generator.append_tokens(tokens.astype(np.int32))
        # A copy: the runtime uses the memory again.
        logits: NDArray[np.float32] = self._generator.get_output("logits")[0].copy()
        return logits
