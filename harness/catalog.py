"""Finds the declared workloads, targets and briefs, wherever they come from.

An entry's name is its file's name. Of entries with the same name the first origin wins: the folder
given by `--catalog`, then the checkout that the package runs from, then the data in the wheel, then
plugins. Nothing here runs a plugin's code, and a broken file breaks nothing but itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, resources
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from harness.documents import did_you_mean, load_document
from harness.errors import SpecError
from harness.schema import Brief, Document, Target, Workload
from harness.yaml_reader import display_name, shown

__all__ = ["DOCUMENT_OF", "Catalog", "Entry", "Kind", "Origin", "load_document", "weight_files"]

Kind = Literal["workload", "target", "brief"]
D = TypeVar("D", bound=Document)

GROUP = "harness.catalog"
FOLDERS: dict[Kind, tuple[str, ...]] = {
    "workload": ("workloads",),
    "target": ("targets",),
    "brief": ("briefs", "reports/briefs"),
}
DOCUMENT_OF: dict[Kind, type[Workload] | type[Target] | type[Brief]] = {
    "workload": Workload,
    "target": Target,
    "brief": Brief,
}
"""The document that each kind of entry holds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A YAML file of the catalog, not yet read. `folder` is what `path` was found under."""

    name: str
    kind: Kind
    path: Path
    origin: str
    folder: Path = field(repr=False)

    @property
    def opt_in(self) -> bool:
        """True below a folder `opt-in`: run only when asked for by name."""
        return "opt-in" in self.path.relative_to(self.folder).parts[:-1]


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that entries come from; of equal `rank`, neither wins over the other."""

    name: str
    rank: int
    folder: Path

    def entries(self, kind: Kind) -> list[Entry]:
        """Return the entries of `kind` here, by path."""
        found = []
        for name in FOLDERS[kind]:
            folder = self.folder / name
            paths = sorted(p for p in folder.rglob("*.yaml") if not p.name.startswith("_"))
            found += [Entry(path.stem, kind, path, self.name, folder) for path in paths]
        return found


