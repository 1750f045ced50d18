"""AMD GPU energy from the driver's energy accumulator (AMD SMI's Python package, `amdsmi`).

The accumulator has stood still or counted in a wrong unit on several chips (ROCm/amdsmi issues 22
and 38), so it is used only where it advances and agrees with the power; else power is sampled. Of
the two dies of an MI250X only the first reports, for both (ml-energy/zeus pull request 203).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import cast

from harness.meters.amd_devices import (
    MOST_WATTS_PER_GPU,
    Gpu,
    Library,
    joules_of,
    listed,
    visible,
    watts_of,
)
from harness.meters.base import (
    Mark,
    MeterInfo,
    Unmeasurable,
    failed_reading,
    quantisation,
    reading,
)
from harness.meters.sampler import LEAST_GAP_S, Sampler, integral
from harness.meters.wrapping import Values
from harness.schema.record import CrossCheck, EnergyFlag, EnergyReading

SENSOR_UNCERTAINTY = 0.05
SENSOR_SOURCE = "declared: AMD publishes no accuracy"
LEAST_UPDATE_PERIOD_S = 0.001
PROBE_TICKS, PROBE_S, PROBE_POLL_S = 20, 0.5, 0.001
POWER_PERIOD_S = 0.1
AGREES_AT_PROBE = (0.5, 2.0)
"""A short probe beside a power that is itself an average tells a wrong unit, not a few percent."""
CROSS_CHECK_GAP_S, CROSS_CHECK_LEAST_S, CROSS_CHECK_LIMIT = 1.0, 10.0, 0.1
INSTALL = (
    "pip install 'accelerator-harness[energy-amd]', or the amdsmi of your ROCm: "
    "pip install /opt/rocm/share/amd_smi"
)


class AmdMeter:
    """Sums the GPUs that this process may use; the boundary is the chip with its memory.

    `library` stands for `amdsmi` in tests, as the other arguments do for the outside world.
    """

    def __init__(
        self,
        *,
        library: Library | None = None,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        wait: Callable[[float], None] = time.sleep,
        environment: Mapping[str, str] = os.environ,
        background: bool = True,
    ) -> None:
        self._library = library
        self._given = library is not None
        self._now_ns = now_ns
        self._wait = wait
        self._environment = environment
        self._background = background
        self._all: tuple[Gpu, ...] = ()
        self._gpus: tuple[Gpu, ...] = ()
        self._info: MeterInfo | None = None
        self._started = False
        self._refused = ""
        self.sampler = Sampler(self._total_watts, now_ns)

    def probe(self) -> MeterInfo | Unmeasurable:
        """Load the library, read every GPU, and see whether the accumulators can be trusted."""
        self.close()
        if not self._given:
            try:
                # It prints where it cannot find the driver's library.
                with contextlib.redirect_stdout(io.StringIO()):
                    self._library = cast(Library, importlib.import_module("amdsmi"))
            except ImportError:
                return Unmeasurable("the Python package amdsmi is not installed", INSTALL)
            except Exception as error:  # it loads the driver's library when it is imported
                reason = f"amdsmi cannot be loaded: {error}"
                return Unmeasurable(reason, "install ROCm's amd-smi-lib on a machine with AMD GPUs")
        library = self._loaded()
        try:
            library.amdsmi_init()
            self._started = True
            self._all = listed(library)
            self._gpus = visible(self._all, self._environment)
            return self._examined()
        except (library.AmdSmiException, ValueError, AttributeError, TypeError) as error:
            # The last two: a release that lacks a function or wants other arguments.
            self.close()
            return Unmeasurable(
                f"AMD SMI: {error}", "install the amdgpu driver, or run where a GPU is visible"
            )

    def begin(self) -> Mark:
        """Read the accumulators, or take the first power sample."""
        self._refused = ""
        self.sampler.start()
        at_ns = self._now_ns()
        values: Values = ()
        if self._counts:
            try:
                values = self._accumulators()
            except (self._loaded().AmdSmiException, ValueError) as error:
                self._refused = f"the counter became unreadable: {error}"
        self.sampler.sample()
        if self._background:
            self.sampler.resume()
        return Mark(at_ns, values)

    def end(self, mark: Mark) -> EnergyReading:
        """Return the joules since `mark`; without joules and with a reason if they are not known.

        The integral of the power stands beside a counter's joules; if the two differ by more than
        a tenth in a window of at least 10 s, and by more than sampling explains, it is flagged.
        """
        assert self._info is not None, "probe() comes first"
        self.sampler.stop()
        if not self._counts:
            return self._sampled(mark, self._info)
        now_ns = self._now_ns()
        duration_s = (now_ns - mark.at_ns) / 1e9
        try:
            if self._refused:
                return failed_reading(self._info, duration_s, self._refused)
            after = self._accumulators()
        except (self._loaded().AmdSmiException, ValueError) as error:
            reason = f"the counter became unreadable: {error}"
            return failed_reading(self._info, duration_s, reason)
        self.sampler.sample()
        most_j = MOST_WATTS_PER_GPU * duration_s + 1
        total_j = 0.0
        for gpu, first, last in zip(self._reporting, mark.counters, after, strict=True):
            if last == first:
                reason = f"the counter of {gpu.name} stood still"
                return failed_reading(self._info, duration_s, reason)
            if not 0 < last - first <= most_j:
                reason = f"the counter of {gpu.name} was reset"
                return failed_reading(self._info, duration_s, reason, "counter_reset")
            total_j += last - first
        peak = MOST_WATTS_PER_GPU * len(self._reporting) * duration_s / total_j
        edges = quantisation(self._info.update_period_s, duration_s, max(1.0, peak))
        check, failed = self._cross_check(mark.at_ns, now_ns, total_j)
        flags = [*self._own_flags(), *failed]
        return reading(self._info, total_j, duration_s, {"quantisation": edges}, flags, check)

    def watts(self) -> float | None:
        """Return the power of the GPUs now; None if one does not say."""
        if not self._gpus:
            return None
        try:
            return self._total_watts()
        except ValueError:
            return None

    def close(self) -> None:
        """End the sampling and the library."""
        self.sampler.stop()
        if self._started:
            self._started = False
            try:
                self._loaded().amdsmi_shut_down()
            except self._loaded().AmdSmiException:
                pass  # a driver that is gone needs no ending
        self._gpus, self._info = (), None

    @property
    def _counts(self) -> bool:
        return self._info is not None and self._info.provenance == "counter"

    @property
    def _reporting(self) -> list[Gpu]:
        return [gpu for gpu in self._gpus if gpu.reports]

    def _covered(self) -> tuple[str, ...]:
        """Return what the joules belong to: what reports, and the second dies of what reports."""
        first = {gpu.index for gpu in self._reporting}
        return tuple(
            gpu.name
            for gpu in self._gpus
            if gpu.reports or (gpu.index % 2 and gpu.index - 1 in first)
        )

    def _own_flags(self) -> list[EnergyFlag]:
        """Return the flags of cards whose two dies report as one.

        partial_coverage: a die's own joules are unknown, or a silent GPU is in nobody's. And
        shared_device: the joules hold a second die that this process may not use.
        """
        flags: list[EnergyFlag] = []
        if len(self._reporting) < len(self._gpus):
            flags.append("partial_coverage")
        visible = {gpu.index for gpu in self._gpus}
        for gpu in self._reporting:
            second = self._all[gpu.index + 1 : gpu.index + 2] if gpu.index % 2 == 0 else ()
            if any(not die.reports and die.index not in visible for die in second):
                flags.append("shared_device")
        return flags

    def _loaded(self) -> Library:
        assert self._library is not None, "probe() comes first"
        return self._library

    def _examined(self) -> MeterInfo | Unmeasurable:
        """Return the meter that the GPUs support: the accumulators, else the sampled power."""
        remedy = "install the amdgpu driver, or run where a GPU is visible"
        if not self._gpus:
            self.close()
            return Unmeasurable("the driver reports no GPU", remedy)
        if not self._reporting:
            self.close()
            return Unmeasurable(
                "no visible GPU reports power: a second die reports through the first, and virtual "
                "machines report none",
                "make the first die of the card visible, or meter the node at the wall",
            )
        period_s = self._tick_s()
        counts = period_s is not None
        self._info = MeterInfo(
            "amd",
            "chip",
            self._covered(),
            "amdsmi_get_energy_count" if counts else "amdsmi_get_power_info",
            POWER_PERIOD_S if period_s is None else period_s,
            SENSOR_UNCERTAINTY,
            SENSOR_SOURCE,
            provenance="counter" if counts else "sampled",
        )
        gap_s = CROSS_CHECK_GAP_S if counts else LEAST_GAP_S
        self.sampler = Sampler(self._total_watts, self._now_ns, gap_s)
        return self._info

    def _tick_s(self) -> float | None:
        """Return the time between the accumulators' updates; None if they cannot be trusted.

        Each must advance within half a second, by what the power accounts for.
        """
        try:
            start_ns, first = self._now_ns(), self._accumulators()
            last, ticks, now_ns = first, [start_ns], start_ns
            while now_ns - start_ns < PROBE_S * 1e9:
                self._wait(PROBE_POLL_S)
                value, now_ns = self._accumulators(), self._now_ns()
                if value[0] != last[0]:
                    ticks.append(now_ns)
                last = value
                if len(ticks) > PROBE_TICKS and (now_ns - start_ns) >= PROBE_S * 5e8:
                    break
            expected_j = [
                (watts_of(self._loaded(), gpu.handle) or 0.0) * (now_ns - start_ns) / 1e9
                for gpu in self._reporting
            ]
        except (self._loaded().AmdSmiException, ValueError):
            return None
        low, high = AGREES_AT_PROBE
        for before, after, joules in zip(first, last, expected_j, strict=True):
            if not low * joules <= after - before <= high * joules or after <= before:
                return None
        gaps = [(b - a) / 1e9 for a, b in pairwise(ticks[1:])]
        return max(LEAST_UPDATE_PERIOD_S, statistics.median(gaps)) if gaps else PROBE_S

    def _accumulators(self) -> Values:
        """Return the joules of the GPUs that report. ValueError for what is no number."""
        return tuple(joules_of(self._loaded(), gpu) for gpu in self._reporting)

    def _total_watts(self) -> float:
        total = 0.0
        for gpu in self._reporting:
            try:
                watts = watts_of(self._loaded(), gpu.handle)
            except self._loaded().AmdSmiException as error:
                raise ValueError(str(error)) from error
            if watts is None:
                raise ValueError(f"{gpu.name} reports no power")
            total += watts
        return total

    def _sampled(self, mark: Mark, info: MeterInfo) -> EnergyReading:
        """Return the integral of the power samples since `mark`."""
        end_ns = self.sampler.sample()
        duration_s = (end_ns - mark.at_ns) / 1e9
        found = integral(self.sampler.trace, mark.at_ns, end_ns)
        flags = [*found.flags, *self._own_flags()]
        if found.joules is None:
            return failed_reading(info, duration_s, found.reason or "", *flags)
        edges = quantisation(info.update_period_s, duration_s, found.peak)
        parts = {"statistical": found.statistical, "edge": edges}
        return reading(info, found.joules, duration_s, parts, flags)

    def _cross_check(
        self, begin_ns: int, end_ns: int, counter_j: float
    ) -> tuple[CrossCheck | None, list[EnergyFlag]]:
        found = integral(self.sampler.trace, begin_ns, end_ns, long_gap_s=10 * CROSS_CHECK_GAP_S)
        if found.joules is None:
            return None, []
        ratio = counter_j / found.joules
        check = CrossCheck(counter_j=counter_j, integral_j=found.joules, ratio=ratio)
        limit = max(CROSS_CHECK_LIMIT, found.statistical)
        long = end_ns - begin_ns >= CROSS_CHECK_LEAST_S * 1e9
        return check, ["cross_check_failed"] if long and abs(ratio - 1) > limit else []
