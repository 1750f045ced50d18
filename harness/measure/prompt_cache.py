"""The share of prompt tokens that a server took from its cache of prefixes, as it says itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness import statistics
from harness.schema.inputs import PromptInputs
from harness.schema.record import Metric, Point
from harness.schema.workload import Workload

NAME = "cached_prompt_share"
METHOD = "ratio of means, delta method, effective sample size"
UNKNOWN = "the target does not say how many prompt tokens came from a cache"


def with_cached_prompts(
    point: Point, workload: Workload, counts: Sequence[tuple[int, int, int]], since_ns: int
) -> Point:
    """Return `point` with the share, where its server told counts or its prompts share beginnings.

    `counts` as of `cached_prompt_share`.
    """
    inputs = workload.inputs
    share = isinstance(inputs, PromptInputs) and (inputs.turns or inputs.shared_prefix)
    if not counts and not share:
        return point
    metrics = {**point.metrics, NAME: cached_prompt_share(counts, since_ns)}
    return point.model_copy(update={"metrics": metrics})


def cached_prompt_share(counts: Sequence[tuple[int, int, int]], since_ns: int = 0) -> Metric:
    """Return sum(cached) / sum(prompt tokens) of the requests that were due at `since_ns` or later.

    `counts` has for each answer when it was due, its prompt tokens, and those from the cache. The
    interval is +-1.96 standard errors of the linearised ratio R: sd(cached - R prompt) / (mean
    prompt x sqrt(n_eff)). None where no answer told its counts, or the prompts had no tokens.
    """
    rows = np.array(sorted(row for row in counts if row[0] >= since_ns), dtype=np.float64)
    prompt_tokens = float(rows[:, 1].sum()) if rows.size else 0.0
    if not prompt_tokens:
        return Metric(
            unit="share", better="higher", value=None, n=len(rows), method=METHOD, reason=UNKNOWN
        )
    share = float(rows[:, 2].sum()) / prompt_tokens
    off = rows[:, 2] - share * rows[:, 1]
    n_eff = statistics.effective_sample_size(off)
    low = high = None
    if len(rows) > 1 and n_eff > 1:
        error = float(off.std(ddof=1)) / (prompt_tokens / len(rows)) / math.sqrt(n_eff)
        half = statistics.Z975 * error
        low, high = max(0.0, share - half), max(share, min(1.0, share + half))
    return Metric(
        unit="share",
        better="higher",
        value=share,
        low=low,
        high=high,
        n=len(rows),
        n_eff=n_eff,
        method=METHOD,
    )
