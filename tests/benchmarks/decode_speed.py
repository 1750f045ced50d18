"""Tokens a second in decoding, by runtime: against PyTorch eager, and against the memory's limit.

Every runtime answers the same request, one at a time, through its adapter and session, in
alternating rounds, so that whatever else the machine does hits all alike. A round's figure is the
number of tokens after the first over the time from the first to the last; `tokens_per_s` is the
best round, as other programs can only slow a round down; `ratio_to_torch` is the median of
the rounds' ratios.

Shares hold the best round against the memory's bandwidth as docs/roofline.md defines it: the higher
of reading and of adding, in its best round, measured right before and right after the contestants
of each round, on as many threads.

`share_of_bandwidth` counts what a step must fetch from memory at the very least: the weights in the
stored precision, less what the last cache may have kept of them from the step before, and the keys
and values so far. It cannot be above 1; a figure that is makes the run fail. Nothing is to be
fetched of a model that fits in the cache: no share. `share_without_cache` counts every weight as
fetched, which is what really happens where a model streams through a much smaller cache, and may be
above 1 by weights / (weights - cache). The truth lies between the two; bars are held against
`share_without_cache`, which is what the tools' makers state.

`python -m tests.benchmarks.decode_speed [--fast] [--only NAME,NAME] [--rounds N]`; --fast takes a
model of 15 M parameters, which many processors hold in their cache.
"""

import json
import sys
import time
from dataclasses import dataclass

import numpy as np

from harness import plugins, roofline
from harness.adapters.base import TextRequest
from harness.cli.run import cache_folder
from harness.errors import HarnessError
from harness.measure.ceilings import measure_apart
from harness.measure.verdict import ABOVE_ROOFLINE
from harness.models.build import build_model
from harness.models.llama import parameter_shapes
from harness.schema.model import LlamaModel
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
    "llama_cpp_f16": ("share_without_cache", 0.75),
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


@dataclass(frozen=True)
class Step:
    """The bytes of one step of decoding: of the weights as stored, and of the keys and values."""

    weights: float
    cache: float

    def shares(self, tokens_per_s, bytes_per_s, cache_bytes):
        """Return the shares of the bandwidth: at least, or None if all fits; and without a cache.

        A rate that the hardware can reach has a first share of at most 1.
        """
        fetched = max(0.0, self.weights - cache_bytes)
        least = (fetched + self.cache) * tokens_per_s / bytes_per_s if fetched else None
        return least, (self.weights + self.cache) * tokens_per_s / bytes_per_s


def step_of(model, adapter, precision, prompt, tokens):
    """Return the mean Step of those that follow the first of `tokens` tokens."""
    work = roofline.llama_work(model, prompt, tokens, "fp32", prefill=False)
    values, keys = work.passes[work.step].shared_bytes / 4, work.passes[work.step].own_bytes / 4
    norms = (2 * model.layers + 1) * model.hidden  # no runtime quantises these
    stored = (LLAMA_CPP_BYTES if adapter == "llama-cpp" else BYTES)[precision]
    element = 2 if adapter == "llama-cpp" else 4  # llama.cpp keeps its cache in 16 bits
    return Step((values - norms) * stored + norms * 4, keys * element)


def best_of(found):
    """Return the highest figures of several MachineCeilings."""
    best = found[0]
    for each in found[1:]:
        best = best.best(each)
    return best


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
    answers = {}
    for name, session in sessions.items():
        answers[name] = decode(session, request)[1]  # and warms it up
    speeds = {name: [] for name in sessions}
    ceilings = []
    for _ in range(rounds):
        ceilings.append(measure_apart(THREADS))
        for name, session in sessions.items():
            speeds[name].append(decode(session, request)[0])
        ceilings.append(measure_apart(THREADS))
    most = best_of(ceilings)
    title = f"{'runtime':<20}{'tokens/s':>10}{'x torch':>10}{'GB/s':>8}{'share':>8}{'no cache':>10}"
    print(f"{title}  same tokens")
    found, above = {}, []
    for name, figures in speeds.items():
        adapter, precision, _ = RUNTIMES[name]
        ratios = [ours / theirs for ours, theirs in zip(figures, speeds["torch_fp32"], strict=True)]
        step = step_of(model, adapter, precision, PROMPT, steps)
        share, without = step.shares(max(figures), most.bytes_per_s, most.cache_bytes)
        if share is not None and share > ABOVE_ROOFLINE:
            above.append(name)
        same = sum(a == b for a, b in zip(answers[name], answers["torch_fp32"], strict=True))
        found[name] = row = {
            "tokens_per_s": max(figures),
            "ratio_to_torch": float(np.median(ratios)),
            "share_of_bandwidth": share,
            "share_without_cache": without,
            "same_tokens": same / steps,
        }
        shown = "fits" if share is None else f"{share:.2f}"
        print(
            f"{name:<20}{row['tokens_per_s']:>10.1f}{row['ratio_to_torch']:>10.2f}"
            f"{without * most.bytes_per_s / 1e9:>8.1f}{shown:>8}{without:>10.2f}  {same}/{steps}"
        )
    for name, reason in missing.items():
        print(f"{name:<20} not measured: {reason}")
    kinds = {"read": most.read_bytes_per_s / 1e9, "add": most.add_bytes_per_s / 1e9}
    rates = ", ".join(f"{kind} {rate:.1f}" for kind, rate in kinds.items())
    print(
        f"memory, GB/s: {rates} (the higher is the limit), arrays of "
        f"{most.array_bytes / 1e6:.0f} MB, best of {len(ceilings)} measurements; last cache "
        f"{most.cache_bytes / 1e6:.0f} MB ({most.cache_source})"
    )
    for name in above:
        print(f"{name} is above what the memory gives: a wrong number, or a wrong limit")
    below = [
        name for name, (key, bar) in BARS.items() if name in found and not found[name][key] >= bar
    ]
    result = {"model_parameters": sum(int(np.prod(s)) for s in parameter_shapes(model).values())}
    result |= found
    result["bandwidth_gb_per_s"] = kinds | {"limit": most.bytes_per_s / 1e9}
    result["cache_mb"] = most.cache_bytes / 1e6
    result["not_measured"], result["below_the_bar"] = missing, below
    result["above_the_limit"] = above
    print(json.dumps(result))
    return 1 if above else 0


if __name__ == "__main__":
    words = sys.argv[1:]

    def option(name, default):
        return words[words.index(name) + 1] if name in words else default

    chosen = option("--only", "").split(",") if "--only" in words else list(RUNTIMES)
    chosen = ["torch_fp32", *(name for name in chosen if name != "torch_fp32")]
    rounds = int(option("--rounds", "3" if "--fast" in words else "7"))
    sys.exit(main("--fast" in words, rounds, chosen))
