"""MLPerf LoadGen on a null target, in a process of its own: `null_target(...)` starts one.

LoadGen keeps global state, cannot be interrupted and aborts the process on errors; hence the child.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE_S = 120.0


def absent():
    """Return why LoadGen cannot be used, or None."""
    try:
        import mlperf_loadgen  # noqa: F401
    except ImportError as error:
        return f"mlcommons-loadgen: {error}"
    return None


def null_target(scenario, queries, rate=None):
    """Return LoadGen's own figures: p50_us and p99_us of the latency, and queries/s.

    scenario: "SingleStream", or "Server" with `rate` per second. The target completes each query
    inside LoadGen's callback, so the latency of Server is its scheduling lag.
    """
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run(
            [sys.executable, __file__, folder, scenario, str(queries), str(rate or 0)],
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


def main(folder, scenario, queries, rate):
    import mlperf_loadgen as loadgen

    def issue(samples):
        loadgen.QuerySamplesComplete(
            [loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
        )

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = int(queries)
    settings.single_stream_expected_latency_ns = 1_000
    if float(rate):
        settings.server_target_qps = float(rate)
        settings.server_target_latency_ns = 1_000_000_000
    output = loadgen.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    logs = loadgen.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    target = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(64, 64, lambda samples: None, lambda samples: None)
    loadgen.StartTestWithLogSettings(target, library, settings, logs, "absent.config")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
