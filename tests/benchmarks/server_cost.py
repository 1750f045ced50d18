"""What a server costs: the same model in-process and served, one request after the other.

`mlserver`: the project's fraud model in ONNX Runtime on one thread, as JSON over the Open Inference
Protocol. `triton`: the same model as bytes, in Triton's Python backend. `transformers`: llm-chat's
own Llama in fp32 on one thread, 32 tokens in and 16 out, streamed as chat; in-process is the
harness's torch adapter, so that row holds the difference of the two loops too.

Both sides take turns; `in_process_us` and `served_us` are medians over the rounds of the p50
latency, `ratio` is the median of the rounds' ratios, `added_us` that of their differences. A server
that is not installed has null figures and the reason.

`python -m tests.benchmarks.server_cost [--fast]`
"""

import contextlib
import json
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness import plugins
from harness.adapters.base import TextRequest
from harness.catalog import Catalog
from harness.cli.run import cache_folder
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.garbage import no_garbage_collection
from harness.models.build import build_model
from harness.models.inputs import draw_requests
from harness.models.trees_mlp import width
from tests.adapters.http.served import make_served
from tests.factories import make_target
from tests.servers.environments import NotInstalled
from tests.servers.fraud_mlserver import fraud_mlserver
from tests.servers.fraud_triton import fraud_triton
from tests.servers.llama_folder import WEIGHTS, write_llama_folder
from tests.servers.transformers_serve import transformers_serve

PROMPT_TOKENS, OUTPUT_TOKENS, PROMPTS = 32, 16, 8


def p50_us(session, requests, duration_s):
    """Return the p50 latency of a single stream; AssertionError if a request failed."""
    driver = Driver(session, requests, RealClock(), seed=0)
    with no_garbage_collection():
        driver.closed(StopRule(duration_s / 4, 60.0, 3))
        columns = driver.closed(StopRule(duration_s, 60.0, 3)).columns()
    assert (columns["status"] == 0).all(), "a request failed"
    return float(np.median(columns["ended_ns"] - columns["issued_ns"])) / 1e3


def compare(here, there, requests, rounds, duration_s):
    """Measure the sessions in turn, every other round in reverse, and close them."""
    measured = {"here": [], "there": []}
    sides = [("here", here), ("there", there)]
    try:
        for number in range(rounds):
            for name, session in reversed(sides) if number % 2 else sides:
                measured[name].append(p50_us(session, requests, duration_s))
    finally:
        here.close()
        there.close()
    pairs = list(zip(measured["here"], measured["there"], strict=True))
    return {
        "in_process_us": round(statistics.median(measured["here"]), 1),
        "served_us": round(statistics.median(measured["there"]), 1),
        "added_us": round(statistics.median(b - a for a, b in pairs), 1),
        "ratio": round(statistics.median(b / a for a, b in pairs), 2),
    }


def opened(adapter, model):
    runtime = {"adapter": adapter, "precision": "fp32", "options": {"threads": 1}}
    return plugins.adapter(adapter).open(make_target(runtime=runtime), model)


def fraud(start, work, rounds, duration_s, **server):
    catalog, name = Catalog.find(), "fraud-detection"
    workload, data = catalog.workload(name), catalog.data_folder(name)
    model = build_model(workload.model, workload.task, cache=cache_folder(), data=data)
    file = model.onnx("standard") / "model.onnx"
    with start(file, width(model.weights()), work) as running:
        target = make_served(running.url, protocol="oip-http", model="fraud", **server)
        there = plugins.adapter("http").open(target, model)
        requests = draw_requests(workload, data)
        return compare(opened("onnxruntime", model), there, requests, rounds, duration_s)


def chat(work, rounds, duration_s):
    architecture = Catalog.find().workload("llm-chat").model
    folder = work / "llama"
    with contextlib.redirect_stderr(None):
        write_llama_folder(folder, architecture)
    own = architecture.model_copy(update={"weights": f"llama/{WEIGHTS}"})
    model = build_model(own, "text_generation", cache=work / "cache", data=work)
    rng = np.random.default_rng(0)
    prompts = rng.integers(0, architecture.vocabulary, (PROMPTS, PROMPT_TOKENS))
    requests = [TextRequest(prompt=row, max_new_tokens=OUTPUT_TOKENS) for row in prompts]
    with transformers_serve(folder, work) as running:
        target = make_served(running.url, model=str(folder), end_mark="finish_reason")
        there = plugins.adapter("http").open(target, model)
        return compare(opened("torch", model), there, requests, rounds, duration_s)


def main(rounds, duration_s):
    steps = {
        "mlserver": lambda work: fraud(fraud_mlserver, work, rounds, duration_s),
        "triton": lambda work: fraud(fraud_triton, work, rounds, duration_s, tensors="binary"),
        "transformers": lambda work: chat(work, rounds, duration_s),
    }
    titles = ("in-process us", "served us", "added us", "ratio")
    print(f"{'server':<14}" + "".join(f"{title:>15}" for title in titles), flush=True)
    found = {}
    for name, step in steps.items():
        with TemporaryDirectory() as work:
            try:
                row = step(Path(work))
            except NotInstalled as error:
                keys = ("in_process_us", "served_us", "added_us", "ratio")
                found[name] = {**dict.fromkeys(keys), "reason": str(error)}
                print(f"{name:<14}  {error}", flush=True)
                continue
        found[name] = row
        print(f"{name:<14}" + "".join(f"{value:>15,}" for value in row.values()), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*((1, 2.0) if "--fast" in sys.argv[1:] else (5, 5.0)))
