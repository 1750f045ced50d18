"""A user's own recordings: the inputs of a speech workload, and its quality set."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data_files import Listed, listed
from harness.errors import Problem, SpecError
from harness.models.audio import FRAMES_PER_S, SAMPLE_RATE, log_mel
from harness.models.own_files import content_of
from harness.models.prompts import MOST_PROBLEMS, check_mean
from harness.models.requests import SpeechRequest
from harness.models.wav import decode_wav
from harness.schema.model import WhisperModel
from harness.schema.own import AudioFileInputs, Transcripts
from harness.yaml_reader import display_name

MOST_BYTES = 500_000_000
"""Of one recording."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A WAV file: its content as it is, and its sound at 16 kHz."""

    content: bytes
    sound: NDArray[np.float32]

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return len(self.sound) / SAMPLE_RATE


def own_recordings(inputs: AudioFileInputs, data: Path) -> list[Recording]:
    """Return the recordings of `inputs`; SpecError if one is wrong, or the declared mean is."""
    if inputs.list is not None:
        found = [_read_listed(each, data / inputs.list) for each in _listed(data / inputs.list)]
        recordings = found[: inputs.count]
    else:
        recordings = [_read(data / name) for name in inputs.files[: inputs.count]]
    if inputs.duration_s_mean is not None:
        mean_s = float(np.mean([each.duration_s for each in recordings]))
        check_mean(
            "the mean duration of the recordings, in seconds,",
            mean_s,
            inputs.duration_s_mean,
            "duration_s_mean",
        )
    return recordings


def transcribed(gate: Transcripts, data: Path) -> tuple[list[Recording], list[list[str]]]:
    """Return the gate's recordings, and the words that are said in each.

    Raises SpecError, with the lines, if one has no words or cannot be read.
    """
    path = data / gate.list
    rows = _listed(path)[: gate.clips]
    words = [plain_words(each.fields.get("transcript", "")) for each in rows]
    problems = [
        Problem(display_name(path), each.line, 1, "", "there are no words in 'transcript'")
        for each, said in zip(rows, words, strict=True)
        if not said
    ]
    if problems:
        raise SpecError.of(problems[:MOST_PROBLEMS])
    return [_read_listed(each, path) for each in rows], words


def speech_requests(
    recordings: Sequence[Recording],
    model: WhisperModel | None,
    prefix: NDArray[np.int64],
    lengths: Sequence[int],
) -> list[SpeechRequest]:
    """Return a request for each recording.

    With features for `model`, or (None) with the file alone, for a server. SpecError if one is
    longer than the model's window: what is beyond would be cut off.
    """
    requests = []
    for number, (recording, length) in enumerate(zip(recordings, lengths, strict=True), 1):
        features = np.zeros((0, 0), dtype=np.float32)
        if model is not None:
            window_s = model.frames / FRAMES_PER_S
            if recording.duration_s > window_s:
                raise SpecError(
                    f"recording {number} lasts {recording.duration_s:.2f} s, longer than the "
                    f"model's window of {window_s:g} s",
                    hint="cut it into pieces, as your service does",
                )
            features = log_mel(recording.sound, bands=model.mel_bands, frames=model.frames)
        requests.append(
            SpeechRequest(features, prefix, length, recording.duration_s, recording.content)
        )
    return requests


def plain_words(text: str) -> list[str]:
    """Return the words of `text` in one form, as the word error rate compares them.

    NFKC, case folded; every mark that is no letter, digit or apostrophe within a word parts words.
    Numbers stay as they are written: "five" and "5" are different words.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    kept = "".join(
        c if c.isalnum() or unicodedata.combining(c) or c == "'" else " " for c in folded
    )
    return [word for word in (part.strip("'") for part in kept.split()) if word]


def _listed(path: Path) -> list[Listed]:
    rows = listed(path)
    if not rows:
        raise SpecError.of([Problem(display_name(path), 1, 1, "", "the list names no recordings")])
    return rows


def _read_listed(row: Listed, path: Path) -> Recording:
    try:
        return _read(row.path)
    except SpecError as error:
        problem = Problem(display_name(path), row.line, 1, "", error.message, error.hint)
        raise SpecError.of([problem]) from error


def _read(path: Path) -> Recording:
    content = content_of(path, "recording", MOST_BYTES)
    return Recording(content, decode_wav(content, path))
