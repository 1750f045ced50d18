"""GGUF files of users: good ones are read, wrong ones are refused before they cost anything."""

import contextlib
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from harness.adapters.llama_cpp import own_file
from harness.errors import SpecError, UnsupportedError
from harness.models.build import build_model
from harness.models.gguf_header import read_header
from harness.models.llama import draw_weights
from harness.models.llama_gguf import build_gguf
from harness.schema.model import GgufModel
from tests.adapters.recorder import LLAMA, ask, open_session
from tests.models.own_texts import FIELDS, gguf_bytes, text


def write(folder, content):
    path = folder / "m.gguf"
    path.write_bytes(content)
    return path


def test_the_header_says_shape_types_and_size(tmp_path):
    header = read_header(write(tmp_path, gguf_bytes()))
    assert (header.vocabulary, header.context, header.hidden, header.layers) == (64, 128, 32, 2)
    assert (header.heads, header.kv_heads, header.intermediate) == (4, 2, 64)
    assert (header.parameters, header.types, header.main_type) == (2048, {"F32": 1}, "F32")


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0"])
def test_files_of_the_gguf_package_are_read(tmp_path, kind):
    pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    build_gguf(draw_weights(LLAMA), LLAMA, path, kind)
    header = read_header(path)
    assert header.main_type == kind.upper()
    assert (header.vocabulary, header.layers) == (LLAMA.vocabulary, LLAMA.layers)


HUGE = 2**63
WRONG = {
    "not GGUF": (b"GGML" + bytes(100), "does not begin with 'GGUF'"),
    "a pickle": (pickle.dumps({"a": 1}), "a Python pickle"),
    "an archive": (b"PK\x03\x04" + bytes(60), "an archive"),
    "only a magic": (b"GGUF\x03", "cut short"),
    "version": (gguf_bytes(version=1), "version 1"),
    "big-endian": (b"GGUF" + bytes([0, 0, 0, 3]) + bytes(40), "version 50331648"),
    "huge number of tensors": (gguf_bytes(count=HUGE), "the number of tensors is 92233720"),
    "more tensors than there are": (gguf_bytes(count=2), "wrong|cut short|axes|read"),
    "huge number of fields": (
        b"GGUF" + struct.pack("<IQQ", 3, 1, HUGE) + bytes(64), "the number of fields"),
    "huge string": (
        b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", HUGE) + bytes(64),
        "the length of a field's name"),
    "huge array": (
        gguf_bytes(extra=text("a.b") + struct.pack("<IIQ", 9, 4, HUGE), extra_fields=1),
        "the length of a.b is"),
    "long array": (
        gguf_bytes(extra=text("a.b") + struct.pack("<IIQ", 9, 10, 9_000_000), extra_fields=1),
        "cut short"),
    "array of arrays": (
        gguf_bytes(extra=text("a.b") + struct.pack("<IIQ", 9, 9, 3), extra_fields=1),
        "an array of type 9"),
    "unknown value type": (
        gguf_bytes(extra=text("a.b") + struct.pack("<I", 77), extra_fields=1), "of type 77"),
    "huge shape": (gguf_bytes(shape=(2**40, 2**40)), "cut short or out of its place"),
    "shape of none": (gguf_bytes(shape=()), "the shape"),
    "five axes": (gguf_bytes(shape=(1, 1, 1, 1, 1)), "the number of axes"),
    "an axis of zero": (gguf_bytes(shape=(32, 0)), "the shape"),
    "half a block": (gguf_bytes(shape=(33, 64), kind=8), "the shape"),
    "unknown tensor type": (gguf_bytes(kind=99), "of type 99"),
    "data cut short": (gguf_bytes(data=100), "cut short"),
    "data elsewhere": (gguf_bytes(offset=2**50), "out of its place"),
    "unaligned": (gguf_bytes(offset=4), "out of its place"),
    "another architecture": (
        gguf_bytes(fields={**FIELDS, "general.architecture": "falcon"}), "'falcon'; only 'llama'"),
    "no architecture": (gguf_bytes(fields={}), "architecture None"),
    "no context": (
        gguf_bytes(fields={k: v for k, v in FIELDS.items() if "context" not in k}),
        "llama.context_length is None"),
    "alignment of zero": (
        gguf_bytes(fields={**FIELDS, "general.alignment": 0}), "general.alignment is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_with_the_reason_and_without_cost(tmp_path, name):
    content, reason = WRONG[name]
    path = write(tmp_path, content)
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(SpecError, match=reason):
        read_header(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    assert time.process_time() - begun < 1
    tracemalloc.stop()


def test_no_cut_of_a_good_file_passes_or_crashes(tmp_path):
    whole = gguf_bytes(data=0, shape=(32, 1))
    good = whole + bytes(32 * 4)
    read_header(write(tmp_path, good))
    for end in range(0, len(good), 7):
        with pytest.raises(SpecError):
            read_header(write(tmp_path, good[:end]))


def test_random_bytes_in_the_header_never_crash(tmp_path):
    rng = np.random.default_rng(3)
    good = gguf_bytes()
    for number in range(300):
        spoiled = bytearray(good)
        for place in rng.integers(4, 400, 3):
            spoiled[place] = int(rng.integers(256))
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(spoiled)
        # Whatever else it raises fails the test.
        with contextlib.suppress(SpecError):
            read_header(path)


def build(folder, content, **changes):
    write(folder, content)
    model = GgufModel(family="gguf", file="m.gguf", context=64, **changes)
    return build_model(model, "text_generation", cache=folder / "cache", data=folder)


def test_a_file_is_only_run_by_a_target_of_its_precision(tmp_path):
    model = build(tmp_path, gguf_bytes())
    assert own_file(model, "fp32").vocabulary == 64
    assert own_file(model, "fp32").context == 64
    with pytest.raises(UnsupportedError, match=r"in F32, which is fp32; the target says int4"):
        own_file(model, "int4")


def test_other_runtimes_say_that_they_do_not_run_it(tmp_path):
    model = build(tmp_path, gguf_bytes())
    assert model.parameters == 2048
    for use in (model.weights, lambda: model.onnx("standard"), lambda: model.computed):
        with pytest.raises(UnsupportedError, match=r"only llama\.cpp runs it"):
            use()


def test_more_positions_than_the_file_has_are_refused(tmp_path):
    (tmp_path / "m.gguf").write_bytes(gguf_bytes())
    model = GgufModel(family="gguf", file="m.gguf", context=4096)
    with pytest.raises(SpecError, match="has 128 positions, not 4096") as caught:
        build_model(model, "text_generation", cache=tmp_path, data=tmp_path)
    assert caught.value.hint == "write under 'model': context: 128"


def test_llama_cpp_runs_the_users_file_as_it_is(tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is compiled for minutes: an extra")
    from harness.adapters.llama_cpp import LlamaCppAdapter
    from harness.models.requests import TextRequest

    weights = draw_weights(LLAMA)
    build_gguf(weights, LLAMA, tmp_path / "m.gguf", "f16")
    model = build_model(
        GgufModel(family="gguf", file="m.gguf", context=LLAMA.context),
        "text_generation", cache=tmp_path / "cache", data=tmp_path,
    )  # fmt: skip
    session = open_session(LlamaCppAdapter, model, precision="fp16")
    (output,) = ask(session, TextRequest(np.arange(5, dtype=np.int64), 4))
    assert len(output.tokens) == 4
    assert session.describe()["model"] == "the user's own file"
    session.close()
