"""ONNX Runtime: the models' ONNX files, in fp32 or dynamically quantised to int8."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.session import Options, RowSession, SequenceSession, read_options
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models.build import quantised
from harness.models.onnx_graph import count_operators
from harness.schema.workload import LlamaModel, TreesMlpModel

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
ERRORS_ONLY = 3
"""Log severity: warnings are about files that the runtime itself optimised."""


class OnnxRuntimeAdapter:
    """Opens models as ONNX Runtime sessions. Options: threads, max_batch (rows in a query)."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def open(self, target: Target, model: Model) -> Session:
        """Load the model's ONNX files with the device's execution provider.

        Raises PrerequisiteError if the provider is not installed, UnsupportedError for another
        device or precision, or a model that the runtime does not take.
        """
        options = read_options(target)
        runtime, architecture = target.runtime, model.architecture
        provider = _provider(runtime.device)
        if runtime.precision not in ("fp32", "int8"):
            raise UnsupportedError(
                f"the onnxruntime adapter computes in fp32 and int8, not in {runtime.precision}"
            )
        if runtime.precision == "int8" and runtime.device != "cpu":
            raise UnsupportedError(f"{provider} has no dynamically quantised products")
        folder = model.onnx("standard")
        if runtime.precision == "int8":
            folder = quantised(folder)
        sessions = {
            path.stem: _load(path, provider, options) for path in sorted(folder.glob("*.onnx"))
        }
        description = _describe(sessions, folder, target, options)
        if isinstance(architecture, TreesMlpModel):
            session = sessions["model"]

            def score(features: NDArray[np.float32]) -> NDArray[np.float32]:
                scores: NDArray[np.float32] = session.run(["score"], {"features": features})[0]
                return scores

            call = {"call": "InferenceSession.run with numpy arrays"}
            return RowSession(score, options.max_batch, {**description, **call})
        if isinstance(architecture, LlamaModel):
            heads = architecture.kv_heads, architecture.hidden // architecture.heads
            engine = _Engine(sessions["model"], None, heads, runtime.device)
        else:
            heads = architecture.heads, architecture.hidden // architecture.heads
            engine = _Engine(sessions["decoder"], sessions["encoder"], heads, runtime.device)
        call = {"call": "InferenceSession.run_with_iobinding; the cache stays in OrtValues"}
        return SequenceSession(architecture, engine, {**description, **call})


class _Engine:
    """Keeps the cache as the runtime's own values: each step's outputs are the next one's inputs.

    `heads` are the number of heads in the cache, and their size.
    """

    def __init__(
        self,
        decoder: onnxruntime.InferenceSession,
        encoder: onnxruntime.InferenceSession | None,
        heads: tuple[int, int],
        device: str,
    ) -> None:
        from onnxruntime import OrtValue

        self._value = OrtValue.ortvalue_from_numpy
        self._decoder, self._encoder, self._device = decoder, encoder, device
        self._past_names = [
            each.name for each in decoder.get_inputs() if each.name.startswith("past_")
        ]
        self._empty = self._value(np.zeros((1, heads[0], 0, heads[1]), dtype=np.float32))
        self._binding = decoder.io_binding()
        self._past: list[onnxruntime.OrtValue] = []

    def begin(self, features: NDArray[np.float32] | None) -> None:
        self._past = [self._empty] * len(self._past_names)
        if self._encoder is None:
            return
        assert features is not None
        names = [each.name for each in self._encoder.get_outputs()]
        binding = self._encoder.io_binding()
        binding.bind_ortvalue_input("features", self._value(np.ascontiguousarray(features[None])))
        for name in names:
            binding.bind_output(name, self._device)
        self._encoder.run_with_iobinding(binding)
        for name, value in zip(names, binding.get_outputs(), strict=True):
            self._binding.bind_ortvalue_input(name, value)

    def next_token(self, tokens: NDArray[np.int64]) -> int:
        return int(np.argmax(self._extend(tokens, len(tokens) - 1)[-1]))

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        # A copy: the runtime uses the memory again.
        return self._extend(tokens, 0).copy()

    def _extend(self, tokens: NDArray[np.int64], first: int) -> NDArray[np.float32]:
        """Add `tokens` to the sequence; return the logits from position `first` of them on."""
        binding = self._binding
        inputs = self._value(tokens[None]), self._value(np.array([first], dtype=np.int64))
        binding.bind_ortvalue_input("input_ids", inputs[0])
        binding.bind_ortvalue_input("logits_from", inputs[1])
        for name, value in zip(self._past_names, self._past, strict=True):
            binding.bind_ortvalue_input(name, value)
        binding.clear_binding_outputs()
        binding.bind_output("logits", "cpu")
        for name in self._past_names:
            binding.bind_output(name.replace("past_", "present_"), self._device)
        self._decoder.run_with_iobinding(binding)
        logits, *self._past = binding.get_outputs()
        array: NDArray[np.float32] = logits.numpy()[0]
        return array


