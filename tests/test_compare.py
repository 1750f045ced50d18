import math

import pytest

from harness.compare import Side, compare, find_side
from harness.errors import SpecError
from harness.schema.record import Reason, Verdict
from harness.schema.scenario import Server
from tests.factories import make_point, make_record, make_target, make_workload, ulid

WORKLOAD = make_workload()
RUN, OTHER_RUN = ulid(20_000), ulid(30_000)
STEADY = (0.100, 0.101, 0.099, 0.1005, 0.0995)


def records(target, latencies, *, run=RUN, start=1, scenario="single_stream", **changes):
    """Return one record per latency, by repeat; the p90 promised by the SLO is 1.5 times it."""
    return [
        make_record(
            WORKLOAD,
            make_target(target),
            scenario=scenario,
            number=start + repeat,
            repeat=repeat,
            run=run,
            points=(make_point(WORKLOAD, latency_s=latency, rate=1 / latency),),
            **changes,
        )
        for repeat, latency in enumerate(latencies)
    ]


def side(name, *parts):
    return Side(name, tuple(record for part in parts for record in part))


def pair(base, new, **changes):
    """Return the comparison of two targets measured in turns in one run."""
    return compare(
        side("old", records("old", base)),
        side("new", records("new", new, start=100)),
        **changes,
    )


def scaled(factor, values=STEADY):
    return [value * factor for value in values]


def outcomes(comparison):
    return {each.metric: each.outcome for cell in comparison.cells for each in cell.metrics}


def test_a_slower_target_is_worse_in_latency_and_in_throughput():
    answer = pair(STEADY, scaled(1.10, STEADY[::-1]))
    assert outcomes(answer) == {"latency_s.p90": "worse", "throughput_requests_per_s": "worse"}
    (cell,) = answer.cells
    latency, throughput = cell.metrics
    assert cell.paired
    assert latency.difference.ratio == pytest.approx(1.10)
    assert throughput.difference.ratio == pytest.approx(1 / 1.10)
    assert latency.difference.low < 1.10 < latency.difference.high
    assert latency.base == pytest.approx(math.prod(1.5 * v for v in STEADY) ** (1 / 5))
    assert len(answer.regressions) == 2
    assert "chat/single_stream: latency_s.p90 is worse" in answer.regressions


def test_a_faster_one_is_better_and_no_regression():
    answer = pair(STEADY, scaled(0.9, STEADY[::-1]))
    assert set(outcomes(answer).values()) == {"better"}
    assert answer.regressions == ()


def test_a_difference_that_does_not_matter_is_equivalent_even_if_it_is_certain():
    answer = pair(STEADY, scaled(1.005))
    assert set(outcomes(answer).values()) == {"equivalent"}
    assert all(m.difference.p < 0.001 for m in answer.cells[0].metrics)
    assert set(outcomes(pair(STEADY, scaled(1.005), threshold=0.001)).values()) == {"worse"}
    assert answer.regressions == ()


def test_worse_but_within_the_threshold_is_no_regression():
    # Certainly slower, by 1.9 %; certainly not within 2 % is too much to ask.
    new = [v * 1.019 * f for v, f in zip(STEADY, (1.003, 0.997, 1.002, 0.998, 1), strict=True)]
    answer = pair(STEADY, new)
    assert set(outcomes(answer).values()) == {"worse"}
    assert answer.regressions == ()


def test_scatter_that_hides_the_difference_is_inconclusive():
    answer = pair(STEADY, (0.09, 0.12, 0.1, 0.13, 0.095))
    assert set(outcomes(answer).values()) == {"inconclusive"}


@pytest.mark.parametrize("runs", [1, 2])
def test_too_few_runs_are_indicative_however_large_the_difference(runs):
    answer = pair(STEADY[:runs], scaled(3, STEADY[:runs]))
    assert set(outcomes(answer).values()) == {"indicative"}
    metric = answer.cells[0].metrics[0]
    assert metric.difference.ratio == pytest.approx(3)
    assert "a verdict needs 3" in metric.lacks
    assert metric.p_adjusted is None
    assert (metric.difference.p is None) == (runs == 1)
    assert answer.regressions == ()


@pytest.mark.parametrize(("runs", "lacks"), [(3, "5 advised"), (4, "5 advised"), (5, None)])
def test_fewer_than_five_runs_say_what_they_lack(runs, lacks):
    metric = pair(STEADY[:runs], scaled(1.3, STEADY[:runs])).cells[0].metrics[0]
    assert metric.outcome == "worse"
    assert metric.lacks is lacks or lacks in metric.lacks


