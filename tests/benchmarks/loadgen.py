"""MLPerf LoadGen on a target that sleeps, or answers at once: `drive` runs it, in a child process.

LoadGen keeps global state, cannot be interrupted and aborts the process on errors; hence the child.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

PATIENCE_S = 120.0
INPUTS = 64


@dataclass(frozen=True)
class Order:
    """What LoadGen is asked for.

    scenario: "SingleStream", or "Server" with Poisson arrivals of `rate` per second. Each query
    takes `service_s` inside LoadGen's callback, one after the other. `whole`: inputs come in whole
    permutations, not drawn with replacement. The limit and its percentile are those of Server.
    """

    scenario: str
    queries: int
    rate: float = 0.0
    service_s: float = 0.0
    trace: bool = True
    whole: bool = False
    limit_s: float = 1.0
    percentile: float = 0.99


@dataclass(frozen=True)
class Driven:
    """What LoadGen did: its detail log and, if traced, each query in the order of issue.

    When it was due in seconds from the first, its latency in ns from then, and its input.
    """

    detail: dict
    due_s: np.ndarray
    latency_ns: np.ndarray
    inputs: np.ndarray


def absent():
    """Return why LoadGen cannot be used, or None."""
    try:
        import mlperf_loadgen  # noqa: F401
    except ImportError as error:
        return f"mlcommons-loadgen: {error}"
    return None


def drive(order):
    """Return what LoadGen makes of `order`; RuntimeError with its last words if it breaks."""
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run(
            [sys.executable, __file__, folder, json.dumps(asdict(order))],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=folder,  # LoadGen reads an audit.config from the working directory
            check=False,
        )
        if child.returncode:
            lines = child.stderr.strip().splitlines()
            raise RuntimeError(f"LoadGen ended with {child.returncode}: {lines[-1:]}")
        found = detail(Path(folder) / "mlperf_log_detail.txt")
        rows = traced(Path(folder) / "mlperf_log_trace.json") if order.trace else []
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    due_s = (table[:, 0] - table[:1, 0]) / 1e6
    return Driven(found, due_s, table[:, 1].astype(np.int64), table[:, 2].astype(np.int64))


def null_target(scenario, queries, rate=None):
    """Return LoadGen's own figures: p50_us and p99_us of the latency, and queries/s.

    The target completes each query inside LoadGen's callback, so the latency of Server is its
    scheduling lag.
    """
    found = drive(Order(scenario, int(queries), float(rate or 0), trace=False)).detail
    qps = "result_qps_with_loadgen_overhead"
    return {
        "queries": found["result_query_count"],
        "p50_us": found["result_50.00_percentile_latency_ns"] / 1e3,
        "p99_us": found["result_99.00_percentile_latency_ns"] / 1e3,
        "rate": found[qps if scenario == "SingleStream" else "result_completed_samples_per_sec"],
    }


def detail(path):
    """Return the keys and values of a detail log."""
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith(":::MLLOG "):
            event = json.loads(line.removeprefix(":::MLLOG "))
            found[event["key"]] = event["value"]
    return found


def traced(path):
    """Return (due in us, latency in ns, input) of every query of one sample, in order of issue."""
    rows = {}
    # By line: other lines of the trace quote their strings twice, so the whole is no JSON.
    for line in path.read_text().splitlines():
        if line.startswith('{"name":"Sample",') and '"ph":"b"' in line:
            event = json.loads(line.rstrip(","))
            told = event["args"]
            rows[told["query_seq"]] = (event["ts"], told["complete_ns"], told["sample_idx"])
    return [rows[query] for query in sorted(rows)]


def main(folder, text):
    import mlperf_loadgen as loadgen

    order = Order(**json.loads(text))

    def issue(samples):
        if order.service_s:
            time.sleep(order.service_s)
        loadgen.QuerySamplesComplete(
            [loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
        )

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, order.scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = order.queries
    settings.single_stream_expected_latency_ns = 1_000
    settings.sample_concatenate_permutation = order.whole
    if order.rate:
        settings.server_target_qps = order.rate
        settings.server_target_latency_ns = round(order.limit_s * 1e9)
        settings.server_target_latency_percentile = order.percentile
    output = loadgen.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    logs = loadgen.LogSettings()
    logs.log_output = output
    logs.enable_trace = order.trace
    target = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(INPUTS, INPUTS, lambda samples: None, lambda samples: None)
    loadgen.StartTestWithLogSettings(target, library, settings, logs, "absent.config")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
