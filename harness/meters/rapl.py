"""Intel and AMD package energy from the powercap tree (RAPL: running average power limit).

Only whole packages count (`intel-rapl:N` called package-N, one zone per die where the chip says
so). psys holds the packages, core and uncore are inside them, and intel-rapl-mmio shows the same
counter again. dram is beside the package on servers and inside it on some clients, so it is left
out: the boundary is the package and nothing else.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.meters.base import (
    SHORT_WINDOW_PERIODS,
    Mark,
    MeterInfo,
    Unmeasurable,
    failed_reading,
    quantisation,
    reading,
)
from harness.meters.wrapping import Counter, Failed, Guard, Values, span
from harness.schema.record import EnergyFlag, EnergyReading

POWERCAP = Path("/sys/class/powercap")
PACKAGE = re.compile(r"package-(\d+)(-die-\d+)?")
# RAPL has no published accuracy on current chips.
SENSOR_UNCERTAINTY = 0.05
SENSOR_SOURCE = "declared: the vendors publish no accuracy"
# Intel Software Developer's Manual, volume 3, "RAPL interfaces": about 1 ms. AMD's driver
# documentation (hwmon/amd_energy) says the same. What looks faster is a read between two updates.
LEAST_UPDATE_PERIOD_S = 0.001
PROBE_POLL_S = 0.012
# Above this mean power a difference is a counter that was reset, not energy.
MOST_WATTS_PER_PACKAGE = 1500.0
LIMIT_MARGIN = 2.0
"""Power limits hold on average; a package may be this much above its highest limit."""
GUARD_INTERVAL_S = 30.0
WATTS_INTERVAL_S = 0.1
VIRTUAL = "run on bare metal: virtual machines rarely expose RAPL"
HIDDEN = (
    "run on the host: containers hide these files "
    "(docker: --security-opt systempaths=unconfined, as root)"
)

Reader = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Zone:
    """A package: its counter and the counter's file."""

    counter: Counter
    path: Path


def read_text(path: Path) -> str:
    """Return the text of a file of the tree."""
    return path.read_text()


