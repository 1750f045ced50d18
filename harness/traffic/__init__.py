"""Who asks what, and when: arrival times and the order of inputs. Pure, seeded, without I/O."""

from harness.traffic.arrivals import (
    Spikes,
    burst_arrivals,
    input_order,
    poisson_arrivals,
    trace_arrivals,
)

__all__ = ["Spikes", "burst_arrivals", "input_order", "poisson_arrivals", "trace_arrivals"]