def _provider(device: str) -> str:
    try:
        import onnxruntime
    except ImportError as error:
        raise PrerequisiteError(
            "the onnxruntime adapter needs ONNX Runtime", hint="pip install onnxruntime"
        ) from error
    if device not in PROVIDERS:
        raise UnsupportedError(
            f"the onnxruntime adapter drives {', '.join(PROVIDERS)}, not '{device}'"
        )
    provider = PROVIDERS[device]
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise PrerequisiteError(
            f"this ONNX Runtime has no {provider}, but {', '.join(available)}",
            hint="pip install onnxruntime-gpu in place of onnxruntime",
        )
    return provider


def _load(path: Path, provider: str, options: Options) -> onnxruntime.InferenceSession:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=[provider])
    except (Fail, InvalidGraph, NotImplemented) as error:
        raise UnsupportedError(f"ONNX Runtime does not take {path.name}: {error}") from error
    if provider not in session.get_providers():
        # It falls back to the CPU with no more than a warning.
        raise PrerequisiteError(
            f"{provider} did not start; ONNX Runtime would have used "
            f"{', '.join(session.get_providers())}",
            hint="its message above names the missing library; see onnxruntime.ai/docs",
        )
    return session


def _describe(
    sessions: dict[str, onnxruntime.InferenceSession],
    folder: Path,
    target: Target,
    options: Options,
) -> dict[str, object]:
    import onnxruntime

    providers = next(iter(sessions.values())).get_providers()
    description: dict[str, object] = {
        "runtime": "onnxruntime",
        "version": onnxruntime.__version__,
        "device": target.runtime.device,
        "providers": providers,
        "precision": target.runtime.precision,
        "threads": options.threads,
        "graph_optimisation": "all",
        "operators": {
            "counts": {name: count_operators(folder / f"{name}.onnx") for name in sessions},
            "unsupported": [],
            "lowered": [],
        },
        "fallbacks": [
            f"{other} runs the nodes that {providers[0]} does not take" for other in providers[1:]
        ],
    }
    if target.runtime.precision == "int8":
        description["quantisation"] = _quantisation(folder)
    return description


def _quantisation(folder: Path) -> dict[str, object]:
    """Return which products with a constant matrix are int8, and which stayed fp32."""
    import onnx

    taken, left = [], []
    for path in sorted(folder.glob("*.onnx")):
        graph = onnx.load(path, load_external_data=False).graph
        constants = {weight.name for weight in graph.initializer}
        for node in graph.node:
            if node.op_type == "MatMulInteger":
                taken.append(f"{path.stem}/{node.input[1].removesuffix('_quantized')}")
            elif node.op_type in ("MatMul", "Gemm", "Conv") and node.input[1] in constants:
                left.append(f"{path.stem}/{node.input[1]}")
    return {
        "method": "dynamic; weights int8 per output channel, activations uint8 per tensor",
        "products_int8": taken,
        "products_fp32": left,
    }
