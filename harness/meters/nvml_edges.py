"""When the energy counters of NVIDIA GPUs tick: the edges of a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.meters.nvml_devices import Gpu

UPDATE_PERIOD_S = 0.1
"""Of the counter, where it could not be measured (ml.energy blog: about 100 ms)."""
PROBE_S = 0.45
"""Time for four ticks of that period."""
PROBE_TICKS = 4
POLL_S = 0.001
LEAST_WAIT_S = 0.2
"""An edge waits two update periods, but not less: a counter may tick fast and then pause."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A counter at an edge of a window.

    `at_ns` is the time of the tick to this value, known within `gap_s`; None if it did not tick.
    """

    joules: float
    at_ns: int | None
    gap_s: float


def counter_j(gpu: Gpu) -> float:
    """Return the GPU's energy counter, in joules since some time in the past. Raises NVMLError."""
    import pynvml

    return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle)) / 1e3


class EdgeClock:
    """Waits for ticks, on a clock (`now_ns`) and with a way to wait (`sleep`, seconds)."""

    def __init__(self, now_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
        self._now_ns = now_ns
        self._sleep = sleep

    def update_period(self, gpus: Sequence[Gpu]) -> tuple[float | None, str | None]:
        """Return the slowest counter's update period, and why there is no counter to use.

        Watches some ticks for at most 0.45 s. The period is None where fewer than two came.
        """
        import pynvml

        ticks: list[list[int]] = [[] for _ in gpus]
        try:
            last = [counter_j(gpu) for gpu in gpus]
            until_ns = self._now_ns() + int(PROBE_S * 1e9)
            while self._now_ns() < until_ns and min(map(len, ticks)) < PROBE_TICKS:
                self._sleep(POLL_S)
                for index, gpu in enumerate(gpus):
                    value = counter_j(gpu)
                    if value != last[index]:
                        last[index] = value
                        ticks[index].append(self._now_ns())
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
            return None, "the energy counter is not supported (Not Supported)"
        for gpu, times in zip(gpus, ticks, strict=True):
            if not times:
                return None, f"the energy counter of gpu:{gpu.uuid} stands still"
        if min(map(len, ticks)) < 2:
            return None, None
        return max((times[-1] - times[0]) / (len(times) - 1) / 1e9 for times in ticks), None

    def edges(self, gpus: Sequence[Gpu], period_s: float) -> list[Edge]:
        """Wait for the next tick of each counter, in steps of 1 ms and at most two periods."""
        edges: list[Edge] = []
        seen_ns: list[int] = []
        for gpu in gpus:
            seen_ns.append(self._now_ns())
            edges.append(Edge(counter_j(gpu), None, 0.0))
        until_ns = self._now_ns() + int(max(2 * period_s, LEAST_WAIT_S) * 1e9)
        waiting = set(range(len(edges)))
        while waiting and self._now_ns() < until_ns:
            self._sleep(POLL_S)
            for index in sorted(waiting):
                asked_ns = self._now_ns()
                value = counter_j(gpus[index])
                if value == edges[index].joules:
                    seen_ns[index] = asked_ns
                    continue
                answered_ns = self._now_ns()
                # The old value was still there at `seen`, the new one no later than `answered`.
                middle_ns = (seen_ns[index] + answered_ns) // 2
                edges[index] = Edge(value, middle_ns, (answered_ns - seen_ns[index]) / 1e9)
                waiting.discard(index)
        return edges
