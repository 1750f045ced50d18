"""Why a verdict is not "valid", for people: a reason with what its requests failed of."""

from __future__ import annotations

from harness.cli.output import one_line
from harness.report.text import clip
from harness.schema import Record
from harness.schema.record import Reason

LONGEST_ERROR = 200


def in_words(record: Record, reason: Reason) -> str:
    """Return the text of `reason`; where requests failed, with the first error that was kept.

    Newer records keep the commonest error first.
    """
    errors = record.session.get("errors")
    if reason.code != "errors" or not isinstance(errors, list) or not errors:
        return reason.text
    return f"{reason.text}; for example {clip(one_line(str(errors[0])), LONGEST_ERROR)}"
