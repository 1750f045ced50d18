"""PyTorch, eager or compiled, on a CPU or an NVIDIA GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters import torch_compile
from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.options import LocalRuntime
from harness.adapters.session import (
    Options,
    RowSession,
    SequenceSession,
    read_options,
)
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models import trees_mlp
from harness.models.model import RowModel, Weights
from harness.schema.model import LlamaModel, WhisperModel

if TYPE_CHECKING:
    import torch

    from harness.models import whisper_torch

TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class TorchAdapter(LocalRuntime):
    """Opens models as plain PyTorch modules. Its own option: compile (true: torch.compile)."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    install: ClassVar[str] = "pip install 'accelerator-harness[torch]'"
    families: ClassVar[tuple[str, ...]] = ("llama", "whisper", "trees_mlp", "lightgbm", "xgboost")
    further: ClassVar[tuple[str, ...]] = ("compile",)

    def open(self, target: Target, model: Model) -> Session:
        """Load `model` on the target's device in its precision.

        Raises PrerequisiteError without PyTorch or CUDA, UnsupportedError for another device or
        precision.
        """
        options = read_options(target, *self.further)
        try:
            import torch
        except ImportError as error:
            raise PrerequisiteError(
                "the torch adapter needs PyTorch",
                hint=self.install,
            ) from error
        runtime, architecture = target.runtime, model.computed
        if runtime.precision not in TYPES:
            raise UnsupportedError(
                f"the torch adapter computes in {', '.join(TYPES)}, not in {runtime.precision}"
            )
        if isinstance(architecture, RowModel) and runtime.precision != "fp32":
            raise UnsupportedError(
                f"trees compare fp32 features with fp32 thresholds; in {runtime.precision} rows "
                "would take wrong branches"
            )
        device = _device(runtime.device)
        torch.set_num_threads(options.threads)
        # fp32 shall mean fp32: by default cuDNN rounds the inputs of convolutions to TF32.
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        dtype: torch.dtype = getattr(torch, TYPES[runtime.precision])
        description = _describe(device, runtime.precision, options)
        if device.type == "cuda":
            # Another session of this process may have held more.
            torch.cuda.reset_peak_memory_stats(device)
        if isinstance(architecture, RowModel):
            return _rows(model, device, options, description)
        engine: _LlamaEngine | _WhisperEngine
        probe = None
        if isinstance(architecture, LlamaModel):
            engine = _LlamaEngine(model.weights(), architecture, device, dtype)
        else:
            engine = _WhisperEngine(model.weights(), architecture, device, dtype)
            probe = np.zeros((1, architecture.mel_bands, architecture.frames), dtype=np.float32)

        def step() -> None:
            engine.begin(probe, np.zeros(1, dtype=np.int64))
            engine.next_tokens(np.zeros((1, 1), dtype=np.int64))

        description |= _operators(step)
        compiled = 0
        if options.compile:
            engine.compile()
            compiled = torch_compile.warm_up(
                lambda: _first_steps(engine, architecture, options.max_sequences)
            )
        return SequenceSession(
            architecture,
            engine,
            description,
            options.max_sequences,
            late=lambda: _late(device, options, compiled),
        )


def _first_steps(
    engine: _LlamaEngine | _WhisperEngine,
    architecture: LlamaModel | WhisperModel,
    max_batch: int,
) -> None:
    """Take every way through the model once that requests will take: each is compiled apart."""
    speech = isinstance(architecture, WhisperModel)
    if isinstance(architecture, WhisperModel):
        shape = architecture.mel_bands, architecture.frames
        context = architecture.text_context
    else:
        shape, context = (0, 0), architecture.context
    paddings = [np.zeros(batch, dtype=np.int64) for batch in range(1, max_batch + 1)]
    if engine.pads:
        paddings += [np.arange(batch) % 2 for batch in range(2, max_batch + 1)]
    for padding in paddings:
        features = np.zeros((len(padding), *shape), dtype=np.float32) if speech else None
        for count in (5, 1):
            steps = [count, 1, 1] if count + 2 <= context else [1]
            engine.begin(features, np.minimum(padding, count - 1))
            for length in steps:
                engine.next_tokens(np.zeros((len(padding), length), dtype=np.int64))


