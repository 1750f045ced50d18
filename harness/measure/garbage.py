"""Keeps Python's cycle collector out of measured windows."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the cycle collector from stopping the world; it runs once before.

    With the samples of a fast target alive, one full collection takes 100 ms, and the queue behind
    it looks like the target's latency.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
