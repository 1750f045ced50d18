"""What the energy counter of a real NVIDIA GPU does: one command, under ten minutes, one JSON file.

`python -m tests.gpu.energy_facts --out FILE` on an idle GPU that nobody else uses, with torch.
Nothing of the GPU's settings is changed. Exit status 3 where there is no GPU. `--dry` tries the
script itself, in seconds and over the fake driver library: its figures mean nothing.

The sections are those of the questions that only a real chip answers: how the counter ticks, which
power fields there are, whether counter and sensor alias with a square wave, counter against
integral, the idle levels, repeatability, the cost of reading, other tools over the same window, the
machine's other sources, power against load, and how wrong the TDP model is.
"""

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pynvml

from harness.meters.base import Unmeasurable
from harness.meters.model import ACCELERATOR
from harness.meters.nvml import NvmlMeter
from tests.gpu.load import MatrixLoad, NoLoad, wave
from tests.meters.nvml_fixture import library as fake

FIELDS = {"average": pynvml.NVML_FI_DEV_POWER_AVERAGE, "instant": pynvml.NVML_FI_DEV_POWER_INSTANT}
SCOPES = {"gpu": 0, "module": 1, "memory": 2, "gpu_base": 3}
PERIODS_MS = (10, 25, 33, 50, 100, 103, 200, 500)
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


