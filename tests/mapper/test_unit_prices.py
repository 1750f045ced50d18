"""A yearly cost as the cost of a request, an hour of audio, a task: one figure in several units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.mapper.capacity import Work
from harness.mapper.unit_prices import per_audio_hour, per_request_of, per_task
from harness.schema.base import Interval
from harness.schema.demand import Demand

SPEECH = Work("throughput_requests_per_s", "requests/s", 1.0, "1,000 requests", 1e3, audio_s=30.0)
TEXT = Work("throughput_output_tokens_per_s", "tokens/s", 200.0, "million output tokens", 1e6)


@given(usd_per_hour=st.floats(0.01, 100))
def test_an_hour_of_audio_costs_what_an_api_charges_for_it(usd_per_hour):
    """A clip of 30 s costs 30 / 3,600 of the hour, 1,000 clips a thousand times that."""
    clips = usd_per_hour * 30 / 3600 * 1000

    found = per_audio_hour(Interval(value=clips, low=clips / 2, high=None), SPEECH)

    assert found.value == pytest.approx(usd_per_hour)
    assert found.low == pytest.approx(usd_per_hour / 2)
    assert found.high is None
    assert per_audio_hour(Interval(value=clips), TEXT) is None


def test_a_request_costs_its_tokens_at_the_price_of_a_million():
    assert per_request_of(Interval(value=5.0), TEXT).value == pytest.approx(200 * 5e-6)
    assert per_request_of(Interval(value=5.0), SPEECH).value == pytest.approx(0.005)


def test_calls_that_a_result_cache_answers_cost_a_task_nothing():
    agent = {"calls_per_task": 10, "order": "parallel"}
    demand = Demand(requests_per_month=1e6, result_cache_hit=0.25, agent=agent)

    assert per_task(Interval(value=0.01), demand).value == pytest.approx(0.075)
    assert per_task(Interval(value=0.01), Demand(requests_per_month=1e6)) is None
    assert per_task(Interval(value=0.01), None) is None
