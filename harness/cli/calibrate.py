"""`harness calibrate`: what the harness itself costs on this machine, and how late it runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness import units
from harness.adapters.session import default_threads
from harness.cli.options import json_option, results_option
from harness.cli.output import echo, echo_json, table
from harness.cli.run import cache_folder
from harness.measure.calibrate import calibrate, save
from harness.measure.ceilings import ceilings
from harness.schema.calibration import Calibration, Spread
from harness.store import Store, new_ulid

UNSUPPORTED = "not supported by n"


@click.command("calibrate")
@results_option
@json_option
def command(results: Path, as_json: bool) -> None:
    """Measure the harness itself on this machine; takes about 17 seconds.

    Later records of this machine name the calibration. Stop other programs first: what they take is
    in the figures.
    """
    store = Store(results)
    with store.lock():  # a run of the same folder would be disturbed, and would disturb
        if not as_json:
            echo("calibrating, about 17 s ...", err=True)
        threads = sorted({1, default_threads()})
        found = tuple(ceilings(cache_folder(), each, again=True) for each in threads)
        calibration = calibrate(new_ulid()).model_copy(update={"ceilings": found})
        path = save(calibration, results)
    if as_json:
        echo_json(calibration.model_dump(mode="json"))
        return
    echo(_table(calibration))
    echo()
    echo(f"calibration in {path}")
    echo("next: harness run; its records name this calibration")


def _table(calibration: Calibration) -> str:
    rows = [
        ("timer, smallest step", units.seconds(calibration.timer_step_s), "", ""),
        ("timer, one reading", units.seconds(calibration.timer_cost_s), "", ""),
        ("sleep of 1 ms, wakes late by", *_spread(calibration.sleep_lag)),
    ]
    for found in calibration.scheduling_lag:
        name = f"issue at {units.count(found.rate)} requests/s, late by"
        rows.append((name, *_spread(found.lag)))
        if found.unserved:
            rows.append(("  requests it could not issue", units.count(found.unserved), "", ""))
    pauses = calibration.pauses
    rows += [
        ("bare loop, per query", units.seconds(calibration.bare_s), "", ""),
        ("harness adds inside the latency", units.seconds(calibration.in_band_s), "", ""),
        ("harness adds between queries", units.seconds(calibration.out_of_band_s), "", ""),
        (
            "sustained rate, one in flight",
            units.rate(calibration.sustained_rate, "queries/s"),
            "",
            "",
        ),
        (
            f"longest pause in {units.duration(pauses.observed_s)}",
            "",
            "",
            units.seconds(pauses.longest_s),
        ),
        (
            f"pauses above {units.seconds(pauses.above_s)}",
            f"{units.count(pauses.count)}, {units.percent(pauses.paused_s / pauses.observed_s)}"
            " of the time",
            "",
            "",
        ),
        ("cores kept busy by others", units.number(calibration.foreign_cores), "", ""),
        ("time taken by the hypervisor", units.percent(calibration.steal_share), "", ""),
    ]
    for most in calibration.ceilings:
        threads = f"{units.count(most.threads)} thread{'s' if most.threads > 1 else ''}"
        moved = units.rate(most.bytes_per_s / 1e9, "GB/s")
        computed = units.rate(most.operations_per_s / 1e9, "GFLOP/s")
        rows.append((f"memory bandwidth, {threads}", moved, "", ""))
        rows.append((f"fp32 matrix products, {threads}", computed, "", ""))
    return table(rows, header=["what", "median", "p99", "longest"])


def _spread(spread: Spread) -> tuple[str, str, str]:
    return (
        units.seconds(spread.p50_s),
        units.seconds(spread.p99_s, UNSUPPORTED),
        units.seconds(spread.most_s),
    )
