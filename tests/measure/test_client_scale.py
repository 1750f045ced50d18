import pytest

from harness.adapters.trust import GrowingSession
from harness.errors import AdapterError
from harness.measure.client_scale import ClientScale, processes_for
from tests.measure.virtual import VirtualClock


class Growing:
    """A session that notes how many processes it was given."""

    def __init__(self, may_grow=True, broken=False):
        self.may_grow = may_grow
        self.processes = 1
        self.broken = broken

    def use_processes(self, count):
        if self.broken:
            raise AdapterError("they do not start")
        self.processes = count


def scaled(rates, *, cores=8, ceiling=5_000.0, tokens=1, session=None):
    """Return the processes after each rate, and the rates at which the ceiling was found out."""
    session = session or Growing()
    assert isinstance(session, GrowingSession)
    asked, counts = [], []

    def found(rate, tokens):
        asked.append(rate)
        return ceiling

    scale = ClientScale(session, VirtualClock(), cores=cores, ceiling=found)
    for rate in rates:
        scale.make_room(rate, tokens)
        counts.append(session.processes)
    return counts, asked


@pytest.mark.parametrize(
    ("rate", "ceiling", "cores", "count"),
    [
        (3_000, 5_000, 8, 1),  # below 70 % of what one can do
        (4_000, 5_000, 8, 2),
        (10_000, 5_000, 8, 3),
        (1e6, 5_000, 8, 7),  # one core is for what issues
        (1e6, 5_000, 1, 1),
        (1e6, None, 8, 1),  # nothing is known
    ],
)
def test_as_many_as_the_rate_takes_and_cores_are_spare(rate, ceiling, cores, count) -> None:
    assert processes_for(rate, ceiling, cores) == count


def test_a_client_grows_with_the_rate_and_never_shrinks() -> None:
    counts, asked = scaled([100.0, 4_000.0, 10_000.0, 3_000.0])
    assert counts == [1, 2, 3, 3]
    assert asked == [4_000.0, 10_000.0]  # 100/s is no question, and less was answered before


def test_many_tokens_a_second_are_a_question_too() -> None:
    assert scaled([100.0], tokens=64, ceiling=50.0) == ([3], [100.0])


def test_without_a_spare_core_nothing_is_found_out() -> None:
    assert scaled([1e5], cores=2) == ([1], [])


def test_a_fixed_number_stays() -> None:
    assert scaled([1e5], session=Growing(may_grow=False)) == ([1], [])


def test_a_session_that_cannot_grow_goes_on_as_it_is() -> None:
    assert scaled([1e5], session=Growing(broken=True))[0] == [1]
    ClientScale(object(), VirtualClock(), cores=8).make_room(1e6, 64)
