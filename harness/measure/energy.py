"""Energy of a window: the meters that belong to a target's device, working or not.

Readings of different boundaries stand side by side; nothing is added up here.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from harness import plugins
from harness.errors import HarnessError, MeasurementError
from harness.meters.base import Mark, Meter, MeterInfo, Unmeasurable, failed_reading
from harness.meters.model import ModelMeter
from harness.schema.record import EnergyReading
from harness.schema.target import Target

BUILT_IN = ("nvml", "amd", "rapl", "hwmon")
IMPORT_REMEDY = "meter the machine at the wall and join the log: harness import power"
WIDER = ("module", "node", "wall")
"""What holds a chip or a package whole, with more."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Working:
    """A meter that reads here; `place` is its place among the readings."""

    place: int
    meter: Meter
    info: MeterInfo


@dataclass(frozen=True, slots=True)
class Failed:
    """A call of a meter that raised, and the exception in one line."""

    reason: str


class Energy:
    """The meters of a target's device over one window at a time; their faults never leave it."""

    def __init__(self, target: Target) -> None:
        self._working: list[Working] = []
        self._broken: dict[int, tuple[str, Unmeasurable]] = {}
        self._marks: list[Mark | Failed] = []
        self._began = time.perf_counter()
        names = meter_names(target)
        if not names:
            device = target.runtime.device
            reason = f"no meter reads a device of kind '{device}'"
            self._broken[-1] = ("none", Unmeasurable(reason, IMPORT_REMEDY))
        for place, name in enumerate(names):
            self._open(place, name)
        # A meter that waits for its source's next update begins first and ends last, so that no
        # other window holds its waiting.
        self._working.sort(key=lambda working: -working.info.update_period_s)
        self._model = ModelMeter(target)
        self._modelled = self._model.probe()

    def _open(self, place: int, name: str) -> None:
        try:
            meter = plugins.meter(name)
            info = _known(meter.probe())
        except HarnessError as error:
            remedy = error.hint or "'harness doctor' checks all meters"
            self._broken[place] = (name, Unmeasurable(error.message, remedy))
            return
        except Exception as error:  # a plugin may do anything; it must not cost the cell
            reason = f"the meter {name} failed when probed: {plugins.last_line(error)}"
            self._broken[place] = (name, Unmeasurable(reason, "repair or uninstall the meter"))
            return
        if isinstance(info, MeterInfo):
            self._working.append(Working(place, meter, info))
        else:
            self._broken[place] = (name, info)

    @property
    def meters(self) -> tuple[MeterInfo, ...]:
        """The meters that read here, without the model, the closest to the device first."""
        return tuple(w.info for w in sorted(self._working, key=lambda working: working.place))

    @property
    def missing(self) -> tuple[tuple[str, Unmeasurable], ...]:
        """The meters of this device that do not read here, by name, and why."""
        return tuple(self._broken[place] for place in sorted(self._broken))

    def watts(self) -> dict[str, float | str]:
        """Return the power now by meter, in W; a text where the meter does not say, with why."""
        found: dict[str, float | str] = {}
        for working in sorted(self._working, key=lambda working: working.place):
            watts = _guarded(working.meter.watts)
            if isinstance(watts, Failed):
                found[working.info.name] = f"the meter failed: {watts.reason}"
            elif isinstance(watts, int | float) and math.isfinite(watts):
                found[working.info.name] = float(watts)
            else:
                found[working.info.name] = "the meter gives no power now"
        return found

    def begin(self) -> None:
        """Start a window on every working meter."""
        self._began = time.perf_counter()
        self._model_mark = self._model.begin()
        self._marks = [_guarded(working.meter.begin) for working in self._working]

    def end(self) -> list[EnergyReading]:
        """Return one reading per meter: joules, or why there are none.

        The model's comes last, only where no meter has joules of its boundary or of a wider one.
        """
        found: dict[int, EnergyReading] = {}
        started = list(zip(self._working, self._marks, strict=True))
        for working, mark in reversed(started):
            found[working.place] = self._end(working, mark)
        duration_s = time.perf_counter() - self._began
        for place, (name, why) in self._broken.items():
            found[place] = _unmeasured(name, why, duration_s)
        readings = [found[place] for place in sorted(found)]
        return readings + list(self._from_model(readings, duration_s))

    def _end(self, working: Working, mark: Mark | Failed) -> EnergyReading:
        outcome: object = mark
        if isinstance(mark, Mark):
            outcome = _guarded(lambda: _checked(working.meter.end(mark)))
        if isinstance(outcome, EnergyReading):
            return outcome
        duration_s = time.perf_counter() - self._began
        reason = outcome.reason if isinstance(outcome, Failed) else "begin() returned no mark"
        return failed_reading(working.info, duration_s, f"the meter failed: {reason}")

    def _from_model(
        self, readings: list[EnergyReading], duration_s: float
    ) -> Iterator[EnergyReading]:
        holds = (self._model.info.boundary, *WIDER)
        if any(r.joules is not None and r.boundary in holds for r in readings):
            return
        if isinstance(self._modelled, Unmeasurable):
            yield _unmeasured("model", self._modelled, duration_s)
        else:
            yield self._model.end(self._model_mark)

    def close(self) -> None:
        """Release the meters."""
        for working in self._working:
            _guarded(working.meter.close)


def meter_names(target: Target) -> tuple[str, ...]:
    """Return the meters that may read the device of `target`, the closest to it first.

    A device that is none of ours is read by what other distributions register.
    """
    hardware, device = target.hardware, target.runtime.device
    if device == "remote":
        return ()
    if hardware.kind == "gpu" and re.search(r"\b(amd|advanced micro devices)\b", _vendor(target)):
        return ("amd", "rapl")
    if device == "cuda":
        return ("nvml", "rapl")
    if device == "cpu":
        return ("rapl", "hwmon")
    others = dict.fromkeys(plugin.name for plugin in plugins.meters())
    return tuple(name for name in others if name not in BUILT_IN)


def _vendor(target: Target) -> str:
    return target.hardware.vendor.lower()


def _guarded(call: Callable[[], T]) -> T | Failed:
    try:
        return call()
    except Exception as error:  # a plugin may do anything; it must not cost the cell
        return Failed(plugins.last_line(error))


def _known(info: object) -> MeterInfo | Unmeasurable:
    if isinstance(info, Unmeasurable):
        return info
    if not isinstance(info, MeterInfo):
        raise MeasurementError(f"probe() returned {type(info).__name__}, not a MeterInfo")
    failed_reading(info, 0.0, "none yet")  # raises for names that no reading could have
    return info


def _checked(reading: object) -> EnergyReading:
    if not isinstance(reading, EnergyReading):
        raise MeasurementError(f"end() returned {type(reading).__name__}, not an EnergyReading")
    return reading


def _unmeasured(name: str, why: Unmeasurable, duration_s: float) -> EnergyReading:
    return EnergyReading(
        meter=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed",
        joules=None,
        duration_s=duration_s,
        boundary=None,
        provenance=None,
        reason=why.reason or "the meter gives no reason",
        remedy=why.remedy,
    )
