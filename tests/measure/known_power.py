"""A device whose power is known at every moment, and a meter that integrates it."""

import math

from harness.meters.base import Mark, MeterInfo, Unmeasurable, reading
from tests.measure.virtual import KnownSession, VirtualClock

OFF_W, WARM_W, BUSY_W = 20.0, 50.0, 150.0


class Device:
    """Draws `OFF_W` until it is opened, then `WARM_W`, and `BUSY_W` while it serves."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.watts = OFF_W
        self.since_ns = clock.now_ns()
        self.total_j = 0.0

    def set(self, watts: float) -> None:
        self.joules()
        self.watts = watts

    def joules(self) -> float:
        now_ns = self.clock.now_ns()
        self.total_j += self.watts * (now_ns - self.since_ns) / 1e9
        self.since_ns = now_ns
        return self.total_j


class PoweredSession(KnownSession):
    def __init__(self, device: Device, service_s: float) -> None:
        super().__init__(device.clock, lambda number: service_s)
        self.device = device

    def submit(self, query):
        self.device.set(BUSY_W)
        super().submit(query)
        self.device.set(WARM_W)

    def close(self):
        self.device.set(OFF_W)


class PoweredAdapter:
    api_version = 1

    def __init__(self, device: Device, service_s: float) -> None:
        self.device = device
        self.service_s = service_s

    def open(self, target, model):
        self.device.set(WARM_W)
        return PoweredSession(self.device, self.service_s)


class PowerMeter:
    """Reads the joules of `device` exactly, and says 5 % of itself."""

    def __init__(self, device: Device, name: str = "rapl") -> None:
        self.device = device
        self.info = MeterInfo(name, "package", ("cpu:0",), "test", 0.001, 0.05, "declared")

    def probe(self):
        return self.info

    def begin(self):
        return Mark(self.device.clock.now_ns(), (self.device.joules(),))

    def end(self, mark):
        seconds = (self.device.clock.now_ns() - mark.at_ns) / 1e9
        joules = self.device.joules() - mark.counters[0]
        return reading(self.info, joules, seconds, {"quantisation": 0.001 / math.sqrt(seconds)})

    def watts(self):
        return self.device.watts

    def close(self):
        pass


class Absent:
    """A meter that does not work here."""

    def probe(self):
        return Unmeasurable("nothing to read here", "use bare metal")

    def close(self):
        pass