def test_runs_apart_are_not_paired():
    base = side("a", records("box", STEADY))
    new = side("b", records("box", scaled(1.1), run=OTHER_RUN, start=50))
    answer = compare(base, new)
    assert not answer.cells[0].paired
    assert set(outcomes(answer).values()) == {"worse"}
    assert (
        answer.cells[0].metrics[0].difference.p
        > pair(STEADY, scaled(1.1)).cells[0].metrics[0].difference.p
    )


def test_pairs_are_made_by_repeat_and_the_others_left_out():
    base = side("old", records("old", STEADY))
    new = side("new", records("new", scaled(1.1), start=100)[1:])
    (cell,) = compare(base, new).cells
    assert (cell.base_runs, cell.new_runs) == (4, 4)
    assert cell.metrics[0].difference.error_log == pytest.approx(0, abs=1e-9)


def test_only_the_newest_run_that_holds_both_counts():
    base = side("old", records("old", STEADY), records("old", scaled(9), run=OTHER_RUN, start=200))
    new = side("new", records("new", scaled(1.1), start=100))
    (cell,) = compare(base, new).cells
    assert cell.paired
    assert cell.metrics[0].difference.ratio == pytest.approx(1.1)
    newest = records("new", scaled(9 * 1.2), run=OTHER_RUN, start=300)
    (cell,) = compare(base, side("new", list(new.records), newest)).cells
    assert cell.metrics[0].difference.ratio == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": 2}, "different versions of the workload: 1 and 2"),
        ({"title": "Another"}, "different declarations of the workload"),
        (
            {"scenarios": [{"kind": "server", "load": [0.3]}, {"kind": "single_stream"}]},
            "different declarations of the workload",
        ),
    ],
)
def test_figures_of_another_workload_are_refused(changed, words):
    workload = make_workload(**changed)
    new = [
        make_record(workload, make_target("new"), scenario="single_stream", number=100 + i, run=RUN)
        for i in range(5)
    ]
    answer = compare(side("old", records("old", STEADY)), side("new", new))
    assert answer.cells == ()
    assert words in answer.refused[0].reason


def test_figures_of_another_profile_or_kind_of_evidence_are_refused():
    base = records("old", STEADY)
    new = records("new", STEADY, start=100)
    rigorous = [r.model_copy(update={"cell": r.cell.model_copy(update={"profile": "rigorous"})})
                for r in new]  # fmt: skip
    answer = compare(side("old", base), side("new", rigorous))
    assert answer.refused[0].reason == "different profiles: quick and rigorous"
    projected = [r.model_copy(update={"evidence": "projected"}) for r in new]
    answer = compare(side("old", base), side("new", projected))
    assert answer.refused[0].reason == "different kinds of evidence: measured and projected"


def test_the_same_records_are_not_compared_with_themselves():
    same = side("x", records("old", STEADY))
    assert compare(same, same).refused[0].reason == "both sides are the same records"


def test_invalid_and_failed_runs_are_left_out_and_named():
    new = records("new", scaled(1.1), start=100)
    bad = Verdict(state="invalid", reasons=(Reason(code="steal", text="stolen"),))
    new[1] = new[1].model_copy(update={"verdict": bad})
    crashed = make_record(
        WORKLOAD, make_target("new"), scenario="single_stream", number=150, run=RUN, repeat=3,
        status="failed",
    )  # fmt: skip
    new[3] = crashed
    (cell,) = compare(side("old", records("old", STEADY)), side("new", new)).cells
    assert (cell.base_runs, cell.new_runs) == (3, 3)
    (note,) = cell.notes
    assert note.startswith("new: 2 of 5 runs left out: ")
    assert "invalid (steal)" in note
    assert "crash" in note
    assert cell.metrics[0].difference.ratio == pytest.approx(1.1)


def test_a_side_without_a_usable_run_is_lost_not_equal():
    crashed = [
        make_record(
            WORKLOAD, make_target("new"), scenario="single_stream", number=100 + i, run=RUN,
            repeat=i, status="failed",
        )
        for i in range(5)
    ]  # fmt: skip
    answer = compare(side("old", records("old", STEADY)), side("new", crashed))
    assert answer.cells[0].metrics == ()
    assert answer.regressions == ("chat/single_stream: the new side has no usable run",)
    assert compare(side("new", crashed), side("old", records("old", STEADY))).regressions == ()


def test_a_failed_quality_gate_is_a_loss_however_fast():
    new = [
        r.model_copy(
            update={"quality": tuple(q.model_copy(update={"passed": False}) for q in r.quality)}
        )
        for r in records("new", scaled(0.5), start=100)
    ]
    answer = compare(side("old", records("old", STEADY)), side("new", new))
    assert outcomes(answer)["latency_s.p90"] == "better"
    assert any("quality gate" in text for text in answer.regressions)


