import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.search import CapacitySearch


def search(capacity: float, *, resolution: float = 0.05, most: int = 40):
    """Run the search against a target that keeps the SLO up to `capacity`."""
    found = CapacitySearch(resolution, most)
    visited = []
    while (load := found.next_load()) is not None:
        visited.append(load)
        found.record(load, load <= capacity)
    return found, visited


@given(st.floats(0.02, 20.0))
def test_it_brackets_the_capacity_within_its_resolution(capacity: float) -> None:
    found, visited = search(capacity)
    assert found.kept is not None
    assert found.broken is not None
    assert found.kept <= capacity < found.broken
    assert found.broken / found.kept <= 1.05 + 1e-12
    assert len(visited) == len(set(visited)) <= 30
    assert found.lowest == min(visited)


@given(st.floats(0.02, 20.0), st.integers(1, 8))
def test_it_keeps_to_its_number_of_points(capacity: float, most: int) -> None:
    found, visited = search(capacity, most=most)
    assert len(visited) <= most
    assert found.kept is None or found.kept <= capacity


def test_it_goes_stepwise_then_bisects() -> None:
    _, visited = search(0.8, most=5)
    assert visited[:3] == [0.5, 0.75, 0.9]
    assert visited[3] == pytest.approx((0.75 * 0.9) ** 0.5)


def test_it_climbs_beyond_the_back_to_back_rate() -> None:
    """A session that batches serves more than one request after the other."""
    found, _ = search(6.0)
    assert found.kept is not None
    assert found.kept > 5.5


def test_a_target_that_never_keeps_the_slo_ends_the_search() -> None:
    found, visited = search(0.0)
    assert found.kept is None
    assert visited == [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625]


def test_a_kept_point_above_a_broken_one_does_not_count() -> None:
    """Noise may let a higher load pass: capacity is below the lowest load that failed."""
    found = CapacitySearch(0.1, 10)
    for load, kept in ((0.5, True), (0.75, False), (0.9, True)):
        found.record(load, kept)
    assert found.kept == 0.5
