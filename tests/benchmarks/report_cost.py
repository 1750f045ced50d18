"""What does the report cost: bytes and seconds, for a usual decision and for a very large one?

Bars: 12 targets x 3 workloads at most 500,000 bytes in 5 s; 100 x 12 at most 3,000,000 in 30 s.
The seconds are of a process of its own that renders one page, with what it imports.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.report.answered import answered

SIZES = {"12x3": (12, 3), "100x12": (100, 12)}
BARS = {
    "bytes_12x3": 500_000,
    "seconds_12x3": 5.0,
    "bytes_100x12": 3_000_000,
    "seconds_100x12": 30.0,
}
RENDER = """
import json, sys, time
from pathlib import Path
begin = time.perf_counter()
from harness.report import render
imported = time.perf_counter() - begin
from harness.schema import Decision, Record
decision = Decision.model_validate_json(Path("decision.json").read_bytes())
lines = Path("records.jsonl").read_text(encoding="utf-8").splitlines()
records = [Record.model_validate_json(line) for line in lines]
begin = time.perf_counter()
page = render(decision, records).encode()
print(json.dumps({"bytes": len(page), "seconds": imported + time.perf_counter() - begin}))
"""


def cost(targets, workloads, runs):
    """Return the bytes of the page, the median seconds of `runs` processes, and all seconds."""
    decision, records = answered(targets, workloads)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "decision.json").write_text(decision.model_dump_json(), encoding="utf-8")
        lines = (record.model_dump_json() for record in records)
        (here / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
        command = [sys.executable, "-c", RENDER]
        told = [
            json.loads(subprocess.run(command, cwd=here, capture_output=True, check=True).stdout)
            for _ in range(runs)
        ]
    sizes = {each["bytes"] for each in told}
    assert len(sizes) == 1, "the same report had different lengths"
    seconds = [each["seconds"] for each in told]
    return sizes.pop(), statistics.median(seconds), seconds


def main(runs):
    found = {}
    print(f"{'targets x workloads':<21}{'bytes':>11}{'bar':>11}{'seconds':>10}{'bar':>6}")
    for name, (targets, workloads) in SIZES.items():
        size, seconds, spread = cost(targets, workloads, runs)
        found[f"bytes_{name}"], found[f"seconds_{name}"] = size, round(seconds, 3)
        bars = BARS[f"bytes_{name}"], BARS[f"seconds_{name}"]
        print(
            f"{name:<21}{size:>11,}{bars[0]:>11,}{seconds:>10.2f}{bars[1]:>6g}"
            f"   ({min(spread):.2f} to {max(spread):.2f} of {runs})"
        )
    found["runs"] = runs
    found["missed"] = sorted(key for key, bar in BARS.items() if found[key] > bar)
    print(json.dumps(found))


if __name__ == "__main__":
    main(1 if "--fast" in sys.argv[1:] else 5)
