"""What a wall log adds to a record as a whole."""

from datetime import UTC, datetime

import pytest

from harness.measure.power_import import joined
from harness.schema.power_import import ImportedReading, LogFile, PowerImport
from harness.schema.record import EnergyProfile, EnergyReading
from tests.factories import START, make_point, make_record, make_workload, ulid

DIGEST = "a" * 64
RATES = (10.0, 20.0, 40.0)


def wall(watts, **changes):
    tree = {
        "meter": "ptd",
        "joules": watts * 10.0,
        "duration_s": 10.0,
        "boundary": "wall",
        "covers": ("wall:feed",),
        "provenance": "external",
        "uncertainty": 0.02,
        "parts": {"sensor": 0.01, "edge": 0.01},
    }
    return EnergyReading(**{**tree, **changes})


def imported(record, readings):
    log = LogFile(
        name="spl.txt",
        sha256=DIGEST,
        format="ptd",
        timezone="UTC",
        began_at=START,
        ended_at=START,
        period_s=1.0,
        samples=100,
        dropped={},
    )
    return PowerImport(
        schema=1,
        id=ulid(500),
        imported_at=datetime(2026, 11, 2, tzinfo=UTC),
        logs=(log,),
        sensor=0.01,
        sensor_source="declared",
        skew_s=0.8,
        readings=tuple(
            ImportedReading(
                record=record.id,
                record_sha256=DIGEST,
                point=number,
                began_at=START,
                reading=reading,
            )
            for number, reading in enumerate(readings)
        ),
        harness_version="0.1.0",
    )


def test_the_wall_s_power_gets_a_slope_and_keeps_the_meters_idle_levels():
    workload = make_workload()
    points = tuple(make_point(workload, rate=rate, load=rate / 50, joules=100.0) for rate in RATES)
    warm = points[0].energy[0].model_copy(update={"joules": 50.0})
    record = make_record(workload, points=points, energy=EnergyProfile(warm=(warm,)))
    document = imported(record, [wall(200.0 + 3 * rate) for rate in RATES])

    found, used = joined(record, DIGEST, [(document, "b" * 64)])

    assert list(used) == [document.id]
    metrics = found.energy.metrics
    assert metrics["marginal_j_per_request@wall"].value == pytest.approx(3.0)
    assert "not metered at this boundary" in metrics["energy_proportionality@wall"].reason
    assert metrics["idle_warm_w@package"].value == pytest.approx(5.0)
    assert metrics["loaded_w@wall"].value == pytest.approx(320.0)
    figures = found.points[0].metrics
    assert figures["power_w@wall"].value == pytest.approx(230.0)
    assert figures["energy_j_per_request@wall"].value == pytest.approx(23.0)
    assert figures["energy_j_per_output_token@wall"].value == pytest.approx(23.0 / 8)
    assert "power_w@wall" not in record.points[0].metrics
