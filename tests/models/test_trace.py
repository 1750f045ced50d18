import numpy as np
import pytest

from harness.errors import SpecError
from harness.models.inputs import draw_requests
from harness.models.trace import HEADER, read_trace, trace_requests
from tests.factories import make_fraud_workload, make_workload


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_reads_what_was_written(write) -> None:
    trace = read_trace(write(f"{HEADER}\r\n10.5,3,4\r\n10.5,1,1\r\n1e2,20,8\r\n"))
    assert list(trace.times_s) == [10.5, 10.5, 100.0]
    assert list(trace.input_tokens) == [3, 1, 20]
    assert list(trace.output_tokens) == [4, 1, 8]
    assert trace.lines == (2, 3, 4)
    part = trace.window(speed=10.0, most_s=5.0)
    assert list(part.times_s) == [0.0, 0.0]
    assert list(trace.window(10.0, 9.0).times_s) == pytest.approx([0.0, 0.0, 8.95])


@pytest.mark.parametrize(
    ("rows", "place", "message"),
    [
        ("1,2", ":2:1: ", "must have 3 columns, has 2"),
        ("", ":2:1: ", "must have 3 columns, has 1"),
        ("0,1,1\nx,1,1", ":3:1: ", "time_s must be a number of at least 0, is 'x'"),
        ("nan,1,1", ":2:1: ", "time_s must be a number"),
        ("1_000,1,1", ":2:1: ", "time_s must be a number of at least 0, is '1_000'"),
        ("-1,1,1", ":2:1: ", "time_s must be a number of at least 0"),
        ("2,1,1\n1.5,1,1", ":3:1: ", "time_s falls from 2 to 1.5"),
        ("0.25,0,1", ":2:6: ", "input_tokens must be a whole number of at least 1, is '0'"),
        ("0,12,1.5", ":2:6: ", "output_tokens must be a whole number"),
        ("0,12, 3", ":2:6: ", "is ' 3'"),
        ("0,+12,3", ":2:3: ", "input_tokens"),
    ],
)
def test_bad_rows_are_named_by_place(write, rows: str, place: str, message: str) -> None:
    path = write(f"{HEADER}\n{rows}\n")
    with pytest.raises(SpecError) as caught:
        read_trace(path)
    text = str(caught.value)
    assert f"{path.name}{place}" in text
    assert message in text


def test_all_faults_are_told_up_to_a_number(write) -> None:
    with pytest.raises(SpecError) as caught:
        read_trace(write(f"{HEADER}\n" + "x,0,0\n" * 100))
    assert 20 <= len(caught.value.problems) <= 22
    assert [p.column for p in caught.value.problems[:3]] == [1, 3, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line must be"),
        (b"time,input,output\n0,1,1\n", "the first line must be"),
        (HEADER.encode() + b"\n", "no rows"),
        (HEADER.encode() + b"\n0,1,\xff\n", ":2:1: not UTF-8"),
    ],
)
def test_what_is_no_trace_is_refused(write, content: bytes, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_trace(write(content))


def test_a_missing_file_is_told(tmp_path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")


def test_text_requests_have_the_lengths_of_the_rows(write) -> None:
    trace = read_trace(write(f"{HEADER}\n0,3,4\n1,100,8\n"))
    workload = make_workload()
    one, two = trace_requests(trace, workload), trace_requests(trace, workload)
    assert [(len(r.prompt), r.max_new_tokens) for r in one] == [(3, 4), (100, 8)]
    assert all(np.array_equal(a.prompt, b.prompt) for a, b in zip(one, two, strict=True))
    assert max(int(r.prompt.max()) for r in one) < workload.model.vocabulary


def test_rows_beyond_the_context_are_named(write) -> None:
    trace = read_trace(write(f"{HEADER}\n0,3,4\n1,125,4\n"))
    with pytest.raises(SpecError, match=r"t\.csv:3:1: 125 input and 4 output tokens"):
        trace_requests(trace, make_workload())


def test_other_tasks_keep_their_inputs(write) -> None:
    workload = make_fraud_workload()
    trace = read_trace(write(f"{HEADER}\n" + "0,1,1\n" * 5))
    drawn = {r.features.tobytes() for r in draw_requests(workload)}
    asked = trace_requests(trace, workload)
    assert len(asked) == 5
    assert {r.features.tobytes() for r in asked} <= drawn
