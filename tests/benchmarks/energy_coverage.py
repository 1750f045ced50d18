"""How often the stated 95 % uncertainty of an energy reading holds the true joules.

Powers of known integral are metered over random windows by sources of known tick and a gain error
drawn evenly within the sensor's stated uncertainty. The meters are the harness's own where it has
one (RAPL, hwmon, wall log), on virtual time; "plain" and "aligned" are the two ways to read a
counter that ticks every 100 ms.

A gain within its bounds leaves room that could hide an error elsewhere. So each draw is judged a
second time, in the last columns: without the gain error, against the stated uncertainty without the
sensor's part. Where a source has nothing but its sensor to be unsure of (a constant power, sampled)
that is exact, and both are zero.
"""

import json
import math
import sys
import tempfile
from bisect import bisect_right
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from harness.meters.base import MeterInfo, quantisation, reading
from harness.meters.hwmon import HwmonMeter
from harness.meters.rapl import RaplMeter
from harness.meters.sampler import gaps_s
from harness.meters.wall_log import WallLog
from harness.meters.wall_reading import SKEW_S, wall_meter, wall_reading

SPAN_UJ = 262_143_328_850
LIMIT_W = 700.0
LONGEST_S = 75.0


class Power:
    """Power over time, linear between knots or (`step`) constant from each knot to the next."""

    def __init__(self, times, watts, *, step):
        self.times, self.values, self.step = list(times), list(watts), step
        shape = (lambda a, b: a) if step else (lambda a, b: (a + b) / 2)
        pieces = (
            (after - before) * shape(a, b)
            for (before, after), (a, b) in zip(
                pairwise(self.times), pairwise(self.values), strict=True
            )
        )
        self.sums = [0.0, *accumulate(pieces)]

    def joules(self, at_s):
        """Return the energy from time 0 to `at_s`."""
        i = min(bisect_right(self.times, at_s), len(self.times) - 1) - 1
        into_s = at_s - self.times[i]
        slope = 0.0
        if not self.step:
            slope = (self.values[i + 1] - self.values[i]) / (self.times[i + 1] - self.times[i])
        return self.sums[i] + into_s * (self.values[i] + slope * into_s / 2)


def constant(rng):
    return Power([0, LONGEST_S], [rng.uniform(50, 600)] * 2, step=True)


def square(rng):
    """Return a square wave of 10 ms to 3 s."""
    period_s, duty = 10 ** rng.uniform(-2, 0.5), rng.uniform(0.2, 0.8)
    low, high = rng.uniform(50, 200), rng.uniform(200, 600)
    starts = (np.arange(math.ceil(LONGEST_S / period_s) + 1) - rng.random()) * period_s
    times = np.stack([starts, starts + duty * period_s], axis=1).ravel()
    return stepped(times, np.tile([high, low], starts.size))


def ramp(rng):
    return Power([0, LONGEST_S], rng.uniform(50, 600, 2), step=False)


def walk(rng):
    """Return a random walk of 50 ms steps, held between 50 and 600 W."""
    steps = rng.normal(0, rng.uniform(5, 40), round(LONGEST_S / 0.05))
    watts, at = [], rng.uniform(100, 500)
    for step in steps:
        at += step
        at = 100 - at if at < 50 else 1200 - at if at > 600 else at
        watts.append(min(600.0, max(50.0, at)))
    return Power(np.arange(len(watts)) * LONGEST_S / (len(watts) - 1), watts, step=False)


def bursts(rng):
    """Return bursts of 20 to 500 ms on average, one to six times as long apart."""
    on_s = 10 ** rng.uniform(-1.7, -0.3)
    off_s = on_s * rng.uniform(1, 6)
    count = math.ceil(2 * LONGEST_S / (on_s + off_s)) + 20
    lengths = np.stack([rng.exponential(off_s, count), rng.exponential(on_s, count)], axis=1)
    times = np.concatenate([[0.0], np.cumsum(lengths.ravel())[:-1]])
    return stepped(times, np.tile([rng.uniform(50, 150), rng.uniform(300, 600)], count))


