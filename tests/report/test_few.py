import pytest

from harness.report import render
from harness.report.few import FEW, front, lines, named_few
from harness.report.view import workload_views
from tests.report.answered import answered
from tests.report.markup import read
from tests.report.test_page import section, tables


@pytest.fixture(scope="module")
def many():
    return answered(30)


def test_up_to_sixteen_targets_are_all_shown_in_full():
    for view in workload_views(*answered(16)):
        assert named_few(view) is view
        assert lines(view) == ()


def test_of_many_the_choice_the_runner_up_and_the_front_are_shown(many):
    for view in workload_views(*many):
        few = named_few(view)
        kept = {row.outcome.target for row in few.rows}
        assert len(kept) == FEW
        answer = view.decision
        assert {answer.choice.target, answer.runner_up.target} <= kept
        assert {row.outcome.target for row in front(view)} <= kept
        assert [row for row in view.rows if row.outcome.target in kept] == list(few.rows)


def test_nothing_on_the_front_is_beaten(many):
    view = workload_views(*many)[2]
    best = front(view)
    assert best

    def figures(row):
        return (
            -row.metric("throughput_requests_per_s").value,
            row.metric("latency_s.p99").value,
        )

    known = [figures(row) for row in view.measured if row.doubt != "invalid"]
    for row in best:
        rate, latency_s = figures(row)
        assert not any(r < rate and s < latency_s for r, s in known)


def test_every_target_stands_in_the_table_and_the_page_says_how_many_are_drawn(many):
    tree = read(render(*many))
    for index, title in enumerate(("Customer chat", "Call transcription", "Card fraud"), start=1):
        part = section(tree, f"workload-{index}")
        rows = tables(part)[f"Every target, {title}"]
        assert len(rows) == 31
        assert all(len(row) == 9 and all(row) for row in rows)
        assert "show 8 of 30 targets" in " ".join(part.text.split())
        drawn = part.all("svg")[0].classed("label")
        assert len(drawn) <= FEW
    matrix = tables(section(tree, "feasibility"))["Which target can serve which workload"]
    assert len(matrix) == 31
    long = [e.attributes["aria-label"] for e in tree.classed("long")]
    assert "Which target can serve which workload" in long


def test_long_tables_scroll_by_themselves_only_where_there_are_many():
    assert read(render(*answered(12))).classed("long") == []


def test_doubt_is_told_in_the_table_of_every_target(many):
    rows = tables(section(read(render(*many)), "workload-3"))["Every target, Card fraud"]
    by_title = {row[0]: row for row in rows}
    assert by_title["Acme CPU, 16 cores, int8"][-2:] == ["noisy", "measured"]
    assert by_title["Edge box"][-2:] == ["not measured", "none"]
    assert by_title["Edge box"][2] == "no figures"