class RaplMeter:
    """Sums the CPU packages. A thread reads the counters often enough to see every wrap.

    `root` is the powercap tree; the other arguments stand for the outside world in tests.
    """

    def __init__(
        self,
        root: Path = POWERCAP,
        *,
        read: Reader = read_text,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        wait: Callable[[float], None] = time.sleep,
        most_watts: float = MOST_WATTS_PER_PACKAGE,
    ) -> None:
        self._root = root
        self._read_text = read
        self._now_ns = now_ns
        self._wait = wait
        self._most_watts = most_watts
        self._zones: tuple[Zone, ...] = ()
        self._counters: tuple[Counter, ...] = ()
        self._info: MeterInfo | None = None
        self._guard: Guard | None = None
        self._refused = ""

    def probe(self) -> MeterInfo | Unmeasurable:
        """Find the packages, read each once, and see how often the first one has a new value."""
        self._zones, self._counters, self._info = (), (), None
        if not self._root.is_dir():
            return Unmeasurable("no powercap tree on this machine", VIRTUAL)
        try:
            zones = tuple(self._packages())
            period_s = self._update_period_s(zones[0].path) if zones else 0.0
        except PermissionError as error:
            remedy = f"sudo chmod a+r {self._root}/intel-rapl:*/energy_uj (until the next boot)"
            return Unmeasurable(
                f"no permission to read {error.filename}", f"{remedy}, or run as root"
            )
        except FileNotFoundError as error:
            return Unmeasurable(f"the powercap tree has no {error.filename}", HIDDEN)
        except (OSError, ValueError) as error:
            return Unmeasurable(f"the powercap tree cannot be read: {error}", "update the kernel")
        if not zones:
            remedy = f"sudo modprobe intel_rapl_msr; else {VIRTUAL}"
            return Unmeasurable("the powercap tree has no CPU package", remedy)
        self._zones = zones
        self._counters = tuple(zone.counter for zone in zones)
        self._info = MeterInfo(
            "rapl",
            "package",
            tuple(counter.name for counter in self._counters),
            f"{self._root}/intel-rapl:*/energy_uj",
            period_s,
            SENSOR_UNCERTAINTY,
            SENSOR_SOURCE,
        )
        return self._info

    def begin(self) -> Mark:
        """Read the counters and start to watch them for wraps."""
        self.close()
        self._refused = ""
        at_ns = self._now_ns()
        try:
            mark = Mark(at_ns, self._read())
        except (OSError, ValueError) as error:
            self._refused = str(error)
            return Mark(at_ns)
        quarter_s = min(
            zone.counter.range_j / (4 * zone.counter.most_watts) for zone in self._zones
        )
        self._guard = Guard(min(GUARD_INTERVAL_S, quarter_s), self._timed)
        return mark

    def end(self, mark: Mark) -> EnergyReading:
        """Return the joules since `mark`; without joules and with a reason if they are not known.

        Every package must have used energy: a counter that stands still measures nothing.
        """
        assert self._info is not None, "probe() comes first"
        between = self._guard.stop() if self._guard else []
        self._guard = None
        duration_s = (self._now_ns() - mark.at_ns) / 1e9
        try:
            if not mark.counters:
                raise ValueError(self._refused)
            last = self._timed()
        except (OSError, ValueError) as error:
            return failed_reading(self._info, duration_s, f"the counter became unreadable: {error}")
        duration_s = (last[0] - mark.at_ns) / 1e9
        try:
            found = span(self._counters, [(mark.at_ns, mark.counters), *between, last])
        except Failed as failed:
            return failed_reading(self._info, duration_s, str(failed), *failed.flags)
        for zone, zone_j in zip(self._zones, found.joules, strict=True):
            if zone_j == 0:
                still = duration_s >= SHORT_WINDOW_PERIODS * self._info.update_period_s
                why = "stood still" if still else "had no update in so short a window"
                return failed_reading(
                    self._info, duration_s, f"the counter of {zone.counter.name} {why}"
                )
        joules = sum(found.joules)
        peak = sum(zone.counter.most_watts for zone in self._zones) * duration_s / joules
        edges = quantisation(self._info.update_period_s, duration_s, max(1.0, peak))
        flags: list[EnergyFlag] = ["wrap_corrected"] if found.wrapped else []
        return reading(self._info, joules, duration_s, {"quantisation": edges}, flags)

    def watts(self) -> float | None:
        """Return the mean power of the next 0.1 s; None if the counters do not say."""
        try:
            before = self._timed()
            self._wait(WATTS_INTERVAL_S)
            after = self._timed()
            found = span(self._counters, [before, after])
        except (OSError, ValueError, Failed):
            return None
        seconds = (after[0] - before[0]) / 1e9
        return sum(found.joules) / seconds if self._zones and seconds > 0 else None

    def close(self) -> None:
        """Stop watching the counters."""
        if self._guard:
            self._guard.stop()
            self._guard = None

    def _packages(self) -> list[Zone]:
        """Return the packages by number; a second zone of the same name is the same counter."""
        zones: dict[str, Zone] = {}
        for folder in sorted(self._root.glob("intel-rapl:*")):
            if folder.name.count(":") != 1:
                continue
            match = PACKAGE.fullmatch(self._read_text(folder / "name").strip())
            if not match or (name := f"cpu:{match[1]}{match[2] or ''}") in zones:
                continue
            range_j = from_millionths(self._read_text(folder / "max_energy_range_uj"))
            if range_j <= 0:
                raise ValueError(f"{folder / 'max_energy_range_uj'} is not positive")
            from_millionths(self._read_text(folder / "energy_uj"))
            zones[name] = Zone(
                Counter(name, range_j, self._limit_watts(folder)), folder / "energy_uj"
            )
        return sorted(zones.values(), key=lambda zone: zone.counter.name)

    def _limit_watts(self, folder: Path) -> float:
        """Return a power that the package cannot exceed: from its limits, where it states any."""
        limits = [0.0]
        for path in folder.glob("constraint_*_uw"):
            if path.name.endswith(("_power_limit_uw", "_max_power_uw")):
                try:
                    limits.append(from_millionths(self._read_text(path)))
                except (OSError, ValueError):
                    continue  # some kernels list a limit and cannot read it
        most = LIMIT_MARGIN * max(limits)
        return min(most, self._most_watts) if most > 0 else self._most_watts

    def _update_period_s(self, path: Path) -> float:
        """Return the median time between new values of a counter; at least 1 ms."""
        start_ns = self._now_ns()
        changes: list[int] = []
        before = self._read_text(path)
        for _ in range(10_000):
            value, now_ns = self._read_text(path), self._now_ns()
            if value != before:
                changes.append(now_ns)
                before = value
            if now_ns - start_ns > PROBE_POLL_S * 1e9:
                break
        gaps = [(b - a) / 1e9 for a, b in pairwise(changes)]
        return max([LEAST_UPDATE_PERIOD_S, *([statistics.median(gaps)] if gaps else [])])

    def _read(self) -> Values:
        return tuple(from_millionths(self._read_text(zone.path)) for zone in self._zones)

    def _timed(self) -> tuple[int, Values]:
        counters = self._read()
        return self._now_ns(), counters


def from_millionths(text: str) -> float:
    """Return the joules (or watts) that a file states in millionths. ValueError if it does not."""
    value = int(text.strip()) / 1e6
    if value < 0:
        raise ValueError(f"negative value {text.strip()}")
    return value
