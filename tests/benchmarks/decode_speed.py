"""Tokens a second in decoding, by runtime: against PyTorch eager, and against the memory's limit.

Every runtime answers the same request, one at a time, through its adapter and session, in
alternating rounds, so that whatever else the machine does hits all alike. A round's figure is the
number of tokens after the first over the time from the first to the last; `tokens_per_s` is the
best round, as other programs can only slow a round down; `ratio_to_torch` is the median of
the rounds' ratios.

`share_of_bandwidth` is what the decoding must read at least (the weights of one step in the stored
precision, and the cache so far) over what the memory gave to readers in the same rounds, best
against best: numpy over arrays larger than the last cache, on as many threads. Copy and triad,
which also write, are told beside it. A share above 1 means that the weights stay in a cache, or
that others took the bandwidth while it was measured.

`python -m tests.benchmarks.decode_speed [--fast] [--only NAME,NAME] [--rounds N]`; --fast takes a
model of 15 M parameters, which many processors hold in their cache: its shares mean nothing.
"""

import json
import sys
import threading
import time

import numpy as np

from harness import plugins
from harness.adapters.base import TextRequest
from harness.cli.run import cache_folder
from harness.errors import HarnessError
from harness.models.build import build_model
from harness.models.llama import parameter_shapes
from harness.schema.workload import LlamaModel
from tests.factories import make_target

THREADS = 2
FAST = LlamaModel(
    family="llama",
    vocabulary=8192,
    hidden=384,
    layers=6,
    heads=6,
    kv_heads=6,
    intermediate=1024,
    context=512,
    tied_embeddings=False,
)
FULL = LlamaModel(
    family="llama",
    vocabulary=32000,
    hidden=768,
    layers=12,
    heads=12,
    kv_heads=12,
    intermediate=2048,
    context=1024,
)
PROMPT = 32
RUNTIMES = {
    "torch_fp32": ("torch", "fp32", {}),
    "onnxruntime_fp32": ("onnxruntime", "fp32", {}),
    "onnxruntime_int8": ("onnxruntime", "int8", {}),
    "onnxruntime_int4": ("onnxruntime", "int4", {}),
    "openvino_fp32": ("openvino", "fp32", {}),
    "genai_fp32": ("onnxruntime-genai", "fp32", {}),
    "genai_int4": ("onnxruntime-genai", "int4", {}),
    "llama_cpp_f16": ("llama-cpp", "fp16", {}),
    "llama_cpp_q8_0": ("llama-cpp", "int8", {}),
    "llama_cpp_q4_0": ("llama-cpp", "int4", {}),
}
BARS = {
    "onnxruntime_fp32": ("ratio_to_torch", 1.9),
    "onnxruntime_int4": ("ratio_to_torch", 4.0),
    "genai_int4": ("ratio_to_torch", 8.0),
    "llama_cpp_f16": ("share_of_bandwidth", 0.75),
}
BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / 32}
"""Of a stored weight. int4: half a byte, and a float32 scale for every 32."""
LLAMA_CPP_BYTES = {"fp16": 2.0, "int8": 34 / 32, "int4": 18 / 32}
"""q8_0 and q4_0 have a 16-bit scale for every 32."""


class Stopwatch:
    """A query that notes when its first and its last token came."""

    def __init__(self, request):
        self.requests, self.times, self.error, self.answer = [request], [], None, None

    def tokens(self, index, count):
        self.times.append(time.perf_counter())

    def done(self, index, output):
        self.answer = list(output.tokens)

    def fail(self, error, index=None):
        self.error = error


def decode(session, request):
    """Return tokens a second after the first one, and the tokens."""
    query = Stopwatch(request)
    session.submit(query)
    if query.error is not None:
        raise query.error
    return (len(query.times) - 1) / (query.times[-1] - query.times[0]), query.answer


def step_bytes(model, adapter, precision, positions):
    """Return the bytes that one step at `positions` tokens must read: weights and cache."""
    shapes = parameter_shapes(model)
    matrices = sum(
        np.prod(shape) for name, shape in shapes.items() if len(shape) == 2 and "embed" not in name
    )
    if model.tied_embeddings:
        matrices += model.vocabulary * model.hidden  # as the output matrix; a row as embedding
    stored = (LLAMA_CPP_BYTES if adapter == "llama-cpp" else BYTES)[precision]
    element = 2 if adapter == "llama-cpp" else 4  # llama.cpp keeps its cache in 16 bits
    head = model.hidden // model.heads
    cache = 2 * model.layers * model.kv_heads * head * positions * element
    return float(matrices * stored + cache)


