"""`harness validate`: every problem of the YAML files at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from harness.catalog import DOCUMENT_OF, Catalog, Entry, Kind, weight_files
from harness.cli.brief_check import brief_problems
from harness.cli.options import catalog_option, json_option
from harness.cli.output import echo, echo_json
from harness.cli.target_check import option_problems
from harness.documents import Loaded, did_you_mean, load
from harness.errors import PrerequisiteError, Problem, SpecError
from harness.plugins import adapters
from harness.schema import Brief, Document, Target, Workload
from harness.yaml_reader import Source, Steps, display_name, read_yaml, shown

KINDS: tuple[Kind, ...] = ("workload", "target", "brief")
KEY_OF: dict[Kind, str] = {"workload": "task", "target": "hardware", "brief": "as_of"}
"""A key that only documents of this kind have."""


@dataclass(slots=True)
class Findings:
    """What is wrong (`problems`), what may be (`warnings`), and how many files were read."""

    files: int = 0
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@catalog_option
@json_option
@click.pass_context
def command(
    context: click.Context, paths: tuple[Path, ...], catalog: Path | None, as_json: bool
) -> None:
    """Check YAML files, or the files in folders; without PATHS, the whole catalog.

    Also checks that the files of workloads exist, that your own prompts, recordings, questions and
    model folders can be used, and that briefs name existing entries and do not contradict
    themselves. An adapter that is not installed here is a warning; one that is says whether it has
    a target's options. Exit status 2 if anything is
    wrong.
    """
    found = Catalog.find(catalog)
    findings = Findings()
    entries = _named(paths, findings) if paths else _whole(found, findings)
    for entry in entries:
        _check(entry, found, findings)
    if as_json:
        _print_json(findings)
    else:
        _print(findings)
    context.exit(SpecError.exit_code if findings.problems else 0)


def _whole(catalog: Catalog, findings: Findings) -> Iterator[Entry]:
    """Yield every entry of every origin, also those that another origin's hide."""
    for name, reason in catalog.broken.items():
        findings.problems.append(Problem(name, 0, 0, "", reason))
    for kind in KINDS:
        for group in catalog.rivals(kind):
            message = f"{len(group)} files are called {group[0].path.name}"
            for entry in group:
                name = display_name(entry.path)
                findings.problems.append(Problem(name, 0, 0, "", message, "rename all but one"))
        for origin in catalog.origins:
            yield from origin.entries(kind)


def _named(paths: tuple[Path, ...], findings: Findings) -> Iterator[Entry]:
    """Yield an entry for each YAML file in `paths`, noting those that cannot be one."""
    for path in paths:
        inside = path.is_dir()
        files = [path]
        if inside:
            files = sorted(p for p in path.rglob("*.y*ml") if p.suffix in (".yaml", ".yml"))
            if not files:
                message = "the folder holds no .yaml files"
                findings.problems.append(Problem(str(path), 0, 0, "", message))
        for file in files:
            if inside and file.name.startswith("_"):
                continue
            if file.suffix != ".yaml":
                hint = f"rename it to {file.stem}.yaml"
                problem = Problem(str(file), 0, 0, "", "the name must end in .yaml", hint)
                findings.problems.append(problem)
                continue
            kind = _kind(file, findings)
            if kind is not None:
                yield Entry(file.stem, kind, file, "named", _folder(file))


def _kind(path: Path, findings: Findings) -> Kind | None:
    """Return what the file at `path` declares: by its keys, else by the folder it is in."""
    try:
        tree = read_yaml(path).tree
    except SpecError as error:
        findings.files += 1
        findings.problems += error.problems or [Problem(str(path), 0, 0, "", error.message)]
        return None
    kinds = [kind for kind in KINDS if KEY_OF[kind] in tree]
    if len(kinds) == 1:
        return kinds[0]
    for folder in path.resolve().parents:
        for kind in KINDS:
            if folder.name == f"{kind}s":
                return kind
    findings.files += 1
    message = "neither a workload, nor a target, nor a brief"
    hint = "a workload has 'task', a target 'hardware', a brief 'as_of'"
    findings.problems.append(Problem(display_name(path), 1, 1, "", message, hint))
    return None


def _folder(path: Path) -> Path:
    """Return the workloads folder that `path` lies in, or else its own folder."""
    for folder in path.resolve().parents:
        if folder.name == "workloads":
            return folder
    return path.parent


def _check(entry: Entry, catalog: Catalog, findings: Findings) -> None:
    findings.files += 1
    try:
        loaded: Loaded[Document] = load(entry.path, DOCUMENT_OF[entry.kind])
    except SpecError as error:
        name = display_name(entry.path)
        findings.problems += error.problems or [Problem(name, 0, 0, "", error.message)]
        return
    document, source = loaded.document, loaded.source
    if isinstance(document, Workload):
        missing = list(_missing_files(document, entry.folder))
        for steps, message, hint in missing:
            findings.problems.append(source.problem(steps, message, hint=hint))
        if not missing:
            findings.problems += _wrong_files(document, entry.folder, source)
    elif isinstance(document, Target):
        name = document.runtime.adapter
        known = sorted({plugin.name for plugin in adapters()})
        if name not in known:
            hint = did_you_mean(name, known) or f"installed are: {', '.join(known)}"
            message = f"no adapter {shown(name)} is installed here"
            steps = ("runtime", "adapter")
            findings.warnings.append(source.problem(steps, message, hint=hint))
        else:
            findings.problems += option_problems(document, source)
    elif isinstance(document, Brief):
        findings.problems += brief_problems(document, source, catalog)


Fault = tuple[Steps, str, str | None]


def _missing_files(workload: Workload, folder: Path) -> Iterator[Fault]:
    try:
        files = weight_files(workload, folder)
    except SpecError as error:
        yield (), error.message, error.hint
        return
    for steps, path in files.items():
        if not path.is_file():
            yield steps, f"no such file: {display_name(path)}", "it is relative to workloads/"


def _wrong_files(workload: Workload, folder: Path, source: Source) -> Iterator[Problem]:
    """Yield what is wrong in the user's own files, by their own lines where they have any."""
    from harness.cli.run import cache_folder
    from harness.models.own_check import faults

    try:
        for steps, error in faults(workload, folder, cache_folder()):
            yield from error.problems or [source.problem(steps, error.message, hint=error.hint)]
    except PrerequisiteError:
        return  # a package to read them is missing: the cell says so


def _print(findings: Findings) -> None:
    for label, problems in (("warning", findings.warnings), ("error", findings.problems)):
        for problem in problems:
            echo(f"{label}: {problem}")
            if problem.hint:
                echo(f"hint: {problem.hint}")
    files = f"{findings.files} {'file' if findings.files == 1 else 'files'}"
    wrong = len(findings.problems)
    if wrong:
        echo(f"{files} checked, {wrong} {'problem' if wrong == 1 else 'problems'}")
    else:
        echo(f"{files} fine")


def _print_json(findings: Findings) -> None:
    echo_json(
        {
            "schema": 1,
            "files": findings.files,
            "problems": [asdict(problem) for problem in findings.problems],
            "warnings": [asdict(problem) for problem in findings.warnings],
        }
    )
