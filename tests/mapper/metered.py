"""Points with energy readings of any boundary."""

from harness.schema.record import EnergyReading
from tests.factories import make_point, make_workload


def reading(joules, boundary, **changes):
    """Return a counter's reading over 10 s, good to 10 %."""
    tree = {
        "meter": "meter",
        "joules": joules,
        "duration_s": 10.0,
        "boundary": boundary,
        "covers": ("x",),
        "provenance": "counter",
        "uncertainty": 0.1,
    }
    return EnergyReading(**{**tree, **changes})


def metered(*readings, rate=10.0, **changes):
    """Return a point at `rate` requests/s with `readings`."""
    return make_point(make_workload(), rate=rate, energy=tuple(readings), **changes)
