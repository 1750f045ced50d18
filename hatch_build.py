"""Ships `workloads/`, `targets/` and the briefs inside the wheel as `harness/_data`.

An editable install gets none of it: it reads the checkout's own files, so edits are live.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = {"workloads": "workloads", "targets": "targets", "reports/briefs": "briefs"}


class DataHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the data folders to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Register each data folder; hatchling calls this before it builds the wheel."""
        if version == "editable":
            return
        for source, name in FOLDERS.items():
            folder = Path(self.root) / source
            build_data["force_include"][str(folder)] = f"harness/_data/{name}"
