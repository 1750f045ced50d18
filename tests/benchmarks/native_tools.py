"""Is a runtime as fast through the harness as in its maker's own tool, on one file and threads?

Each tool runs in turn with the harness, several rounds; `ours` and `theirs` are medians over the
rounds and `ratio` is the median of the rounds' ratios. `onnxruntime_test` prints a mean only, so
the harness's mean stands against it. Bars: 3 % above 1 ms; 5 us and 10 % below. A tool that is not
installed has null figures and the reason.

The fraud model runs through the adapters themselves; Whisper's encoder, which no adapter runs by
itself, in a session of the one call that they make.

`openvino ...`: benchmark_app, its median, synchronous, one request, fp32. `onnxruntime ...`:
onnxruntime_test, which cannot be told the threads: both take the runtime's default. `lightgbm`: a
loop over Booster.predict. `llama.cpp ...`: llama-bench (`python -m tests.servers.install
llama-bench`), on the libraries that the adapter uses: microseconds a token, one after the other.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness import plugins
from harness.adapters.base import BlockingSession, Output, RowRequest, TextRequest
from harness.adapters.session import default_threads
from harness.catalog import Catalog
from harness.cli.run import cache_folder
from harness.errors import PrerequisiteError
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.garbage import no_garbage_collection
from harness.models.build import build_model
from harness.models.exports import gguf_file
from harness.models.inputs import draw_requests
from harness.models.lightgbm_text import write_lightgbm
from harness.models.trees_mlp import width
from harness.schema.model import TreeFileModel
from tests.benchmarks.decode_speed import FULL
from tests.servers.environments import NotInstalled
from tests.servers.llama_build import llama_program

TOOL_S = 60.0
DECODED = 64
"""Tokens of a text; `TEXTS` of them a round."""
TEXTS = 5


class Calls(BlockingSession):
    """A session of one plain call of the runtime, as the adapters make it."""

    def __init__(self, call):
        self._call = call

    def infer(self, requests):
        self._call(requests[0].features)
        return [Output(score=0.0)]

    def describe(self):
        return {"runtime": "one call"}


def latencies_us(session, requests, duration_s):
    """Return what the harness records of a single stream, in microseconds."""
    driver = Driver(session, requests, RealClock(), seed=0)
    with no_garbage_collection():
        driver.closed(StopRule(duration_s / 10, 60.0, 3))
        columns = driver.closed(StopRule(duration_s, 60.0, 3)).columns()
    return (columns["ended_ns"] - columns["issued_ns"]) / 1e3


def script(name):
    """Return where the command `name` of this environment is, or None."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else shutil.which(name)


def run_tool(command, with_errors=True):
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_S, check=True)
    return ended.stdout + (ended.stderr if with_errors else "")


def benchmark_app_us(path, shape, threads, duration_s):
    shape = ",".join(str(size) for size in shape)
    said = run_tool(
        [
            *(script("benchmark_app"), "-m", str(path), "-shape", f"[{shape}]", "-api", "sync"),
            *("-hint", "none", "-nstreams", "1", "-nthreads", str(threads)),
            *("-infer_precision", "f32"),
            *("-t", str(max(1, round(duration_s)))),
        ]
    )
    value, unit = re.search(r"Median:\s+([\d.]+) (us|ms)", said).groups()
    return float(value) * {"us": 1.0, "ms": 1e3}[unit]


def onnxruntime_test_us(path, count):
    said = run_tool([script("onnxruntime_test"), str(path), str(count)])
    return float(re.search(r"avg latency: ([\d.e-]+) ms", said)[1]) * 1e3


def openvino_call(path, shape, threads):
    import openvino

    core = openvino.Core()
    read = core.read_model(str(path))
    read.reshape(list(shape))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(read, "CPU", settings).create_infer_request()

    def call(features):
        request.set_input_tensor(openvino.Tensor(features, shared_memory=True))
        request.infer()

    return call