def test_noisy_runs_and_changed_machines_are_marked():
    noisy = Verdict(state="noisy", reasons=(Reason(code="drift", text="drifts"),))
    new = records("new", STEADY, start=100, harness_version="0.2.0")
    new[0] = new[0].model_copy(update={"verdict": noisy})
    (cell,) = compare(side("old", records("old", STEADY)), side("new", new)).cells
    assert cell.notes == (
        "new: 1 of 5 runs noisy (drift)",
        "also changed: harness version 0.1.0 -> 0.2.0",
    )


def energy(target, joules, boundary, start):
    found = []
    for i, value in enumerate(joules):
        point = make_point(WORKLOAD, rate=10.0, joules=value)
        metric = point.metrics["latency_s.p50"].model_copy(
            update={"value": value / 100, "unit": "J/request", "low": None, "high": None}
        )
        metrics = {**point.metrics, f"energy_j_per_request@{boundary}": metric}
        point = point.model_copy(update={"metrics": metrics})
        found.append(
            make_record(
                WORKLOAD, make_target(target), scenario="offline", number=start + i, repeat=i,
                run=RUN, points=(point,),
            )
        )  # fmt: skip
    return found


def test_energy_is_compared_at_the_same_boundary_only():
    joules = [v * 1000 for v in STEADY]
    base = side("old", energy("old", joules, "package", 1))
    answer = compare(base, side("new", energy("new", scaled(1.2, joules), "package", 100)))
    assert outcomes(answer)["energy_j_per_request@package"] == "worse"
    answer = compare(base, side("new", energy("new", joules, "chip", 100)))
    assert set(outcomes(answer)) == {"throughput_requests_per_s"}
    missing = {m.metric: m.reason for m in answer.cells[0].missing}
    assert "another boundary (chip)" in missing["energy_j_per_request@package"]
    assert "another boundary (package)" in missing["energy_j_per_request@chip"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"provenance": "modelled"}, "metered on the base side and modelled on the new side"),
        ({"flags": ("partial_coverage",)}, "metered on the base side and metered in part on the"),
    ],
)
def test_energy_that_is_known_otherwise_is_not_compared(changes, words):
    joules = [v * 1000 for v in STEADY]
    base = side("old", energy("old", joules, "package", 1))
    other = []
    for record in energy("new", joules, "package", 100):
        (point,) = record.points
        reading = point.energy[0].model_copy(update=changes)
        points = (point.model_copy(update={"energy": (reading,)}),)
        other.append(record.model_copy(update={"points": points}))
    answer = compare(base, side("new", other))
    missing = {m.metric: m.reason for m in answer.cells[0].missing}
    assert words in missing["energy_j_per_request@package"]


def test_energy_that_was_not_metered_says_why():
    (missing,) = pair(STEADY, STEADY).cells[0].missing
    assert missing.metric == "energy_j_per_request"
    assert "no powercap tree" in missing.reason


def test_a_percentile_that_one_run_does_not_support_is_not_compared():
    new = records("new", STEADY, start=100)
    point = new[2].points[0]
    empty = point.metrics["latency_s.p90"].model_copy(
        update={"value": None, "low": None, "high": None, "reason": "not supported by n"}
    )
    point = point.model_copy(update={"metrics": {**point.metrics, "latency_s.p90": empty}})
    new[2] = new[2].model_copy(update={"points": (point,)})
    answer = compare(side("old", records("old", STEADY)), side("new", new))
    assert set(outcomes(answer)) == {"throughput_requests_per_s"}
    missing = {m.metric: m.reason for m in answer.cells[0].missing}
    assert missing["latency_s.p90"] == "1 of 5 runs of new: not supported by n"


DECLARED = make_workload(scenarios=[{"kind": "server", "load": [0.5, 0.8]}])


def server(target, factor, start, loads=(0.5, 0.8), workload=DECLARED, **changes):
    found = []
    for i, jitter in enumerate(STEADY):
        points = tuple(
            make_point(workload, load=load, rate=load * 100 / factor, latency_s=jitter * factor * f)
            for load, f in zip(loads, (1.0, 2.0), strict=True)
        )
        found.append(
            make_record(
                workload, make_target(target), number=start + i, repeat=i, run=RUN, points=points,
                **changes,
            )
        )  # fmt: skip
    return found


