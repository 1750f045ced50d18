"""The facts of the machine that a reader needs to judge or repeat a run, by allow-list."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from harness import hardware
from harness.hardware import Detected
from harness.measure.settings import allowed_cpus, settings, variables
from harness.schema.record import EnvironmentField

PACKAGES = ("numpy", "onnxruntime", "torch", "openvino", "onnx", "nvidia-ml-py")
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "PYTHONHASHSEED",
)


def capture(root: Path = Path("/")) -> dict[str, EnvironmentField]:
    """Return each fact as a value, or why it cannot be read, or why there is none to read.

    An allow-list: hardware, kernel, versions and the settings that change performance. Never the
    whole environment, which holds secrets. The kernel's files are looked for under `root`.
    """
    fields = {name: _field(fact) for name, fact in hardware.detect(root).items()}
    fields |= settings(allowed_cpus(), root)
    fields["python"] = EnvironmentField(value=platform.python_version())
    for name in PACKAGES:
        try:
            fields[f"package_{name}"] = EnvironmentField(value=metadata.version(name))
        except metadata.PackageNotFoundError:
            fields[f"package_{name}"] = EnvironmentField(value=None, not_applicable="not installed")
    fields |= variables(VARIABLES, os.environ)
    fields["load_average_1_min"] = EnvironmentField(value=round(os.getloadavg()[0], 2))
    return fields


def _field(fact: Detected) -> EnvironmentField:
    if fact.value is not None:
        return EnvironmentField(value=fact.value)
    reason = fact.reason or "not known"
    if fact.applicable:
        return EnvironmentField(value=None, unavailable=reason)
    return EnvironmentField(value=None, not_applicable=reason)