def onnxruntime_call(path):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda features: session.run(None, {name: features})


def compare(ours, theirs, rounds):
    """Run both in turn; return their medians, the ratio, and whether it keeps the bar."""
    left, right = [], []
    for number in range(rounds):
        steps = [lambda: left.append(ours()), lambda: right.append(theirs())]
        for step in steps if number % 2 else reversed(steps):
            step()
    ours_us, theirs_us = statistics.median(left), statistics.median(right)
    # Of each round's pair: the machine's own changes from round to round hit both.
    ratio = statistics.median(a / b for a, b in zip(left, right, strict=True))
    long = theirs_us > 1000
    return {
        "ours": round(ours_us, 2),
        "theirs": round(theirs_us, 2),
        "ratio": round(ratio, 4),
        "within_bar": ratio <= 1.03 if long else ours_us <= theirs_us * 1.10 + 5,
    }


def absent(reason):
    return {"ours": None, "theirs": None, "ratio": None, "reason": reason}


def files(catalog):
    """Return by name: the ONNX files of each runtime, and the shape of a request."""
    models = {}
    for name in ("fraud-detection", "speech-to-text"):
        workload = catalog.workload(name)
        models[name] = build_model(
            workload.model,
            workload.task,
            cache=cache_folder(),
            data=catalog.data_folder(name),
        )
    fraud, speech = models.values()
    bands, frames = speech.architecture.mel_bands, speech.architecture.frames
    encoder = speech.onnx("standard") / "encoder.onnx"
    portable, standard = (fraud.onnx(each) / "model.onnx" for each in ("portable", "standard"))
    return {
        "fraud": {"openvino": portable, "onnxruntime": standard, "shape": (1, 30)},
        "whisper encoder": {
            "openvino": encoder,
            "onnxruntime": encoder,
            "shape": (1, bands, frames),
        },
    }


def adapter_session(catalog, adapter, target_name, threads, model=None):
    """Return the fraud workload's model, or `model`, opened by the real adapter."""
    workload, target = catalog.workload("fraud-detection"), catalog.target(target_name)
    data = catalog.data_folder("fraud-detection")
    if model is None:
        model = build_model(workload.model, workload.task, cache=cache_folder(), data=data)
    options = {"adapter": adapter, "options": {"threads": threads}}
    runtime = target.runtime.model_copy(update=options)
    target = target.model_copy(update={"runtime": runtime})
    return plugins.adapter(adapter).open(target, model)


