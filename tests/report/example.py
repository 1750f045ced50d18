"""Writes the report of a made-up decision as a folder: `python -m tests.report.example DIR`.

Every page says that its figures are made up. `reports/example` is made so: the decision, and the
pages of the targets that it chooses.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from harness.report import render
from harness.report.folder import write_folder
from harness.report.links import INDEX, Links, record_file, target_file
from harness.report.run_page import render_run
from harness.report.target_page import render_target
from harness.report.view import workload_views
from harness.schema import Decision, Record
from tests.report.sampled import samples_of
from tests.report.whole import whole

NOTICE = "Example: every figure, chip and price in it is made up."
COMMAND = "python -m tests.report.example reports/example"


def marked() -> tuple[Decision, list[Record]]:
    """Return the decision and its records, which say that they are made up."""
    decision, records = whole()
    told = decision.brief.model_copy(
        update={
            "title": f"Example with made-up figures: {decision.brief.title}",
            "description": f"{NOTICE} {decision.brief.description}",
        }
    )
    return decision.model_copy(
        update={
            "brief": told,
            "warnings": (NOTICE, *decision.warnings),
            # The version of the day would change every page of an example that did not change.
            "harness_version": "of the example",
        }
    ), [
        record.model_copy(
            update={
                "target": record.target.model_copy(
                    update={"description": f"{NOTICE} {record.target.description}"}
                ),
                "workload": record.workload.model_copy(
                    update={"title": f"{record.workload.title} (made up)"}
                ),
            }
        )
        for record in records
    ]


def example() -> Iterator[tuple[str, str]]:
    """Yield (file name, HTML) of the decision, and of what it chooses with the records behind."""
    decision, records = marked()
    chosen = [answer.choice for answer in decision.workloads if answer.choice is not None]
    names = dict.fromkeys(option.target for option in chosen)
    shown = {option.record for option in chosen}
    links = Links.between(names, shown)
    yield INDEX, render(decision, records, command=COMMAND, links=links)
    views = workload_views(decision, records)
    for name in names:
        page = render_target(
            decision, views, records, name, links=links, command=COMMAND, history=records
        )
        yield target_file(name), page
    for pin, record in zip(decision.records, records, strict=True):
        if record.id in shown:
            page = render_run(
                decision, record, pin, samples_of(record), links=links, command=COMMAND
            )
            yield record_file(record.id), page


def main(folder: Path) -> None:
    for page in folder.glob("*.html"):
        page.unlink()
    count = write_folder(example(), folder, lambda name: None)
    print(f"{count} pages in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
