"""Trains the byte-level language model of the text quality gate on Python's standard library.

    python -m harness.models.training.train_text --output workloads/weights

Takes a few minutes on two CPU cores. Seeds are fixed; the text is that of the running Python.
"""

from __future__ import annotations

import argparse
import sysconfig
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.models.llama import draw_weights
from harness.schema.model import LlamaModel

ARCHITECTURE = LlamaModel(
    family="llama",
    vocabulary=256,
    hidden=160,
    layers=4,
    heads=4,
    kv_heads=2,
    intermediate=448,
    context=256,
    seed=20,
    weights="weights/bytes-llama.safetensors",
)
BATCH, LENGTH, RATE = 16, 256, 3e-3


def read_corpus() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the standard library's source as bytes, in two parts: to train on and to watch.

    Every 20th file is watched. Tests and bundled packages are left out.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"test", "tests", "idle_test", "site-packages", "ensurepip", "__pycache__"}
    files = sorted(
        path for path in root.rglob("*.py") if skipped.isdisjoint(path.relative_to(root).parts)
    )
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for number, path in enumerate(files):
        parts[number % 20 == 19].append(path.read_bytes())
    train, watch = (np.frombuffer(b"\n".join(part), dtype=np.uint8) for part in parts)
    return train, watch


def train(steps: int) -> dict[str, NDArray[np.float32]]:
    """Return the weights (Hugging Face names) after `steps` steps of 16 x 256 bytes."""
    import torch
    from torch.nn.functional import cross_entropy

    from harness.models.llama_torch import from_weights, to_weights

    torch.manual_seed(ARCHITECTURE.seed)
    rng = np.random.default_rng(ARCHITECTURE.seed)
    corpus, watched = read_corpus()
    module = from_weights(draw_weights(ARCHITECTURE), ARCHITECTURE).train()
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.05
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=steps, pct_start=0.1
    )

    def loss_on(text: NDArray[np.uint8], generator: np.random.Generator) -> torch.Tensor:
        starts = generator.integers(0, len(text) - LENGTH - 1, size=BATCH)
        rows = np.stack([text[start : start + LENGTH + 1] for start in starts])
        tokens = torch.from_numpy(rows.astype(np.int64))
        logits = module(tokens[:, :-1])
        return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    begin_s = time.monotonic()
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        torch.autograd.backward(loss_on(corpus, rng))
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            with torch.no_grad():
                watch = np.mean([loss_on(watched, np.random.default_rng(i)) for i in range(4)])
            passed_s = time.monotonic() - begin_s
            print(f"step {step}/{steps}, {passed_s:.0f} s: ppl {np.exp(watch):.3f}", flush=True)
    return to_weights(module)


def main() -> None:
    """Train and write `bytes-llama.safetensors` in float16."""
    from safetensors.numpy import save

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--steps", type=int, default=700)
    arguments = parser.parse_args()
    weights = train(arguments.steps)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "bytes-llama.safetensors"
    path.write_bytes(save({name: array.astype(np.float16) for name, array in weights.items()}))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
