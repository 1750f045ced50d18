"""Energy of a window: the meters that belong to a target's device, working or not."""

from __future__ import annotations

import time

from harness import plugins
from harness.meters.base import Mark, Meter, Unmeasurable
from harness.schema.record import EnergyReading


class Energy:
    """The meters that belong to a target's device, working or not, over one window at a time."""

    def __init__(self, device: str) -> None:
        names = {"cpu": ("rapl",), "cuda": ("nvml", "rapl")}.get(device, ())
        self._working: list[Meter] = []
        self._broken: list[tuple[str, str, str]] = []
        self._marks: list[Mark] = []
        self._began = 0.0
        if not names:
            self._broken.append(
                ("none", f"no meter reads a device of kind '{device}'", "import a wall meter's log")
            )
        for name in names:
            meter = plugins.meter(name)
            info = meter.probe()
            if isinstance(info, Unmeasurable):
                self._broken.append((name, info.reason, info.remedy))
            else:
                self._working.append(meter)

    def begin(self) -> None:
        """Start a window on every working meter."""
        self._began = time.perf_counter()
        self._marks = [meter.begin() for meter in self._working]

    def end(self) -> list[EnergyReading]:
        """Return one reading per meter: joules, or why there are none."""
        readings = [meter.end(mark) for meter, mark in zip(self._working, self._marks, strict=True)]
        duration_s = time.perf_counter() - self._began
        readings += [
            EnergyReading(
                meter=name,
                joules=None,
                duration_s=duration_s,
                boundary=None,
                provenance=None,
                reason=reason,
                remedy=remedy,
            )
            for name, reason, remedy in self._broken
        ]
        return readings

    def close(self) -> None:
        """Release the meters."""
        for meter in self._working:
            meter.close()