def test_served_latencies_are_compared_at_the_highest_load_that_all_keep():
    base, new = server("old", 1.0, 1), server("new", 1.1, 100)
    latency, throughput = compare(side("old", base), side("new", new)).cells[0].metrics
    assert latency.load == 0.8
    assert latency.difference.ratio == pytest.approx(1.1)
    assert (throughput.load, throughput.outcome) == (None, "worse")
    # 0.2 s x 1.5 x 2 misses the limit of 0.5 s at the higher load.
    new = server("new", 2.0, 100)
    latency, _ = compare(side("old", base), side("new", new)).cells[0].metrics
    assert latency.load == 0.5
    # Loads that only one side has are not used.
    new = server("new", 1.1, 100, loads=(0.5, 0.9))
    assert compare(side("old", base), side("new", new)).cells[0].metrics[0].load == 0.5
    new = server("new", 1.1, 100, loads=(0.6, 0.9))
    missing = compare(side("old", base), side("new", new)).cells[0].missing
    assert "common load" in missing[0].reason


def searched(target, factor, start, headline):
    """Return records of `server` without declared loads: the loads are those of a search."""
    search = Server.model_construct(kind="server", load=())
    return [
        r.model_copy(update={"cell": r.cell.model_copy(update={"scenario": search})})
        for r in server(target, factor, start, (0.5, 0.6), headline=headline)
    ]


def test_a_searched_throughput_is_called_only_beyond_the_steps_of_the_search():
    # The capacity is anywhere between the loads 0.5 and 0.6.
    def throughput(factor, base_headline=0, new_headline=0):
        sides = searched("old", 1.0, 1, base_headline), searched("new", factor, 100, new_headline)
        (cell,) = compare(side("old", sides[0]), side("new", sides[1])).cells
        return cell.metrics[-1] if cell.metrics[-1].resolution else cell

    found = throughput(1.15)
    assert found.metric == "throughput_requests_per_s"
    assert found.resolution == pytest.approx(0.2)
    assert (found.outcome, found.difference.p) == ("inconclusive", 0.0)
    assert throughput(1.0).outcome == "inconclusive"  # not known to be equivalent
    assert throughput(1.25).outcome == "worse"
    assert throughput(1 / 1.25).outcome == "better"
    # Kept at the highest load: the side with more may have still more, the one with less too.
    assert throughput(1.25, base_headline=1).outcome == "worse"
    assert throughput(1.0, base_headline=1).at_least
    cell = throughput(1.5, new_headline=1)
    assert "new kept the SLO at the highest load measured" in cell.missing[0].reason


def test_a_slo_that_is_kept_at_no_load_any_more_is_lost():
    answer = compare(
        side("old", server("old", 1.0, 1)), side("new", server("new", 1.0, 100, headline=None))
    )
    assert any("at no load" in text for text in answer.regressions)
    missing = {m.metric: m.reason for m in answer.cells[0].missing}
    assert "5 of 5 runs of new" in missing["throughput_requests_per_s"]


def test_named_metrics_replace_the_default():
    answer = pair(STEADY, scaled(1.1), metrics=("tpot_s.p50", "nonesuch"))
    assert set(outcomes(answer)) == {"tpot_s.p50"}
    assert "has no such metric" in answer.cells[0].missing[0].reason


def test_all_comparisons_made_together_are_accounted_for():
    noise = (0.97, 1.02, 1.04, 0.99, 1.03)
    weak = [v * 1.03 * f for v, f in zip(STEADY, noise, strict=True)]
    alone = pair(STEADY, weak).cells[0].metrics[0]
    assert alone.p_adjusted >= alone.difference.p
    together = pair(STEADY, weak, metrics=("latency_s.p90", *["tpot_s.p50"] * 3))
    assert together.cells[0].metrics[0].p_adjusted >= alone.difference.p


def test_from_six_pairs_on_the_exact_test_must_agree():
    base = [0.1] * 6
    # Five runs slower and one hardly faster: four of the 64 sign patterns are as extreme.
    answer = pair(base, [0.11, 0.1101, 0.1099, 0.11, 0.1101, 0.09999])
    metric = answer.cells[0].metrics[0]
    assert metric.p_adjusted < 0.05
    assert metric.difference.p_exact == 4 / 64
    assert metric.outcome == "inconclusive"
    assert pair(base, [0.11, 0.1101, 0.1099, 0.11, 0.1101, 0.109]).cells[0].metrics[0].outcome == (
        "worse"
    )


def test_two_runs_of_several_targets_are_compared_target_by_target():
    def of(run, start, factor):
        return side(
            run,
            records("x", STEADY, run=run, start=start),
            records("y", scaled(factor), run=run, start=start + 20),
        )

    answer = compare(of(RUN, 1, 1.0), of(OTHER_RUN, 100, 1.2))
    assert [(c.base_target, c.new_target) for c in answer.cells] == [("x", "x"), ("y", "y")]
    assert [c.metrics[0].outcome for c in answer.cells] == ["equivalent", "worse"]


