from datetime import timedelta

from harness.report.history import histories
from harness.schema.record import Verdict
from tests.factories import START, make_point, make_record, make_workload


def series(*rates, **changes):
    workload = make_workload()
    return [
        make_record(
            workload,
            number=n,
            points=(make_point(workload, rate=rate),),
            started_at=START + timedelta(days=n),
            **changes.get(f"r{n}", {}),
        )
        for n, rate in enumerate(rates)
    ]


def path(history, kind):
    return [layer.path for layer in history.plot.layers if layer.kind == kind]


def test_records_stand_in_the_order_of_time():
    (history,) = histories(list(reversed(series(10, 20, 30))))
    assert [row[3].split()[0] for row in history.rows] == ["10.0", "20.0", "30.0"]
    assert len(path(history, "line chosen")) == 1
    assert path(history, "line chosen")[0].count("L") == 2
    assert "1 (2026-11-01): 10.0 requests/s" in history.plot.description


def test_another_configuration_has_another_letter_and_no_line_to_it():
    records = series(10, 20, 30, 40)
    for n in (2, 3):
        cell = records[n].cell.model_copy(update={"target_hash": "f" * 64})
        records[n] = records[n].model_copy(update={"cell": cell})
    (history,) = histories(records)
    assert [row[2] for row in history.rows] == ["A", "A", "B", "B"]
    assert [line.count("L") for line in path(history, "line chosen")] == [1, 1]


def test_doubtful_figures_are_hollow_and_invalid_ones_are_listed_only():
    states = ("valid", "noisy", "invalid", "valid")
    records = [
        record.model_copy(update={"verdict": Verdict(state=state)})
        for record, state in zip(series(10, 20, 3333, 40), states, strict=True)
    ]
    records[3] = records[3].model_copy(update={"evidence": "claimed"})
    (history,) = histories(records)
    assert path(history, "kept chosen")[0].count("M") == 1
    assert path(history, "others chosen")[0].count("M") == 2
    assert "3,333" not in history.plot.description
    assert [row[-2] for row in history.rows] == ["valid", "noisy", "invalid", "valid"]
    assert history.rows[3][-1] == "claimed"
    assert "40.0 requests/s (38.0–42.0), claimed, valid" in history.plot.description
    assert "1 without usable figures" in history.note


def test_one_figure_is_no_course():
    (history,) = histories(series(10))
    assert history.plot is None
    assert "no course to draw" in history.note
    assert len(history.rows) == 1


def test_a_failed_record_stands_there_with_its_message():
    failed = make_record(status="failed", number=9)
    (history,) = histories([*series(10, 20), failed])
    assert "the cell ended: crash" in {row[3] for row in history.rows}
    assert len(history.rows) == 3
