import pytest

from harness.report.operators import NOT_TOLD, account, compiler_gap
from harness.report.view import workload_views
from tests.factories import make_record
from tests.report.answered import answered


def told(**session):
    return account(make_record(session=session))


def test_nodes_on_the_first_provider_run_natively_and_others_fall_back():
    assigned = {"model": {"Gemm": {"CUDA": 8}, "Loop": {"CPU": 1, "CUDA": 1}}}
    (natively, elsewhere, replaced, refused), whole = told(
        providers=["CUDA", "CPU"],
        operators={"assigned": assigned, "lowered": ["Loop: as If"], "unsupported": []},
        fallbacks=["CPU runs 1 Loop of model"],
    )
    assert natively == "9 of 10 (90 %) on CUDA"
    assert elsewhere == "1 on CPU; CPU runs 1 Loop of model"
    assert (replaced, refused, whole) == ("Loop: as If", "none", False)


def test_all_on_the_own_provider_is_no_gap():
    (natively, elsewhere, _, _), whole = told(
        providers=["CPU"], operators={"assigned": {"m": {"Add": {"CPU": 2}}}}, fallbacks=[]
    )
    assert (natively, elsewhere, whole) == ("2 of 2 (100 %) on CPU", "none", True)


def test_all_on_another_provider_is_none_natively():
    (natively, elsewhere, _, _), whole = told(
        providers=["CUDA", "CPU"], operators={"assigned": {"m": {"Add": {"CPU": 2}}}}
    )
    assert (natively, elsewhere, whole) == ("0 of 2 (0 %) on CUDA", "2 on CPU", False)


def test_a_runtime_that_does_not_tell_is_never_taken_for_one_that_runs_all():
    for session in ({"runtime": "x"}, {"operators": {"counts": {"Add": 3}, "assigned": {}}}):
        (natively, elsewhere, _, _), whole = told(**session)
        assert (natively, elsewhere, whole) == (NOT_TOLD, NOT_TOLD, None)


def test_what_the_session_says_in_another_form_is_no_crash():
    (natively, _, replaced, refused), whole = told(
        operators={"assigned": {"m": [1]}, "lowered": "all", "unsupported": {"a": 1}},
        fallbacks="everything",
    )
    assert (natively, replaced, refused, whole) == (NOT_TOLD, "all", "{'a': 1}", False)


def test_a_refused_model_names_what_was_refused():
    (natively, _, _, refused), whole = account(make_record(status="unsupported"))
    assert (natively, refused, whole) == ("nothing", "the cell ended: unsupported", False)


@pytest.fixture(scope="module")
def gaps():
    return compiler_gap(workload_views(*answered()))


def test_a_target_s_workloads_with_the_same_account_share_a_row(gaps):
    assert [(g.name, g.workloads) for g in gaps if g.name == "acme-cpu-16"] == [
        ("acme-cpu-16", "Customer chat, Call transcription, Card fraud")
    ]
    assert [(g.workloads, g.whole) for g in gaps if g.name == "edge-box"] == [
        ("Customer chat", False)
    ]
