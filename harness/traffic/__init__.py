"""Who asks what, and when: arrival times and the order of inputs. Pure, seeded, without I/O."""

from harness.traffic.arrivals import input_order, poisson_arrivals

__all__ = ["input_order", "poisson_arrivals"]
