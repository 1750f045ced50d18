import itertools

from harness.report.distribution import MOST_BUCKETS, buckets, distribution
from harness.schema.record import Histogram


def test_buckets_are_taken_together_and_no_request_is_lost():
    counts = tuple((index, index % 7 + 1) for index in range(-400, 100, 3))
    found = buckets(Histogram(counts=counts))
    assert len(found) <= MOST_BUCKETS
    assert sum(count for _, _, count in found) == sum(count for _, count in counts)
    assert all(high > low for low, high, _ in found)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))


def test_a_bucket_holds_what_lies_between_its_ends():
    found = buckets(Histogram(growth=2.0, counts=((0, 5), (3, 1))))
    assert found == ((1.0, 2.0, 5), (2.0, 4.0, 0), (4.0, 8.0, 0), (8.0, 16.0, 1))


def test_the_table_adds_up():
    rows = distribution("k", Histogram(growth=2.0, counts=((0, 3), (1, 1)))).rows
    assert rows == (
        ("1.00 s and 2.00 s", "3", "75 %", "75 %"),
        ("2.00 s and 4.00 s", "1", "25 %", "100 %"),
    )


def test_without_latencies_there_is_no_chart_but_a_word():
    empty = distribution("k", Histogram(counts=()))
    assert empty.plot is None
    assert empty.rows == ()
    assert "nobody waits" in empty.note
