"""The report as a folder: the decision, a page for each target, and a page for each record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.report.links import INDEX, Links, record_file, target_file
from harness.report.made import make_folder
from harness.report.over_time import SamplesOf
from harness.report.page import render
from harness.report.run_page import render_run
from harness.report.target_page import render_target, target_names
from harness.report.view import workload_views
from harness.schema import Decision, Record


def pages(
    decision: Decision,
    records: Sequence[Record],
    *,
    samples: SamplesOf,
    history: Sequence[Record] = (),
    command: str,
) -> Iterator[tuple[str, str]]:
    """Yield (file name, HTML) of every page, the decision's first.

    `records` are as for `render`; `samples` returns those of a record, None if it kept none.
    `history` are the records of the results folder, of which each target's page shows its own.
    Same arguments, same bytes, in whatever order records and history come. Raises StoreError if a
    record that the decision names is missing.
    """
    links = Links.between(target_names(decision), [pin.id for pin in decision.records])
    yield INDEX, render(decision, records, command=command, links=links)
    given = {record.id: record for record in records}
    known = [given[pin.id] for pin in decision.records]
    views = workload_views(decision, known)
    for name in target_names(decision):
        page = render_target(
            decision, views, known, name, links=links, command=command, history=history
        )
        yield target_file(name), page
    for pin, record in zip(decision.records, known, strict=True):
        page = render_run(decision, record, pin, samples(record), links=links, command=command)
        yield record_file(record.id), page


def write_folder(
    made: Iterator[tuple[str, str]], folder: Path, progress: Callable[[str], None]
) -> int:
    """Write pages as `folder`, whole or not at all; return how many.

    `progress` is told each file's name. A folder that this made before is replaced as a whole;
    raises as `make_folder` does if it holds anything else.
    """
    return len(make_folder(folder, "harness report", made, progress))
