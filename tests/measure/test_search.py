import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.search import CapacitySearch


def search(capacity: float, *, resolution: float = 0.05, most: int = 40, unproven: float = 0.0):
    """Run the search against a target that meets the SLO up to `capacity`."""
    found = CapacitySearch(resolution, most)
    visited = []
    while (load := found.next_load()) is not None:
        visited.append(load)
        inside = load <= capacity
        gap = inside and load > capacity * (1 - unproven)
        found.record(load, "unproven" if gap else "met" if inside else "missed")
    return found, visited


@given(st.floats(0.02, 20.0))
def test_it_brackets_the_capacity_within_its_resolution(capacity: float) -> None:
    found, visited = search(capacity)
    assert found.met is not None
    assert found.not_met is not None
    assert found.met <= capacity < found.not_met
    assert found.not_met / found.met <= 1.05 + 1e-12
    assert len(visited) == len(set(visited)) <= 30


@given(st.floats(0.02, 20.0), st.integers(1, 8))
def test_it_keeps_to_its_number_of_points(capacity: float, most: int) -> None:
    found, visited = search(capacity, most=most)
    assert len(visited) <= most
    assert found.met is None or found.met <= capacity


def test_it_goes_stepwise_then_bisects() -> None:
    _, visited = search(0.8, most=5)
    assert visited[:3] == [0.5, 0.75, 0.9]
    assert visited[3] == pytest.approx((0.75 * 0.9) ** 0.5)


def test_it_climbs_beyond_the_back_to_back_rate() -> None:
    """A session that batches serves more than one request after the other."""
    found, _ = search(6.0)
    assert found.met is not None
    assert found.met > 5.5


def test_a_target_that_never_meets_the_slo_ends_the_search() -> None:
    found, visited = search(0.0)
    assert found.met is None
    assert visited == [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625]


def test_an_unproven_point_is_not_within_the_slo() -> None:
    found, _ = search(1.0, unproven=0.3)
    assert found.met is not None
    assert found.met <= 0.7
    assert found.not_met is not None
    assert found.not_met > 0.7


def test_a_met_point_above_a_missed_one_does_not_count() -> None:
    """Noise may let a higher load pass: capacity is below the lowest load that failed."""
    found = CapacitySearch(0.1, 10)
    for load, state in ((0.5, "met"), (0.75, "missed"), (0.9, "met")):
        found.record(load, state)
    assert found.met == 0.5
