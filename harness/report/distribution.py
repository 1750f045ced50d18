"""The latency histogram of an operating point, in at most 24 buckets."""

from __future__ import annotations

from harness import units
from harness.report.frame import BOTTOM
from harness.report.plot import Axes, Charted, Layer, plot
from harness.report.scale import Scale
from harness.schema.record import Histogram

MOST_BUCKETS = 24


def buckets(histogram: Histogram) -> tuple[tuple[float, float, int], ...]:
    """Return (from s, to s, count) of at most 24 buckets, the record's own taken together."""
    if not histogram.counts:
        return ()
    first = min(index for index, _ in histogram.counts)
    last = max(index for index, _ in histogram.counts)
    size = -(-(last - first + 1) // MOST_BUCKETS)
    sums: dict[int, int] = {}
    for index, count in histogram.counts:
        sums[(index - first) // size] = sums.get((index - first) // size, 0) + count
    growth = histogram.growth
    return tuple(
        (growth ** (first + at * size), growth ** (first + (at + 1) * size), sums.get(at, 0))
        for at in range(max(sums) + 1)
    )


def distribution(key: str, histogram: Histogram) -> Charted:
    """Return the histogram as a chart with its table."""
    found = buckets(histogram)
    total = sum(count for _, _, count in found)
    rows, below = [], 0
    for low, high, count in found:
        below += count
        rows.append(
            (
                f"{units.seconds(low)} and {units.seconds(high)}",
                units.count(count),
                units.percent(count / total),
                units.percent(below / total),
            )
        )
    drawn, note = None, "No latency was counted: nobody waits for a single request, or none ended."
    if found:
        axes = Axes(
            Scale.spanning([found[0][0], found[-1][1]]),
            Scale.spanning([0.0, *(count for _, _, count in found)], from_zero=True),
            "s",
            "1",
        )
        bars = "".join(
            f"M{axes.x(low)} {BOTTOM:g}V{axes.y(count)}H{axes.x(high)}V{BOTTOM:g}z"
            for low, high, count in found
            if count
        )
        most = max(found, key=lambda bucket: bucket[2])
        drawn = plot(
            f"{key}-histogram",
            "How many requests had which latency",
            f"{units.count(total)} requests from {units.seconds(found[0][0])} to "
            f"{units.seconds(found[-1][1])}; most of them, {units.count(most[2])}, between "
            f"{units.seconds(most[0])} and {units.seconds(most[1])}.",
            axes,
            ("Latency", "Requests"),
            [Layer("columns chosen", bars)],
        )
        note = f"Requests that were answered, without the warm-up. {axes.note}".strip()
    return Charted(
        "Latency histogram",
        "Latency histogram: requests between two latencies",
        drawn,
        (("bar", "requests with a latency in that range"),) if drawn else (),
        note,
        (("Between", False), ("Requests", True), ("Share", True), ("Up to here", True)),
        tuple(rows),
    )
