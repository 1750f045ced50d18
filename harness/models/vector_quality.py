"""Judges the vectors of a served model by known ones. Formula: docs/served.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, SpecError
from harness.models.requests import EmbedRequest, Output
from harness.schema.quality import VectorAgreement
from harness.yaml_reader import display_name


def known_vectors(
    gate: VectorAgreement, data: Path
) -> tuple[list[EmbedRequest], NDArray[np.float64]]:
    """Return the texts of the gate's file and their vectors, float64 [texts, dimensions].

    SpecError, with the line, if the file is not as `VectorAgreement` says.
    """
    path = data / gate.file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[: gate.texts]
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the gate's vectors {path}: {error}") from error
    requests: list[EmbedRequest] = []
    vectors: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        text, vector = _line(line)
        if text is None or (vectors and len(vector) != len(vectors[0])):
            message = 'must be {"text": "...", "vector": [numbers, as many as in the first line]}'
            raise SpecError.of([Problem(display_name(path), number, 1, "", message)])
        requests.append(EmbedRequest(text, len(text.split())))
        vectors.append(vector)
    if not vectors:
        raise SpecError(f"{gate.file} has no lines", hint='write {"text": ..., "vector": [...]}')
    return requests, np.array(vectors, dtype=np.float64)


def least_cosine(known: NDArray[np.float64], outputs: Sequence[Output]) -> float:
    """Return the least of a.b / (|a| |b|) over the texts; ValueError if one cannot be compared."""
    cosines = []
    for number, (wanted, output) in enumerate(zip(known, outputs, strict=True)):
        if output.vector is None:
            raise ValueError(f"text {number} gave no vector")
        given = np.asarray(output.vector, dtype=np.float64)
        if given.shape != wanted.shape:
            raise ValueError(f"text {number} gave {given.size} numbers, not {wanted.size}")
        length = float(np.linalg.norm(given) * np.linalg.norm(wanted))
        if not np.isfinite(length) or length == 0.0:
            raise ValueError(f"the vector of text {number} is zero or not finite")
        cosines.append(float(given @ wanted) / length)
    return min(cosines)


def _line(line: str) -> tuple[str | None, list[float]]:
    """Return text and vector of a line; no text if it is not right."""
    try:
        document = json.loads(line)
        text = document["text"]
        vector = [float(number) for number in document["vector"]]
    except (ValueError, TypeError, KeyError):
        return None, []
    good = isinstance(text, str) and text.strip() and vector and np.isfinite(vector).all()
    return (text, vector) if good and any(vector) else (None, [])
