"""Early stopping held against MLPerf LoadGen itself: the same latencies through both.

LoadGen (package `mlcommons-loadgen`) runs in a child process, since it may hang or abort. It times
a target that spins for random microseconds; its trace holds every latency, its detail log what its
early stopping made of them, and `harness.early_stopping` must make exactly the same of the trace.
Without LoadGen the key `loadgen_equal` is null, with the reason.
"""

import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.early_stopping import allowed_misses, latency_estimate, minimum_queries, passes

PERCENTILES = (50, 90, 95, 97, 99, 99.9)
COUNTS = (1_000, 10_000, 24_576, 100_000, 270_336, 1_000_000)
ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0
# Of what a Server run is asked: limits from hopeless to easy, so that both verdicts occur.
SERVER_LIMITS_US = (30, 300, 30_000)


def run_loadgen(scenario, count, limit_us, folder):
    """Run LoadGen in this process; its logs go to `folder`. Called in the child."""
    import mlperf_loadgen as loadgen

    chance = random.Random(count)

    def issue(samples):
        end = time.perf_counter_ns() + int(chance.expovariate(1 / 20_000))
        while time.perf_counter_ns() < end:
            pass
        loadgen.QuerySamplesComplete(
            [loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
        )

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = count
    settings.single_stream_expected_latency_ns = 1_000
    settings.server_target_qps = 5_000
    settings.server_target_latency_ns = limit_us * 1_000
    settings.server_target_latency_percentile = 0.9
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    logs = loadgen.LogSettings()
    logs.log_output = output
    logs.enable_trace = True
    library = loadgen.ConstructQSL(64, 64, lambda _: None, lambda _: None)
    target = loadgen.ConstructSUT(issue, lambda: None)
    loadgen.StartTestWithLogSettings(target, library, settings, logs, "none.conf")


def loadgen_runs(count, folder):
    """Yield (scenario, latencies in ns of each query in rising order, detail log) of child runs."""
    cases = [("SingleStream", 0), ("MultiStream", 0)] + [("Server", us) for us in SERVER_LIMITS_US]
    for scenario, limit_us in cases:
        logs = Path(folder) / f"{scenario}-{limit_us}"
        logs.mkdir()
        # The child's own folder is new: LoadGen reads an audit.config from it without a word.
        subprocess.run(
            [sys.executable, __file__, "--child", scenario, str(count), str(limit_us), str(logs)],
            cwd=logs,
            env={"PYTHONPATH": str(ROOT)},
            timeout=TIMEOUT_S,
            check=True,
        )
        lines = (logs / "mlperf_log_detail.txt").read_text().splitlines()
        entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        detail = {entry["key"]: entry["value"] for entry in entries}
        latency_ns = {}
        # By line: other lines of the trace quote their strings twice, so the whole is no JSON.
        for line in (logs / "mlperf_log_trace.json").read_text().splitlines():
            if line.startswith('{"name":"Sample",') and '"ph":"b"' in line:
                event = json.loads(line.rstrip(","))["args"]
                query = event["query_seq"]
                latency_ns[query] = max(latency_ns.get(query, 0), event["complete_ns"])
        yield scenario, limit_us, sorted(latency_ns.values()), detail


def disagreements(count):
    """Return (what was compared, in words; what differs) over LoadGen's scenarios."""
    compared, wrong = [], []

    def compare(name, ours, theirs):
        compared.append((name, ours, theirs))
        if ours != theirs:
            wrong.append(f"{name}: ours {ours}, LoadGen {theirs}")

    with tempfile.TemporaryDirectory() as folder:
        for scenario, limit_us, ordered, detail in loadgen_runs(count, folder):
            compare(f"{scenario} queries", len(ordered), detail["result_query_count"])
            if scenario == "Server":
                over = sum(value > limit_us * 1_000 for value in ordered)
                name = f"{scenario} {limit_us} us"
                compare(f"{name}: over", over, detail["result_overlatency_query_count"])
                met = passes(len(ordered), over, 90)
                compare(f"{name}: proven", met, detail["early_stopping_met"])
                continue
            percentiles = {"SingleStream": (90, 99), "MultiStream": (99,)}[scenario]
            for percentile, key in zip(reversed(percentiles), ("ms", "ss"), strict=False):
                ours = latency_estimate(ordered, percentile)
                theirs = detail[f"early_stopping_latency_{key}"]
                # LoadGen writes 0 where it has no estimate.
                compare(f"{scenario} p{percentile} ns", ours or 0, theirs)
    return compared, wrong


def loadgen_missing():
    """Return why LoadGen cannot be asked here, or None."""
    if importlib.util.find_spec("mlperf_loadgen") is None:
        return "the package mlcommons-loadgen is not installed"
    return None


def main(fast):
    minima = {f"p{p:g}": minimum_queries(p) for p in PERCENTILES}
    allowed = {f"p{p:g}": {n: allowed_misses(n, p) for n in COUNTS} for p in (90, 99)}
    print("least queries with an estimate: " + ", ".join(f"{p} {n}" for p, n in minima.items()))
    print(f"{'queries':>9} {'p90: allowed':>13} {'p99: allowed':>13}")
    for n in COUNTS:
        print(f"{n:>9} {allowed['p90'][n]:>13} {allowed['p99'][n]:>13}")
    started = time.perf_counter()
    allowed_misses(1_000_000, 99)
    found = {
        "minima": minima,
        "allowed_misses": allowed,
        "million_ms": round((time.perf_counter() - started) * 1e3, 3),
        "loadgen_equal": None,
    }
    reason = loadgen_missing()
    if reason is None:
        wrong = []
        for count in (600, 1_000) if fast else (60, 600, 1_000, 5_000, 20_000):
            compared, differing = disagreements(count)
            wrong += differing
            for name, ours, theirs in compared:
                print(f"{count:>7} {name:<24} ours {ours!s:>10}  LoadGen {theirs!s:>10}")
        found["loadgen_equal"] = not wrong
        reason = "; ".join(wrong) or None
    if reason:
        found["loadgen_reason"] = reason
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_loadgen(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main("--fast" in sys.argv[1:])
