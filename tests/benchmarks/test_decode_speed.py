"""The arithmetic of the shares: what is counted decides whether a share can be believed."""

import pytest

from harness.measure.ceilings import MachineCeilings
from harness.models.llama import parameter_shapes
from tests.benchmarks.decode_speed import FAST, FULL, Step, best_of, step_of

GB = 1e9


def test_a_step_reads_each_matrix_once_and_the_cache_so_far():
    step = step_of(FULL, "onnxruntime", "fp32", prompt=32, tokens=24)
    # The embedding is the output matrix; as an embedding only a row of it is read.
    weights = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes(FULL))
    assert step.weights == 4 * weights
    # 23 steps read 32 to 54 positions and their own.
    assert step.cache == pytest.approx(2 * 12 * 768 * 4 * (32 + 54 + 2) / 2)


def test_an_embedding_apart_from_the_output_matrix_is_not_read():
    step = step_of(FAST, "onnxruntime", "fp32", prompt=32, tokens=24)
    every = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes(FAST))
    assert step.weights == 4 * (every - 8192 * 384)


def shapes(model):
    return parameter_shapes(model).values()


@pytest.mark.parametrize(
    ("adapter", "precision", "bits"),
    [("onnxruntime", "int4", 5.0), ("llama-cpp", "int4", 4.5), ("llama-cpp", "int8", 8.5)],
)
def test_scales_are_read_with_the_weights(adapter, precision, bits):
    fp32 = step_of(FULL, "onnxruntime", "fp32", 32, 24).weights
    assert step_of(FULL, adapter, precision, 32, 24).weights == pytest.approx(
        fp32 * bits / 32, rel=0.002
    )


def test_the_fastest_rate_that_memory_and_cache_allow_is_a_share_of_one():
    step = Step(weights=0.4 * GB, cache=0.002 * GB)
    # 33 MB stay in the cache from step to step; all else comes at 40 GB/s.
    fastest = 40 / (0.4 - 0.033 + 0.002)
    least, without = step.shares(fastest, 40 * GB, 0.033 * GB)
    assert least == pytest.approx(1.0)
    assert without == pytest.approx(0.402 / 0.369)
    assert step.shares(fastest / 2, 40 * GB, 0.033 * GB)[0] == pytest.approx(0.5)


def test_a_model_that_fits_in_the_cache_has_no_share():
    least, without = Step(0.02 * GB, 0.001 * GB).shares(5000, 40 * GB, 0.033 * GB)
    assert least is None
    assert without > 1


def test_the_ceiling_is_the_best_round_of_the_best_kind():
    def measured(read, add):
        return MachineCeilings.model_validate(
            {
                "host": "0" * 64,
                "threads": 2,
                "array_bytes": 67_000_000,
                "cache_bytes": 33e6,
                "cache_source": "told",
                "read_bytes_per_s": read,
                "add_bytes_per_s": add,
                "operations_per_s": 1e11,
                "measured_at": "2026-11-21T12:00:00Z",
            }
        )

    best = best_of([measured(30e9, 35e9), measured(38e9, 33e9), measured(20e9, 41e9)])
    assert (best.read_bytes_per_s, best.bytes_per_s) == (38e9, 41e9)
