"""Trains the spoken-digit recogniser of the speech quality gate, and draws the gate's clips.

    python -m harness.models.training.train_speech --output workloads/weights

Needs the command `espeak-ng`, which speaks the digits; some voices are kept for the gate alone.
Takes some minutes on two CPU cores. Seeds are fixed; another espeak-ng gives other clips.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import PrerequisiteError
from harness.models.audio import HOP, SAMPLE_RATE, log_mel
from harness.models.quality import DIGIT_TOKEN, END_TOKEN, START_TOKEN, spoken_words
from harness.models.quality_metrics import word_error_rate
from harness.models.whisper import draw_weights
from harness.schema.model import WhisperModel

if TYPE_CHECKING:
    import torch

    from harness.models.whisper_torch import Whisper

ARCHITECTURE = WhisperModel(
    family="whisper",
    mel_bands=80,
    frames=300,
    vocabulary=12,
    hidden=96,
    encoder_layers=2,
    decoder_layers=2,
    heads=4,
    text_context=16,
    seed=30,
    weights="weights/digits-whisper.safetensors",
)
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS_MAX = 5
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029")
SPEAKERS = ("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3")
KEPT_SPEAKERS = ("m7", "f4")
BATCH, RATE, IGNORED = 32, 2e-3, -100

Voice = list[NDArray[np.float32]]
"""The ten digits as one voice speaks them: samples at 16 kHz."""


def speak(word: str, voice: str, words_per_minute: int, pitch: int) -> NDArray[np.float32]:
    """Return `word` as espeak-ng speaks it, at 16 kHz, without the silence around it."""
    if shutil.which("espeak-ng") is None:
        raise PrerequisiteError(
            "training the digit recogniser needs espeak-ng", hint="apt-get install espeak-ng"
        )
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch)]
    sound = subprocess.run([*command, "--stdout", word], check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(sound)) as file:
        rate = file.getframerate()
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    samples = raw.astype(np.float64) / 32768
    # Resampled in the spectrum: what is above 8 kHz goes, nothing folds back.
    wanted = round(len(samples) * SAMPLE_RATE / rate)
    spectrum = np.fft.rfft(samples)[: wanted // 2 + 1]
    resampled = np.fft.irfft(spectrum, wanted) * (wanted / len(samples))
    loud = np.flatnonzero(np.abs(resampled) > 0.01)
    return np.asarray(resampled[loud[0] : loud[-1] + 1], dtype=np.float32)


def draw_voices(speakers: tuple[str, ...], settings: int, rng: np.random.Generator) -> list[Voice]:
    """Return `settings` voices for each accent and speaker, of drawn speed and pitch."""
    return [
        [
            speak(
                word, f"{accent}+{speaker}", int(rng.integers(130, 230)), int(rng.integers(25, 75))
            )
            for word in WORDS
        ]
        for accent in ACCENTS
        for speaker in speakers
        for _ in range(settings)
    ]


def draw_utterance(
    voices: list[Voice], signal_to_noise_db: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[int]]:
    """Return the features (float32 [bands, frames]) of one to five digits, and the digits.

    The noise is white, as loud as the ratio says against the mean power of the speech.
    """
    voice = voices[rng.integers(len(voices))]
    samples = np.zeros(ARCHITECTURE.frames * HOP)
    digits: list[int] = []
    place = int(rng.uniform(0.0, 0.3) * SAMPLE_RATE)
    power, spoken = 0.0, 0
    for digit in rng.integers(0, 10, size=rng.integers(1, DIGITS_MAX, endpoint=True)):
        word = voice[digit]
        if place + len(word) > len(samples):
            break
        samples[place : place + len(word)] += word
        power, spoken = power + float((word.astype(np.float64) ** 2).sum()), spoken + len(word)
        digits.append(int(digit))
        place += len(word) + int(rng.uniform(0.02, 0.2) * SAMPLE_RATE)
    noise_power = power / spoken / 10 ** (signal_to_noise_db / 10)
    samples += rng.normal(0.0, np.sqrt(noise_power), len(samples))
    samples *= rng.uniform(0.3, 1.0)
    features = log_mel(
        samples.astype(np.float32), bands=ARCHITECTURE.mel_bands, frames=ARCHITECTURE.frames
    )
    return features, digits


def train(steps: int, voices: list[Voice]) -> Whisper:
    """Return the recogniser after `steps` steps of 32 utterances."""
    import torch
    from torch.nn import functional

    from harness.models.whisper_torch import from_weights

    torch.manual_seed(ARCHITECTURE.seed)
    rng = np.random.default_rng(ARCHITECTURE.seed)
    module = from_weights(draw_weights(ARCHITECTURE), ARCHITECTURE).train()
    # A second opinion straight from the encoder (CTC) teaches it where words are; it is not kept.
    listener = torch.nn.Linear(ARCHITECTURE.hidden, 11)
    parameters = [p for p in (*module.parameters(), *listener.parameters()) if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=steps, pct_start=0.15
    )
    begin_s = time.monotonic()
    for step in range(1, steps + 1):
        pairs = [draw_utterance(voices, rng.uniform(-2, 30), rng) for _ in range(BATCH)]
        features = torch.from_numpy(np.stack([features for features, _ in pairs]))
        given, wanted = _tokens([digits for _, digits in pairs])
        encoded = module.encoder(features)
        logits = module.decoder(given, module.decoder.cross(encoded), None, None)
        loss = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        heard = listener(encoded).log_softmax(-1).transpose(0, 1)
        lengths = torch.tensor([len(digits) for _, digits in pairs])
        words = torch.tensor([digit + 1 for _, digits in pairs for digit in digits])
        frames = torch.full((BATCH,), heard.shape[0])
        whole = loss + 0.3 * functional.ctc_loss(heard, words, frames, lengths)
        optimiser.zero_grad()
        torch.autograd.backward(whole)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            passed_s = time.monotonic() - begin_s
            print(f"step {step}/{steps}, {passed_s:.0f} s: {loss.item():.4f}", flush=True)
    return module.eval()


def transcribe(module: Whisper, features: NDArray[np.float32]) -> list[list[int]]:
    """Return the digits that the recogniser hears in each of `features` [clips, bands, frames]."""
    import torch

    with torch.inference_mode():
        tokens = torch.full((len(features), 1), START_TOKEN)
        for _ in range(DIGITS_MAX + 1):
            logits = module(torch.from_numpy(features), tokens)
            tokens = torch.cat([tokens, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return [spoken_words(row) for row in tokens[:, 1:].numpy()]


def _tokens(utterances: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the decoder is given and what it shall say: int64 [utterances, 6] each."""
    import torch

    given = np.full((len(utterances), DIGITS_MAX + 1), END_TOKEN)
    wanted = np.full((len(utterances), DIGITS_MAX + 1), IGNORED)
    given[:, 0] = START_TOKEN
    for row, digits in enumerate(utterances):
        tokens = [DIGIT_TOKEN + digit for digit in digits]
        given[row, 1 : len(digits) + 1] = tokens
        wanted[row, : len(digits) + 1] = [*tokens, END_TOKEN]
    return torch.from_numpy(given), torch.from_numpy(wanted)


