from types import SimpleNamespace

import pytest

from harness.adapters.base import BlockingSession, RowRequest
from harness.errors import AdapterError
from harness.measure.clock import RealClock
from harness.measure.contract import closing, description, opened
from harness.measure.query import TimedQuery
from harness.measure.samples import Samples
from tests.factories import make_target


class Session(BlockingSession):
    def __init__(self, said=None, outputs=(), **attributes):
        self.said = {"runtime": "acme"} if said is None else said
        self.outputs = outputs
        for name, value in attributes.items():
            setattr(self, name, value)

    def describe(self):
        return self.said

    def infer(self, requests):
        return self.outputs


def open_as(session):
    return opened(SimpleNamespace(open=lambda target, model: session), make_target(), None)


@pytest.mark.parametrize("attributes", [{}, {"max_concurrency": None}, {"max_batch": 64}])
def test_a_session_by_the_contract_is_returned(attributes):
    session = Session(**attributes)
    assert open_as(session) is session
    assert description(session) == {"runtime": "acme"}


@pytest.mark.parametrize(
    ("session", "message"),
    [
        (None, "returned None"),
        (SimpleNamespace(max_batch=1, max_concurrency=1), "has no describe()"),
        (Session(close=None), "has no close()"),
        (Session(max_batch=0), "has max_batch 0; it is a whole number of at least 1"),
        (Session(max_batch=None), "has max_batch None"),
        (Session(max_concurrency=0), "has max_concurrency 0"),
    ],
)
def test_what_is_no_session_is_told_when_it_is_opened(session, message):
    with pytest.raises(AdapterError) as caught:
        open_as(session)
    assert message in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("said", "message"),
    [("acme", "returned a str, not a mapping"), ({"operators": {("MatMul", 1): 3}}, "is no JSON")],
)
def test_a_description_that_no_record_can_hold_is_named(said, message):
    with pytest.raises(AdapterError, match=message):
        description(Session(said))


def test_outputs_that_are_bare_numbers_are_named():
    query = TimedQuery([RowRequest(None)], None, RealClock())
    Session(outputs=[0.25]).submit(query)
    with pytest.raises(AdapterError, match="an output is a float, not an Output"):
        query.expect_outputs()
    with pytest.raises(AdapterError, match="an output is a float, not an Output"):
        Samples(0, 0).add(query, [0], [0])


def broken():
    raise RuntimeError("the device is gone")


def test_an_error_while_closing_is_said_and_costs_nothing_else():
    with closing(Session(close=broken)) as failed:
        pass
    assert failed == {"close_failed": "RuntimeError: the device is gone"}
    with closing(Session()) as failed:
        pass
    assert failed == {}


def test_an_error_in_the_block_is_the_one_that_is_told():
    with pytest.raises(ValueError, match="in the block"), closing(Session(close=broken)):
        raise ValueError("in the block")
