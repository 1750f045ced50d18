"""What the harness adds: its median latency over that of a hand-written loop, same model, same run.

Both answer the same requests, one at a time, in the same process, in alternating blocks, so that
whatever else the machine does hits both alike. `ratio` is the median of the blocks' ratios.
"""

import importlib.util
import json
import statistics
import sys
from pathlib import Path

import numpy as np

from harness import plugins
from harness.catalog import Catalog
from harness.cli.run import cache_folder
from harness.measure.clock import RealClock
from harness.measure.drive import Driver, StopRule
from harness.measure.summary import Window
from harness.models.build import build_model
from harness.models.inputs import draw_requests

BLOCKS = 10
BLOCK_S = 2.0


def native_loops():
    path = Path(__file__).parents[2] / "docs" / "native_loop.py"
    spec = importlib.util.spec_from_file_location("native_loop", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(workload_name, target_name, make_loop, native):
    catalog = Catalog.find()
    workload, target = catalog.workload(workload_name), catalog.target(target_name)
    model = build_model(
        workload.model,
        workload.task,
        cache=cache_folder(),
        data=catalog.data_folder(workload_name),
    )
    requests = draw_requests(workload)
    session = plugins.adapter(target.runtime.adapter).open(target, model)
    answer = make_loop(model, int(target.runtime.options["threads"]))
    driver = Driver(session, requests, RealClock(), seed=0)

    def ours(count):
        samples = driver.closed(StopRule(0.0, 60.0, count))
        return samples, float(np.median(Window(samples, [0.0] * len(requests)).latency_s))

    median = ours(3)[1]
    count = max(3, min(4000, int(BLOCK_S / median)))
    order = [requests[row[1]] for row in ours(count)[0].rows]  # the very requests of each block
    native.time_of_each(order[:3], answer)
    ours_s, loop_s = [], []
    for block in range(BLOCKS):
        steps = [
            lambda: ours_s.append(ours(count)[1]),
            lambda: loop_s.append(statistics.median(native.time_of_each(order, answer))),
        ]
        for step in steps if block % 2 else reversed(steps):
            step()
    session.close()
    return {
        "ours_ms": round(statistics.median(ours_s) * 1e3, 5),
        "loop_ms": round(statistics.median(loop_s) * 1e3, 5),
        "ratio": round(statistics.median(o / n for o, n in zip(ours_s, loop_s, strict=True)), 4),
        "requests": count * BLOCKS,
    }


def main(chosen):
    native = native_loops()
    found = {}
    print(f"{'workload':<18} {'target':<18} {'ours ms':>11} {'loop ms':>11} {'ratio':>8}")
    for (workload, target), make_loop in native.LOOPS.items():
        if chosen and workload not in chosen and target not in chosen:
            continue
        row = compare(workload, target, make_loop, native)
        found[f"{workload}@{target}"] = row
        figures = f"{row['ours_ms']:>11.4f} {row['loop_ms']:>11.4f} {row['ratio']:>8.4f}"
        print(f"{workload:<18} {target:<18} {figures}", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
