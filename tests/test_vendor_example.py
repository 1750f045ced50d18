"""The example of a vendor's package, really built and installed, as a third party would."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness import plugins
from harness.adapters.base import RowRequest, TextRequest
from harness.catalog import Catalog
from harness.cli import main
from harness.errors import AdapterError, UnsupportedError
from harness.models import trees_mlp
from harness.models.model import Model
from tests.factories import make_fraud_workload, make_target, make_workload

EXAMPLE = Path(__file__).parent / "vendor_example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(EXAMPLE)],
        check=True,
        timeout=120,
    )
    return folder


@pytest.fixture
def plugged(installed, monkeypatch):
    """Put the folder on the path, and forget what was imported from it afterwards."""
    monkeypatch.syspath_prepend(str(installed))
    yield installed
    for name in [name for name in sys.modules if name.startswith("acme_harness")]:
        del sys.modules[name]


def small_model():
    """Return a fraud model of one tree and a small network, and its weights."""
    rng = np.random.default_rng(3)
    features, hidden = 5, (4, 3)
    weights = {
        "trees.root": np.array([0], np.int32),
        "trees.feature": np.array([2, 0, 0, 1, 0, 0, 0], np.int32),
        "trees.threshold": np.array([0.1, 0, 0, -0.2, 0, 0, 0], np.float32),
        "trees.left": np.array([1, 1, 3, 4, 4, 5, 6], np.int32),
        "trees.right": np.array([3, 1, 3, 5, 4, 5, 6], np.int32),
        "trees.value": np.array([0, -1.5, 0, 0, 0.5, 2.0, 0], np.float32),
        "trees.base_score": np.array([-0.3], np.float32),
        "normalise.mean": rng.normal(size=features).astype(np.float32),
        "normalise.deviation": rng.uniform(1, 2, size=features).astype(np.float32),
    }
    weights["trees.left"][2] = weights["trees.right"][2] = 2
    sizes = (features, *hidden, 1)
    for layer in range(3):
        shape = (sizes[layer + 1], sizes[layer])
        weights[f"mlp.{layer}.weight"] = rng.normal(size=shape).astype(np.float32)
        weights[f"mlp.{layer}.bias"] = rng.normal(size=sizes[layer + 1]).astype(np.float32)
    trees_mlp.check_weights(weights)
    model = Model(
        "tabular_classification",
        make_fraud_workload().model,
        0,
        Path(),
        lambda: weights,
        lambda dialect: Path(dialect),
    )
    return model, weights


class Query:
    def __init__(self, requests):
        self.requests = requests
        self.scores = {}

    def tokens(self, index, count):
        raise AssertionError("rows have no tokens")

    def done(self, index, output):
        self.scores[index] = output.score

    def fail(self, error, index=None):
        raise error


def test_its_adapter_is_found_and_computes_the_model(plugged):
    [plugin] = [plugin for plugin in plugins.adapters() if plugin.name == "acme"]
    assert plugin.distribution == "acme-harness"
    adapter = plugins.adapter("acme")
    model, weights = small_model()
    target = Catalog.find().target("acme-x1")
    session = adapter.open(target, model)
    assert session.max_batch == 64
    assert session.describe()["runtime"] == "acme"
    rows = np.random.default_rng(4).normal(size=(50, 5)).astype(np.float32)
    rows[0, 2], rows[1, 1] = 0.1, -0.2  # at the thresholds
    query = Query([RowRequest(row) for row in rows])
    session.submit(query)
    session.close()
    scores = [query.scores[index] for index in range(50)]
    assert scores == pytest.approx(trees_mlp.reference_scores(weights, rows), abs=1e-6)
    assert np.std(scores) > 0.05


def test_what_it_cannot_run_it_refuses(plugged):
    adapter = plugins.adapter("acme")
    text = Model("text_generation", make_workload().model, 0, Path(), dict, lambda dialect: Path())
    target = make_target(runtime={"adapter": "acme"})
    with pytest.raises(UnsupportedError, match="runs tabular_classification, not text_generation"):
        adapter.open(target, text)
    model, _ = small_model()
    half = make_target(runtime={"adapter": "acme", "precision": "fp16"})
    with pytest.raises(UnsupportedError, match="in fp32, not fp16"):
        adapter.open(half, model)
    session = adapter.open(target, model)
    with pytest.raises(AttributeError):
        session.submit(Query([TextRequest(np.arange(3), 1)]))


def test_its_target_is_found(plugged):
    entry = Catalog.find().entry("target", "acme-x1")
    assert entry.origin == "plugin:acme"
    assert plugged in entry.path.parents
    result = CliRunner().invoke(main, ["list", "targets", "--json"])
    [row] = [row for row in json.loads(result.stdout) if row["name"] == "acme-x1"]
    assert (row["origin"], row["status"], row["adapter"]) == ("plugin:acme", "ok", "acme")
    result = CliRunner().invoke(main, ["validate", str(entry.path)])
    assert result.stdout == "1 file fine\n"


def test_finding_the_target_does_not_import_the_package(plugged):
    Catalog.find().target("acme-x1")
    assert plugins.adapters()
    assert not any(name.startswith("acme_harness") for name in sys.modules)


def test_broken_on_purpose_it_shows_in_doctor(plugged):
    module = plugged / "acme_harness/adapter.py"
    whole = module.read_text()
    module.write_text("import acme_driver\n" + whole)
    try:
        result = CliRunner().invoke(main, ["doctor"])
        with pytest.raises(AdapterError, match="the adapter 'acme' of acme-harness cannot"):
            plugins.adapter("acme")
    finally:
        module.write_text(whole)
    assert result.exit_code == 1
    [line] = [line for line in result.stdout.splitlines() if "acme_harness.adapter" in line]
    assert line.split()[0] == "broken"
    assert line.endswith("ModuleNotFoundError: No module named 'acme_driver'")


def test_a_class_of_at_most_sixty_lines():
    assert len((EXAMPLE / "acme_harness/adapter.py").read_text().splitlines()) <= 60