def test_cells_of_one_side_only_are_named_and_none_in_common_is_an_error():
    base = side("old", records("old", STEADY), server("old", 1.0, 50))
    new = side("new", records("new", STEADY, start=100))
    answer = compare(base, new)
    assert answer.only_one_side == ("chat/server only in old",)
    assert answer.regressions == ("chat/server: the new side has no run of it",)
    assert compare(new, base).regressions == ()
    with pytest.raises(SpecError, match="no workload and scenario in common"):
        compare(base, new, scenario="offline")


def test_names_are_targets_runs_records_and_prefixes():
    base, new = records("old", STEADY), records("new", STEADY, run=OTHER_RUN, start=100)
    everything = [*base, *new]
    assert find_side("old", everything).records == tuple(base)
    assert find_side(OTHER_RUN, everything).records == tuple(new)
    assert find_side(OTHER_RUN.lower()[:-1], everything).records == tuple(new)
    assert find_side(new[2].id, everything).records == (new[2],)
    with pytest.raises(SpecError, match="fits") as caught:
        find_side("0000", everything)
    assert "..." in caught.value.message
    with pytest.raises(SpecError) as caught:
        find_side("odl", everything)
    assert caught.value.hint == "measured targets: new, old"


def apart(base, new):
    """Return the comparison of two runs' records."""
    return compare(side("base", base), side("new", new))


def test_a_run_resumed_after_an_edit_counts_with_its_newest_declaration_alone():
    edited = make_target("new", title="Another title")
    before = records("new", STEADY[:2], start=100)
    after = [
        make_record(
            WORKLOAD,
            edited,
            scenario="single_stream",
            number=200 + repeat,
            repeat=repeat,
            run=RUN,
            points=(make_point(WORKLOAD, latency_s=latency * 1.2, rate=1 / latency),),
        )
        for repeat, latency in enumerate(STEADY)
    ]
    (cell,) = compare(side("old", records("old", STEADY)), side("new", before, after)).cells
    assert (cell.base_runs, cell.new_runs, cell.paired) == (5, 5, True)
    assert cell.metrics[0].difference.ratio == pytest.approx(1.2)
    assert "new: 2 runs left out: declared otherwise before the run was resumed" in cell.notes


@pytest.mark.parametrize(("failed", "regressions"), [(2, 0), (3, 1)])
def test_a_night_left_with_too_few_runs_for_a_verdict_is_no_good_night(failed, regressions):
    new = records("box", STEADY[failed:], run=OTHER_RUN, start=100)
    new += [
        make_record(WORKLOAD, make_target("box"), scenario="single_stream", status="failed", **more)
        for more in ({"number": 200 + r, "repeat": 4 + r, "run": OTHER_RUN} for r in range(failed))
    ]
    answer = apart(records("box", STEADY), new)
    assert len(answer.regressions) == regressions
    if regressions:
        assert "has 2 usable of 5 runs, too few for a verdict" in answer.regressions[0]


@pytest.mark.parametrize(("lost", "regressions"), [(1, 0), (3, 0), (4, 1)])
def test_an_slo_kept_in_clearly_fewer_runs_is_lost(lost, regressions):
    new = records("box", STEADY[:lost], run=OTHER_RUN, start=100, headline=None)
    new += records("box", STEADY[lost:], run=OTHER_RUN, start=200)
    base = records("box", STEADY)
    assert len(apart(base, new).regressions) == regressions


@pytest.mark.parametrize(("failing", "regressions"), [(0, 0), (3, 0), (4, 1), (5, 1)])
def test_requests_that_begin_to_fail_are_a_regression_though_the_rest_is_as_fast(
    failing, regressions
):
    def run(number, repeat, failed, run):
        point = make_point(WORKLOAD, latency_s=STEADY[repeat], failed=failed)
        return make_record(
            WORKLOAD,
            scenario="single_stream",
            number=number,
            repeat=repeat,
            run=run,
            points=(point,),
        )

    base = [run(1 + r, r, 0, RUN) for r in range(5)]
    new = [run(100 + r, r, 1 if r < failing else 0, OTHER_RUN) for r in range(5)]
    answer = apart(base, new)
    assert len(answer.regressions) == regressions
    assert all(
        f"requests fail in {failing} of 5 runs of the new side (up to 1 % of them)" in text
        for text in answer.regressions
    )
    assert apart(new, base).regressions == ()
