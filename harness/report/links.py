"""The files of a report that is a folder, and which pages may be linked from which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

INDEX = "index.html"


def target_file(name: str) -> str:
    """Return the file name of the page of the target `name`."""
    return f"target-{name}.html"


def record_file(ulid: str) -> str:
    """Return the file name of the page of the record `ulid`."""
    return f"run-{ulid}.html"


@dataclass(frozen=True, slots=True)
class Links:
    """The pages beside this one: the decision's file name, and whose pages there are."""

    index: str = ""
    targets: frozenset[str] = frozenset()
    records: frozenset[str] = frozenset()

    @classmethod
    def between(cls, targets: Iterable[str], records: Iterable[str]) -> Links:
        """Return the links of a folder with pages of `targets` and `records`."""
        return cls(INDEX, frozenset(targets), frozenset(records))

    def target(self, name: str) -> str:
        """Return the file of the target `name`; empty if it has no page."""
        return target_file(name) if name in self.targets else ""

    def record(self, ulid: str) -> str:
        """Return the file of the record `ulid`; empty if it has no page."""
        return record_file(ulid) if ulid in self.records else ""


NO_LINKS = Links()
"""A page that stands alone."""
