"""A target's `runtime.options`: what adapters know of, checked, and the CPUs that they may use."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.errors import OptionError
from harness.hardware import cpu_folder, detect, read
from harness.schema.target import Scalar, Target

ROWS_MAX = 1024
"""Rows in one query, unless the target's option `max_batch` says otherwise."""
COUNTS = ("threads", "max_batch", "continuous")
SWITCHES = ("compile",)
SHARED = ("affinity", "max_batch", "threads")
"""What every adapter that computes in this process takes."""
PHYSICAL = "physical"


@dataclass(frozen=True, slots=True)
class Options:
    """A target's `runtime.options`.

    Compute threads; rows, and sequences, that one query may hold; the CPUs that the process was
    confined to, None where it was not; and what only some adapters take. `continuous`: how many
    texts a running batch may hold that others join and leave; None without one.
    """

    threads: int
    max_batch: int
    max_sequences: int = 1
    affinity: tuple[int, ...] | None = None
    provider: str | None = None
    compile: bool = False
    continuous: int | None = None

    def described(self) -> dict[str, object]:
        """Return the threads, and where the target asks for CPUs, these, to be described."""
        placed = {} if self.affinity is None else {"affinity": list(self.affinity)}
        return {"threads": self.threads, **placed}


class LocalRuntime:
    """An adapter that computes in this process. `further`: its options beside `SHARED`."""

    further: ClassVar[tuple[str, ...]] = ()

    def check_options(self, target: Target) -> None:
        """Raise OptionError for an option that does not exist or has a wrong value anywhere."""
        check_options(target, *self.further)


def check_options(target: Target, *further: str) -> None:
    """Raise OptionError for an unknown option of `target` or a wrong value of one.

    `further` are those that the adapter takes beside `SHARED`. Which CPUs this machine has does not
    matter here.
    """
    check_each(target, (*SHARED, *further), _wrong)


def check_each(
    target: Target,
    known: Collection[str],
    wrong: Callable[[str, Scalar], str | None] = lambda name, value: None,
) -> None:
    """Raise OptionError for the first option of `target` that is not `known`, or is wrong.

    `wrong` returns what an option must be, where its value is something else.
    """
    for name, value in target.runtime.options.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise OptionError(
                f"the {target.runtime.adapter} adapter has no option {name!r}; {has}",
                name,
                hint=f"did you mean {close[0]!r}?" if close else None,
            )
        wanted = wrong(name, value)
        if wanted:
            raise OptionError(f"option {name!r} must be {wanted}, not {value!r}", name)


def read_options(target: Target, *further: str) -> Options:
    """Return the options of `target`; raise OptionError as `check_options` does.

    Also for CPUs that this process does not have. `threads` is, unless given, what
    `default_threads` returns. `max_batch` counts rows, texts or utterances.
    """
    check_options(target, *further)
    given = target.runtime.options
    cpus = asked_cpus(target)
    threads = int(given.get("threads") or min(default_threads(), len(cpus or range(2**16))))
    if cpus is not None and threads > len(cpus):
        raise OptionError(
            f"{threads} threads on the CPUs {_listed(cpus)} would take turns",
            "threads",
            hint=f"ask for at most {len(cpus)} threads, or for more CPUs",
        )
    return Options(
        threads=threads,
        max_batch=int(given.get("max_batch", ROWS_MAX)),
        # A batch raises the time per token: one at a time, unless the target asks for more.
        max_sequences=int(given.get("max_batch", 1)),
        # As it is, not as it was asked for.
        affinity=None if cpus is None else tuple(sorted(_allowed())),
        provider=str(given["provider"]) if "provider" in given else None,
        compile=bool(given.get("compile", False)),
        continuous=int(given["continuous"]) if "continuous" in given else None,
    )


def _wrong(name: str, value: object) -> str | None:
    """Return what the option `name` must be, where `value` is something else."""
    if name in COUNTS and (type(value) is not int or value < 1):
        return "a whole number of at least 1"
    if name in SWITCHES and type(value) is not bool:
        return "true or false"
    if name == "provider" and (not isinstance(value, str) or not value):
        return "the name of an execution provider"
    if name == "affinity" and value != PHYSICAL and not _named(value):
        return "'physical' or CPUs such as '0-3,8'"
    return None


def default_threads() -> int:
    """Return the number of physical cores that this process may use, within its CPU quota.

    Logical ones count where the kernel does not tell which share a core.
    """
    facts = detect()
    cores = int(facts["physical_cores"].value or len(os.sched_getaffinity(0)))
    quota = facts["cpu_quota_cores"].value
    return cores if quota is None else max(1, min(cores, int(quota)))


def asked_cpus(target: Target) -> tuple[int, ...] | None:
    """Return the CPUs that the target's option `affinity` names; None where it has none.

    "physical" is one CPU of each physical core that the process may use. OptionError for what
    names no CPUs, and for CPUs that do not exist or that the process may not use.
    """
    value = target.runtime.options.get("affinity")
    if value is None:
        return None
    if value == PHYSICAL:
        return _one_of_each_core()
    cpus = _named(value)
    if not cpus:
        wanted = _wrong("affinity", value)
        raise OptionError(f"option 'affinity' must be {wanted}, not {value!r}", "affinity")
    allowed = _allowed()
    missing = sorted(set(cpus) - allowed)
    if missing:
        raise OptionError(
            f"option 'affinity' asks for the CPUs {_listed(missing)}, which "
            f"this process does not have; it has {_listed(sorted(allowed))}",
            "affinity",
        )
    return cpus


def bind(target: Target, tasks: Path = Path("/proc/self/task")) -> None:
    """Confine this process to the CPUs that `target` asks for, if it does: all threads it has.

    Threads that are started afterwards inherit it, so it comes before a runtime is loaded. Raises
    OptionError as `asked_cpus` does.
    """
    cpus = asked_cpus(target)
    if cpus is None:
        return
    for task in tasks.iterdir():
        try:
            os.sched_setaffinity(int(task.name), cpus)
        except ProcessLookupError:  # the thread has ended meanwhile
            continue


def _one_of_each_core() -> tuple[int, ...]:
    """Return the lowest CPU of each physical core; each CPU where the kernel does not tell."""
    cores: dict[str, int] = {}
    for cpu in sorted(_allowed()):
        siblings = read(cpu_folder(cpu) / "topology/thread_siblings_list").value
        cores.setdefault(str(siblings or cpu), cpu)
    return tuple(cores.values())


def _allowed() -> set[int]:
    """Return the CPUs that this process may use."""
    return set(os.sched_getaffinity(0))


def _named(value: object) -> tuple[int, ...] | None:
    """Return the CPUs that a value of the option `affinity` lists; None if it lists none."""
    return _parsed(str(value)) if type(value) in (int, str) else None


def _parsed(text: str) -> tuple[int, ...] | None:
    """Return the CPUs of a list such as "0-3,8", each once in order; None if it is not one."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return None
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high >= 2**16:
            return None
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def _listed(cpus: Sequence[int]) -> str:
    """Return `cpus` as a list such as "0-3,8"."""
    parts: list[list[int]] = []
    for cpu in cpus:
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
