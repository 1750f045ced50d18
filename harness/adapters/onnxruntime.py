"""ONNX Runtime: the models' ONNX files, in fp32 or dynamically quantised to int8."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters import onnxruntime_providers
from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.continuous import ContinuousSession
from harness.adapters.coverage import BUILT_FAMILIES, assigned, fallbacks
from harness.adapters.onnxruntime_providers import CPU, Provider
from harness.adapters.onnxruntime_slots import Slots
from harness.adapters.options import LocalRuntime
from harness.adapters.session import (
    GraphEngine,
    Options,
    RowSession,
    SequenceSession,
    read_options,
)
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models.build import quantised, quantised_int4
from harness.models.exports import continuous_folder
from harness.models.model import RowModel
from harness.models.onnx_graph import count_operators
from harness.schema.model import LlamaModel

if TYPE_CHECKING:
    import onnxruntime

PRECISIONS = ("fp32", "int8", "int4")
QUANTISED = {"int8": "MatMulInteger", "int4": "MatMulNBits"}
"""The operator that computes a quantised product, by precision."""
METHODS = {
    "int8": "dynamic; weights int8 per output channel, activations uint8 per tensor",
    "int4": "weights int4 in blocks of 32 with a float32 scale; activations int8 by block "
    "(accuracy level 4)",
}
ERRORS_ONLY = 3
"""Log severity: warnings are about files that the runtime itself optimised."""
STOP_SPINNING = ("session.force_spinning_stop", "1")
"""Threads of a session that has nothing to do keep cores busy for a while unless they are told."""


class OnnxRuntimeAdapter(LocalRuntime):
    """Opens models as ONNX Runtime sessions.

    Its own options: provider (cpu, cuda, ...), continuous (how many texts a running batch holds).
    """

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    families: ClassVar[tuple[str, ...]] = BUILT_FAMILIES
    further: ClassVar[tuple[str, ...]] = ("continuous", "provider")

    def open(self, target: Target, model: Model) -> Session:
        """Load the model's ONNX files with the device's execution provider.

        Raises PrerequisiteError if the provider is not installed, UnsupportedError for another
        device or precision, or a model that the runtime does not take.
        """
        options = read_options(target, *self.further)
        runtime, architecture = target.runtime, model.computed
        provider = onnxruntime_providers.provider_of(target, options)
        joined = options.continuous if isinstance(architecture, LlamaModel) else None
        together = 1 if isinstance(architecture, RowModel) else joined or options.max_sequences
        _check(runtime.precision, provider, joined=joined is not None, together=together)
        folder = continuous_folder(model) if joined else model.onnx("standard")
        if runtime.precision == "int8":
            folder = quantised(folder)
        elif runtime.precision == "int4":
            folder = quantised_int4(folder)
        sessions = {
            path.stem: _load(path, provider, options) for path in sorted(folder.glob("*.onnx"))
        }
        description = _describe(sessions, folder, target, options, provider)
        if isinstance(architecture, RowModel):
            session = sessions["model"]

            # A user's own file has names of its own.
            source, (wanted,) = session.get_inputs()[0].name, session.get_outputs()
            outputs = [wanted.name]

            def score(features: NDArray[np.float32]) -> NDArray[np.float32]:
                scores: NDArray[np.float32] = session.run(outputs, {source: features})[0]
                return scores

            call = {"call": "InferenceSession.run with numpy arrays"}
            return RowSession(score, options.max_batch, {**description, **call})
        if isinstance(architecture, LlamaModel) and joined:
            slots = Slots(sessions["model"], architecture, joined)
            description["call"] = "InferenceSession.run_with_iobinding; one buffer for each cache"
            return ContinuousSession(architecture, slots, description)
        if isinstance(architecture, LlamaModel):
            heads = architecture.kv_heads, architecture.hidden // architecture.heads
            engine = _Engine(sessions["model"], None, heads, provider.memory)
        else:
            description["encoder_threads"] = "stop spinning when a run ends"
            heads = architecture.heads, architecture.hidden // architecture.heads
            engine = _Engine(sessions["decoder"], sessions["encoder"], heads, provider.memory)
        call = {"call": "InferenceSession.run_with_iobinding; the cache stays in OrtValues"}
        description |= call
        return SequenceSession(architecture, engine, description, options.max_sequences)


def _check(precision: str, provider: Provider, *, joined: bool, together: int) -> None:
    """Raise UnsupportedError for what is not computed, or not as its quality gate would see it.

    `together` sequences run in one batch, and with `joined` come and go while it runs.
    """
    if precision not in PRECISIONS:
        raise UnsupportedError(
            f"the onnxruntime adapter computes in {', '.join(PRECISIONS)}, not in {precision}"
        )
    if precision == "int8" and provider.name != CPU:
        raise UnsupportedError(f"{provider.name} has no dynamically quantised products")
    if precision == "int4" and provider.name != CPU:
        raise UnsupportedError("the onnxruntime adapter computes in int4 on the CPU only")
    if precision == "int8" and together > 1:
        raise UnsupportedError(
            "dynamic int8 has one scale for the activations of a whole batch: an answer would "
            "depend on the others in its batch, which no quality gate sees",
            hint="take one text at a time, or int4, which has a scale for each position",
        )
    if joined and provider.name != CPU:
        raise UnsupportedError(
            "the onnxruntime adapter batches continuously on the CPU only: other providers have "
            "not been tried"
        )


class _Engine(GraphEngine):
    """Keeps the cache as the runtime's own values: each step's outputs are the next one's inputs.

    `heads` are the number of heads in the cache, and their size.
    """

    batches_chosen = True

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
        self.pads = any(each.name == "padding" for each in decoder.get_inputs())
        self._heads = heads
        self._binding = decoder.io_binding()
        self._past: list[onnxruntime.OrtValue] = []

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        shape = (len(padding), self._heads[0], 0, self._heads[1])
        self._past = [self._value(np.zeros(shape, dtype=np.float32))] * len(self._past_names)
        if self.pads:
            self._binding.bind_ortvalue_input("padding", self._value(padding))
        if self._encoder is None:
            return
        assert features is not None
        names = [each.name for each in self._encoder.get_outputs()]
        binding = self._encoder.io_binding()
        binding.bind_ortvalue_input("features", self._value(features))
        for name in names:
            binding.bind_output(name, self._device)
        self._encoder.run_with_iobinding(binding)
        for name, value in zip(names, binding.get_outputs(), strict=True):
            self._binding.bind_ortvalue_input(name, value)

    def _extend(self, tokens: NDArray[np.int64], first: int) -> NDArray[np.float32]:
        binding = self._binding
        inputs = (
            self._value(np.ascontiguousarray(tokens)),
            self._value(np.array([first], dtype=np.int64)),
        )
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
        array: NDArray[np.float32] = logits.numpy()
        return array


def _load(path: Path, provider: Provider, options: Options) -> onnxruntime.InferenceSession:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = ERRORS_ONLY
    if path.stem == "encoder":
        # The decoder's threads follow at once, on the same cores.
        settings.add_session_config_entry(*STOP_SPINNING)
    # Older versions do not know this entry, and ignore it.
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = onnxruntime.InferenceSession(
            str(path),
            settings,
            providers=[(provider.name, dict(provider.settings)), *provider.then],
        )
    except (Fail, InvalidGraph, NotImplemented) as error:
        raise UnsupportedError(f"ONNX Runtime does not take {path.name}: {error}") from error
    if provider.name not in session.get_providers():
        # It falls back to the CPU with no more than a warning.
        raise PrerequisiteError(
            f"{provider.name} did not start; ONNX Runtime would have used "
            f"{', '.join(session.get_providers())}",
            hint="its message above names the missing library; see onnxruntime.ai/docs",
        )
    return session


def _describe(
    sessions: dict[str, onnxruntime.InferenceSession],
    folder: Path,
    target: Target,
    options: Options,
    provider: Provider,
) -> dict[str, object]:
    import onnxruntime

    providers = next(iter(sessions.values())).get_providers()
    table = {name: assigned(_nodes(session)) for name, session in sessions.items()}
    description: dict[str, object] = {
        "runtime": "onnxruntime",
        "version": onnxruntime.__version__,
        "device": target.runtime.device,
        "providers": providers,
        "precision": target.runtime.precision,
        **options.described(),
        "graph_optimisation": "all",
        "operators": {
            "counts": {name: count_operators(folder / f"{name}.onnx") for name in sessions},
            "assigned": table,
            "unsupported": [],
            "lowered": [],
        },
        "fallbacks": fallbacks(table, provider.name),
    }
    if target.runtime.precision in QUANTISED:
        description["quantisation"] = _quantisation(folder, target.runtime.precision)
    return description


def _nodes(session: onnxruntime.InferenceSession) -> list[tuple[str, str]]:
    """Return each node of the optimised graph and the provider that runs it.

    Empty where the version of the runtime does not tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    return [
        (f"{node.domain}.{node.op_type}".lstrip("."), part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def _quantisation(folder: Path, precision: str) -> dict[str, object]:
    """Return which products with a constant matrix are quantised, and which stayed fp32."""
    import onnx

    taken, left = [], []
    for path in sorted(folder.glob("*.onnx")):
        graph = onnx.load(path, load_external_data=False).graph
        constants = {weight.name for weight in graph.initializer}
        for node in graph.node:
            if node.op_type == QUANTISED[precision]:
                name = node.input[1].removesuffix("_quantized").removesuffix("_int4")
                taken.append(f"{path.stem}/{name}")
            elif node.op_type in ("MatMul", "Gemm", "Conv") and node.input[1] in constants:
                left.append(f"{path.stem}/{node.input[1]}")
    return {
        "method": METHODS[precision],
        f"products_{precision}": taken,
        "products_fp32": left,
    }
