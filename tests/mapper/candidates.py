"""Candidates and contests of the choice, rented and with nothing uncertain unless said."""

from harness.mapper.candidate import Candidate
from harness.mapper.draws import Future
from harness.mapper.uncertainty import Contest
from harness.schema.base import Interval
from harness.schema.brief import Uncertainty
from harness.schema.demand import Demand

EXACT = Uncertainty(
    price=0,
    volume=0,
    peak_factor=0,
    growth=0,
    electricity=0,
    throughput_open=0,
    unit_to_unit=0,
)
MONTH_S = 730 * 3600


def make_candidate(name, *, price=1.0, throughput=(100.0, 100.0, 100.0), source="list", **changes):
    value, low, high = throughput
    tree = {
        "target": name,
        "tier": "cloud",
        "rented": True,
        "price_source": source,
        "chip": "Acme X1",
        "vendor": "Acme",
        "evidence": "measured",
        "throughput": Interval(value=value, low=low, high=high),
        "per_request": 1.0,
        "stated_usd": price,
        "price_unit": "USD/h",
        "priced_usd": price * 8760,
        "colocation_usd": 0.0,
        "usd_per_watt": 0.0,
        "rates": (0.0,),
        "watts": (0.0,),
        "power": None,
        "complete": True,
    }
    return Candidate(**{**tree, **changes})


def make_bought(name, *, usd_per_year=8760.0, **changes):
    """Return a purchase of 10,000 USD that costs `usd_per_year` a unit."""
    tree = {"rented": False, "stated_usd": 10_000.0, "price_unit": "USD", "source": "quote"}
    tree |= {"priced_usd": usd_per_year}
    return make_candidate(name, **{**tree, **changes})


def make_contest(candidates, *, rate=1000.0, spare=0, staff=0.0, utilisation_max=1.0, **spread):
    """Return the contest of `candidates` for a steady demand of `rate` requests/s."""
    demand = Demand(requests_per_month=rate * MONTH_S)
    return Contest(
        candidates=tuple(candidates),
        future=Future("chat", demand, EXACT.model_copy(update=spread)),
        utilisation_max=utilisation_max,
        spare=spare,
        staff_usd_per_year=staff,
    )
