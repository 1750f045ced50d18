"""Scoring one card transaction: ONNX Runtime through the harness against LightGBM's own predict.

The same trees, one row at a time, one thread, in one process, in alternating blocks. ONNX Runtime
also computes the workload's network and the mean of both; LightGBM scores the trees alone. Before
anything is timed, LightGBM's log-odds are held against those of the workload's trees.
"""

import json
import statistics
import sys
import time

import numpy as np

from harness import plugins
from harness.catalog import Catalog
from harness.cli.run import cache_folder
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.garbage import no_garbage_collection
from harness.models.build import build_model
from harness.models.inputs import draw_requests
from harness.models.lightgbm_text import write_lightgbm
from harness.models.trees_mlp import tree_margin, width

BAR_US, BAR_RATIO = 35.0, 0.35
WORKLOAD, TARGET = "fraud-detection", "cpu-onnxruntime"


def median_us(answer, rows):
    spent = []
    for row in rows:
        start = time.perf_counter_ns()
        answer(row)
        spent.append(time.perf_counter_ns() - start)
    return statistics.median(spent) / 1e3


def native_calls(weights, rows):
    """Return LightGBM's single-row calls by name, or the reason why there are none."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        return f"LightGBM is not installed: {error}"
    booster = lightgbm.Booster(model_str=write_lightgbm(weights, width(weights)))
    ours, theirs = tree_margin(weights, rows), booster.predict(rows, raw_score=True)
    # LightGBM adds leaves in float64, of float32 values.
    assert np.abs(ours - theirs).max() < 1e-6, "these are not the same trees"
    return {
        "native_us": lambda row: booster.predict(row, num_threads=1),
        "native_unchecked_us": lambda row: booster.predict(
            row, num_threads=1, predict_disable_shape_check=True
        ),
    }


def main(blocks, count):
    catalog = Catalog.find()
    workload, target = catalog.workload(WORKLOAD), catalog.target(TARGET)
    runtime = target.runtime.model_copy(update={"options": {"threads": 1}})
    target = target.model_copy(update={"runtime": runtime})
    data = catalog.data_folder(WORKLOAD)
    model = build_model(workload.model, workload.task, cache=cache_folder(), data=data)
    requests = draw_requests(workload, data)
    rows = np.stack([request.features for request in requests])
    calls = native_calls(model.weights(), rows)
    session = plugins.adapter("onnxruntime").open(target, model)
    driver = Driver(session, requests, RealClock(), seed=0)

    def ours_us():
        samples = driver.closed(StopRule(0.0, 120.0, count)).columns()
        order = samples["input"]
        latency_us = np.median(samples["ended_ns"] - samples["issued_ns"]) / 1e3
        return float(latency_us), [rows[number : number + 1] for number in order]

    ours_us()
    spent = {"ort_us": []}
    if isinstance(calls, dict):
        spent |= {name: [] for name in calls}
    with no_garbage_collection():
        for _ in range(blocks):
            latency_us, order = ours_us()
            spent["ort_us"].append(latency_us)
            for name, call in calls.items() if isinstance(calls, dict) else ():
                spent[name].append(median_us(call, order))
    session.close()
    found = {name: round(statistics.median(values), 2) for name, values in spent.items()}
    if isinstance(calls, dict):
        ratios = [a / b for a, b in zip(spent["ort_us"], spent["native_us"], strict=True)]
        found["ratio"] = round(statistics.median(ratios), 4)
    else:
        found |= {"native_us": None, "ratio": None, "reason": calls}
    found |= {"blocks": blocks, "requests": blocks * count}
    within = found["ort_us"] <= BAR_US and found["ratio"] is not None
    found["within_bar"] = within and found["ratio"] <= BAR_RATIO
    print(f"{'one row, one thread':<44} {'median us':>10}")
    titles = {
        "ort_us": "ONNX Runtime through the harness",
        "native_us": "LightGBM Booster.predict",
        "native_unchecked_us": "  the same, without its check of the shape",
    }
    for name, title in titles.items():
        if found.get(name) is not None:
            print(f"{title:<44} {found[name]:>10.1f}")
    print(f"bar: {BAR_US:g} us and a ratio of {BAR_RATIO:g}; the ratio is {found['ratio']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(*((3, 500) if "--fast" in sys.argv[1:] else (11, 3000)))