class _LlamaEngine:
    pads = True
    batches_chosen = True

    def __init__(
        self, weights: Weights, architecture: LlamaModel, device: torch.device, dtype: torch.dtype
    ) -> None:
        import torch

        from harness.models import llama_torch

        self._device = device
        self._module = llama_torch.from_weights(weights, architecture).to(device, dtype)
        with torch.inference_mode():
            self._cache = self._module.make_cache()
        self._padding: torch.Tensor | None = None

    def compile(self) -> None:
        self._module.compile(**torch_compile.SETTINGS)

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        import torch

        with torch.inference_mode():
            if len(padding) != self._cache.batch:
                self._cache = self._module.make_cache(len(padding))
            self._cache.length = 0
            self._padding = torch.tensor(padding, device=self._device) if padding.any() else None

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        chosen: NDArray[np.int64] = self._extend(tokens, 1)[:, -1].argmax(dim=-1).cpu().numpy()
        return chosen

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return _to_numpy(self._extend(tokens, 1)[:, -1])

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return _to_numpy(self._extend(tokens, None)[0])

    def _extend(self, tokens: NDArray[np.int64], wanted: int | None) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(tokens)).to(self._device)
            logits: torch.Tensor = self._module(batch, self._cache, wanted, self._padding)
            return logits


class _WhisperEngine:
    pads = False
    batches_chosen = True

    def __init__(
        self,
        weights: Weights,
        architecture: WhisperModel,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        from harness.models import whisper_torch

        self._device, self._type = device, dtype
        self._module = whisper_torch.from_weights(weights, architecture).to(device, dtype)
        self._cache: whisper_torch.Cache | None = None

    def compile(self) -> None:
        self._module.encoder.compile(**torch_compile.SETTINGS)
        self._module.decoder.compile(**torch_compile.SETTINGS)

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        import torch

        with torch.inference_mode():
            batch = torch.tensor(features).to(self._device, self._type)
            self._cache = self._module.begin(batch)

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        chosen: NDArray[np.int64] = self._extend(tokens, 1)[:, -1].argmax(dim=-1).cpu().numpy()
        return chosen

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return _to_numpy(self._extend(tokens, 1)[:, -1])

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return _to_numpy(self._extend(tokens, None)[0])

    def _extend(self, tokens: NDArray[np.int64], wanted: int | None) -> torch.Tensor:
        import torch

        assert self._cache is not None
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(tokens)).to(self._device)
            return self._module.extend(batch, self._cache, wanted)


def _rows(
    model: Model, device: torch.device, options: Options, description: dict[str, object]
) -> Session:
    import torch

    module = trees_mlp.torch_module(model.weights()).to(device)

    def score(features: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return _to_numpy(module(torch.from_numpy(features).to(device)))

    width = trees_mlp.width(model.weights())
    description |= _operators(lambda: score(np.zeros((1, width), dtype=np.float32)))
    compiled = 0
    if options.compile:
        module.compile(**torch_compile.SETTINGS)

        def first_rows() -> None:
            for count in (1, 2, 7):
                score(np.zeros((count, width), dtype=np.float32))

        compiled = torch_compile.warm_up(first_rows)
    return RowSession(
        score, options.max_batch, description, late=lambda: _late(device, options, compiled)
    )


def _late(device: torch.device, options: Options, compiled: int) -> dict[str, object]:
    """Return what is known only after a while: the memory held, and graphs compiled since."""
    import torch

    found: dict[str, object] = {}
    if device.type == "cuda":
        found["peak_memory_bytes"] = torch.cuda.max_memory_allocated(device)
    if options.compile:
        found["compiled_graphs"] = compiled
        found["compiled_after_opening"] = torch_compile.graphs() - compiled
    return found


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array


def _device(name: str) -> torch.device:
    import torch

    if name == "cuda":
        if not torch.cuda.is_available():
            raise PrerequisiteError(
                f"PyTorch {torch.__version__} finds no CUDA device",
                hint="run `harness doctor`; it needs an NVIDIA driver and a CUDA build of PyTorch",
            )
    elif name != "cpu":
        raise UnsupportedError(f"the torch adapter drives 'cpu' and 'cuda', not '{name}'")
    return torch.device(name)


def _describe(device: torch.device, precision: str, options: Options) -> dict[str, object]:
    import torch

    cuda = device.type == "cuda"
    return {
        "runtime": "torch",
        "version": torch.__version__,
        "mode": "compiled by inductor" if options.compile else "eager",
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if cuda else None,
        "cuda_version": torch.version.cuda if cuda else None,
        "precision": precision,
        "tf32": False,
        **options.described(),
        "fallbacks": [],
    }


def _operators(step: Callable[[], object]) -> dict[str, object]:
    """Run `step` once and return which operators it called how often, to be described.

    Eager PyTorch has no graph; what it dispatches is what runs. An operator that the device does
    not have would have raised.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    counts: Counter[str] = Counter()

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self,
            function: Callable[..., object],
            types: object,
            arguments: tuple[object, ...] = (),
            keywords: dict[str, object] | None = None,
        ) -> object:
            counts[str(function)] += 1
            return function(*arguments, **(keywords or {}))

    with Counting():  # type: ignore[no-untyped-call]
        step()
    table = {"model": {name: {"torch": count} for name, count in sorted(counts.items())}}
    return {
        "operators": {
            "counts": dict(counts),
            "assigned": table,
            "unsupported": [],
            "lowered": [],
        }
    }
