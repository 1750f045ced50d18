"""The front: whole intervals decide, and what is not known is never best."""

import pytest

from harness.mapper import decide
from harness.mapper.pareto import TO_90, box, dominates, sides_of
from harness.schema.base import Interval
from harness.schema.decision import ParetoAxis
from tests.factories import (
    make_brief,
    make_point,
    make_record,
    make_stored,
    make_target,
    make_workload,
)

WORKLOAD = make_workload()
NAMES = ("cost", "latency", "energy", "lead_time")


def axes(*figures, basis="node"):
    """Return the axes of an option; a figure is None, a number, or (value, low, high)."""
    return tuple(
        ParetoAxis(
            name=name,
            unit="1",
            figure=None
            if figure is None
            else Interval(value=figure, low=figure, high=figure)
            if isinstance(figure, float)
            else Interval(value=figure[0], low=figure[1], high=figure[2]),
            basis=basis if name == "energy" and figure is not None else None,
            reason="not measured" if figure is None else None,
        )
        for name, figure in zip(NAMES, figures, strict=True)
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((1.0, 1.0, 1.0, 1.0), (2.0, 1.0, 1.0, 1.0), True),
        ((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0), False),
        ((1.0, 2.0, 1.0, 1.0), (2.0, 1.0, 1.0, 1.0), False),
        # The boxes overlap at 90 %, or do not.
        (((1.0, 0.9, 1.1), 1.0, 1.0, 1.0), ((1.15, 1.05, 1.25), 1.0, 1.0, 1.0), False),
        (((1.0, 0.9, 1.1), 1.0, 1.0, 1.0), ((1.3, 1.2, 1.4), 1.0, 1.0, 1.0), True),
        # A bound that is missing overlaps everything on its side.
        (((1.0, 0.9, None), 1.0, 1.0, 1.0), ((9.0, 8.0, 10.0), 1.0, 1.0, 1.0), False),
        # What is not known is worst, and where neither knows it, it is left out.
        ((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, None, 1.0), True),
        ((1.0, 1.0, None, 1.0), (2.0, 2.0, 9.0, 2.0), False),
        ((1.0, 1.0, None, None), (2.0, 2.0, None, None), True),
    ],
)
def test_domination(first, second, expected):
    assert dominates(sides_of(axes(*first)), sides_of(axes(*second))) == expected


def test_energies_of_different_boundaries_do_not_compare():
    first = sides_of(axes(1.0, 1.0, 1.0, 1.0))
    second = sides_of(axes(2.0, 2.0, 2.0, 2.0, basis="package"))

    assert not dominates(first, second)
    assert not dominates(second, first)


def test_an_interval_of_95_per_cent_is_shrunk_to_90():
    low, high = box(Interval(value=10.0, low=8.0, high=14.0))

    assert (low, high) == pytest.approx((10 - 2 * TO_90, 10 + 4 * TO_90))
    assert round(TO_90, 4) == 0.8392


def test_a_decision_has_the_front_of_its_options_with_reasons_for_what_is_missing():
    def target(name, usd, weeks=None):
        price = make_target().price.model_dump()
        return make_target(name, price={**price, "usd_per_hour": usd, "lead_time_weeks": weeks})

    found = [target("cheap", 1.0, 2.0), target("fast", 3.0, 8.0), target("worse", 4.0, 9.0)]
    latencies = (0.2, 0.05, 0.1)
    records = [
        make_record(WORKLOAD, t, number=n, points=(make_point(WORKLOAD, latency_s=s),))
        for n, (t, s) in enumerate(zip(found, latencies, strict=True), 1)
    ]
    answer = decide(make_brief(), [WORKLOAD], found, [make_stored(r) for r in records])
    points = {point.target: point for point in answer.workloads[0].pareto}

    assert {name: p.on_front for name, p in points.items()} == {
        "cheap": True,
        "fast": True,
        "worse": False,
    }
    assert points["worse"].dominated_by == ("fast",)
    cost, latency, energy, lead = points["fast"].axes
    assert cost.figure == answer.workloads[0].options[1].cost_per_unit_usd
    assert latency.figure.value == pytest.approx(0.075)
    assert latency.figure.low == pytest.approx(0.075 * 0.95)
    assert (energy.figure, energy.reason) == (None, "no powercap tree on this machine")
    assert lead.figure.value == 8.0
