"""`harness map` with levers, tasks and bursts in the brief; what is wrong in one, by its place."""

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from harness.cli import main
from harness.schema import Decision
from harness.statistics import histogram
from harness.store import Store
from tests.factories import make_brief, make_point, make_record, make_target, make_workload

LARGE, SMALL = make_workload("large"), make_workload("small")
TARGETS = [
    make_target("plain"),
    make_target("quantised", runtime={"adapter": "fake", "precision": "int8"}),
]
LEVERS = {
    "quantisation": {},
    "smaller_model": {"smaller": "small"},
    "prefix_caching": {"hit": 0.5},
    "result_caching": {"hit": 0.5},
    "batch": {"share": 0.5},
    "routing": {"small": "small", "share": 0.5},
}


def write(folder, kind, documents):
    for name, tree in documents.items():
        path = folder / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tree, sort_keys=False))


@pytest.fixture
def catalog(tmp_path):
    folder = tmp_path / "catalog"
    for kind, documents in (("workloads", [LARGE, SMALL]), ("targets", TARGETS)):
        write(folder, kind, {d.name: d.model_dump(mode="json") for d in documents})
    return folder


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    latency = histogram(np.linspace(0.1, 0.6, 5000))
    for workload, rate in ((LARGE, 20.0), (SMALL, 90.0)):
        for target in TARGETS:
            point = make_point(workload, rate=rate, load=0.8, latency=latency)
            broken = make_point(workload, rate=rate * 1.05, load=0.9, latency_s=9.0)
            for scenario, points in (("server", (point, broken)), ("single_stream", None)):
                draft = Store(folder).draft()
                record = make_record(
                    workload, target, points=points, scenario=scenario, id=draft.id, headline=0
                )
                draft.commit(record)
    return folder


def asked(catalog, *, levers=(), demand=None):
    brief = make_brief("large", workloads=[{"workload": "large"}])
    tree = brief.model_dump(mode="json")
    tree["workloads"] = [
        {"workload": "large", "demand": {"requests_per_month": 3e8} | (demand or {})}
    ]
    tree["levers"] = list(levers)
    write(catalog, "briefs", {"question": tree})
    return catalog / "briefs" / "question.yaml"


def run(catalog, results, *options):
    arguments = ["map", "question", "--catalog", str(catalog), "--results", str(results), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("kind", LEVERS)
def test_each_lever_is_told_with_its_cost_evidence_and_needs(catalog, results, kind):
    asked(catalog, levers=[{"kind": kind, "workload": "large", **LEVERS[kind]}])

    result = run(catalog, results)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    at = lines.index("  what else could be done (the choice stays)")
    assert lines[at + 1].startswith(f"  - {kind.replace('_', ' ')}: ")
    assert "a year" in lines[at + 1]
    evidence = "measured" if kind in ("quantisation", "smaller_model") else "projected"
    assert f"({evidence}: " in lines[at + 1]
    assert any(line.startswith("    needs: ") for line in lines[at + 2 : at + 5])

    decision = Decision.model_validate_json(run(catalog, results, "--json").stdout, strict=True)
    (lever,) = decision.workloads[0].levers
    assert lever.kind == kind
    assert lever.usd_per_year is not None


def test_tasks_and_a_burst_are_told(catalog, results):
    agent = {"calls_per_task": 10, "order": "sequential", "slo": {"percentile": 95, "limit_s": 5}}
    asked(catalog, demand={"agent": agent, "burst": {"duration_s": 60}})

    result = run(catalog, results)
    assert result.exit_code == 0, result.stderr
    task = next(x for x in result.stdout.splitlines() if "a task of 10 calls" in x)
    assert "one after another: mean 3.5" in task
    assert "met: p95 <= 5.00 s" in task
    assert task.endswith(" a task")
    burst = next(x for x in result.stdout.splitlines() if x.startswith("  burst: "))
    assert "10.0 times the busiest hour's rate" in burst


def test_what_is_not_asked_is_not_told(catalog, results):
    asked(catalog)
    result = run(catalog, results)

    assert "what else could be done" not in result.stdout
    assert "burst:" not in result.stdout
    tree = json.loads(run(catalog, results, "--json").stdout)
    assert not {"levers", "burst"} & set(tree["workloads"][0])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "kind: batch",
            "kind: bach",
            "question.yaml:{line}:{column}: levers[0].kind: must be one of",
        ),
        (
            "share: 0.5",
            "share: 1.5",
            "question.yaml:{line}:{column}: levers[0].share: must be at most",
        ),
        ("share: 0.5", "shape: 0.5", "unknown key 'shape'"),
        ("calls_per_task: 10", "calls_per_task: 51", "must be at most 50, is 51"),
        ("calls_per_task: 10", "calls_per_task: ten", "must be a whole number"),
        ("order: sequential", "order: random", "must be one of sequential, parallel"),
        ("batchable_share: 0.1", "batchable_share: 2", "must be at most 1, is 2"),
        ("batchable_share: 0.1", "result_cache_hit: 1", "must be below 1, is 1"),
        ("batchable_share: 0.1", "hourly_profile: [1, 2]", "24 weights (a day) or 168 (a week)"),
        ("duration_s: 60", "duration_s: 0", "must be above 0, is 0"),
        ("smaller: small", "smaller: smal", "unknown workload 'smal'"),
        ("workload: large\n  smaller", "workload: huge\n  smaller", "the brief does not ask about"),
    ],
)
def test_what_is_wrong_is_said_by_its_place(catalog, results, old, new, problem):
    levers = [
        {"kind": "batch", "workload": "large", "share": 0.5},
        {"kind": "smaller_model", "workload": "large", "smaller": "small"},
    ]
    demand = {
        "agent": {"calls_per_task": 10, "order": "sequential"},
        "burst": {"duration_s": 60},
        "batchable_share": 0.1,
    }
    path = asked(catalog, levers=levers, demand=demand)
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    at = text[: text.index(old)]
    line, column = at.count("\n") + 1, len(at.rpartition("\n")[2]) + len(old.partition(" ")[0]) + 2

    result = run(catalog, results)
    assert result.exit_code == 2
    assert problem.format(line=line, column=column) in result.stderr
    assert "question.yaml:" in result.stderr


def test_tasks_without_an_agent_are_said_at_the_briefs_place(catalog, results):
    asked(catalog)
    path = catalog / "briefs" / "question.yaml"
    path.write_text(path.read_text().replace("requests_per_month: 3", "tasks_per_month: 3"))

    result = run(catalog, results)
    assert result.exit_code == 2
    assert "question.yaml:" in result.stderr
    assert "'tasks_per_month' needs an 'agent'" in result.stderr