def lightgbm_loop(catalog, rounds, duration_s):
    """Compare on the fraud model's trees alone, as a file of LightGBM's own."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        return absent(f"not installed: {error}")
    workload = catalog.workload("fraud-detection")
    data = catalog.data_folder("fraud-detection")
    whole = build_model(workload.model, workload.task, cache=cache_folder(), data=data)
    weights, requests = whole.weights(), draw_requests(workload, data)
    rows = [request.features[None] for request in requests]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trees.txt"
        path.write_text(write_lightgbm(weights, width(weights)))
        own = TreeFileModel(family="lightgbm", file=path.name)
        model = build_model(own, workload.task, cache=path.parent, data=path.parent)
        session = adapter_session(catalog, "lightgbm", "cpu-onnxruntime", 1, model)
        booster = lightgbm.Booster(model_file=str(path))

        def theirs():
            spent, until_s, number = [], time.perf_counter() + duration_s, 0
            while time.perf_counter() < until_s:
                row = rows[number % len(rows)]
                start = time.perf_counter_ns()
                booster.predict(row, num_threads=1)
                spent.append(time.perf_counter_ns() - start)
                number += 1
            return statistics.median(spent) / 1e3

        def ours():
            return float(np.median(latencies_us(session, requests, duration_s)))

        try:
            return compare(ours, theirs, rounds)
        finally:
            session.close()


def llama_bench(catalog, kind, target_name, threads, rounds):
    """Compare the decoding of the model of 110 M parameters, from an empty cache."""
    try:
        tool = llama_program("llama-bench")
        model = build_model(FULL, "text_generation", cache=cache_folder(), data=cache_folder())
        session = adapter_session(catalog, "llama-cpp", target_name, threads, model)
    except (NotInstalled, PrerequisiteError) as error:
        return absent(str(error))
    path = gguf_file(model, kind)
    request = TextRequest(np.ones(1, dtype=np.int64), DECODED)
    asked = ("-m", path, "-t", str(threads), "-p", "0", "-n", str(DECODED), "-o", "json")

    def ours():
        driver = Driver(session, [request], RealClock(), seed=0)
        with no_garbage_collection():
            columns = driver.closed(StopRule(0.0, 60.0, TEXTS)).columns()
        spent = (columns["ended_ns"] - columns["first_ns"]) / (columns["tokens_out"] - 1)
        return float(np.median(spent)) / 1e3

    def theirs():
        (said,) = json.loads(run_tool([str(tool), *map(str, asked), "-r", str(TEXTS)], False))
        return statistics.median(said["samples_ns"]) / DECODED / 1e3

    try:
        return compare(ours, theirs, rounds)
    finally:
        session.close()


def main(rounds, duration_s):
    catalog, found = Catalog.find(), {}
    rng = np.random.default_rng(0)
    threads = default_threads()
    print(f"{'tool and model':<28} {'ours us':>12} {'theirs us':>12} {'ratio':>8}  bar", flush=True)

    def line(name, row):
        found[name] = row
        if row["ratio"] is None:
            print(f"{name:<28} {row['reason']}", flush=True)
            return
        kept = "kept" if row["within_bar"] else "MISSED"
        figures = f"{row['ours']:>12.1f} {row['theirs']:>12.1f} {row['ratio']:>8.3f}"
        print(f"{name:<28} {figures}  {kept}", flush=True)

    for model, each in files(catalog).items():
        shape = each["shape"]
        fraud = model == "fraud"
        size = shape[1:] if fraud else shape
        features = [rng.standard_normal(size, dtype=np.float32) for _ in range(4)]
        requests = [RowRequest(features=array) for array in features]
        used = 1 if fraud else threads
        if script("benchmark_app") is None:
            line(f"openvino {model}", absent("benchmark_app is not installed"))
        else:
            session = (
                adapter_session(catalog, "openvino", "cpu-openvino", used)
                if fraud
                else Calls(openvino_call(each["openvino"], shape, used))
            )
            place, given = each["openvino"], (shape, used, duration_s)
            row = compare(
                lambda s=session, r=requests: float(np.median(latencies_us(s, r, duration_s))),
                lambda p=place, g=given: benchmark_app_us(p, *g),
                rounds,
            )
            line(f"openvino {model}", row)
        if script("onnxruntime_test") is None:
            line(f"onnxruntime {model}", absent("onnxruntime_test is not installed"))
            continue
        place = each["onnxruntime"]
        session = (
            adapter_session(catalog, "onnxruntime", "cpu-onnxruntime", threads)
            if fraud
            else Calls(onnxruntime_call(place))
        )
        mean_us = float(np.mean(latencies_us(session, requests, duration_s)))
        count = max(3, int(duration_s * 1e6 / mean_us))
        row = compare(
            lambda s=session, r=requests: float(np.mean(latencies_us(s, r, duration_s))),
            lambda p=place, c=count: onnxruntime_test_us(p, c),
            rounds,
        )
        line(f"onnxruntime {model}", row)
    line("lightgbm", lightgbm_loop(catalog, rounds, duration_s))
    for name, target in (("f16", "cpu-llama-cpp-f16"), ("q8_0", "cpu-llama-cpp-q8-0")):
        line(f"llama.cpp {name}", llama_bench(catalog, name, target, threads, rounds))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*((1, 1.0) if "--fast" in sys.argv[1:] else (5, 4.0)))
