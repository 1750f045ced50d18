"""The three workloads on a real NVIDIA GPU: one command, under ten minutes, checked records.

`python -m tests.gpu.workloads --out DIR` on an idle GPU that nobody else uses, with torch for CUDA
or onnxruntime-gpu; a runtime that is not there is told and left out. The records stay in DIR, for
`harness report --results DIR` and `harness map`. Nothing of the GPU's settings is changed.

First every single stream, then all offline, then the open loops: what is most wanted is there if
the time runs out. Then each record is held against what must be true of it. Exit status 1 if
one is not, 3 where there is no GPU; then it says what it would have run. The last line is JSON.

Sourced facts and prices are those of the H100. On another GPU the targets carry its name and
neither, so that no figure is held against the limits of a chip that it did not run on.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from harness import hardware
from harness.catalog import Catalog
from harness.measure.verdict import ABOVE_ROOFLINE
from harness.store import Store

TARGETS = ("nvidia-h100-torch", "nvidia-h100-onnxruntime")
WORKLOADS = ("llm-chat", "speech-to-text", "fraud-detection")
STAGES = ("single_stream", "offline", "server")
CHIP = "H100"
LIMIT_S = 560.0
FACTS = ("chip", "vendor", "kind", "count")
COUNTED = "counter"


def targets_of(chip, catalog):
    """Return the targets for the GPU `chip`: with the catalog's facts only where it is theirs."""
    found = []
    for name in TARGETS:
        tree = catalog.target(name).model_dump(mode="json", by_alias=True, exclude_none=True)
        if CHIP not in chip:
            runtime = tree["runtime"]["adapter"]
            tree["name"] = f"this-gpu-{runtime}"
            tree["title"] = f"{chip}, {runtime}"
            tree["description"] = f"One {chip}; its facts and its price are not given."
            tree["hardware"] = {key: tree["hardware"][key] for key in FACTS} | {"chip": chip}
            tree.pop("price", None)
        found.append(tree)
    return found


def declaring(stage):
    """Return the workloads that declare a scenario of the kind `stage`."""
    catalog = Catalog.find()
    kinds = {name: {s.kind for s in catalog.workload(name).scenarios} for name in WORKLOADS}
    return [name for name in WORKLOADS if stage in kinds[name]]


def command(stage, targets, catalog, out):
    """Return the command that measures the workloads on `targets` in one scenario."""
    words = [sys.executable, "-m", "harness.cli", "run", "-s", stage, "--profile", "quick"]
    for name in declaring(stage):
        words += ["-w", name]
    for tree in targets:
        words += ["-t", tree["name"]]
    return [*words, "--catalog", str(catalog), "--results", str(out)]


def measure(targets, out, limit_s):
    """Run the stages until the time is over; return those that were ended or had no time."""
    unfinished, until_s = [], time.monotonic() + limit_s
    with TemporaryDirectory() as folder:
        (Path(folder) / "targets").mkdir()
        for tree in targets:
            place = Path(folder) / "targets" / f"{tree['name']}.yaml"
            place.write_text(yaml.safe_dump(tree, sort_keys=False))
        for stage in STAGES:
            left_s = until_s - time.monotonic()
            if left_s < 30:
                unfinished.append(stage)
                continue
            started = subprocess.Popen(command(stage, targets, folder, out))
            try:
                started.wait(left_s)
            except subprocess.TimeoutExpired:
                started.send_signal(signal.SIGINT)  # keeps what is measured
                started.wait(60)
                unfinished.append(stage)
    return unfinished


def complaints(record):
    """Return what is not as it must be in `record`, in words."""
    found = [f"verdict {record.verdict.state}: {r.code}: {r.text}" for r in record.verdict.reasons]
    if record.verdict.state != "invalid":
        found = []
    found += [f"quality: {c.metric} is {c.value}" for c in record.quality if not c.passed]
    if not record.quality:
        found.append("no quality gate ran")
    if record.session.get("device") != "cuda":
        found.append(f"it computed on '{record.session.get('device')}'")
    readings = [r for point in record.points for r in point.energy if r.meter == "nvml"]
    if not any(r.joules is not None and r.provenance == COUNTED for r in readings):
        reasons = sorted({r.reason for r in readings if r.reason}) or ["no meter"]
        found.append(f"the GPU's counter gave no energy: {'; '.join(reasons)}")
    drawn = record.roofline
    if drawn is not None and drawn.share is not None and drawn.share > ABOVE_ROOFLINE:
        found.append(f"{drawn.share:.0%} of what the hardware can do")
    return found


def judge(records, targets):
    """Return the JSON result, printing a line for each record, and for each that is missing."""
    by_cell = {(r.cell.target, r.cell.workload, r.cell.scenario.kind): r for r in records}
    result = {"records": len(records), "wrong": {}, "not_installed": {}, "missing": []}
    for tree in targets:
        for stage in STAGES:
            for workload in declaring(stage):
                title = f"{tree['name']} {workload} {stage}"
                record = by_cell.get((tree["name"], workload, stage))
                if record is None:
                    result["missing"].append(title)
                    said = "not measured"
                elif record.failure is not None and record.failure.kind == "prerequisite":
                    result["not_installed"][tree["name"]] = said = record.failure.message
                elif record.status != "ok":
                    reason = record.failure.message if record.failure else record.status
                    result["wrong"][title] = [reason]
                    said = f"WRONG: {reason}"
                else:
                    wrong = complaints(record)
                    if wrong:
                        result["wrong"][title] = wrong
                    said = f"WRONG: {'; '.join(wrong)}" if wrong else record.verdict.state
                    if elsewhere := record.session.get("fallbacks"):
                        said += f" (on the CPU: {elsewhere})"
                print(f"{title:<58} {said}")
    measured = [record for record in records if record.status == "ok"]
    result["passed"] = bool(measured) and not result["wrong"]
    return result


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="where records go")
    parser.add_argument("--dry", action="store_true", help="say what would run, and run nothing")
    options = parser.parse_args(arguments)
    catalog, machine = Catalog.find(), hardware.detect()
    chip = machine.get("gpu0_name")
    name = str(chip.value) if chip is not None and chip.value else None
    if options.dry or name is None:
        targets = targets_of(name or CHIP, catalog)
        reason = "--dry" if name else machine["gpu_count"].reason or "none found"
        print(f"no run: {reason}" if name else f"no run: no NVIDIA GPU: {reason}", file=sys.stderr)
        print(f"would measure on {name or 'an NVIDIA GPU'}, at most {LIMIT_S:g} s in all:")
        for stage in STAGES:
            print("  " + " ".join(command(stage, targets, "CATALOG", options.out)[1:]))
        result = {"passed": None, "reason": reason}
        print(json.dumps(result))
        return 0 if options.dry else 3
    targets = targets_of(name, catalog)
    unfinished = measure(targets, options.out, LIMIT_S)
    names = {tree["name"] for tree in targets}
    stored = [each.record for each in Store(options.out).records()]
    result = judge([record for record in stored if record.cell.target in names], targets)
    result |= {"chip": name, "unfinished": unfinished, "folder": str(options.out)}
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