class Facts:
    """The sections, in the order in which they must run: the first ones need a GPU without load."""

    def __init__(self, dry):
        self.dry = dry
        self.load = None
        self.meter = NvmlMeter()
        self.info = self.meter.probe()
        if isinstance(self.info, Unmeasurable):
            return
        # The load runs on the first visible GPU: only that one is metered.
        self.meter.close()
        uuid = self.info.covers[0].removeprefix("gpu:")
        self.meter = NvmlMeter(environment={"CUDA_VISIBLE_DEVICES": uuid})
        self.info = self.meter.probe()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        self.handle = next(h for h in handles if pynvml.nvmlDeviceGetUUID(h) == uuid)

    def seconds(self, value):
        """Return how long a part lasts that takes `value` seconds on a real GPU."""
        return value / 100 if self.dry else value

    # Readings

    def counter_j(self):
        return pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1e3

    def field_w(self, name, scope="gpu"):
        value = pynvml.nvmlDeviceGetFieldValues(self.handle, [(FIELDS[name], SCOPES[scope])])[0]
        return value.value.uiVal / 1e3 if value.nvmlReturn == pynvml.NVML_SUCCESS else None

    def power_w(self):
        return {
            "usage": pynvml.nvmlDeviceGetPowerUsage(self.handle) / 1e3,
            "average": self.field_w("average"),
            "instant": self.field_w("instant"),
        }

    def window(self, action, hertz=0):
        """Return the meter's reading over `action`, with power sampled beside it."""
        samples, stop = [], threading.Event()

        def sample():
            while not stop.wait(1 / hertz):
                samples.append(self.power_w())

        thread = threading.Thread(target=sample)
        mark = self.meter.begin()
        if hertz:
            thread.start()
        answer = action()
        stop.set()
        if hertz:
            thread.join()
        reading = self.meter.end(mark)
        found = {
            "joules": reading.joules,
            "duration_s": reading.duration_s,
            "counter_w": reading.joules / reading.duration_s if reading.joules else None,
            "reason": reading.reason,
            "flags": list(reading.flags),
            "temperature_c": pynvml.nvmlDeviceGetTemperature(self.handle, 0),
        }
        for name in ("usage", "average", "instant"):
            values = [s[name] for s in samples if s[name] is not None]
            found[f"{name}_w"] = float(np.mean(values)) if values else None
        return found | ({} if answer is None else {"answer": answer})

    def rest(self, seconds, hertz=0):
        return self.window(lambda: time.sleep(self.seconds(seconds)), hertz)

    # Sections

    def machine(self):
        h = self.handle
        return {
            "name": pynvml.nvmlDeviceGetName(h),
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "boundary": self.info.boundary,
            "provenance": self.info.provenance,
            "update_period_s": self.info.update_period_s,
            "limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3,
            "clock_reasons": pynvml.nvmlDeviceGetCurrentClocksEventReasons(h),
            "powercap": sorted(p.name for p in Path("/sys/class/powercap").glob("*")),
            "hwmon": sorted(
                p.read_text().strip() for p in Path("/sys/class/hwmon").glob("hwmon*/name")
            ),
            "ipmi": Path("/dev/ipmi0").exists(),
        }

    def ticks(self):
        """Poll the counter each millisecond: when it ticks, by how much, and the field's time."""
        times, steps, stamps = [], [], []
        field = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
        last = self.counter_j()
        until = time.perf_counter() + self.seconds(30)
        while (now := time.perf_counter()) < until:
            value = self.counter_j()
            if value != last:
                times.append(now)
                steps.append(value - last)
                stamp = pynvml.nvmlDeviceGetFieldValues(self.handle, [field])[0]
                if stamp.nvmlReturn == pynvml.NVML_SUCCESS:
                    stamps.append((stamp.timestamp, stamp.latencyUsec))
                last = value
            time.sleep(0.001)
        periods_ms = np.diff(times) * 1e3
        return {
            "ticks": len(times),
            "period_ms": quantiles(periods_ms),
            "step_j": quantiles(steps),
            "stamp_step_us": quantiles(np.diff([stamp for stamp, _ in stamps])),
            "histogram_ms": np.histogram(periods_ms, bins=range(0, 260, 10))[0].tolist(),
        }

    def fields(self):
        return {f"{name}.{scope}": self.field_w(name, scope) for name in FIELDS for scope in SCOPES}

    def idle_without_context(self):
        return self.rest(60, hertz=10)

    def idle_with_context(self):
        self.load = NoLoad() if self.dry else MatrixLoad()
        return self.rest(15)

    def idle_with_memory(self):
        held = self.load.hold(60)
        found = self.rest(15)
        self.load.release()
        return found | {"held_gb": held}

    def steady(self):
        self.load.prepare()
        self.load.busy(self.seconds(5))
        return self.window(lambda: self.load.busy(self.seconds(40)), hertz=10)

    def cooling(self):
        """Return the power and temperature of each 5 s after the load."""
        return [self.rest(5) for _ in range(6)]

    def bursty(self):
        action = lambda: wave(self.load, self.seconds(20), 1.0, 0.3, random.Random(1))  # noqa: E731
        return self.window(action, hertz=10)

    def squares(self):
        """Compare counter and sensor on square waves; a mean must not depend on the period."""
        found = {}
        for period_ms in PERIODS_MS:
            action = lambda p=period_ms: wave(self.load, self.seconds(7), p / 1e3, 0.5)  # noqa: E731
            found[f"{period_ms}ms"] = self.window(action, hertz=10)
        return found

    def repeats(self):
        """Take 20 windows of 1 s of full load, aligned and by plain reads of the counter."""
        aligned, plain = [], []
        for _ in range(20):
            before = self.counter_j(), time.perf_counter()
            self.load.busy(self.seconds(1))
            plain.append((self.counter_j() - before[0]) / (time.perf_counter() - before[1]))
            mark = self.meter.begin()
            self.load.busy(self.seconds(1))
            reading = self.meter.end(mark)
            aligned.append(reading.joules / reading.duration_s)
        return {"aligned_w": spread(aligned), "plain_w": spread(plain)}

    def cost(self):
        """Time a read, and what reading 0, 10 and 100 times a second does to small kernels."""
        found = {}
        for name, read in {"counter": self.counter_j, "power": self.power_w}.items():
            found[f"{name}_read_us"] = quantiles(time_calls(read, 200))
        for hertz in (0, 10, 100):
            stop = threading.Event()

            def poll(stop=stop, hertz=hertz):
                while not stop.wait(1 / hertz):
                    self.counter_j()
                    self.power_w()

            thread = threading.Thread(target=poll)
            if hertz:
                thread.start()
            taken_us, until = [], time.perf_counter() + self.seconds(10)
            while time.perf_counter() < until:
                taken_us += time_calls(self.load.small, 50)
            stop.set()
            if hertz:
                thread.join()
            found[f"kernel_us_at_{hertz}hz"] = quantiles(taken_us)
        return found

    def others(self):
        """Measure one window with other tools too, where they are installed."""
        found = {}
        with contextlib.ExitStack() as stack:
            try:
                from zeus.monitor import ZeusMonitor

                zeus = ZeusMonitor(gpu_indices=[0])
                zeus.begin_window("window", sync_execution=False)
                stack.callback(
                    lambda: found.update(
                        zeus_j=zeus.end_window("window", sync_execution=False).total_energy
                    )
                )
            except ImportError as error:
                found["zeus"] = str(error)
            found["ours"] = self.window(lambda: self.load.busy(self.seconds(20)))
        try:
            from codecarbon import OfflineEmissionsTracker

            tracker = OfflineEmissionsTracker(country_iso_code="USA", save_to_file=False)
            tracker.start()
            found["ours_beside_codecarbon"] = self.window(lambda: self.load.busy(self.seconds(20)))
            tracker.stop()
            found["codecarbon_gpu_j"] = tracker.final_emissions_data.gpu_energy * 3.6e6
        except ImportError as error:
            found["codecarbon"] = str(error)
        return found

    def levels(self):
        """Fit power to load over random on-off load; compare each point with the TDP model."""
        limit_w = pynvml.nvmlDeviceGetEnforcedPowerLimit(self.handle) / 1e3
        points = []
        for level in LEVELS:
            action = lambda d=level: wave(self.load, self.seconds(12), 0.1, d, random.Random(2))  # noqa: E731
            point = self.window(action)
            low, high = (limit_w * share for share in ACCELERATOR.interval((level, level)))
            within = point["counter_w"] is not None and low <= point["counter_w"] <= high
            points.append(point | {"model_low_w": low, "model_high_w": high, "within": within})
        x = np.array([point["answer"] for point in points])
        y = np.array([point["counter_w"] for point in points], dtype=float)
        slope, base = np.polyfit(x, y, 1)
        left = float(np.sum((y - slope * x - base) ** 2))
        total = float(np.sum((y - y.mean()) ** 2))
        return {
            "points": points,
            "idle_w": float(base),
            "slope_w": float(slope),
            "r_squared": 1 - left / total if total else None,
        }

    def run(self):
        sections = {}
        for name in (
            "machine",
            "fields",
            "ticks",
            "idle_without_context",
            "idle_with_context",
            "idle_with_memory",
            "steady",
            "cooling",
            "bursty",
            "squares",
            "repeats",
            "cost",
            "others",
            "levels",
        ):
            began = time.perf_counter()
            try:
                sections[name] = getattr(self, name)()
            except Exception as error:  # one answer missing must not cost the others
                sections[name] = {"error": f"{type(error).__name__}: {error}"}
            took_s = time.perf_counter() - began
            shown = "failed" if "error" in sections[name] else "done"
            print(f"{name:<22} {shown} in {took_s:.1f} s", file=sys.stderr)
        self.meter.close()
        return sections


