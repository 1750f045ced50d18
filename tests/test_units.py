import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (5e-7, "500 ns"),
        (0.00085, "850 µs"),
        (0.0123456, "12.3 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1.00 s"),  # rounding carries into the next unit
        (59.97, "60.0 s"),
        (1234.5, "1,235 s"),
        (-0.0012, "-1.20 ms"),
    ],
)
def test_seconds(value, text):
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "500 ms"),
        (59.96, "60.0 s"),
        (60, "1 min 0 s"),
        (119.6, "2 min 0 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (3 * 86400 + 5 * 3600, "3 d 5 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_duration(value, text):
    assert units.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "$0.00"),
        (12.345, "$12.35"),
        (999.999, "$1,000"),
        (1234567.8, "$1,234,568"),
        (0.00123, "$0.00123"),
        (2.5e-7, "$0.000000250"),
        (-5, "-$5.00"),
    ],
)
def test_usd(value, text):
    assert units.usd(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (0.07, "7 %"),
        (0.1234, "12.3 %"),
        (1, "100 %"),
        (0.9996, "99.96 %"),
        (0.999999, "above 99.99 %"),
        (15, "1,500 %"),
    ],
)
def test_percent(share, text):
    assert units.percent(share) == text


def test_the_other_quantities():
    assert units.joules(0.0123) == "12.3 mJ"
    assert units.joules(1500) == "1.50 kJ"
    assert units.watts(350) == "350 W"
    assert units.data(1536) == "1.54 kB"
    assert units.gigabytes(80) == "80.0 GB"
    assert units.rate(1234.5, "tokens/s") == "1,235 tokens/s"
    assert units.count(1234567) == "1,234,567"
    assert units.number(0.0012345) == "0.00123"
    assert [units.bare(value) for value in (12345.0, 2.5)] == ["12,345", "2.50"]
    assert units.quantity(0.25, "share") == "25 %"
    assert units.quantity(12, "requests/s") == "12.0 requests/s"
    assert units.quantity(0.0021, "J/request") == "2.10 mJ/request"


def test_a_missing_number_says_why():
    assert units.seconds(None) == "not measured"
    assert units.joules(None, "no meter") == "no meter"
    assert units.interval(None, None, None, "s", "not supported by n") == "not supported by n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.0123, 0.0119, 0.0128, "s"), "12.3 ms (11.9–12.8)"),
        ((0.0123, 0.0119, None, "s"), "12.3 ms (11.9 or more)"),
        ((0.0123, None, 0.0128, "s"), "12.3 ms (12.8 or less)"),
        ((0.0123, None, None, "s"), "12.3 ms"),
        ((0.9999, 0.98, 1.01, "s"), "1.00 s (0.980–1.01)"),
        ((0.1234, 0.1, 0.2, "share"), "12.3 % (10.0–20.0)"),
        ((0.002, 0.0019, 0.0021, "J/request"), "2.00 mJ/request (1.90–2.10)"),
        ((-0.1, -0.2, 0.3, "1"), "-0.100 (-0.200 to 0.300)"),
        ((1500.0, 1400.0, 1600.0, "tokens/s"), "1,500 tokens/s (1,400–1,600)"),
        ((80.0, 79.0, 81.0, "GB"), "80.0 GB (79.0–81.0)"),
    ],
)
def test_an_interval_is_in_the_unit_of_its_value(arguments, text):
    assert units.interval(*arguments) == text


FORMATTERS = [
    units.number,
    units.seconds,
    units.duration,
    units.usd,
    units.joules,
    units.watts,
    units.data,
    units.percent,
    units.count,
]


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_shown_as_a_number(formatter, value):
    assert formatter(value) == "not a finite number"
    assert "nan" not in units.interval(value, value, value, "s")
    assert "inf" not in units.interval(1.0, value, 2.0, "s").replace("finite", "")


@given(st.floats(min_value=1e-6, max_value=1e12) | st.floats(min_value=-1e12, max_value=-1e-6))
def test_ordinary_numbers_have_no_exponent_and_keep_three_digits(value):
    for formatter in FORMATTERS:
        assert "e+" not in formatter(value)
        assert "e-" not in formatter(value)
    shown = float(units.number(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.00501)


@given(st.floats(min_value=1e-9, max_value=9.99e5))
def test_seconds_can_be_read_back(value):
    text, unit = units.seconds(value).split(" ")
    factor = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    assert float(text.replace(",", "")) * factor == pytest.approx(value, rel=0.00501)
    assert unit == "s" or float(text) < 1000


def test_bounds_of_small_prices_are_written_like_the_price() -> None:
    shown = units.interval(6.97e-7, 5.86e-7, 7.02e-7, "USD")
    assert shown == "$0.000000697 (0.000000586–0.000000702)"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 units"), (1, "1 unit"), (12_345, "12,345 units")]
)
def test_a_number_of_things_is_told_with_their_name(value, text):
    assert units.counted(value, "unit") == text