class Catalog:
    """The entries of all origins, by kind and name."""

    def __init__(self, origins: Sequence[Origin], broken: Mapping[str, str] | None = None) -> None:
        self.origins = tuple(origins)
        self.broken = dict(broken or {})
        """Plugins whose folder was not found, with the reason."""

    @classmethod
    def find(cls, catalog: Path | None = None) -> Catalog:
        """Return the catalog that is in force, with the folder `catalog` before all others.

        SpecError if `catalog` holds none of the folders that a catalog may have.
        """
        origins = []
        if catalog is not None:
            if not _holds_entries(catalog):
                names = ", ".join(chain.from_iterable(FOLDERS.values()))
                message = f"{catalog}: no catalog; it has none of the folders {names}"
                raise SpecError(message, hint="name the folder that holds them")
            origins.append(Origin("catalog", 0, catalog))
        checkout = _checkout(Path(__file__))
        if checkout is not None:
            origins.append(Origin("checkout", 1, checkout))
        packaged = Path(str(resources.files("harness"))) / "_data"
        if _holds_entries(packaged):
            origins.append(Origin("packaged", 2, packaged))
        plugins, broken = _plugins()
        return cls([*origins, *plugins], broken)

    def entries(self, kind: Kind) -> list[Entry]:
        """Return the entries of `kind` in force, by name. Of rivals, the first by path."""
        return [entries[0] for _, entries in sorted(self._by_name(kind).items())]

    def rivals(self, kind: Kind) -> list[list[Entry]]:
        """Return the groups of entries of one name and equal rank, which is an error."""
        return [group for _, group in sorted(self._by_name(kind).items()) if len(group) > 1]

    def workloads(self) -> list[Entry]:
        """Return the workloads in force, by name."""
        return self.entries("workload")

    def targets(self) -> list[Entry]:
        """Return the targets in force, by name."""
        return self.entries("target")

    def briefs(self) -> list[Entry]:
        """Return the briefs in force, by name."""
        return self.entries("brief")

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return the entry called `name`; SpecError names what there is, or the rivals."""
        group = self._by_name(kind).get(name)
        if group is None:
            known = [entry.name for entry in self.entries(kind)]
            there = f"there are: {', '.join(known)}" if known else f"there are no {kind}s at all"
            close = did_you_mean(name, known)
            hint = f"{close} {there}" if close else there
            raise SpecError(f"unknown {kind} {shown(name)}", hint=hint)
        if len(group) > 1:
            paths = ", ".join(display_name(entry.path) for entry in group)
            message = f"{len(group)} files hold the {kind} {shown(name)}: {paths}"
            raise SpecError(message, hint="rename or remove all but one")
        return group[0]

    def workload(self, name: str) -> Workload:
        """Return the workload called `name`. SpecError if it is unknown or its file is wrong."""
        return load_document(self.entry("workload", name).path, Workload)

    def target(self, name: str) -> Target:
        """Return the target called `name`. SpecError if it is unknown or its file is wrong."""
        return load_document(self.entry("target", name).path, Target)

    def brief(self, name: str | Path) -> Brief:
        """Return the brief called `name`, or in the file `name` if it ends in .yaml."""
        if str(name).endswith((".yaml", ".yml")):
            return load_document(Path(name), Brief)
        return load_document(self.entry("brief", str(name)).path, Brief)

    def data_folder(self, workload: str | Entry) -> Path:
        """Return the folder that the weight files of `workload` are relative to."""
        entry = self.entry("workload", workload) if isinstance(workload, str) else workload
        return entry.folder

    def _by_name(self, kind: Kind) -> dict[str, list[Entry]]:
        """Return the entries by name; more than one only where neither origin wins."""
        found: dict[str, list[Entry]] = {}
        ranks: dict[str, int] = {}
        for origin in sorted(self.origins, key=lambda origin: (origin.rank, origin.name)):
            for entry in origin.entries(kind):
                if ranks.setdefault(entry.name, origin.rank) == origin.rank:
                    found.setdefault(entry.name, []).append(entry)
        return found


def weight_files(workload: Workload, folder: Path) -> dict[tuple[str | int, ...], Path]:
    """Return the data files that `workload` names, by their place in the document.

    They are relative to `folder`. SpecError if one is absolute or leads out of the folder: a
    specification may not reach for other files.
    """
    files = {}
    for place, name in workload.files().items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            message = f"workload {workload.name}: the file {shown(name)} is outside its folder"
            raise SpecError(message, hint="name files relative to the workloads folder")
        files[place] = folder / relative
    return files


def _holds_entries(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in chain.from_iterable(FOLDERS.values()))


def _checkout(module: Path) -> Path | None:
    """Return the checkout that the package of `module` lies in: pyproject.toml and workloads/.

    Only the folder right above the package counts. An installed package in a virtual environment
    inside somebody's checkout must not take that checkout's files for its own.
    """
    folder = module.resolve().parents[1]
    is_checkout = (folder / "pyproject.toml").is_file() and (folder / "workloads").is_dir()
    return folder if is_checkout else None


def _plugins() -> tuple[list[Origin], dict[str, str]]:
    """Return the folders that plugins ship, and the reasons why some were not found."""
    origins, broken = [], {}
    for point in metadata.entry_points(group=GROUP):
        name = f"plugin:{point.name}"
        try:
            folder = _package_folder(point.module)
        except (ImportError, ValueError, AttributeError) as error:
            broken[name] = f"{type(error).__name__}: {error}"
            continue
        if folder is None:
            broken[name] = f"no package {point.module!r}"
        elif not _holds_entries(folder):
            broken[name] = f"{folder}: neither workloads/ nor targets/ nor briefs/"
        else:
            origins.append(Origin(name, 3, folder))
    return origins, broken


def _package_folder(module: str) -> Path | None:
    """Return the folder of the package `module` without importing it, or None."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    for location in spec.submodule_search_locations:
        folder = Path(location).joinpath(*rest)
        if folder.is_dir():
            return folder
    return None
