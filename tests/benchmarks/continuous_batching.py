"""What a batch that requests join and leave is worth, against static batches and one at a time.

The prompts and answers are `llm-chat`'s, of lognormal lengths. `USERS` users of a closed loop send
the next request when their last one has ended; the same runtime answers them one at a time, in
static batches of `TOGETHER`, which go on until their longest answer is complete, and continuously,
with up to as many texts at once. The three run in turn, in several rounds, through the harness's
own driver. Figures are medians over the rounds: output tokens a second; p95 of the time to first
token, from when the user sent; p95 of the time per output token, which a batch makes longer.
`rate_ratio` holds tokens a second against one at a time, `ttft_ratio` the first tokens' p95 against
static batches.

`python -m tests.benchmarks.continuous_batching [--fast] [--rounds N]`; --fast takes the 13 M model
and fewer requests.
"""

import argparse
import json
import sys

import numpy as np

from harness import plugins
from harness.cli.run import cache_folder
from harness.errors import HarnessError
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule, tokens_asked
from harness.measure.summary import Window
from harness.models.build import build_model
from harness.models.inputs import draw_requests
from tests.benchmarks.decode_speed import FAST, FULL
from tests.factories import make_target, make_workload

THREADS = 2
USERS = 8
TOGETHER = 4
RUNTIMES = {
    "onnxruntime_fp32": ("onnxruntime", "fp32"),
    "onnxruntime_int4": ("onnxruntime", "int4"),
    "llama_cpp_q8_0": ("llama-cpp", "int8"),
}
MODES = {"single": {}, "static": {"max_batch": TOGETHER}, "continuous": {"continuous": TOGETHER}}
INPUTS = {
    "kind": "prompts",
    "count": 64,
    "seed": 7,
    "prompt_tokens": {
        "kind": "lognormal",
        "mean": 128,
        "sigma": 0.5,
        "minimum": 16,
        "maximum": 400,
    },
    "output_tokens": {"kind": "lognormal", "mean": 32, "sigma": 0.3, "minimum": 8, "maximum": 96},
}


def open_sessions(model):
    """Return each runtime's sessions by mode, and why the others are not there."""
    built = build_model(model, "text_generation", cache=cache_folder(), data=cache_folder())
    sessions, missing = {}, {}
    for name, (adapter, precision) in RUNTIMES.items():
        try:
            sessions[name] = {
                mode: plugins.adapter(adapter).open(
                    make_target(
                        runtime={
                            "adapter": adapter,
                            "precision": precision,
                            "options": {"threads": THREADS, **options},
                        }
                    ),
                    built,
                )
                for mode, options in MODES.items()
            }
        except HarnessError as error:
            missing[name] = str(error).splitlines()[0]
            continue
        print(f"opened {name}", file=sys.stderr)
    return sessions, missing


def serve(session, requests, count, seed):
    """Return tokens a second, and the p95 of the first token and of each further one."""
    driver = Driver(session, requests, RealClock(), seed=seed)
    samples = driver.closed_loop(USERS, StopRule(least_s=0.0, most_s=600.0, count=count))
    if samples.errors:
        raise SystemExit(f"failed: {samples.errors[0]}")
    window = Window(samples, [0.0] * len(requests), tokens_asked(requests))
    return (
        float(window.tokens_out.sum() / window.duration_s),
        float(np.quantile(window.ttft_s, 0.95)),
        float(np.quantile(window.tpot_s, 0.95)),
    )


def main(fast, rounds):
    model = FAST if fast else FULL
    requests = draw_requests(make_workload(model=model.model_dump(), inputs=INPUTS))
    sessions, missing = open_sessions(model)
    count = 16 if fast else 48
    found = {name: {mode: [] for mode in MODES} for name in sessions}
    for number in range(rounds):
        for name, modes in sessions.items():
            for mode, session in modes.items():
                found[name][mode].append(serve(session, requests, count, number))
    print(f"{'runtime':<20}{'batching':<12}{'tokens/s':>9}{'x single':>9}{'TTFT p95':>10}", end="")
    print(f"{'x static':>9}{'TPOT p95':>10}")
    told = {}
    for name, modes in found.items():
        medians = {mode: np.median(np.array(rows), axis=0) for mode, rows in modes.items()}
        told[name] = {}
        for mode, (rate, first, each) in medians.items():
            told[name][mode] = row = {
                "tokens_per_s": float(rate),
                "ttft_p95_s": float(first),
                "tpot_p95_s": float(each),
                "rate_ratio": float(rate / medians["single"][0]),
                "ttft_ratio": float(first / medians["static"][1]),
            }
            print(
                f"{name:<20}{mode:<12}{rate:>9.1f}{row['rate_ratio']:>9.2f}{first * 1e3:>7.0f} ms"
                f"{row['ttft_ratio']:>9.2f}{each * 1e3:>7.1f} ms"
            )
    for name, reason in missing.items():
        print(f"{name:<20}not measured: {reason}")
    for modes in sessions.values():
        for session in modes.values():
            session.close()
    print(json.dumps({**told, **dict.fromkeys(missing)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.fast, arguments.rounds or (1 if arguments.fast else 3))