def stepped(times, watts):
    """Return steps from time 0 to the end."""
    first = int(np.searchsorted(times, 0.0, side="right")) - 1
    times = np.concatenate([[0.0], times[first + 1 :], [LONGEST_S * 10]])
    watts = np.concatenate([watts[first:], watts[-1:]])
    return Power(times, watts, step=True)


PROFILES = {
    "constant": constant,
    "square": square,
    "ramp": ramp,
    "walk": walk,
    "bursts": bursts,
}


class Clock:
    """Moves a little with each look, as a real one does."""

    def __init__(self, at_s, look_s):
        self.at_ns, self.look_ns = round(at_s * 1e9), round(look_s * 1e9)

    def now_ns(self):
        self.at_ns += self.look_ns
        return self.at_ns

    def now_s(self):
        return self.at_ns / 1e9


def ticking(power, tick_s, phase_s):
    """Return the joules that a counter shows at a time: those of its last tick."""
    return lambda at_s: power.joules(
        max(0.0, math.floor((at_s - phase_s) / tick_s) * tick_s + phase_s)
    )


def rapl(rng, power, gain, root):
    """Meter a package by its counter, which ticks every millisecond and may wrap."""
    clock = Clock(1.0, 2e-4)
    count = ticking(power, 0.001, rng.uniform(0, 0.001))
    offset_uj = rng.uniform(0, SPAN_UJ)

    def read(path):
        if path.name != "energy_uj":
            return path.read_text()
        return str(int(offset_uj + gain * count(clock.now_s()) * 1e6) % SPAN_UJ)

    meter = RaplMeter(root / "powercap", read=read, now_ns=clock.now_ns)
    assert isinstance(meter.probe(), MeterInfo)
    mark = meter.begin()
    clock.at_ns += round(rng.uniform(0.2, 20) * 1e9)
    found = meter.end(mark)
    begin_s = mark.at_ns / 1e9
    return found, power.joules(begin_s + found.duration_s) - power.joules(begin_s)


def sampled(rng, power, gain, root):
    """Meter a socket by a sensor that averages over 50 ms, at most 10 times a second."""
    clock = Clock(1.0, 0.0)
    phase_s = rng.uniform(0, 0.05)
    count = ticking(power, 0.05, phase_s)

    def read(path):
        if path.name != "power1_average":
            return path.read_text()
        at_s = clock.now_s()
        return str(round(gain * (count(at_s) - count(at_s - 0.05)) / 0.05 * 1e6))

    meter = HwmonMeter(root / "hwmon", read=read, now_ns=clock.now_ns, background=False)
    assert isinstance(meter.probe(), MeterInfo)
    mark = meter.begin()
    end_ns = mark.at_ns + round(rng.uniform(2, 20) * 1e9)
    for gap_s in gaps_s(int(rng.integers(1 << 30))):
        if clock.at_ns + gap_s * 1e9 >= end_ns:
            break
        clock.at_ns += round(gap_s * 1e9)
        meter.sampler.sample()
    clock.at_ns = end_ns
    return meter.end(mark), power.joules(end_ns / 1e9) - power.joules(mark.at_ns / 1e9)


GPU = MeterInfo("gpu", "chip", ("gpu:0",), "counter", 0.1, 0.05, "declared")


def plain(rng, power, gain, root):
    """Meter a GPU by its counter, read wherever the window begins and ends."""
    count = ticking(power, 0.1, rng.uniform(0, 0.1))
    begin_s, duration_s = rng.uniform(1, 2), rng.uniform(1, 20)
    joules = gain * (count(begin_s + duration_s) - count(begin_s))
    edges = quantisation(0.1, duration_s, LIMIT_W * duration_s / joules)
    truth_j = power.joules(begin_s + duration_s) - power.joules(begin_s)
    return reading(GPU, joules, duration_s, {"quantisation": edges}), truth_j


def aligned(rng, power, gain, root):
    """Meter a GPU by its counter from tick to tick, each met within a millisecond."""
    ticks = rng.uniform(0, 0.1) + 0.1 * np.array([10, 10 + rng.integers(5, 200)])
    seen_s = ticks + rng.uniform(0, 0.001, 2)
    joules = gain * (power.joules(ticks[1]) - power.joules(ticks[0]))
    duration_s = float(seen_s[1] - seen_s[0])
    edges = quantisation(0.001, duration_s, LIMIT_W * duration_s / joules)
    truth_j = power.joules(seen_s[1]) - power.joules(seen_s[0])
    return reading(GPU, joules, duration_s, {"quantisation": edges}), truth_j


