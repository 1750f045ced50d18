import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.scale import LEFT_PERCENT, MOST_TICKS, RIGHT_PERCENT, Scale

AMOUNTS = st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=20)


def test_near_figures_share_a_linear_axis_from_zero():
    scale = Scale.spanning([2.0, 4.0])
    assert (scale.low, scale.logarithmic) == (0.0, False)
    assert scale.share(0.0) == 0.0
    assert scale.share(2.1) == pytest.approx(0.5)
    assert scale.ticks() == (0.0, 1.0, 2.0, 3.0, 4.0)


def test_far_figures_share_a_logarithmic_axis():
    scale = Scale.spanning([0.001, 1.0])
    assert scale.logarithmic
    assert scale.share((0.001 * 1.0) ** 0.5) == pytest.approx(0.5)
    assert scale.ticks() == pytest.approx((0.001, 0.01, 0.1, 1.0))


def test_bars_start_at_zero_however_far_apart():
    scale = Scale.spanning([0.001, 1.0], from_zero=True)
    assert (scale.low, scale.logarithmic) == (0.0, False)
    assert scale.share(1.0) == pytest.approx(1000 * scale.share(0.001))


def test_a_value_of_zero_keeps_the_axis_linear():
    assert not Scale.spanning([0.0, 1000.0]).logarithmic
    assert Scale.spanning([0.0]).share(0.0) == 0.0


def test_no_values_is_an_error():
    with pytest.raises(ValueError, match="needs a value"):
        Scale.spanning([])


@given(AMOUNTS, st.booleans())
def test_places_keep_the_order_and_stay_on_the_drawing(values, from_zero):
    scale = Scale.spanning(values, from_zero=from_zero)
    places = [scale.percent(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(LEFT_PERCENT <= place <= RIGHT_PERCENT for place in places)
    ticks = scale.ticks()
    assert len(ticks) <= MOST_TICKS + 1
    assert list(ticks) == sorted(set(ticks))
    assert all(scale.low <= tick <= scale.high * (1 + 1e-9) for tick in ticks)
