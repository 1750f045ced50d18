"""Cost over the volume: by hand, and the same figures as the break-evens and the options have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mapper.break_even import break_evens
from harness.mapper.draws import planned
from harness.mapper.volume import GRID, MOST_LINES, volume_costs
from harness.schema import Decision
from tests.factories import make_brief, make_point
from tests.mapper.candidates import MONTH_S, make_bought, make_candidate, make_contest
from tests.mapper.metered import metered, reading
from tests.mapper.test_break_even import make_api
from tests.mapper.test_decide import BUSY, WORKLOAD, answer, purchase, rent


def found(contest, *compared):
    return volume_costs(contest, compared, break_evens(contest, contest.odds()))


def points(line):
    return list(zip(line.requests_per_month, line.units, line.usd_per_year, strict=True))


def test_a_fleet_is_a_staircase_with_both_sides_of_each_step():
    """100/s a unit for $8,760 a year, planned for 250/s: three units; the second from 100/s on."""
    contest = make_contest([make_candidate("box")], rate=250.0)

    costs = found(contest, "box")

    (line,) = costs.lines
    assert costs.planned == 250 * MONTH_S
    at = [(volume / MONTH_S, units, usd) for volume, units, usd in points(line)]
    assert (250.0, 3, 3 * 8760) in at
    for unit in (1, 2, 3, 12):
        sides = [each[1:] for each in at if each[0] == pytest.approx(100 * unit, rel=1e-5)]
        assert sides == [(unit, unit * 8760.0), (unit + 1, (unit + 1) * 8760.0)]
    assert at[0][:2] == (pytest.approx(2.5), 1)
    assert at[-1][:2] == (pytest.approx(25_000), 250)


def test_units_sold_in_lots_step_by_lots_only():
    contest = make_contest([make_candidate("node", sold_in_units=8)], rate=1000.0)

    (line,) = found(contest, "node").lines

    assert {units % 8 for units in line.units} == {0}
    fewest = [
        volume / MONTH_S
        for volume, units, _ in points(line)
        if units == 16 and volume < 1000 * MONTH_S
    ]
    assert fewest[0] == pytest.approx(800, rel=1e-5)


def test_an_api_costs_in_proportion_and_takes_no_units():
    contest = make_contest([make_api(usd_per_request=1e-4)], rate=10.0)

    (line,) = found(contest, "api").lines

    assert len(line.units) == GRID
    for volume, units, usd in points(line):
        assert units == 0
        assert usd == pytest.approx(volume * 12 * 1e-4, rel=1e-5)


@given(
    usd=st.floats(1e-6, 1e-4),
    yearly=st.floats(2000, 60_000),
    unit=st.floats(20, 2000),
    spare=st.integers(0, 2),
)
@settings(max_examples=25, deadline=None)
def test_every_crossing_is_on_both_lines_and_every_figure_that_of_the_contest(
    usd, yearly, unit, spare
):
    contest = make_contest(
        [
            make_api(usd_per_request=usd),
            make_bought("node", usd_per_year=yearly, throughput=(unit, unit, unit)),
        ],
        rate=120.0,
        spare=spare,
    )
    pairs = break_evens(contest, contest.odds())

    costs = volume_costs(contest, (), pairs)

    lines = {line.target: line for line in costs.lines}
    for crossing in pairs[0].crossings:
        at = crossing.requests_per_month
        near = {
            name: [u for v, _, u in points(line) if abs(v / at - 1) < 1e-5]
            for name, line in lines.items()
        }
        level = near["api"][0]
        assert min(near["node"]) <= level * 1.0001
        assert max(near["node"]) >= level * 0.9999
    grid = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
    whole = contest.costs(planned(contest.candidates, contest.future.demand, grid))
    for row, candidate in enumerate(contest.candidates):
        line = lines[candidate.target]
        for factor, expected in zip(grid, whole[row], strict=True):
            assert expected == pytest.approx(
                line.usd_per_year[line.requests_per_month.index(_six(factor * costs.planned))],
                rel=1e-5,
            )


def _six(value):
    return float(f"{value:.6g}")


def test_the_best_of_each_kind_stands_beside_the_choice_and_a_cost_not_whole_is_left_out():
    contest = make_contest(
        [
            make_candidate("box"),
            make_candidate("dear", price=3.0),
            make_bought("own", tier="on_premises"),
            make_bought("edge", tier="edge", usd_per_year=9000),
            make_bought("dark", tier="on_premises", complete=False),
            make_api(),
        ]
    )

    costs = found(contest, "dear", "dark")

    assert [line.target for line in costs.lines] == ["dear", "api", "box", "own", "edge"]
    assert len(costs.lines) == MOST_LINES
    assert costs.left_out == ("dark",)
    alone = make_contest([make_bought("dark", complete=False)])
    assert volume_costs(alone, ("dark",), ()) is None


def test_a_decision_has_at_the_planned_volume_the_cost_and_the_units_of_its_options():
    targets = [
        ("rented", rent(1.0), make_point(WORKLOAD, rate=100)),
        ("faster", rent(2.2), make_point(WORKLOAD, rate=200)),
        (
            "bought",
            purchase(purchase_usd=15_000.0),
            metered(reading(3000.0, "node"), rate=90),
        ),
    ]
    brief = make_brief(
        workloads=[{"workload": "chat", "demand": BUSY}],
        economics={**make_brief().economics.model_dump(), "staff_usd_per_year": 10_000.0},
    )

    decision = answer(targets, brief=brief)

    decided = decision.workloads[0]
    options = {option.target: option for option in decided.options}
    lines = {line.target: line for line in decided.volume_costs.lines}
    assert {decided.choice.target, decided.runner_up.target} <= set(lines)
    assert "bought" in lines
    for name, line in lines.items():
        at = line.requests_per_month.index(decided.demand.requests_per_month)
        assert line.units[at] == options[name].replicas
        assert line.usd_per_year[at] == pytest.approx(options[name].cost_per_year_usd, rel=1e-5)
    text = decision.model_dump_json(by_alias=True)
    assert Decision.model_validate_json(text) == decision


def test_a_decision_from_before_is_read_and_written_as_it_was():
    tree = answer([("rented", rent(1.0), make_point(WORKLOAD, rate=100))]).model_dump(mode="json")
    before = {k: v for k, v in tree["workloads"][0].items() if k != "volume_costs"}

    read = Decision.model_validate({**tree, "workloads": [before]})

    assert read.workloads[0].volume_costs is None
    assert "volume_costs" not in read.model_dump(mode="json")["workloads"][0]