def wall(rng, power, gain, root):
    """Meter a node by an analyzer's averages, one a second, whose clock is off by up to 0.8 s."""
    at_s = np.arange(2, round(LONGEST_S) - 1) + rng.random()
    watts = np.array([gain * (power.joules(t) - power.joules(t - 1)) for t in at_s.tolist()])
    skew_s = rng.uniform(-SKEW_S, SKEW_S)
    none = np.array([])
    log = WallLog(Path("spl.txt"), "ptd", "0" * 64, at_s + skew_s, watts, {}, none)
    begin_s, duration_s = rng.uniform(4, 8), rng.uniform(10, 60)
    found = wall_reading(log, wall_meter(log), begin_s, begin_s + duration_s)
    return found, power.joules(begin_s + duration_s) - power.joules(begin_s)


METERS = {
    "rapl": (rapl, 0.05),
    "plain": (plain, GPU.sensor),
    "aligned": (aligned, GPU.sensor),
    "sampled": (sampled, 0.05),
    "wall": (wall, 0.01),
}


def trees(root):
    """Write the files that the meters find: one package, one socket."""
    package = root / "powercap" / "intel-rapl:0"
    socket = root / "hwmon" / "hwmon0" / "device"
    for folder in (package, socket):
        folder.mkdir(parents=True)
    for path, text in {
        package / "name": "package-0",
        package / "max_energy_range_uj": str(SPAN_UJ),
        package / "energy_uj": "0",
        package / "constraint_0_power_limit_uw": "600000000",
        socket.parent / "name": "power_meter",
        socket / "power1_average": "0",
        socket / "power1_average_interval": "50",
        socket / "power1_oem_info": "Grace Power Socket 0",
    }.items():
        path.write_text(f"{text}\n")


def coverage(meter, sensor, profile, draws, seed, root):
    """Return the share of draws that held, with and without the gain, and the medians stated."""
    held, held_alone, stated, stated_alone = 0, 0, [], []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        power = profile(rng)
        gain = 1 + rng.uniform(-sensor, sensor)
        found, truth_j = meter(rng, power, gain, root)
        assert found.joules is not None, found.reason
        alone = math.hypot(*(part for name, part in found.parts.items() if name != "sensor"))
        held += abs(found.joules - truth_j) <= found.uncertainty * found.joules
        # A microjoule in a million: what the files' integers round away.
        held_alone += abs(found.joules / gain - truth_j) <= (alone + 1e-6) * found.joules / gain
        stated.append(found.uncertainty)
        stated_alone.append(alone)
    medians = (float(np.median(stated)), float(np.median(stated_alone)))
    return 100 * held / draws, 100 * held_alone / draws, *medians


def main(draws):
    print(f"{draws} draws each; in per cent, with a standard error of {22 / math.sqrt(draws):.1f}")
    titles = ("covered", "stated", "covered *", "stated *")
    print(f"{'profile':<10}{'meter':<9}" + "".join(f"{title:>11}" for title in titles))
    covered, alone = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        trees(Path(folder))
        for seed, (name, profile) in enumerate(PROFILES.items()):
            for title, (meter, sensor) in METERS.items():
                result = coverage(meter, sensor, profile, draws, seed, Path(folder))
                covered.setdefault(name, {})[title] = result[0]
                alone.setdefault(name, {})[title] = result[1]
                cells = (result[0], 100 * result[2], result[1], 100 * result[3])
                print(f"{name:<10}{title:<9}" + "".join(f"{cell:>11.2f}" for cell in cells))
    print("* without the sensor's gain error and without its part of the uncertainty")
    found = {
        "covered_pct": {name: min(meters.values()) for name, meters in covered.items()},
        "covered_pct_by_meter": covered,
        "covered_without_sensor_pct": alone,
        "draws": draws,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(200 if "--fast" in sys.argv[1:] else 2_000)
