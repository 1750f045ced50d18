"""OpenVINO on the CPU: the models' ONNX files, the key-value cache kept inside the runtime."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.coverage import BUILT_FAMILIES, lacking
from harness.adapters.options import LocalRuntime
from harness.adapters.session import (
    GraphEngine,
    Options,
    RowSession,
    SequenceSession,
    read_options,
)
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models import openvino_weights
from harness.models.exports import openvino_folder
from harness.models.model import RowModel
from harness.schema.model import OnnxFileModel

if TYPE_CHECKING:
    import openvino

TYPES = {
    "fp32": ("f32", "FP32"),
    "bf16": ("bf16", "BF16"),
    "fp16": ("f16", "FP16"),
    "int8": ("f32", "FP32"),
    "int4": ("f32", "FP32"),
}
"""By precision: the hint, and the capability that a device must name."""
COMPRESSED = tuple(openvino_weights.METHODS)
"""The precisions of weights; what flows between them is fp32."""
PRODUCTS = ("FullyConnected", "MatMul", "Convolution")
"""The runtime's own operators that do most of the arithmetic."""


class OpenVinoAdapter(LocalRuntime):
    """Opens models as OpenVINO models. Options: those that all adapters have (docs/models.md)."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    families: ClassVar[tuple[str, ...]] = BUILT_FAMILIES
    install: ClassVar[str] = "pip install 'accelerator-harness[openvino]'"
    lacks: ClassVar[tuple[str, ...]] = ("ai.onnx.ml",)

    def open(self, target: Target, model: Model) -> Session:
        """Convert and compile the model's ONNX files for the CPU.

        Raises PrerequisiteError without OpenVINO, UnsupportedError for a device, precision or
        model that it does not take, with its own reason.
        """
        options = read_options(target)
        try:
            import openvino
        except ImportError as error:
            raise PrerequisiteError(
                "the openvino adapter needs OpenVINO",
                hint=self.install,
            ) from error
        core = openvino.Core()
        settings = _settings(core, target, options)
        architecture = model.computed
        # A fixed batch is quicker; rows come in any number.
        batch = None if isinstance(architecture, RowModel) or options.max_sequences > 1 else 1
        precision = target.runtime.precision
        if precision in COMPRESSED:
            paths = sorted(openvino_folder(model, precision).glob("*.xml"))
        else:
            paths = sorted(model.onnx("portable").glob("*.onnx"))
        compiled = {path.stem: _compile(core, path, settings, batch) for path in paths}
        description = {**options.described(), **_describe(core, compiled, target)}
        if precision in COMPRESSED:
            description["quantisation"] = {
                "method": openvino_weights.METHODS[precision],
                "weights_by_type": {
                    path.stem: openvino_weights.weights_of(core.read_model(path)) for path in paths
                },
            }
        if isinstance(architecture, RowModel):
            own = isinstance(architecture, OnnxFileModel)
            lowered = [] if own else ["TreeEnsembleRegressor: as Gather, LessOrEqual and Where"]
            description["operators"]["lowered"] = lowered
            # A model that takes any number of rows needs three times as long for one. To pin the
            # calling thread and let it go again takes two of its 30 us.
            one = _compile(core, paths[0], {**settings, "ENABLE_CPU_PINNING": False}, 1)
            score = _RowEngine(one, compiled["model"]).score
            description["call"] = "InferRequest.infer; one row: of a model of one row, preset"
            return RowSession(score, options.max_batch, description)
        engine = _SequenceEngine(compiled)
        return SequenceSession(architecture, engine, description, options.max_sequences)


class _RowEngine:
    """One row goes through the model `one`, compiled for just that, others through `many`."""

    def __init__(self, one: openvino.CompiledModel, many: openvino.CompiledModel) -> None:
        self._one, self._many = one.create_infer_request(), many.create_infer_request()
        self._row: NDArray[np.float32] = self._one.get_input_tensor().data
        self._shape = self._row.shape
        self._score: NDArray[np.float32] = self._one.get_output_tensor().data

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        import openvino

        # Both write where the runtime reads: `infer(inputs)` takes three times as long.
        if features.shape == self._shape:
            np.copyto(self._row, features, casting="no")
            self._one.infer()
            return self._score
        self._many.set_input_tensor(openvino.Tensor(features, shared_memory=True))
        self._many.infer()
        scores: NDArray[np.float32] = self._many.get_output_tensor().data
        return scores


class _SequenceEngine(GraphEngine):
    """The decoder is stateful: the runtime itself appends to the cache."""

    batches_chosen = True

    def __init__(self, compiled: dict[str, openvino.CompiledModel]) -> None:
        decoder = compiled.get("decoder") or compiled["model"]
        self._decoder = decoder.create_infer_request()
        self.pads = any("padding" in each.get_names() for each in decoder.inputs)
        shapes = [each.get_partial_shape() for each in decoder.inputs]
        self._any_batch = any(shape.is_dynamic and shape[0].is_dynamic for shape in shapes)
        self._encoder = (
            compiled["encoder"].create_infer_request() if "encoder" in compiled else None
        )

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        import openvino

        self._decoder.reset_state()
        if self._any_batch:
            # Where the batch may be any, the state of no positions does not know it.
            for state in self._decoder.query_state():
                _, heads, _, size = state.state.get_shape()
                empty = np.zeros((len(padding), heads, 0, size), dtype=np.float32)
                state.state = openvino.Tensor(empty)
        if self.pads:
            self._decoder.set_tensor("padding", openvino.Tensor(padding))
        if self._encoder is None:
            return
        assert features is not None
        self._encoder.set_input_tensor(openvino.Tensor(features, shared_memory=True))
        self._encoder.infer()
        for output in self._encoder.model_outputs:
            name = output.get_any_name()
            self._decoder.set_tensor(name, self._encoder.get_tensor(name))

    def _extend(self, tokens: NDArray[np.int64], first: int) -> NDArray[np.float32]:
        import openvino

        start = np.array([first], dtype=np.int64)
        tokens = np.ascontiguousarray(tokens)
        self._decoder.set_tensor("input_ids", openvino.Tensor(tokens, shared_memory=True))
        self._decoder.set_tensor("logits_from", openvino.Tensor(start, shared_memory=True))
        self._decoder.infer()
        logits: NDArray[np.float32] = self._decoder.get_tensor("logits").data
        return logits


def _settings(core: openvino.Core, target: Target, options: Options) -> dict[str, object]:
    runtime = target.runtime
    if runtime.device != "cpu":
        raise UnsupportedError(f"the openvino adapter drives 'cpu', not '{runtime.device}'")
    if runtime.precision not in TYPES:
        raise UnsupportedError(
            f"the openvino adapter computes in {', '.join(TYPES)}, not in {runtime.precision}"
        )
    hint, capability = TYPES[runtime.precision]
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if capability not in capabilities:
        raise UnsupportedError(
            f"OpenVINO computes in {', '.join(capabilities)} on this CPU, not in {capability}"
        )
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": options.threads,
        # By default it would compute in bf16 where the CPU can, keep the cache in 8 bits and
        # quantise activations: a precision is what the target says.
        "INFERENCE_PRECISION_HINT": hint,
        "KV_CACHE_PRECISION": hint,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    }


def _compile(
    core: openvino.Core, path: Path, settings: dict[str, object], batch: int | None
) -> openvino.CompiledModel:
    """Return the compiled model: its batch fixed if given, its cache (if any) made a state."""
    from openvino.passes import MakeStateful, Manager

    try:
        model = core.read_model(path)
        shapes = {each.get_any_name(): each.get_partial_shape() for each in model.inputs}
        if batch is not None:
            for name, shape in shapes.items():
                if name != "logits_from":
                    shape[0] = batch
            model.reshape(shapes)
        cache = {name: name.replace("past_", "present_") for name in shapes if "past_" in name}
        if cache:
            passes = Manager()
            passes.register_pass(MakeStateful(cache))
            passes.run_passes(model)
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        named = re.search(r"No conversion rule found for operations: (.+)", str(error))
        if named:
            operators = [each.strip() for each in named[1].split(",")]
            raise UnsupportedError(lacking("OpenVINO", operators)) from error
        raise UnsupportedError(f"OpenVINO does not take {path.name}: {error}") from error


def _describe(
    core: openvino.Core, compiled: dict[str, openvino.CompiledModel], target: Target
) -> dict[str, Any]:
    import openvino

    first = next(iter(compiled.values()))
    operators, precisions = {}, {}
    for name, each in compiled.items():
        facts = [node.get_rt_info() for node in each.get_runtime_model().get_ops()]
        nodes = [
            (str(fact["layerType"].value), str(fact["runtimePrecision"].value)) for fact in facts
        ]
        operators[name] = dict(sorted(Counter(kind for kind, _ in nodes).items()))
        precisions[name] = dict(sorted(Counter(p for kind, p in nodes if kind in PRODUCTS).items()))
    return {
        "runtime": "openvino",
        "version": openvino.__version__,
        "device": "cpu",
        "device_name": core.get_property("CPU", "FULL_DEVICE_NAME"),
        "precision": target.runtime.precision,
        "precision_hint": first.get_property("INFERENCE_PRECISION_HINT").to_string(),
        "precision_of_products": precisions,
        "threads": int(first.get_property("INFERENCE_NUM_THREADS")),
        "call": "InferRequest.infer with preset tensors; a cache is a state of the runtime",
        "operators": {
            "counts": operators,
            "assigned": {
                name: {kind: {"CPU": count} for kind, count in counts.items()}
                for name, counts in operators.items()
            },
            "unsupported": [],
            "lowered": [],
        },
        "fallbacks": [],
    }
