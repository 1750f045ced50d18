"""Intel and AMD package energy from the powercap tree (RAPL: running average power limit)."""

from __future__ import annotations

import time
from pathlib import Path

from harness.meters.base import Mark, MeterInfo, Unmeasurable, failed_reading
from harness.schema.record import EnergyReading

POWERCAP = Path("/sys/class/powercap")
# RAPL has no published accuracy on current chips; 5 % is declared, not measured.
SENSOR_UNCERTAINTY = 0.05
UPDATE_PERIOD_S = 0.001
# Above this mean power a difference is a counter that was reset, not energy.
MOST_WATTS_PER_PACKAGE = 1500.0


class RaplMeter:
    """Sums the CPU packages (`intel-rapl:N`); leaves out psys and sub-domains, which overlap them.

    A counter that went backwards has wrapped at `max_energy_range_uj` if that gives a believable
    power, else it was reset and there is no reading.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._root = root
        self._packages: list[tuple[str, Path, float]] = []

    def probe(self) -> MeterInfo | Unmeasurable:
        """Find the packages and read each once."""
        self._packages = []
        if not self._root.is_dir():
            return Unmeasurable(
                "no powercap tree on this machine",
                "run on bare metal: virtual machines rarely expose RAPL",
            )
        try:
            for zone in sorted(self._root.glob("intel-rapl:*")):
                if zone.name.count(":") != 1:
                    continue
                name = (zone / "name").read_text().strip()
                if not name.startswith("package"):
                    continue
                span = float((zone / "max_energy_range_uj").read_text()) / 1e6
                float((zone / "energy_uj").read_text())
                self._packages.append((name, zone / "energy_uj", span))
        except PermissionError as error:
            return Unmeasurable(
                f"no permission to read {error.filename}",
                "run as root, or: sudo chmod -R a+r /sys/class/powercap",
            )
        except (OSError, ValueError) as error:
            return Unmeasurable(f"the powercap tree cannot be read: {error}", "update the kernel")
        if not self._packages:
            return Unmeasurable(
                "the powercap tree has no CPU package", "load the module intel_rapl_msr"
            )
        return MeterInfo(
            "rapl", "package", tuple(name for name, _, _ in self._packages), str(self._root)
        )

    def begin(self) -> Mark:
        """Read the counters."""
        return Mark(time.perf_counter_ns(), self._read())

    def _read(self) -> tuple[float, ...]:
        return tuple(float(path.read_text()) / 1e6 for _, path, _ in self._packages)

    def end(self, mark: Mark) -> EnergyReading:
        """Return the joules since `mark`; without joules and with a reason if a read failed."""
        duration_s = (time.perf_counter_ns() - mark.at_ns) / 1e9
        try:
            now = self._read()
        except (OSError, ValueError) as error:
            return failed_reading(
                "rapl", "package", duration_s, f"the counter became unreadable: {error}"
            )
        joules, flags = 0.0, []
        for before, after, (name, _, span) in zip(mark.counters, now, self._packages, strict=True):
            delta = after - before
            if delta < 0:
                delta += span
                flags.append("wrap_corrected")
            if not 0 <= delta <= MOST_WATTS_PER_PACKAGE * duration_s + 1:
                return failed_reading(
                    "rapl",
                    "package",
                    duration_s,
                    f"the counter of {name} was reset",
                    "counter_reset",
                )
            joules += delta
        quantisation = UPDATE_PERIOD_S / duration_s if duration_s else 1.0
        return EnergyReading(
            meter="rapl",
            joules=joules,
            duration_s=duration_s,
            boundary="package",
            covers=tuple(name for name, _, _ in self._packages),
            provenance="counter",
            uncertainty=(SENSOR_UNCERTAINTY**2 + quantisation**2) ** 0.5,
            parts={"sensor": SENSOR_UNCERTAINTY, "quantisation": quantisation},
            flags=tuple(sorted(set(flags))),
        )

    def close(self) -> None:
        """Hold nothing open."""
