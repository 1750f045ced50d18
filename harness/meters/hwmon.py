"""Board and socket energy from the kernel's hardware monitors (hwmon): sampled power.

A board shows many sensors, most of them parts of another. Only labels whose meaning is documented
count, in the order of `KNOWN`, and only the first kind that is there whole; nothing is ever added
to what holds it. Sources: Jetson's VDD_IN (Nano: POM_5V_IN) and the three rails that make up an AGX
Orin: NVIDIA Jetson Linux Developer Guide, "Platform Power and Performance"; Grace's labels: NVIDIA
Grace Performance Tuning Guide, "Power Telemetry"; files and units: Linux kernel documentation,
hwmon/sysfs-interface, hwmon/ina3221 and hwmon/acpi_power_meter.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.meters.base import (
    Mark,
    MeterInfo,
    Unmeasurable,
    failed_reading,
    quantisation,
    reading,
)
from harness.meters.sampler import LEAST_GAP_S, Sampler, integral
from harness.schema.record import Boundary, EnergyReading

HWMON = Path("/sys/class/hwmon")
# INA3221's data sheet gives 1 % of gain at most, without the shunt; NVIDIA states none for Grace.
SENSOR_UNCERTAINTY = 0.05
SENSOR_SOURCE = "declared: the boards' makers publish no accuracy"
# A sample above it is an error of the bus, not power: no board that hwmon covers draws as much.
MOST_WATTS = 20_000.0
DEFAULT_PERIOD_S = 0.1
NO_SENSOR = "run on a board with such a sensor (Jetson, Grace, a server with an ACPI power meter)"


@dataclass(frozen=True, slots=True)
class Kind:
    """Sensors that a meter may add: their chip, their labels, and what their sum stands for.

    With `whole` every label must be there; else every sensor that matches one counts, and group 1
    of the label numbers what it covers.
    """

    chip: str
    labels: tuple[str, ...]
    boundary: Boundary
    covers: tuple[str, ...]
    whole: bool = False


KNOWN = (
    Kind("power_meter", (r"Module Power Socket (\d+)",), "module", ("module:{}", "cpu:{}")),
    Kind("ina3221", ("VDD_IN|POM_5V_IN",), "module", ("module:0", "cpu:0")),
    Kind(
        "ina3221",
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        "module",
        ("module:0", "cpu:0"),
        whole=True,
    ),
    Kind("power_meter", (r"Grace Power Socket (\d+)",), "package", ("cpu:{}",)),
    # An ACPI meter without a label is the node's: ACPI specification, section 10.4.
    Kind("power_meter", ("",), "node", ("node",)),
)


@dataclass(frozen=True, slots=True)
class Sensor:
    """One power: a file in microwatts, or one in millivolts times one in milliamperes."""

    chip: str
    label: str
    files: tuple[Path, ...]
    period_s: float

    def watts(self, read: Callable[[Path], str]) -> float:
        """Return the power now. OSError or ValueError if the sensor does not say."""
        product = 1.0
        for path in self.files:
            product *= int(read(path).strip())
        return product / 1e6


def read_text(path: Path) -> str:
    """Return the text of a file of the tree."""
    return path.read_text()


class HwmonMeter:
    """Samples the widest power that the board documents, at random distances of 0.1 to 0.2 s.

    `root` is the hwmon tree; the other arguments stand for the outside world in tests. Without
    `background` the caller takes the samples (`sampler.sample`).
    """

    def __init__(
        self,
        root: Path = HWMON,
        *,
        read: Callable[[Path], str] = read_text,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        background: bool = True,
    ) -> None:
        self._root = root
        self._read_text = read
        self._now_ns = now_ns
        self._background = background
        self._sensors: tuple[Sensor, ...] = ()
        self._info: MeterInfo | None = None
        self.sampler = Sampler(self._total_watts, now_ns)

    def probe(self) -> MeterInfo | Unmeasurable:
        """Find the sensors, choose the widest known kind and read it once."""
        self._sensors, self._info = (), None
        try:
            found = list(self._found())
        except (OSError, ValueError) as error:
            return Unmeasurable(f"the hwmon tree cannot be read: {error}", "update the kernel")
        for kind in KNOWN:
            if matches := chosen(kind, found):
                break
        else:
            return Unmeasurable(*unknown(found))
        self._sensors = tuple(sensor for sensor, _ in matches)
        try:
            watts = self._total_watts()
        except PermissionError as error:
            remedy = f"sudo chmod a+r {error.filename} (until the next boot), or run as root"
            return Unmeasurable(f"no permission to read {error.filename}", remedy)
        except (OSError, ValueError) as error:
            return Unmeasurable(f"the power sensor cannot be read: {error}", "update the kernel")
        if not 0 <= watts <= MOST_WATTS:
            return Unmeasurable(
                f"the power sensor reads {watts:.0f} W", "meter the node at the wall"
            )
        covers = {name.format(number) for _, number in matches for name in kind.covers}
        self._info = MeterInfo(
            "hwmon",
            kind.boundary,
            tuple(sorted(covers)),
            ", ".join(str(path) for sensor in self._sensors for path in sensor.files),
            max(sensor.period_s for sensor in self._sensors),
            SENSOR_UNCERTAINTY,
            SENSOR_SOURCE,
            provenance="sampled",
        )
        return self._info

    def begin(self) -> Mark:
        """Take the first sample and start to take more in the background."""
        self.sampler.start()
        at_ns = self.sampler.sample()
        if self._background:
            self.sampler.resume()
        return Mark(at_ns)

    def end(self, mark: Mark) -> EnergyReading:
        """Return the integral of the samples since `mark`, or why there is none."""
        assert self._info is not None, "probe() comes first"
        self.sampler.stop()
        end_ns = self.sampler.sample()
        duration_s = (end_ns - mark.at_ns) / 1e9
        # Longer than the sampling's own gaps and the sensor's interval by far.
        long_gap_s = 10 * max(LEAST_GAP_S, self._info.update_period_s)
        found = integral(self.sampler.trace, mark.at_ns, end_ns, MOST_WATTS, long_gap_s)
        if found.joules is None:
            return failed_reading(self._info, duration_s, found.reason or "", *found.flags)
        edges = quantisation(self._info.update_period_s, duration_s, found.peak)
        parts = {"statistical": found.statistical, "edge": edges}
        return reading(self._info, found.joules, duration_s, parts, found.flags)

    def watts(self) -> float | None:
        """Return the power that the sensors show now."""
        try:
            watts = self._total_watts() if self._sensors else -1.0
        except (OSError, ValueError):
            return None
        return watts if 0 <= watts <= MOST_WATTS else None

    def close(self) -> None:
        """End the sampling."""
        self.sampler.stop()

    def _total_watts(self) -> float:
        watts = [sensor.watts(self._read_text) for sensor in self._sensors]
        # One negative power spoils the sum: it is returned, to be dropped.
        return sum(watts) if min(watts, default=0) >= 0 else min(watts)

    def _found(self) -> Iterator[Sensor]:
        """Yield every sensor with a power, in the order of the tree."""
        for chip in sorted(self._root.glob("hwmon*"), key=lambda path: (len(path.name), path.name)):
            # ACPI meters keep their files a level deeper.
            for folder in (chip, chip / "device"):
                if folder.is_dir():
                    yield from self._in(folder, self._text(chip / "name"))

    def _in(self, folder: Path, chip: str) -> Iterator[Sensor]:
        powers: dict[str, tuple[Path, ...]] = {}
        for path in sorted(folder.glob("power*_*")):
            if match := re.fullmatch(r"power(\d+)_(average|input)", path.name):
                # The average sees what comes between two samples; it sorts first.
                powers.setdefault(match[1], (path,))
        for number, files in powers.items():
            label = self._text(folder / f"power{number}_label") or self._text(
                folder / f"power{number}_oem_info"
            )
            interval_ms = self._text(folder / f"power{number}_average_interval")
            yield Sensor(chip, label, files, period_s(interval_ms))
        if powers:
            return
        interval_ms = self._text(folder / "update_interval")
        for volts in sorted(folder.glob("in*_input")):
            number = volts.name[len("in") : -len("_input")]
            amperes = folder / f"curr{number}_input"
            if amperes.exists():
                label = self._text(folder / f"in{number}_label")
                yield Sensor(chip, label, (volts, amperes), period_s(interval_ms))

    def _text(self, path: Path) -> str:
        """Return what a file says; nothing where there is no such file."""
        return self._read_text(path).strip() if path.exists() else ""


def chosen(kind: Kind, sensors: list[Sensor]) -> list[tuple[Sensor, str]]:
    """Return the sensors of a kind, each once, with the number of what they cover."""
    found: dict[str, tuple[Sensor, str]] = {}
    for sensor in sensors:
        for label in kind.labels:
            match = re.fullmatch(label, sensor.label)
            if sensor.chip == kind.chip and match:
                number = match[1] if match.re.groups else "0"
                found.setdefault(sensor.label, (sensor, number))
    if kind.whole and len(found) < len(kind.labels):
        return []
    return list(found.values())


def unknown(sensors: list[Sensor]) -> tuple[str, str]:
    """Return reason and remedy where no sensor is known to stand for a whole."""
    if not sensors:
        return "no hardware monitor with a power sensor", NO_SENSOR
    seen = ", ".join(
        sorted({f"{sensor.chip} {sensor.label or '(no label)'}" for sensor in sensors})
    )
    return (
        f"the power sensors here ({seen}) are parts, or not known to stand for a whole",
        "meter the node at the wall",
    )


def period_s(interval_ms: str) -> float:
    """Return a stated interval in seconds, or the default where none is stated."""
    return (
        int(interval_ms) / 1e3 if interval_ms.isdigit() and int(interval_ms) else DEFAULT_PERIOD_S
    )
