"""Inputs drawn from a user's own file, with shared prefixes, durations and bursts."""

import numpy as np
import pytest
from pydantic import ValidationError

from harness.errors import SpecError
from harness.mapper.capacity import mean_length
from harness.models.inputs import (
    CARD_COLUMNS,
    draw_durations,
    draw_lengths,
    draw_requests,
    inputs_hash,
)
from harness.models.transactions import NAMES
from harness.schema.lengths import Distribution, Durations
from tests.factories import make_fraud_workload, make_workload
from tests.models.test_inputs import make_speech_workload

PAIRS = [(5, 2), (5, 3), (9, 3), (40, 30)]


def rng():
    return np.random.default_rng(0)


@pytest.fixture
def data(tmp_path):
    lines = ["prompt,output", *(f"{prompt},{output}" for prompt, output in PAIRS)]
    (tmp_path / "lengths.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def empirical(column="prompt", mean=14.75, maximum=40, **changes):
    tree = {"kind": "empirical", "file": "lengths.csv", "column": column}
    return {**tree, "mean": mean, "maximum": maximum, **changes}


def prompts(**changes):
    return {
        "kind": "prompts",
        "count": 400,
        "prompt_tokens": {"kind": "fixed", "value": 6},
        "output_tokens": {"kind": "fixed", "value": 4},
        **changes,
    }


def test_lengths_of_a_file_come_as_often_as_there(data):
    drawn = draw_lengths(Distribution(**empirical()), 8000, rng(), data)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [5, 9, 40]
    assert counts / 8000 == pytest.approx([0.5, 0.25, 0.25], abs=0.02)
    cut = Distribution(**empirical(mean=8.25, maximum=12, minimum=6))
    assert set(draw_lengths(cut, 100, rng(), data)) == {6, 9, 12}


def test_two_lengths_of_one_file_are_of_the_same_row(data):
    inputs = prompts(
        prompt_tokens=empirical(), output_tokens=empirical("output", mean=9.5, maximum=30)
    )
    drawn = draw_requests(make_workload(inputs=inputs), data)
    assert {(len(r.prompt), r.max_new_tokens) for r in drawn} == set(PAIRS)
    (data / "other.csv").write_text((data / "lengths.csv").read_text())
    apart = prompts(
        prompt_tokens=empirical(),
        output_tokens=empirical("output", mean=9.5, maximum=30, file="other.csv"),
    )
    mixed = {
        (len(r.prompt), r.max_new_tokens) for r in draw_requests(make_workload(inputs=apart), data)
    }
    assert mixed > set(PAIRS)


def test_the_mean_that_decisions_use_is_held_against_the_file(data):
    assert mean_length(Distribution(**empirical())) == 14.75
    with pytest.raises(SpecError, match=r"is 14\.75 after the cut, not 20") as caught:
        draw_lengths(Distribution(**empirical(mean=20)), 4, rng(), data)
    assert caught.value.hint == "write mean: 14.75"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("length\n5\n", "no column"),
        ("prompt\n5\n0\n", "lengths.csv:3:1: 'prompt' must be a whole number of at least 1, is 0"),
        ("prompt\n5.5\n", "must be a whole number"),
        ("prompt\n-1\n", "must be a whole number"),
        ("prompt\nlong\n", "number"),
        ("prompt\n", "no rows"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(content, message, tmp_path):
    (tmp_path / "lengths.csv").write_text(content)
    with pytest.raises(SpecError, match=message):
        draw_lengths(Distribution(**empirical()), 4, rng(), tmp_path)


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        draw_lengths(Distribution(**empirical()), 4, rng(), tmp_path)


@pytest.mark.parametrize("lost", ["file", "column", "mean", "maximum"])
def test_an_empirical_distribution_has_its_parameters(lost):
    with pytest.raises(ValidationError, match=f"needs '{lost}'"):
        Distribution(**empirical(**{lost: None}))


def test_other_distributions_have_no_file():
    with pytest.raises(ValidationError, match="has no 'file'"):
        Distribution(kind="fixed", value=3, file="lengths.csv")


def test_the_files_of_lengths_are_named_by_the_workload(data):
    workload = make_workload(inputs=prompts(prompt_tokens=empirical()))
    assert workload.files()["inputs", "prompt_tokens", "file"] == "lengths.csv"


def test_a_share_of_the_prompts_begins_alike():
    shared = {"tokens": 20, "share": 0.6, "prefixes": 2}
    plain = draw_requests(make_workload(inputs=prompts()))
    drawn = draw_requests(make_workload(inputs=prompts(shared_prefix=shared)))
    long = [r.prompt for r in drawn if len(r.prompt) == 26]
    assert len(long) / len(drawn) == pytest.approx(0.6, abs=0.08)
    beginnings = {tuple(prompt[:20].tolist()) for prompt in long}
    assert len(beginnings) == 2
    sizes = [sum(tuple(p[:20].tolist()) == each for p in long) for each in beginnings]
    assert min(sizes) / len(long) == pytest.approx(0.5, abs=0.1)
    # The prefix comes on top: what follows is what was drawn without it.
    for with_it, without in zip(drawn, plain, strict=True):
        assert np.array_equal(with_it.prompt[-6:], without.prompt)
        assert len(with_it.prompt) in (6, 26)


def test_a_larger_count_begins_with_the_same_prefixes():
    shared = {"tokens": 3, "share": 0.5, "prefixes": 4}
    some, more = (
        draw_requests(make_workload(inputs=prompts(shared_prefix=shared, count=count)))
        for count in (10, 30)
    )
    assert inputs_hash(some) == inputs_hash(more[:10])


def test_a_prefix_counts_towards_the_context():
    shared = {"tokens": 119, "share": 0.1}
    with pytest.raises(ValidationError, match="reach 129 tokens"):
        make_workload(inputs=prompts(shared_prefix=shared))


def test_durations_are_whole_frames_within_their_bounds():
    spec = Durations(kind="lognormal", mean=1.0, sigma=0.5, minimum=0.5, maximum=2.0)
    drawn = draw_durations(spec, 20_000, rng())
    assert (drawn.min(), drawn.max()) == (0.5, 2.0)
    assert drawn * 100 == pytest.approx(np.rint(drawn * 100), abs=1e-9)
    assert drawn.mean() == pytest.approx(mean_length(spec), rel=0.01)
    even = Durations(kind="uniform", minimum=1.0, maximum=3.0)
    assert draw_durations(even, 20_000, rng()).mean() == pytest.approx(mean_length(even), rel=0.01)


def test_clips_last_as_drawn(tmp_path):
    (tmp_path / "calls.csv").write_text("seconds\n0.5\n0.5\n1.25\n")
    spec = {"kind": "empirical", "file": "calls.csv", "column": "seconds"}
    spec |= {"mean": 0.75, "maximum": 2.0}
    workload = make_speech_workload(duration_s=spec, count=12)
    drawn = draw_requests(workload, tmp_path)
    assert {request.audio_s for request in drawn} == {0.5, 1.25}
    quiet = min(drawn, key=lambda r: r.audio_s), max(drawn, key=lambda r: r.audio_s)
    # After the sound there is silence: the last frames are all alike.
    ends = [int(np.ptp(r.features, axis=0).nonzero()[0].max()) for r in quiet]
    assert ends[0] < ends[1]
    assert workload.files()["inputs", "duration_s", "file"] == "calls.csv"
    with pytest.raises(ValidationError, match="longer than the model's window"):
        make_speech_workload(duration_s={**spec, "maximum": 2.01})


def rows(**changes):
    inputs = {"kind": "transactions", "count": 800, **changes}
    drawn = draw_requests(make_fraud_workload(inputs=inputs))
    return np.stack([request.features for request in drawn])


def test_a_share_of_the_transactions_is_in_runs_of_one_card():
    plain, drawn = rows(), rows(bursts={"share": 0.5, "length": 10})
    age = NAMES.index("account_age_days")
    runs = [part for part in np.split(drawn, 80) if np.ptp(part[:, age]) == 0]
    assert len(runs) == 40
    for run in runs:
        for name in CARD_COLUMNS:
            if name != "device_change":
                assert np.ptp(run[:, NAMES.index(name)]) == 0
        assert np.diff(run[:, NAMES.index("count_1h")]).tolist() == [1] * 9
        gaps_s = np.exp(run[1:, NAMES.index("since_last_log_s")])
        assert gaps_s.min() > 4.9
        assert gaps_s.max() < 60.1
    untouched = [
        np.array_equal(*pair) for pair in zip(np.split(plain, 80), np.split(drawn, 80), strict=True)
    ]
    assert sum(untouched) == 40
    assert np.array_equal(drawn, rows(bursts={"share": 0.5, "length": 10})), "seeded"
