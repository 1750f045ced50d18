"""`harness run`: measure workloads on targets; `harness plan` shows what it would do."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, cast, get_args

import click
from click.core import ParameterSource

from harness import hardware, units
from harness.catalog import Catalog
from harness.cli.hub import fetched, pinned_if_reached
from harness.cli.options import catalog_option, results_option, same_place
from harness.cli.output import echo
from harness.cli.target_check import target_to_run
from harness.errors import PrerequisiteError, SpecError
from harness.execute.ledger import Ledger, Options, latest_unfinished
from harness.execute.run import run_plan
from harness.measure.profile import PROFILES
from harness.plan import Planned, make_plan
from harness.schema.base import ScenarioKind
from harness.schema.record import ProfileName
from harness.store import Store, Stored, new_ulid

SCENARIOS = get_args(ScenarioKind)
SELECTION = ("workloads", "targets", "scenarios", "profile", "seed", "repeats")
"""The options that say what to run; a resumed run keeps its own."""


def selection(function: Any) -> Any:  # noqa: ANN401  click's decorators are untyped in this sense
    """Add the options that say what to run, shared by `run` and `plan`."""
    for option in reversed(
        (
            click.option(
                "-w", "--workload", "workloads", multiple=True, help="Workload; repeatable."
            ),
            click.option("-t", "--target", "targets", multiple=True, help="Target; repeatable."),
            click.option(
                "-s",
                "--scenario",
                "scenarios",
                multiple=True,
                type=click.Choice(SCENARIOS),
                help="Scenario; repeatable.  [default: all that the workload declares]",
            ),
            click.option(
                "--profile",
                type=click.Choice(sorted(PROFILES)),
                default="quick",
                show_default=True,
                help="How long to measure: a minute, minutes, or tens of minutes a cell.",
            ),
            click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True),
            click.option(
                "--repeats",
                type=click.IntRange(1, 1000),
                default=1,
                show_default=True,
                metavar="K",
                help="Measure every cell K times; `harness compare` needs 5 for a firm verdict.",
            ),
        )
    ):
        function = option(function)
    return function


def plan_of(catalog: Catalog, options: Options) -> list[Planned]:
    """Return the plan for `options`; empty selections mean all in the catalog but what is opt-in.

    A model on the hub is pinned to its commit, not fetched; where the hub must be asked and cannot,
    the workload's cells fail in the plan. Raises SpecError for a name that is not there and for a
    file that is broken.
    """
    cache = cache_folder()
    workloads = options.workloads or tuple(e.name for e in catalog.workloads() if not e.opt_in)
    targets = options.targets or tuple(e.name for e in catalog.targets() if not e.opt_in)
    found = {name: pinned_if_reached(catalog.workload(name), cache) for name in workloads}
    return make_plan(
        [(found[name][0], catalog.data_folder(name)) for name in workloads],
        [target_to_run(catalog, name) for name in targets],
        hardware.detect(),
        profile=cast(ProfileName, options.profile),
        seed=options.seed,
        scenarios=options.scenarios,
        repeats=options.repeats,
        cache=cache,
        failures={name: failure for name, (_, failure) in found.items() if failure is not None},
    )


def cache_folder() -> Path:
    """Return where built models are kept: $HARNESS_CACHE, else the user's cache folder."""
    if folder := os.environ.get("HARNESS_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "accelerator-harness"


def writable_cache() -> Path:
    """Return the cache folder, made if need be; PrerequisiteError if it cannot be."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrerequisiteError(
            f"cannot write the cache {folder}: {error.strerror or error}",
            hint="name another folder with HARNESS_CACHE",
        ) from error
    return folder


class Lines:
    """Shows a run on stderr, one line per cell; on a terminal the running cell's phase as well."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._head = ""
        self._note = ""

    def start(self, number: int, total: int, planned: Planned, left_s: float) -> None:
        """Show what begins and how long the rest will take."""
        repeat = f" repeat {planned.cell.repeat}" if planned.cell.repeat else ""
        self._head = f"[{number}/{total}] {planned.cell.label}{repeat}"
        self._note = ""
        if not self._terminal:
            left = units.duration(max(left_s, 1.0))
            echo(f"{self._head}  (about {left} left)", err=True)

    def event(self, event: dict[str, Any]) -> None:
        """Show the phase that the cell is in and what it has found."""
        if event.get("event") == "note":
            self._note = str(event.get("text"))
        if self._terminal and event.get("event") in ("phase", "note"):
            text = f"{self._head}  {event.get('name', 'measure')}  {self._note}"
            click.echo(f"\r\x1b[2K{text[:110]}", err=True, nl=False)

    def end(self, planned: Planned, stored: Stored, spent_s: float) -> None:
        """Show how the cell ended."""
        record = stored.record
        if record.failure is not None:
            kind = record.failure.kind
            word = kind if record.status == kind else f"FAILED: {kind}"
            text = f"{word}: {record.failure.message.splitlines()[0]}"
            if record.failure.hint:
                text += f" -> {record.failure.hint.splitlines()[0]}"
        else:
            from harness.measure.headline import cell_in_words

            gate = "" if record.quality_passed else ", quality gate missed"
            # Not the cell's last note: a disturbance found afterwards widens what it said.
            found = cell_in_words(record.points, record.headline) if record.points else self._note
            text = f"{record.verdict.state}{gate}: {found}"
            if record.verdict.state == "invalid" and record.verdict.reasons:
                text = f"invalid{gate}: {record.verdict.reasons[0].text} ({found})"
        if self._terminal:
            click.echo("\r\x1b[2K", err=True, nl=False)
            echo(f"{self._head}  {text}  ({units.duration(spent_s)})", err=True)
        else:
            echo(f"    {text}  ({units.duration(spent_s)})", err=True)


@click.command("run")
@selection
@click.option(
    "--resume", is_flag=True, help="Go on with the last run that did not come to its end."
)
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Give a cell up when one of its phases takes longer.  [default: by profile]",
)
@catalog_option
@results_option
def command(
    workloads: tuple[str, ...],
    targets: tuple[str, ...],
    scenarios: tuple[str, ...],
    profile: str,
    seed: int,
    repeats: int,
    resume: bool,
    limit_s: float | None,
    catalog: Path | None,
    results: Path,
) -> None:
    """Measure workloads on targets and keep a record of every cell.

    Each cell (workload x target x scenario) runs in a process of its own. Ctrl-C keeps what is
    measured; --resume goes on from there without repeating it. Without -w and -t everything in the
    catalog runs; what this machine cannot run is skipped with its reason.
    """
    store = Store(results)
    found = Catalog.find(catalog)
    cache = writable_cache()
    with store.lock():
        if left := store.sweep():
            echo(f"removed {len(left)} unfinished record(s) of a run that was killed", err=True)
        if resume:
            context = click.get_current_context()
            given = [
                max(option.opts, key=len)
                for option in context.command.params
                if option.name in SELECTION
                and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
            ]
            if given:
                raise SpecError(
                    "--resume runs what the interrupted run was asked for",
                    hint=f"leave {', '.join(given)} away",
                )
            ledger = latest_unfinished(results)
            if ledger is None:
                echo(f"nothing to resume in {results}: every run came to its end", err=True)
                return
            if ledger.mend():
                echo(f"{ledger.path}: cut off a torn last line", err=True)
            options = ledger.options()
            plan = plan_of(found, options)
        else:
            options = Options(workloads, targets, scenarios, profile, seed, repeats)
            plan = plan_of(found, options)
            ledger = Ledger.begin(
                results, new_ulid(), options, [p.cell.id for p in plan if p.skip is None]
            )
        for target, reason in sorted({(p.target.name, p.skip) for p in plan if p.skip}):
            echo(f"skipped {target}: {reason}", err=True)
            if not resume:
                ledger.append("skip", target=target, reason=reason)
        if all(p.skip for p in plan):
            ledger.append("finish")
            raise PrerequisiteError(
                "nothing to run: every target is skipped on this machine",
                hint="`harness doctor` says what works here",
            )
        try:
            plan = fetched(plan, cache)
            with _ended_as_by_control_c():
                finished = run_plan(plan, store, ledger, cache, Lines(), limit_s)
        except KeyboardInterrupt:
            echo("", err=True)
            echo(f"interrupted; what is measured is in {results}", err=True)
            echo(f"next: harness run --resume{same_place()}", err=True)
            sys.exit(130)
    for problem in store.problems:
        echo(f"warning: {problem}", err=True)
    records = [stored.record for stored in finished.stored]
    failed = [r for r in records if r.status == "failed"]
    words = [
        f"{units.counted(len(records), 'cell')} measured" if records else "no cell left to measure"
    ]
    if finished.already:
        were = "was" if finished.already == 1 else "were"
        words.append(f"{finished.already} {were} there already")
    ended = {
        "failed": len(failed),
        "unsupported": sum(r.status == "unsupported" for r in records),
        "invalid": sum(r.status == "ok" and r.verdict.state == "invalid" for r in records),
    }
    words += [f"{number} {how}" for how, number in ended.items() if number]
    echo(f"{', '.join(words)}; records in {results}")
    if failed:
        last = next(s for s in reversed(finished.stored) if s.record.status == "failed")
        echo(f"what failed last: harness show {shlex.quote(str(last.folder))}")
    echo(f"next: {_next(found, {planned.cell.workload for planned in plan})}")
    if failed:
        sys.exit(1)


@contextlib.contextmanager
def _ended_as_by_control_c() -> Iterator[None]:
    """Take SIGTERM, which schedulers send, for Ctrl-C, so that the end is told and in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _next(catalog: Catalog, workloads: Collection[str]) -> str:
    """Return the commands that answer a brief about `workloads`; the shipped one before others."""
    briefs = sorted((entry.name for entry in catalog.entries("brief")), key=lambda n: n != "demo")
    for name in briefs:
        with contextlib.suppress(SpecError):  # a broken one is not to be recommended
            if {row.workload for row in catalog.brief(name).workloads} & set(workloads):
                return f"harness map {name}{same_place()}; harness report {name}{same_place()}"
    names = " or ".join(sorted(workloads))
    return f"harness map FILE{same_place()}, a brief that names {names}"
