"""Sound for speech workloads: synthetic clips, and the log-mel features that Whisper takes.

The features follow OpenAI's Whisper (github.com/openai/whisper, audio.py): 16 kHz, windows of
25 ms every 10 ms, mel bands on Slaney's scale.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
WINDOW, HOP = 400, 160
FRAMES_PER_S = SAMPLE_RATE // HOP

FORMANTS_HZ = np.array(
    [[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]]
)
"""The first three formants of five vowels (Peterson and Barney, 1952, men)."""


def log_mel(samples: NDArray[np.float32], *, bands: int, frames: int) -> NDArray[np.float32]:
    """Return the log-mel features (float32 [bands, frames]) of `samples` at 16 kHz.

    The sound is cut or padded with silence to `frames` / 100 seconds before anything is computed,
    as Whisper does; values are (max(log10 power, peak - 8) + 4) / 4.
    """
    padded = np.zeros(frames * HOP, dtype=np.float64)
    length = min(len(samples), len(padded))
    padded[:length] = samples[:length]
    framed = np.pad(padded, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(framed, WINDOW)[::HOP][:frames]
    # The periodic Hann window, as torch.hann_window gives it.
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2
    level = np.log10(np.maximum(mel_filters(bands) @ power.T, 1e-10))
    scaled = (np.maximum(level, level.max() - 8.0) + 4.0) / 4.0
    return np.asarray(scaled, dtype=np.float32)


@cache
def mel_filters(bands: int) -> NDArray[np.float64]:
    """Return triangular filters [bands, 201] from 0 to 8 kHz on Slaney's mel scale, of equal area.

    The scale is linear to 1 kHz (15 mel) and logarithmic above: 27 mel for a factor of 6.4.
    """
    frequency_hz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    top_mel = 15.0 + 27.0 * np.log(SAMPLE_RATE / 2 / 1000.0) / np.log(6.4)
    mel = np.linspace(0.0, top_mel, bands + 2)
    edge_hz = np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))
    width_hz = np.diff(edge_hz)[:, None]
    distance_hz = edge_hz[:, None] - frequency_hz
    rising, falling = -distance_hz[:-2] / width_hz[:-1], distance_hz[2:] / width_hz[1:]
    area = 2.0 / (edge_hz[2:] - edge_hz[:-2])[:, None]
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * area
    filters.setflags(write=False)
    return filters


def draw_clip(duration_s: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return `duration_s` seconds of speech-like sound at 16 kHz, within [-1, 1].

    Voiced syllables (harmonics of a wandering pitch under moving formants), pauses, and a floor of
    noise. It is nobody's voice and has no words.
    """
    count = round(duration_s * SAMPLE_RATE)
    time_s = np.arange(count) / SAMPLE_RATE
    syllables = int(duration_s / 0.12) + 2
    begin_s = np.cumsum(rng.uniform(0.12, 0.28, syllables))
    begin_s -= begin_s[0]
    vowel = FORMANTS_HZ[rng.integers(len(FORMANTS_HZ), size=syllables)]
    voice = rng.uniform(0.9, 1.2)
    pitch_hz = rng.uniform(90, 220) * 2 ** rng.normal(0, 0.12, syllables)
    loudness = rng.uniform(0.4, 1.0, syllables) * (rng.random(syllables) > 0.2)

    phase = 2 * np.pi * np.cumsum(np.interp(time_s, begin_s, pitch_hz)) / SAMPLE_RATE
    base_hz = np.interp(time_s, begin_s, pitch_hz)
    formants_hz = [np.interp(time_s, begin_s, voice * vowel[:, index]) for index in range(3)]
    rotor = np.exp(1j * phase).astype(np.complex64)
    turning, sound = np.ones_like(rotor), np.zeros(count, dtype=np.float32)
    for harmonic in range(1, int(4000 / base_hz.max()) + 1):
        turning *= rotor
        gain = sum(
            strength / (1 + ((harmonic * base_hz - formant_hz) / 120) ** 2)
            for strength, formant_hz in zip((1.0, 0.6, 0.3), formants_hz, strict=True)
        )
        sound += (turning.imag * gain).astype(np.float32)
    # Each syllable rises and falls; a syllable of no loudness is a pause.
    position = np.interp(time_s, begin_s, np.arange(syllables))
    envelope = loudness[position.astype(int)] * np.sin(np.pi * np.mod(position, 1.0)) ** 0.5
    sound = sound * envelope.astype(np.float32)
    sound /= max(float(np.abs(sound).max(initial=0.0)), 1e-9)
    noise = rng.normal(0.0, 0.003, count).astype(np.float32)
    return np.asarray(np.clip(0.7 * sound + noise, -1.0, 1.0), dtype=np.float32)
