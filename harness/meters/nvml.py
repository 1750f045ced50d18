"""NVIDIA GPU energy from the driver's library (NVML). What is read, and why so: docs/energy.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.meters.base import (
    Mark,
    MeterInfo,
    PowerTrace,
    Unmeasurable,
    failed_reading,
    quantisation,
    reading,
)
from harness.meters.nvml_devices import (
    Gpu,
    current_environment,
    driver_gpus,
    partitioned,
    shared,
    visible,
)
from harness.meters.nvml_edges import UPDATE_PERIOD_S, Edge, EdgeClock, counter_j
from harness.meters.ticker import (
    ThreadTicker,
    Ticker,
    longest_gap_s,
    mean_watts,
    sampling_uncertainty,
)
from harness.schema.record import Boundary, CrossCheck, EnergyFlag, EnergyReading

SENSOR_UNCERTAINTY = 0.05
SENSOR_SOURCE = (
    "declared: NVIDIA states no accuracy for current chips, nor whether the energy counter is fed "
    "by the power sensor, which sees a quarter of the time (arXiv 2312.02741)"
)
ALIASING = 0.35
"""Added where power is sampled: the sensor of an A100 or H100 averages 25 of each 100 ms, so load
that beats with it is seen wrongly by any amount of sampling. Declared, after the mean correction of
arXiv 2312.02741 over more than 70 GPUs."""
AVERAGING_S = 1.0
"""NVML's power is this mean on Ampere and later (NVIDIA's reference, nvmlDeviceGetPowerUsage)."""
SAMPLE_PERIOD_S = 0.1
CHECK_PERIOD_S = 1.0
CROSS_CHECK_LEAST_S = 10.0
CROSS_CHECK_LIMIT = 0.1
THROTTLED = 0x8 | 0x20 | 0x40 | 0x80
"""Clock event reasons: hardware slowdown, software and hardware thermal slowdown, power brake. The
power cap (0x4) is left out: under full load a chip is meant to run at its power limit."""
REMEDY = "install the NVIDIA driver, or run where a GPU is visible"


class NvmlMeter:
    """The joules of all GPUs that CUDA shows this process; boundary: the chip with its memory.

    With an energy counter: `begin` and `end` wait for its next tick, in steps of 1 ms and at most
    two update periods, and take the tick's time, so that a window holds whole ticks. The parts of
    the uncertainty:

    - `sensor`: declared.
    - `quantisation`: each tick came at a time unknown within two polls.
    - `edge`: the reading ends with the first tick after the traffic, and begins, with several GPUs,
      at ticks that the others wait for. It covers that stretch beside the traffic. Nothing new
      starts in it, so its power lies between zero and the window's mean: the joules of the traffic
      are at most that share of the duration fewer, its power at most that share higher.

    While the counter runs, power is read once a second to check it: the sensor's own mean of the
    last second. Without a working counter that power, at 10 Hz, is the reading (`sampled`).
    """

    def __init__(
        self,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
        ticker: Ticker | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._now_ns = now_ns
        self._clock = EdgeClock(now_ns, sleep)
        self._ticker = ticker if ticker is not None else ThreadTicker()
        self._environment = environment
        self._open = False
        self._gpus: list[Gpu] = []
        self._info: MeterInfo | None = None
        self._has_power = False
        self._start_new_window()

    def _start_new_window(self) -> None:
        self._begun: list[Edge] = []
        self._latest: list[float] = []
        self._trace = PowerTrace()
        self._flags: set[EnergyFlag] = set()
        self._failure: tuple[str, tuple[EnergyFlag, ...]] | None = None

    def probe(self) -> MeterInfo | Unmeasurable:
        """Load the driver's library, find the visible GPUs, and watch their counters tick."""
        import pynvml

        self.close()
        try:
            pynvml.nvmlInit()
            self._open = True
            found = self._probe()
        except pynvml.NVMLError as error:
            found = Unmeasurable(f"NVML: {error}", REMEDY)
        if isinstance(found, Unmeasurable):
            self.close()
        else:
            self._info = found
        return found

    def _probe(self) -> MeterInfo | Unmeasurable:
        import pynvml

        environment = current_environment() if self._environment is None else self._environment
        chosen = visible(driver_gpus(), environment)
        if isinstance(chosen, Unmeasurable):
            return chosen
        for gpu in chosen:
            refused = partitioned(gpu)
            if refused is not None:
                return refused
        self._gpus = chosen
        try:
            self._watts()
            self._has_power = True
        except pynvml.NVMLError_NotSupported:
            self._has_power = False
        period_s, trouble = self._clock.update_period(chosen)
        if trouble is not None and not self._has_power:
            return Unmeasurable(
                f"NVML: {trouble}, and the driver does not tell the power (Not Supported)",
                "update the driver, run outside a virtual machine, or import a wall meter's log",
            )
        info = MeterInfo(
            name="nvml",
            boundary=self._boundary(),
            covers=tuple(f"gpu:{gpu.uuid}" for gpu in chosen),
            source="NVML total energy counter",
            update_period_s=UPDATE_PERIOD_S if period_s is None else period_s,
            sensor=SENSOR_UNCERTAINTY,
            sensor_source=SENSOR_SOURCE,
        )
        if trouble is None:
            return info
        return replace(
            info,
            source=f"NVML power at {1 / SAMPLE_PERIOD_S:g} Hz, because {trouble}",
            update_period_s=AVERAGING_S,
            provenance="sampled",
        )

    def _boundary(self) -> Boundary:
        """Return "module" where NVML's power is that of the module and not of the GPU alone.

        So on a Grace Hopper superchip (zeus PR 172): where the driver tells both, the scope whose
        average is nearer to the plain reading is the one that this reading has.
        """
        import pynvml

        average = pynvml.NVML_FI_DEV_POWER_AVERAGE
        scopes = (pynvml.NVML_POWER_SCOPE_GPU, pynvml.NVML_POWER_SCOPE_MODULE)
        for gpu in self._gpus:
            try:
                fields = pynvml.nvmlDeviceGetFieldValues(
                    gpu.handle, [(average, scope) for scope in scopes]
                )
                plain = int(pynvml.nvmlDeviceGetPowerUsage(gpu.handle))
            except pynvml.NVMLError:
                continue
            if any(field.nvmlReturn != pynvml.NVML_SUCCESS for field in fields):
                continue
            chip, module = (int(field.value.uiVal) for field in fields)
            if module > chip and abs(plain - module) < abs(plain - chip):
                return "module"
        return "chip"

    def _watts(self) -> float:
        import pynvml

        return sum(int(pynvml.nvmlDeviceGetPowerUsage(gpu.handle)) for gpu in self._gpus) / 1e3

    def begin(self) -> Mark:
        """Start a window with the next tick of the counters; a failure is told by `end`."""
        import pynvml

        info = self._known()
        self._ticker.stop()
        self._start_new_window()
        at_ns = self._now_ns()
        try:
            self._look()
            if info.provenance == "sampled":
                self._sample()
                at_ns = self._trace.at_ns[0]
            else:
                self._begun = self._clock.edges(self._gpus, info.update_period_s)
                self._latest = [edge.joules for edge in self._begun]
                self._failure = self._stands_still(self._begun)
        except pynvml.NVMLError as error:
            self._failure = (f"NVML could not be read at the window's start: {error}", ())
        ticks = [edge.at_ns for edge in self._begun if edge.at_ns is not None]
        self._ticker.start(
            self._guard, SAMPLE_PERIOD_S if info.provenance == "sampled" else CHECK_PERIOD_S
        )
        return Mark(max(ticks, default=at_ns), tuple(self._latest), tuple(ticks))

    def _known(self) -> MeterInfo:
        if self._info is None:
            raise RuntimeError("NvmlMeter: probe comes before begin and must find a GPU")
        return self._info

    def _look(self) -> None:
        """Note what else a reader must know: clocks held down, other processes on a GPU."""
        if any(_slowed(gpu) for gpu in self._gpus):
            self._flags.add("throttled")
        if any(shared(gpu) for gpu in self._gpus):
            self._flags.add("shared_device")

    def _sample(self) -> None:
        asked_ns = self._now_ns()
        watts = self._watts()
        self._trace.at_ns.append((asked_ns + self._now_ns()) // 2)
        self._trace.watts.append(watts)

    def _guard(self) -> None:
        """Between the edges: sample power, and notice a reset that the edges would not show."""
        import pynvml

        try:
            if any(_slowed(gpu) for gpu in self._gpus):
                self._flags.add("throttled")
            if self._has_power:
                self._sample()
            if self._known().provenance == "counter":
                for index, gpu in enumerate(self._gpus[: len(self._latest)]):
                    value = counter_j(gpu)
                    if value < self._latest[index] and self._failure is None:
                        self._failure = self._backwards(gpu)
                    self._latest[index] = value
        except pynvml.NVMLError as error:
            if self._failure is None:
                self._failure = (f"NVML became unreadable in the window: {error}", ())

    def _backwards(self, gpu: Gpu) -> tuple[str, tuple[EnergyFlag, ...]]:
        return f"the counter of gpu:{gpu.uuid} went backwards", ("counter_reset",)

    def _stands_still(self, edges: list[Edge]) -> tuple[str, tuple[EnergyFlag, ...]] | None:
        """Return the failure of a counter that does not tick: no GPU takes no energy."""
        for gpu, edge in zip(self._gpus, edges, strict=True):
            if edge.at_ns is None:
                watts = self.watts()
                drawn = "" if watts is None else f", while the GPUs drew {watts:.0f} W"
                return f"the counter of gpu:{gpu.uuid} stood still{drawn}", ()
        return None

    def end(self, mark: Mark) -> EnergyReading:
        """Return the joules from the tick of `mark` to the next tick: `duration_s` apart."""
        import pynvml

        info = self._known()
        self._ticker.stop()
        asked_ns = self._now_ns()
        ended: list[Edge] = []
        if self._failure is None:
            try:
                if info.provenance == "sampled":
                    self._sample()
                else:
                    ended = self._clock.edges(self._gpus, info.update_period_s)
                self._look()
            except pynvml.NVMLError as error:
                self._failure = (f"NVML became unreadable in the window: {error}", ())
        if self._failure is None and ended:
            for gpu, edge, latest in zip(self._gpus, ended, self._latest, strict=True):
                if edge.joules < latest:
                    self._failure = self._backwards(gpu)
            self._failure = self._failure or self._stands_still(ended)
        if self._failure is not None:
            reason, flags = self._failure
            duration_s = (self._now_ns() - mark.at_ns) / 1e9
            return failed_reading(info, duration_s, reason, *sorted({*self._flags, *flags}))
        return self._counted(mark, asked_ns, ended) if ended else self._sampled()

    def _counted(self, mark: Mark, asked_ns: int, ended: list[Edge]) -> EnergyReading:
        """Return the sum over GPUs of E / d * D: each one's ticks are d apart, D is their mean."""
        deltas_j, spans_s, beside_s, gaps_s = [], [], [], []
        for first, last in zip(self._begun, ended, strict=True):
            assert first.at_ns is not None
            assert last.at_ns is not None
            deltas_j.append(last.joules - first.joules)
            spans_s.append((last.at_ns - first.at_ns) / 1e9)
            beside_s.append((last.at_ns - asked_ns + mark.at_ns - first.at_ns) / 1e9)
            gaps_s.append(max(first.gap_s, last.gap_s))
        duration_s = sum(spans_s) / len(spans_s)
        pairs = zip(deltas_j, spans_s, strict=True)
        joules = sum(delta_j / span_s for delta_j, span_s in pairs) * duration_s
        info = self._known()
        parts = {
            "quantisation": quantisation(max(gaps_s), duration_s),
            "edge": max(0.0, max(beside_s)) / duration_s,
        }
        check = self._cross_check(joules, duration_s)
        return reading(info, joules, duration_s, parts, sorted(self._flags), check)

    def _cross_check(self, joules: float, duration_s: float) -> CrossCheck | None:
        """Compare long windows with sampled power; flag more than 10 %, if the samples allow it."""
        watts = mean_watts(self._trace)
        if duration_s < CROSS_CHECK_LEAST_S or watts is None:
            return None
        if watts <= 0:
            self._flags.add("cross_check_failed")
            return None
        integral_j = watts * duration_s
        ratio = joules / integral_j
        doubt = sampling_uncertainty(self._trace.watts, duration_s / AVERAGING_S)
        if abs(ratio - 1) > max(CROSS_CHECK_LIMIT, doubt):
            self._flags.add("cross_check_failed")
        return CrossCheck(counter_j=joules, integral_j=integral_j, ratio=ratio)

    def _sampled(self) -> EnergyReading:
        """Return mean power times duration; the edges lag by the second that a sample averages."""
        info = self._known()
        watts = mean_watts(self._trace)
        duration_s = (self._trace.at_ns[-1] - self._trace.at_ns[0]) / 1e9
        if watts is None or watts <= 0:
            return failed_reading(info, duration_s, "the driver told no power in the window")
        swing = (max(self._trace.watts) - min(self._trace.watts)) / watts
        parts = {
            "aliasing": ALIASING,
            "statistical": sampling_uncertainty(self._trace.watts, duration_s / AVERAGING_S),
            "edge": swing * min(1.0, AVERAGING_S / duration_s),
        }
        if longest_gap_s(self._trace) > 5 * SAMPLE_PERIOD_S:
            self._flags.add("gaps")
        return reading(info, watts * duration_s, duration_s, parts, sorted(self._flags))

    def watts(self) -> float | None:
        """Return the GPUs' power as the driver tells it: on current chips a mean of one second."""
        import pynvml

        if not self._open or not self._has_power:
            return None
        try:
            return self._watts()
        except pynvml.NVMLError:
            return None

    def close(self) -> None:
        """End the background thread and release the driver's library."""
        import pynvml

        self._ticker.stop()
        if self._open:
            self._open = False
            self._gpus, self._info = [], None
            pynvml.nvmlShutdown()


def _slowed(gpu: Gpu) -> bool:
    """Return whether heat or a supply holds the clocks down; False where nobody says."""
    import pynvml

    try:
        return bool(int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu.handle)) & THROTTLED)
    except pynvml.NVMLError:
        return False