def main() -> None:
    """Train, report by noise, and write the weights and the clips of the gate."""
    import torch
    from safetensors.numpy import save

    from harness.models.whisper_torch import to_weights

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--steps", type=int, default=800)
    arguments = parser.parse_args()
    output: Path = arguments.output
    rng = np.random.default_rng(ARCHITECTURE.seed + 1)
    module = train(arguments.steps, draw_voices(SPEAKERS, 3, rng))
    kept = draw_voices(KEPT_SPEAKERS, 4, rng)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    for noise_db in (30, 20, 10, 5, 0, -5):
        pairs = [draw_utterance(kept, noise_db, rng) for _ in range(100)]
        heard = transcribe(module, np.stack([features for features, _ in pairs]))
        rate = word_error_rate([digits for _, digits in pairs], heard)
        print(f"{noise_db} dB: word error rate {rate:.3f}")
    output.mkdir(parents=True, exist_ok=True)
    weights = {name: array.astype(np.float16) for name, array in to_weights(module).items()}
    (output / "digits-whisper.safetensors").write_bytes(save(weights))
    clips = [draw_utterance(kept, noise_db, rng) for noise_db in (20, 10, 5, 0) for _ in range(12)]
    labels = np.full((len(clips), DIGITS_MAX), -1, dtype=np.int64)
    for row, (_, digits) in enumerate(clips):
        labels[row, : len(digits)] = digits
    features = np.stack([features for features, _ in clips]).astype(np.float16)
    heard = transcribe(module, features.astype(np.float32))
    rate = word_error_rate([digits for _, digits in clips], heard)
    print(f"the gate's {len(clips)} clips: word error rate {rate:.4f}")
    arrays: dict[str, NDArray[np.generic]] = {"features": features, "labels": labels}
    (output / "digits-heldout.safetensors").write_bytes(save(arrays))
    print(f"wrote {output / 'digits-whisper.safetensors'} and digits-heldout.safetensors")


if __name__ == "__main__":
    main()
