"""Compresses the constant matrices of ONNX files to 8 or 4 bits for OpenVINO, by NNCF.

Weights only: states stay in floating point, so no data are needed, and what is computed does not
depend on a sample. NNCF: https://github.com/openvinotoolkit/nncf (Weights Compression).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import PrerequisiteError, UnsupportedError

if TYPE_CHECKING:
    import openvino

GROUP = 32
"""Weights of one output that share a scale in int4: as in the project's other int4 files."""
GROUP_LEAST = 16
"""Where the inputs of a product are no multiple of GROUP, it may shrink to this, else int8."""
TYPES = {"int8": ("u8", "i8"), "int4": ("u4", "i4")}
"""By precision: the types of a compressed constant."""
FLOATS = ("f32", "f16", "bf16")
METHODS = {
    "int8": "NNCF weight compression INT8_ASYM: uint8 with a scale and a zero point per output "
    "channel; states in fp32",
    "int4": f"NNCF weight compression INT4_SYM: int4 in groups of {GROUP} with a scale; embeddings "
    "and the last matrix of each file as int8; states in fp32",
}
INSTALL = "pip install 'accelerator-harness[openvino-int]'"


def nncf_version() -> str:
    """Return NNCF's version; raise PrerequisiteError where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version("nncf")
    except metadata.PackageNotFoundError as error:
        raise PrerequisiteError(
            "the openvino adapter compresses weights with NNCF, which is not installed",
            hint=INSTALL,
        ) from error


def compress_folder(source: Path, folder: Path, precision: str, *, tables: bool) -> None:
    """Write into `folder` an OpenVINO file for each ONNX file in `source`, weights compressed.

    `tables` says whether matrices that are looked up, not multiplied, are compressed as well: those
    of trees must not, whose thresholds and children are exact. Raises UnsupportedError if no weight
    of a file is of the asked precision.
    """
    # It would report to its makers that it is used; read when it is first imported.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    settings: dict[str, object] = {"mode": nncf.CompressWeightsMode.INT8_ASYM}
    if precision == "int4":
        settings = {
            "mode": nncf.CompressWeightsMode.INT4_SYM,
            "group_size": GROUP,
            "ratio": 1.0,
            "advanced_parameters": nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST,
                min_adjusted_group_size=GROUP_LEAST,
            ),
        }
    if not tables:
        settings["ignored_scope"] = nncf.IgnoredScope(types=["Gather", "GatherElements"])
    core = openvino.Core()
    for path in sorted(source.glob("*.onnx")):
        model = core.read_model(path)
        # Its progress bar goes to the standard output.
        with contextlib.redirect_stdout(io.StringIO()):
            model = nncf.compress_weights(model, **settings)
        if not any(kind in TYPES[precision] for kind in weights_of(model)):
            raise UnsupportedError(f"{path.name} has nothing that {precision} compression takes")
        openvino.save_model(model, folder / f"{path.stem}.xml", compress_to_fp16=False)


def weights_of(model: openvino.Model) -> dict[str, int]:
    """Return how many weights `model` has in each type, of its matrices and compressed constants.

    Scales, zero points and what is no matrix are left out.
    """
    compressed = {kind for kinds in TYPES.values() for kind in kinds}
    counts: Counter[str] = Counter()
    for node in model.get_ops():
        if node.get_type_name() != "Constant":
            continue
        kind, name = node.get_element_type().get_type_name(), node.get_friendly_name()
        whole = kind in FLOATS and len(node.shape) > 1 and "/" not in name
        if whole or (kind in compressed and not name.endswith("zero_point")):
            counts[kind] += _size(node)
    return dict(sorted(counts.items()))


def _size(node: openvino.Node) -> int:
    size = 1
    for length in node.shape:
        size *= length
    return size
