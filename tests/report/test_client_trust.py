"""How far the client can be trusted, on a record's page and in the decision."""

from harness.report import render
from harness.report.client_trust import in_short, trusted
from harness.report.folder import pages
from harness.schema.trust import ClientLimit
from tests.factories import make_point, make_record, make_workload
from tests.report.markup import read
from tests.report.sampled import samples_of
from tests.report.test_page import tables
from tests.report.whole import TRUST, whole


def record(trust):
    point = make_point(make_workload(), load=0.5).model_copy(update={"trust": trust})
    return make_record(make_workload(), points=(point,))


def test_the_error_and_the_ceiling_stand_in_a_line():
    assert in_short(record(TRUST)) == (
        "the client adds 350 µs (p50), 2.10 ms (p99) to the server's times; its ceiling is 5,200 "
        "requests/s"
    )
    assert in_short(record(None)) == ""
    assert trusted(record(None)) == ()
    not_calibrated = TRUST.model_copy(update={"calibration": None})
    assert in_short(record(not_calibrated)) == "the client's own error is not known"


def test_a_client_that_was_the_limit_says_so_before_anything_else():
    bound = TRUST.model_copy(update={"client_bound": (ClientLimit(text="it was too late"),)})
    assert in_short(record(bound)) == "the client was the limit: it was too late"
    (table,) = trusted(record(bound))
    assert table.rows[0][-1] == "✕ yes: it was too late"


def test_a_record_s_page_has_the_block_of_every_point_and_the_decision_a_line():
    decision, records = whole()
    served = next(r for r in records if r.cell.label == "chat@model-api/server")
    made = dict(pages(decision, records, samples=samples_of, history=records, command="x"))
    found = tables(read(made[f"run-{served.id}.html"]))
    rows = found["How far the client can be trusted, at every operating point"]
    assert len(rows) == 1 + len(served.points)
    assert rows[1][0] == "1, load 30 %"
    assert rows[1][1] == "350 µs (p50), 2.10 ms (p99)"
    assert rows[1][5] == "used 31 %, waited not told"
    assert rows[1][-1] == "✓ no"
    clients = tables(read(render(decision, records)))[
        "How the clients kept up that asked served targets"
    ]
    assert {row[1] for row in clients[1:]} == {
        r.cell.label for r in records if r.cell.target == "model-api" and r.points
    }
    assert "its ceiling is 5,200 requests/s" in clients[1][2]
