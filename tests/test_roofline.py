import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models import llama, whisper
from harness.roofline import (
    BYTES_OF,
    Ceilings,
    Pass,
    Work,
    limit,
    llama_work,
    row_work,
    whisper_work,
)
from harness.schema.model import LlamaModel, WhisperModel

LLAMA = LlamaModel(
    family="llama",
    vocabulary=64,
    hidden=32,
    layers=3,
    heads=4,
    kv_heads=2,
    intermediate=48,
    context=64,
    tied_embeddings=True,
)
WHISPER = WhisperModel(
    family="whisper",
    mel_bands=8,
    frames=40,
    vocabulary=24,
    hidden=16,
    encoder_layers=2,
    decoder_layers=3,
    heads=2,
    text_context=32,
)


def weights_of(shapes):
    return sum(math.prod(shape) for shape in shapes.values())


def counted(run):
    """Return the operations that an independent counter sees in `run`."""
    torch = pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # Attention as plain products: the counter does not know the processor's fused one.
    with (
        FlopCounterMode(display=False) as counter,
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
    ):
        run()
    return counter.get_total_flops()


def test_a_llama_reads_all_its_weights_once_a_token() -> None:
    step = llama_work(LLAMA, 10, 5, "fp32").passes[1]
    # Tied: the embeddings are the output matrix, and one row of them the input.
    assert step.shared_bytes == 4 * weights_of(llama.parameter_shapes(LLAMA))
    assert step.times == 4
    # Positions 10, 11, 12, 13 are there before a step, and each writes its own.
    position = 2 * 3 * 2 * 8 * 4
    assert step.own_bytes == position * (11.5 + 1)


def test_the_operations_of_a_llama_are_those_that_torch_counts() -> None:
    torch = pytest.importorskip("torch")
    from harness.models.llama_torch import from_weights

    module = from_weights(llama.draw_weights(LLAMA), LLAMA)
    prompt = torch.arange(10)[None]
    cache = module.make_cache()
    first = counted(lambda: module(prompt, cache, 1))
    work = llama_work(LLAMA, 10, 2, "fp32")
    attention = 4 * 3 * 4 * 8
    # The module computes attention to later positions too, and then masks it.
    masked = attention * (10 * 10 - 10 * 11 / 2)
    assert work.passes[0].operations == pytest.approx(first - masked)
    assert work.passes[1].operations == counted(lambda: module(torch.tensor([[1]]), cache))


def test_the_operations_of_a_whisper_are_those_that_torch_counts() -> None:
    torch = pytest.importorskip("torch")
    from harness.models.whisper_torch import from_weights

    module = from_weights(whisper.draw_weights(WHISPER), WHISPER)
    features = torch.zeros(1, WHISPER.mel_bands, WHISPER.frames)
    kept = []
    encoder, first, step = whisper_work(WHISPER, 1, 2, 0.4, "fp32").passes
    assert encoder.operations == counted(lambda: kept.append(module.begin(features)))
    assert first.operations == counted(lambda: module.extend(torch.tensor([[1]]), kept[0]))
    assert step.operations == counted(lambda: module.extend(torch.tensor([[2]]), kept[0]))


def test_a_whisper_reads_its_matrices() -> None:
    encoder, first, step = whisper_work(WHISPER, 4, 6, 0.4, "fp16").passes
    shapes = whisper.parameter_shapes(WHISPER)
    matrices = {
        name: shape
        for name, shape in shapes.items()
        if len(shape) > 1 and "embed_positions" not in name
    }
    # Each matrix is read by one pass or the other, and by none twice.
    assert encoder.shared_bytes + first.shared_bytes == 2 * weights_of(matrices)
    assert step.shared_bytes == first.shared_bytes
    assert (encoder.times, first.times, step.times) == (1, 1, 5)


def test_a_row_is_multiplied_with_the_network_alone() -> None:
    (part,) = row_work(100, 90, 30, "int8").passes
    assert (part.shared_bytes, part.own_bytes, part.operations) == (100, 124, 180)


HARDWARE = Ceilings(bytes_per_s=1000.0, operations_per_s=500.0, cache_bytes=0.0)


def work_of(*passes, units=1.0, step=None):
    return Work("rows", units, passes, step)


def test_the_slower_of_memory_and_arithmetic_bounds() -> None:
    memory = limit([work_of(Pass(2, 400, 100, 10), units=4)], HARDWARE, 1)
    assert (memory.bound, memory.per_s) == ("memory", 4 / 1.0)
    assert (memory.bytes_per_unit, memory.operations_per_unit) == (250, 5)
    compute = limit([work_of(Pass(2, 400, 100, 1000), units=4)], HARDWARE, 1)
    assert (compute.bound, compute.per_s) == ("compute", 4 / 4.0)


def test_weights_are_read_once_for_those_computed_together() -> None:
    work = work_of(Pass(1, 800, 100, 0))
    assert limit([work], HARDWARE, 1).per_s == pytest.approx(1000 / 900)
    assert limit([work], HARDWARE, 8).per_s == pytest.approx(1000 / 200)
    assert limit([work], HARDWARE, math.inf).per_s == pytest.approx(1000 / 100)


def test_what_a_cache_may_hold_need_not_come_again() -> None:
    works = [work_of(Pass(3, 800, 100, 1))]
    small = Ceilings(1000.0, None, 300.0)
    assert limit(works, small, 1).per_s == pytest.approx(1000 / (3 * 600))
    # The bytes that the work needs stay what they are.
    assert limit(works, small, 1).bytes_per_unit == 2700
    fits = limit(works, Ceilings(1000.0, None, 900.0), 1)
    assert (fits.per_s, fits.bound) == (None, None)


def test_without_a_ceiling_there_is_no_limit() -> None:
    nothing = limit([work_of(Pass(1, 800, 100, 1))], Ceilings(None, None, 0.0), 1)
    assert (nothing.per_s, nothing.bound, nothing.step_s) == (None, None, None)


def test_the_least_time_of_a_token_is_that_of_its_pass() -> None:
    works = [work_of(Pass(1, 900, 0, 9), Pass(7, 400, own, 1), step=1) for own in (100, 200, 600)]
    assert limit(works, HARDWARE, 1).step_s == pytest.approx(0.6)
    assert limit(works, HARDWARE, 2).step_s is None
    single = [work_of(Pass(1, 900, 0, 9), Pass(0, 400, 100, 1), step=1)]
    assert limit(single, HARDWARE, 1).step_s is None


@settings(max_examples=100, deadline=None)
@given(
    prompts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    together=st.sampled_from([1, 2, 8, math.inf]),
    cache=st.floats(0, 1e6),
    precision=st.sampled_from(sorted(BYTES_OF)),
)
def test_more_cache_and_more_together_never_lower_the_limit(prompts, together, cache, precision):
    works = [llama_work(LLAMA, prompt, 9, precision) for prompt in prompts]
    bare = limit(works, Ceilings(1e9, 1e9, 0.0), 1)
    helped = limit(works, Ceilings(1e9, 1e9, cache), together)
    assert bare.per_s is not None
    assert helped.per_s is not None
    assert helped.per_s >= bare.per_s * (1 - 1e-9)


def test_a_server_that_may_hold_the_prompt_is_not_charged_for_it() -> None:
    whole, held = (llama_work(LLAMA, 30, 4, "fp32", prefill=p) for p in (True, False))
    assert held.passes[0].times == 0
    assert held.passes[1] == whole.passes[1]
    assert np.isfinite(limit([held], HARDWARE, 1).per_s)
