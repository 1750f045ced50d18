"""Holds a session against the adapters' contract, so that a breach is told as one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.adapters.base import Adapter, Session
from harness.errors import AdapterError
from harness.models.model import Model
from harness.schema.target import Target

HINT = "docs/writing-targets.md says what a session has and returns"


def opened(adapter: Adapter, target: Target, model: Model) -> Session:
    """Return the session that `adapter` opens; AdapterError if it is none by the contract."""
    session: object = adapter.open(target, model)
    what = f"the session of the adapter '{target.runtime.adapter}'"
    if session is None:
        raise AdapterError(
            f"open() of the adapter '{target.runtime.adapter}' returned None", hint=HINT
        )
    for method in ("describe", "submit", "close"):
        if not callable(getattr(session, method, None)):
            raise AdapterError(f"{what} has no {method}()", hint=HINT)
    for name, least in (("max_batch", "1"), ("max_concurrency", "1, or None for no limit")):
        if not hasattr(session, name):
            raise AdapterError(f"{what} has no {name}", hint=HINT)
        value = getattr(session, name)
        if value is None and name == "max_concurrency":
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise AdapterError(
                f"{what} has {name} {value!r}; it is a whole number of at least {least}", hint=HINT
            )
    return session  # type: ignore[return-value]  # looked at above


def description(session: Session) -> dict[str, Any]:
    """Return what `session` says of itself, as JSON holds it; AdapterError if that cannot be."""
    said: object = session.describe()
    if not isinstance(said, Mapping):
        raise AdapterError(f"describe() returned a {type(said).__name__}, not a mapping", hint=HINT)
    try:
        kept: dict[str, Any] = json.loads(json.dumps(dict(said), default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise AdapterError(f"what describe() returned is no JSON: {error}", hint=HINT) from error
    return kept


@contextlib.contextmanager
def closing(session: Session) -> Iterator[dict[str, str]]:
    """Close `session` at the end of the block; what was measured by then is not lost with it.

    Yields what the record shall say of an error while closing: empty till then, and without one.
    """
    failed: dict[str, str] = {}
    try:
        yield failed
    except BaseException:
        with contextlib.suppress(Exception):  # the error that is on its way says more
            session.close()
        raise
    try:
        session.close()
    except Exception as error:  # whatever a runtime raises
        failed["close_failed"] = f"{type(error).__name__}: {error}"
