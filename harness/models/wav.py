"""Reads WAV files: integer PCM, within bounds, as mono sound at 16 kHz.

Format: RIFF/WAVE as Microsoft and IBM describe it (Multimedia Programming Interface and Data
Specifications 1.0, 1991), and WAVE_FORMAT_EXTENSIBLE. A header is held against the file before
anything is read by it.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.models.audio import SAMPLE_RATE

MOST_CHANNELS = 8
RATES_HZ = (4_000, 384_000)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
PCM_GUID = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
WIDTHS = {16: 2, 24: 3, 32: 4}
"""Bits of a sample that are read: its bytes."""
FORMATS = {2: "ADPCM", FLOAT: "float", 6: "A-law", 7: "mu-law", 0x55: "MP3"}


def decode_wav(content: bytes, path: Path) -> NDArray[np.float32]:
    """Return the sound of the WAV file `content`: float32 [samples] in [-1, 1], mono, at 16 kHz.

    Channels are averaged. Another rate is resampled by a polyphase filter (windowed sinc, Kaiser
    window of beta 5: scipy.signal.resample_poly). SpecError, with the reason, if it is no whole WAV
    file of 16, 24 or 32 bit PCM.
    """
    channels, rate_hz, width, data = _chunks(content, path)
    frame = channels * width
    if not data or len(data) % frame:
        what = "has no samples" if not data else "ends within a sample"
        raise SpecError(f"{path} {what}")
    if width == 3:
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        # In the upper bytes, so that the sign is where int32 has it.
        wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        levels = wide.view("<i4")[:, 0]
    else:
        levels = np.frombuffer(data, dtype=f"<i{width}")
    scale = 2.0 ** (8 * (2 if width == 2 else 4) - 1)
    sound = levels.reshape(-1, channels).mean(axis=1, dtype=np.float64) / scale
    if rate_hz != SAMPLE_RATE:
        from scipy.signal import resample_poly

        shared = math.gcd(rate_hz, SAMPLE_RATE)
        sound = resample_poly(sound, SAMPLE_RATE // shared, rate_hz // shared)
    return np.asarray(np.clip(sound, -1.0, 1.0), dtype=np.float32)


def _chunks(content: bytes, path: Path) -> tuple[int, int, int, bytes]:
    """Return channels, rate in Hz, bytes of a sample, and the samples."""
    if not content:
        raise SpecError(f"{path} is empty: it has 0 bytes")
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise SpecError(f"{path} is not a WAV file: it does not begin with RIFF and WAVE")
    known: tuple[int, int, int] | None = None
    at = 12
    while at + 8 <= len(content):
        name, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8
        if length > len(content) - at:
            raise SpecError(
                f"{path} is cut short: its part {name.decode('latin-1')!r} is said to have "
                f"{length} bytes, {len(content) - at} are there"
            )
        if name == b"fmt ":
            known = _format(content[at : at + length], path)
        elif name == b"data":
            if known is None:
                raise SpecError(f"{path} has samples before it says of what kind")
            return *known, content[at : at + length]
        at += length + length % 2
    raise SpecError(f"{path} has no {'samples' if known else 'format and no samples'}")


def _format(part: bytes, path: Path) -> tuple[int, int, int]:
    if len(part) < 16:
        raise SpecError(f"{path}: its format has {len(part)} bytes, not 16")
    kind, channels, rate_hz, _, frame, bits = struct.unpack_from("<HHIIHH", part)
    if kind == EXTENSIBLE and len(part) >= 40:
        kind = PCM if part[24:40] == PCM_GUID else struct.unpack_from("<H", part, 24)[0]
    if kind != PCM or bits not in WIDTHS:
        what = FORMATS.get(kind, f"format {kind}") if kind != PCM else "PCM"
        raise SpecError(
            f"{path} is WAV with {bits} bit {what}; 16, 24 and 32 bit PCM are read",
            hint="convert it: ffmpeg -i IN -c:a pcm_s16le OUT.wav",
        )
    if not 1 <= channels <= MOST_CHANNELS or not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise SpecError(f"{path} has {channels} channels at {rate_hz} Hz")
    if frame != channels * WIDTHS[bits]:
        raise SpecError(f"{path}: {channels} channels of {bits} bit are not {frame} bytes")
    return channels, rate_hz, WIDTHS[bits]
