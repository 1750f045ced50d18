"""How wrong the energy of a short window is: edges on the counter's ticks, plain reads, and zeus.

The true binding reads a fake driver library whose power is known (tests/meters/nvml_fixture). Its
counter ticks every 100 ms. Time is virtual: the library and our meter live on a clock that moves
only when the meter sleeps (1 ms, and 60 us late) or a window passes, so that the truth is exact and
a draw takes no time. Windows last the stated time give or take half a tick, since traffic does not
end on ticks, and begin anywhere.

- edge_aligned: our meter; its joules against the true ones over the duration that it states.
- edge_aligned_window: its mean power times the window, against the true joules of the window.
- plain: the counter read as the window begins and ends.
- zeus: ZeusMonitor's window, on the same draws. It is not installed here but lives in a virtual
  environment of its own: .cache/zeus-venv, or `--zeus PYTHON`; without one its figures are null.

`real_time`: windows of 0.5 s of our meter on the machine's own clock, with its real sleeps.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pynvml

from harness.meters.nvml import NvmlMeter
from tests.meters.nvml_fixture import library as fake

WINDOWS_S = (0.2, 0.5, 1.0, 2.0)
TICK_S = 0.1
PROFILES = {
    "constant": {"watts": 350},
    # Decode steps of a language model last about this long.
    "square": {"watts": 600, "low_watts": 100, "period_ms": 37, "duty": 0.5},
}
ZEUS = Path(".cache/zeus-venv/bin/python")
ZEUS_HINT = f"python -m venv {ZEUS.parents[1]} && {ZEUS} -m pip install zeus"
# Runs under zeus's interpreter: windows from stdin, joules to stdout.
ZEUS_CODE = """if True:
    import ctypes, json, sys
    driver = ctypes.CDLL("libnvidia-ml.so.1")
    driver.fake_nvml_set_time.argtypes = [ctypes.c_int64]
    now_ns = 10**9
    driver.fake_nvml_set_time(now_ns)
    import zeus
    from zeus.monitor import ZeusMonitor
    monitor = ZeusMonitor(gpu_indices=[0])
    found = []
    for gap_ns, window_ns in json.load(sys.stdin):
        now_ns += gap_ns
        driver.fake_nvml_set_time(now_ns)
        monitor.begin_window("window", sync_execution=False)
        begin_ns = now_ns
        now_ns += window_ns
        driver.fake_nvml_set_time(now_ns)
        joules = monitor.end_window("window", sync_execution=False).gpu_energy[0]
        found.append((begin_ns - 10**9, now_ns - 10**9, joules))
    print(json.dumps({"version": zeus.__version__, "found": found}))