class Memory:
    """Arrays larger than the last cache; `measure` is what they can be read and written at."""

    def __init__(self, megabytes=256):
        count = megabytes * 2**20 // 4 // THREADS
        self._arrays = [
            [np.ones(count, dtype=np.float32) for _ in range(3)] for _ in range(THREADS)
        ]

    def measure(self):
        """Return GB/s by kind, of THREADS threads at once.

        Reading is `or`, which computes least. A triad in numpy is two steps that move five arrays.
        """

        def read(a, b, c):
            np.bitwise_or.reduce(a.view(np.int64))

        def copy(a, b, c):
            np.copyto(b, a)

        def triad(a, b, c):
            np.multiply(b, np.float32(3.0), out=c)
            np.add(c, a, out=c)

        moved = {"read": 1, "copy": 2, "triad": 5}
        found = {}
        for step in (read, copy, triad):
            threads = [threading.Thread(target=step, args=each) for each in self._arrays]
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            elapsed = time.perf_counter() - start
            total = sum(each[0].nbytes for each in self._arrays) * moved[step.__name__]
            found[step.__name__] = total / elapsed / 1e9
        return found


def open_sessions(model, names):
    """Return the sessions by name, and why the others are not there."""
    sessions, missing = {}, {}
    built = build_model(model, "text_generation", cache=cache_folder(), data=cache_folder())
    for name in names:
        adapter, precision, options = RUNTIMES[name]
        runtime = {
            "adapter": adapter,
            "precision": precision,
            "options": {"threads": THREADS, **options},
        }
        try:
            opened = plugins.adapter(adapter).open(make_target(runtime=runtime), built)
        except HarnessError as error:
            missing[name] = str(error).splitlines()[0]
            continue
        sessions[name] = opened
        print(f"opened {name}", file=sys.stderr)
    return sessions, missing


def main(fast, rounds, names):
    model = FAST if fast else FULL
    steps = 48 if fast else 24
    prompt = np.random.default_rng(1).integers(0, model.vocabulary, PROMPT)
    request = TextRequest(prompt, steps)
    sessions, missing = open_sessions(model, names)
    memory, answers = Memory(), {}
    for name, session in sessions.items():
        answers[name] = decode(session, request)[1]  # and warms it up
    speeds = {name: [] for name in sessions}
    widths = []
    for _ in range(rounds):
        widths.append(memory.measure())
        for name, session in sessions.items():
            speeds[name].append(decode(session, request)[0])
    best = {kind: max(width[kind] for width in widths) for kind in widths[0]}
    bandwidth = best["read"]
    print(f"{'runtime':<20}{'tokens/s':>10}{'x torch':>10}{'GB/s':>8}{'share':>8}  same tokens")
    found = {}
    for name, figures in speeds.items():
        adapter, precision, _ = RUNTIMES[name]
        ratios = [ours / theirs for ours, theirs in zip(figures, speeds["torch_fp32"], strict=True)]
        moved = step_bytes(model, adapter, precision, PROMPT + steps // 2) * max(figures) / 1e9
        same = sum(a == b for a, b in zip(answers[name], answers["torch_fp32"], strict=True))
        found[name] = {
            "tokens_per_s": max(figures),
            "ratio_to_torch": float(np.median(ratios)),
            "share_of_bandwidth": moved / bandwidth,
            "same_tokens": same / steps,
        }
        row = found[name]
        print(
            f"{name:<20}{row['tokens_per_s']:>10.1f}{row['ratio_to_torch']:>10.2f}"
            f"{moved:>8.1f}{row['share_of_bandwidth']:>8.2f}  {same}/{steps}"
        )
    for name, reason in missing.items():
        print(f"{name:<20} not measured: {reason}")
    print("memory, GB/s: " + ", ".join(f"{kind} {rate:.1f}" for kind, rate in best.items()))
    below = [
        name for name, (key, bar) in BARS.items() if name in found and not found[name][key] >= bar
    ]
    result = {"model_parameters": sum(int(np.prod(s)) for s in parameter_shapes(model).values())}
    result |= found
    result["bandwidth_gb_per_s"] = best
    result["not_measured"], result["below_the_bar"] = missing, below
    print(json.dumps(result))


if __name__ == "__main__":
    words = sys.argv[1:]

    def option(name, default):
        return words[words.index(name) + 1] if name in words else default

    chosen = option("--only", "").split(",") if "--only" in words else list(RUNTIMES)
    chosen = ["torch_fp32", *(name for name in chosen if name != "torch_fp32")]
    main("--fast" in words, int(option("--rounds", "3" if "--fast" in words else "7")), chosen)
