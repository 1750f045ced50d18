"""onnxruntime-genai: ONNX Runtime's own loop for decoders, with one operator for attention."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.onnxruntime_providers import CPU
from harness.adapters.options import LocalRuntime
from harness.adapters.session import SequenceSession, read_options
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models.exports import genai_folder
from harness.models.llama_genai import end_token
from harness.models.onnx_graph import count_operators
from harness.schema.model import LlamaModel

if TYPE_CHECKING:
    import onnxruntime_genai

PRECISIONS = ("fp32", "int4")


class GenaiAdapter(LocalRuntime):
    """Opens Llama models in onnxruntime-genai. A batch is of prompts of one length."""

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
        folder = genai_folder(model, runtime.precision)
        configuration = onnxruntime_genai.Config(str(folder))
        settings = {"intra_op_num_threads": options.threads}
        configuration.overlay(json.dumps({"model": {"decoder": {"session_options": settings}}}))
        counts = count_operators(folder / "model.onnx")
        engine = _Engine(onnxruntime_genai.Model(configuration), architecture)
        description = {
            "runtime": "onnxruntime-genai",
            "providers": [CPU],
            "version": onnxruntime_genai.__version__,
            "device": "cpu",
            "precision": runtime.precision,
            **options.described(),
            "call": "Generator.generate_next_token; the cache is one buffer of the runtime",
            "operators": {
                "counts": {"model": counts},
                # No other provider is loaded: what is in the file runs there or not at all.
                "assigned": {"model": {name: {CPU: count} for name, count in counts.items()}},
                "unsupported": [],
                "lowered": [],
            },
            "fallbacks": [],
        }
        return SequenceSession(architecture, engine, description, options.max_sequences)


class _Engine:
    """One generator for all requests of a batch size, wound back before each: its buffers stay.

    A generator fills up a sequence that chose its end token. Answers are as long as they are asked
    for, so such a sequence is fed again.
    """

    pads = False
    batches_chosen = False  # a generator takes tokens of a batch once, then feeds its own

    def __init__(self, model: onnxruntime_genai.Model, architecture: LlamaModel) -> None:
        self._model, self._length = model, architecture.context + 1
        self._end = end_token(architecture)
        self._fed: list[NDArray[np.int32]] = []
        self._batch = 1
        self._generator = self._start()

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        self._fed = []
        if len(padding) == self._batch:
            self._generator.rewind_to(0)
            return
        self._batch = len(padding)
        self._generator = self._start()

    def _start(self) -> onnxruntime_genai.Generator:
        """Return a generator of the batch's size."""
        import onnxruntime_genai

        parameters = onnxruntime_genai.GeneratorParams(self._model)
        parameters.set_search_options(max_length=self._length, batch_size=self._batch)
        return onnxruntime_genai.Generator(self._model, parameters)

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        first = not self._fed
        self._fed.append(tokens.astype(np.int32))
        # The generator itself feeds the token that it has chosen, unless that is its end.
        if first:
            self._generator.append_tokens(self._fed[0])
        elif (tokens == self._end).any():
            self._go_on()
        self._generator.generate_next_token()
        chosen: NDArray[np.int64] = self._generator.get_next_tokens().astype(np.int64)
        return chosen

    def _go_on(self) -> None:
        """Take the sequences beyond the end token that the last step chose in one of them."""
        if self._batch == 1:
            self._generator.append_tokens(self._fed[-1])
            return
        # A batch takes tokens at its beginning only.
        self._generator.rewind_to(0)
        self._generator.append_tokens(np.concatenate(self._fed, axis=1))

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        self._generator.append_tokens(tokens.astype(np.int32))
        logits: NDArray[np.float32] = self._generator.get_logits()[:, -1]
        return logits

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        self._generator.append_tokens(tokens.astype(np.int32))
        # A copy: the runtime uses the memory again.
        logits: NDArray[np.float32] = self._generator.get_output("logits")[0].copy()
        return logits
