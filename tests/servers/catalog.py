"""A catalog of its own for a test: small workloads, targets on servers, and the commands on it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from harness.store import Store
from tests.factories import make_fraud_workload, make_target, make_workload
from tests.servers.llama_folder import LLAMA, WEIGHTS

FRAUD_WEIGHTS = Path(__file__).parents[2] / "workloads" / "weights" / "fraud.safetensors"
PATIENCE_S = 300.0


class Catalog:
    """Workloads and targets below `place`, and the command line run there on these alone."""

    def __init__(self, place, folder=None):
        self.place = place
        self.folder = folder or place / "catalog"

    def add(self, document):
        kind = "workloads" if hasattr(document, "task") else "targets"
        (self.folder / kind).mkdir(parents=True, exist_ok=True)
        tree = document.model_dump(mode="json", exclude_none=True)
        text = yaml.safe_dump(tree, sort_keys=False)
        (self.folder / kind / f"{document.name}.yaml").write_text(text)

    def add_chat(self, llama_folder, **changes):
        """Add the workload `chat` on the model in `llama_folder`."""
        shutil.copytree(llama_folder, self.folder / "workloads" / "tiny-llama")
        model = LLAMA.model_dump(mode="json") | {"weights": f"tiny-llama/{WEIGHTS}"}
        slo = [{"metric": "ttft", "percentile": 90, "limit_s": 1.0}]
        self.add(make_workload("chat", **{"model": model, "slo": slo, **changes}))

    def add_fraud(self, **changes):
        """Add the workload `fraud` on the project's own model."""
        weights = self.folder / "workloads" / "weights"
        weights.mkdir(parents=True)
        shutil.copy(FRAUD_WEIGHTS, weights)
        self.add(make_fraud_workload("fraud", **changes))

    def add_target(self, text, name):
        """Add a target as a user writes it."""
        (self.folder / "targets").mkdir(parents=True, exist_ok=True)
        (self.folder / "targets" / f"{name}.yaml").write_text(text)

    def add_cpu(self, adapter, name="in-process"):
        runtime = {"adapter": adapter, "device": "cpu", "options": {"threads": 1}}
        self.add(make_target(name, runtime={"precision": "fp32", **runtime}))

    def harness(self, *arguments, status=(0,)):
        """Run a command there; its standard output. AssertionError for another exit status."""
        catalog = str(self.folder.relative_to(self.place))
        ended = subprocess.run(
            [sys.executable, "-m", "harness.cli", *arguments],
            cwd=self.place,
            env={**os.environ, "HARNESS_CATALOG": catalog, "HARNESS_RESULTS": "results"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode in status, f"{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def json(self, *arguments, status=(0,)):
        return json.loads(self.harness(*arguments, "--json", status=status))

    def records(self):
        """Return [(record, its folder)]."""
        return [(each.record, each.folder) for each in Store(self.place / "results").records()]


SERVED = """\
schema: 1
name: {name}
title: A real server
description: A server on this machine, started for a test.
hardware:
  chip: CPU of this machine
  vendor: detected
  kind: cpu
runtime:
  adapter: http
  device: remote
  precision: fp32
server:
  url: {url}
  protocol: {protocol}
  model: {model}
{more}
site:
  tier: cloud
  region: us-east-1
  jurisdiction: us
"""


def served(name, url, protocol, model, *more):
    """Return a served target's file, of some 20 lines; `more` are lines of `server`."""
    lines = "\n".join(f"  {line}" for line in more) or "  timeout_s: 60"
    return SERVED.format(name=name, url=url, protocol=protocol, model=model, more=lines)
