"""The exceptions of the harness: one tree, one base to catch.

    HarnessError
    ├── SpecError           a YAML file or an argument is wrong; carries file, line, column and path
    ├── PrerequisiteError   a package, device or permission is missing; says how to get it
    ├── UnsupportedError    a runtime cannot run this model; a finding, not a failure
    ├── AdapterError        an adapter or its runtime failed
    ├── MeasurementError    a cell could not be measured
    └── StoreError          a record cannot be written, read or trusted

A message says what is wrong, where, and what to do. The command line prints it without a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AdapterError",
    "HarnessError",
    "MeasurementError",
    "PrerequisiteError",
    "Problem",
    "SpecError",
    "StoreError",
    "UnsupportedError",
]


class HarnessError(Exception):
    """Base of all errors that the harness raises on purpose.

    `hint` says what the user can do; the command line prints it on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a YAML file.

    `line` and `column` count from 1; 0 means that the place is not known. `path` is the place
    inside the document, as in `slo[0].limit_s`.
    """

    source: str
    line: int
    column: int
    path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class SpecError(HarnessError):
    """A specification is wrong: `problems` lists every fault found, in the order of the file."""

    exit_code = 2

    def __init__(
        self, message: str, *, problems: Sequence[Problem] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> SpecError:
        """Return the error that reports `problems` (at least one)."""
        return cls("\n".join(str(p) for p in problems), problems=problems, hint=problems[0].hint)


class OptionError(SpecError):
    """An option of a target does not exist or has a wrong value: `option` is its name."""

    def __init__(self, message: str, option: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.option = option


class PrerequisiteError(HarnessError):
    """Something the machine must have is missing: a package, a device, a permission."""

    exit_code = 3


class UnsupportedError(HarnessError):
    """A runtime says that it cannot run a model (an operator, a precision, a family).

    It is a finding about the target, shown as such in the report, not a failure of the run.
    """


class AdapterError(HarnessError):
    """An adapter failed, or does not keep the contract of `harness.adapters.base`."""


class MeasurementError(HarnessError):
    """A cell could not be measured."""


class StoreError(HarnessError):
    """A record cannot be written, read or trusted."""