"""


def draws(window_s, count, seed):
    """Return (time before, length) of each window, in nanoseconds."""
    rng = np.random.default_rng([seed, round(window_s * 1000)])
    gaps_s = rng.uniform(0, TICK_S, count)
    windows_s = window_s + rng.uniform(-TICK_S / 2, TICK_S / 2, count)
    return np.rint(np.stack([gaps_s, windows_s], axis=1) * 1e9).astype(int).tolist()


def rms_pct(found, truth):
    return 100 * math.sqrt(np.mean(np.square(np.asarray(found) / np.asarray(truth) - 1)))


def ours(driver, profile, windows):
    """Return the rms errors of our meter and of plain reads."""
    driver.reset()
    clock = fake.VirtualTime(driver)
    driver.configure(tick_ms=TICK_S * 1e3, **profile)
    meter = NvmlMeter(clock.now_ns, clock.sleep, clock, {})
    meter.probe()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    own, own_truth, as_window, plain, truth = [], [], [], [], []
    for gap_ns, window_ns in windows:
        clock.advance(gap_ns / 1e9)
        begin_ns, before_mj = clock.ns, pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        clock.advance(window_ns / 1e9)
        after_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        plain.append((after_mj - before_mj) / 1e3)
        truth.append(driver.true_j(begin_ns, clock.ns))
    errors = {"plain": rms_pct(plain, truth)}
    truth = []
    for gap_ns, window_ns in windows:
        clock.advance(gap_ns / 1e9)
        mark = meter.begin()
        begin_ns = clock.ns
        clock.advance(window_ns / 1e9)
        truth.append(driver.true_j(begin_ns, clock.ns))
        reading = meter.end(mark)
        own.append(reading.joules)
        own_truth.append(driver.true_j(mark.at_ns, mark.at_ns + round(reading.duration_s * 1e9)))
        as_window.append(reading.joules / reading.duration_s * window_ns / 1e9)
    meter.close()
    return errors | {
        "edge_aligned": rms_pct(own, own_truth),
        "edge_aligned_window": rms_pct(as_window, truth),
    }


def theirs(python, library, driver, profile, windows):
    """Return zeus's rms error and version."""
    settings = " ".join(f"{name}={value}" for name, value in profile.items())
    result = subprocess.run(
        [str(python), "-c", ZEUS_CODE],
        input=json.dumps(windows),
        env=fake.environment(library, f"{settings} tick_ms={TICK_S * 1e3}"),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    answer = json.loads(result.stdout.splitlines()[-1])
    driver.reset()
    driver.set_time(0)
    driver.configure(**profile)
    truth = [driver.true_j(begin_ns, end_ns) for begin_ns, end_ns, _ in answer["found"]]
    return rms_pct([joules for *_, joules in answer["found"]], truth), answer["version"]


def real_time(driver, count, window_s=0.5):
    """Return the rms error over windows on the machine's clock."""
    driver.reset()
    driver.configure(tick_ms=TICK_S * 1e3, **PROFILES["constant"])
    meter = NvmlMeter(environment={})
    meter.probe()
    found, truth = [], []
    for gap_ns, window_ns in draws(window_s, count, 2):
        time.sleep(gap_ns / 1e9)
        mark = meter.begin()
        time.sleep(window_ns / 1e9)
        reading = meter.end(mark)
        found.append(reading.joules)
        truth.append(driver.true_j(mark.at_ns, mark.at_ns + round(reading.duration_s * 1e9)))
    meter.close()
    return rms_pct(found, truth)


def main(count, real, python):
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        library = fake.build(Path(folder))
        if library is None:
            sys.exit("energy_window: no C compiler (cc or gcc) to build the fake driver with")
        reason = None
        if not python.exists():
            reason = f"no zeus: there is no {python}; make one with: {ZEUS_HINT}"
        columns = ("edge_aligned", "edge_aligned_window", "plain", "zeus")
        print(
            f"rms error in %, {count} windows each, virtual time, a tick every {TICK_S * 1e3:g} ms"
        )
        print(f"{'':<10} {'window':>7}" + "".join(f"{column:>21}" for column in columns))
        with fake.bound(library) as driver:
            for seed, (name, profile) in enumerate(PROFILES.items()):
                for window_s in WINDOWS_S:
                    windows = draws(window_s, count, seed)
                    errors = ours(driver, profile, windows) | {"zeus": None}
                    if reason is None:
                        try:
                            errors["zeus"], found["zeus_version"] = theirs(
                                python, library, driver, profile, windows
                            )
                        except (subprocess.SubprocessError, OSError) as error:
                            reason = f"zeus failed: {error}"
                    cells = (errors[column] for column in columns)
                    print(
                        f"{name:<10} {window_s:>5g} s"
                        + "".join(f"{'null' if c is None else f'{c:.3f}':>21}" for c in cells)
                    )
                    for column, error in errors.items():
                        key = f"{name}.{window_s:g}s.{column}_rms_pct"
                        found[key] = None if error is None else round(error, 4)
            found["real_time.0.5s.edge_aligned_rms_pct"] = round(real_time(driver, real), 4)
            print(
                f"on the machine's clock, constant, 0.5 s, {real} windows: "
                f"{found['real_time.0.5s.edge_aligned_rms_pct']:.3f} %"
            )
    if reason is not None:
        print(reason)
    found |= {"windows": count, "zeus_reason": reason}
    found["met"] = found["constant.0.5s.edge_aligned_rms_pct"] <= 0.3
    print(json.dumps(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="50 windows instead of 500")
    parser.add_argument("--zeus", type=Path, default=ZEUS, help="interpreter that has zeus")
    arguments = parser.parse_args()
    main(*((50, 3) if arguments.fast else (500, 20)), arguments.zeus)
