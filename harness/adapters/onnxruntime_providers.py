"""ONNX Runtime's execution providers: which one a target asks for, and how to get it.

Names and settings: https://onnxruntime.ai/docs/execution-providers/ (read 2026-11-21).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.adapters.options import Options
from harness.errors import PrerequisiteError, SpecError, UnsupportedError
from harness.schema.target import Target

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider: its name, the target devices it fits, where to get it.

    `memory` is where a cache may stay between two steps: with the CPU's memory it is copied.
    `settings` are given to it. What it does not take goes to `then`, before the CPU's.
    """

    name: str
    devices: tuple[str, ...]
    install: str
    memory: str = "cpu"
    settings: Mapping[str, str] = field(default_factory=dict)
    then: tuple[str, ...] = ()


GPU_WHEEL = "pip install onnxruntime-gpu in place of onnxruntime"
OWN_BUILD = "no wheel has it: build ONNX Runtime with it, see onnxruntime.ai/docs/build/eps.html"
PROVIDERS = {
    "cpu": Provider(CPU, ("cpu",), "pip install onnxruntime"),
    "cuda": Provider("CUDAExecutionProvider", ("cuda",), GPU_WHEEL, memory="cuda"),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        ("cuda",),
        f"{GPU_WHEEL}, and TensorRT",
        memory="cuda",
        then=("CUDAExecutionProvider",),
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        ("cpu", "other"),
        "pip install onnxruntime-openvino in place of onnxruntime",
    ),
    "qnn": Provider(
        "QNNExecutionProvider", ("other",), "pip install onnxruntime-qnn in place of onnxruntime"
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider", ("cpu", "other"), "pip install onnxruntime on macOS"
    ),
    "directml": Provider(
        "DmlExecutionProvider",
        ("other",),
        "pip install onnxruntime-directml in place of onnxruntime, on Windows",
    ),
    "migraphx": Provider("MIGraphXExecutionProvider", ("other",), OWN_BUILD),
    "xnnpack": Provider("XnnpackExecutionProvider", ("cpu",), OWN_BUILD),
    "dnnl": Provider("DnnlExecutionProvider", ("cpu",), OWN_BUILD),
}
"""By the option's value."""


def provider_of(target: Target, options: Options) -> Provider:
    """Return the provider that `target` asks for, by option or else by its device.

    Raises SpecError for a name that is none, UnsupportedError for a device that it does not drive,
    PrerequisiteError where this ONNX Runtime does not have it: nothing is replaced by the CPU.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise PrerequisiteError(
            "the onnxruntime adapter needs ONNX Runtime", hint="pip install onnxruntime"
        ) from error
    device = target.runtime.device
    name = options.provider or device
    if name not in PROVIDERS:
        if options.provider is None:
            raise UnsupportedError(
                f"the onnxruntime adapter drives cpu, cuda, not '{device}'",
                hint=f"name one with the option 'provider': {', '.join(PROVIDERS)}",
            )
        raise SpecError(
            f"target {target.name}: the onnxruntime adapter knows no provider {name!r}; it knows "
            f"{', '.join(PROVIDERS)}"
        )
    provider = PROVIDERS[name]
    if device not in provider.devices:
        raise UnsupportedError(
            f"{provider.name} goes with 'device: {provider.devices[0]}', not '{device}'"
        )
    available = onnxruntime.get_available_providers()
    if provider.name not in available:
        raise PrerequisiteError(
            f"this ONNX Runtime has no {provider.name}, but {', '.join(available)}",
            hint=provider.install,
        )
    return provider