def quantiles(values):
    if len(values) == 0:
        return None
    p = dict(zip(("p1", "p50", "p99"), np.percentile(values, (1, 50, 99)).tolist(), strict=True))
    return {"n": len(values), **p, "max": float(np.max(values))}


def spread(values):
    return {
        "mean": float(np.mean(values)),
        "spread_pct": float(100 * np.std(values, ddof=1) / np.mean(values)),
    }


def time_calls(call, count):
    taken_us = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        taken_us.append((time.perf_counter() - began) * 1e6)
    return taken_us


def refuse(reason):
    print(f"energy_facts: {reason}", file=sys.stderr)
    return 3


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--dry", action="store_true", help="try the script over the fake driver")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        if options.dry:
            library = fake.build(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            if library is None:
                return refuse("no C compiler (cc or gcc) to build the fake driver with")
            stack.enter_context(fake.bound(library)).configure(tick_ms=10)
        else:
            try:
                import torch
            except ImportError:
                return refuse("no torch; install it with: pip install 'accelerator-harness[torch]'")
            if not torch.cuda.is_available():
                return refuse("torch sees no GPU; run this on a machine with an NVIDIA GPU")
        facts = Facts(options.dry)
        if isinstance(facts.info, Unmeasurable):
            return refuse(f"{facts.info.reason}; {facts.info.remedy}")
        began = datetime.now(UTC)
        sections = facts.run()
    document = {
        "schema": 1,
        "simulated": options.dry,
        "began": began.isoformat(timespec="seconds"),
        "sections": sections,
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    failed = [name for name, found in sections.items() if "error" in found]
    print(f"{options.out}: {len(sections) - len(failed)} of {len(sections)} sections")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
