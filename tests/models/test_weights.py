"""Weight files: a header that does not fit its file is refused, and nothing is unpickled."""

import json
import pickle

import numpy as np
import pytest

from harness.errors import SpecError
from harness.models.weights import load_weights, save_weights


def write(path, header: object, data: bytes = bytes(16), length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def entry(**changes: object) -> dict[str, object]:
    return {"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changes}


def test_a_whole_file_is_read(tmp_path):
    path = tmp_path / "w.safetensors"
    write(path, entry())
    assert load_weights(path)["x"].shape == (2, 2)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (entry(shape=[4, 4]), "x is cut short"),
        (entry(data_offsets=[0, 64], shape=[4, 4]), "x is cut short"),
        (entry(data_offsets=[-8, 8]), "no file has"),
        (entry(data_offsets=[16, 0]), "no file has"),
        (entry(shape=[-2, -2]), "no file has"),
        (entry(shape=[2**62, 2**62], data_offsets=[0, 16]), "x is cut short"),
        (entry(shape="four"), "not a safetensors file"),
        (entry(data_offsets=[0]), "not a safetensors file"),
        (entry(data_offsets=["0", "16"]), "not a safetensors file"),
        (entry(dtype="OBJECT"), "x is of type OBJECT"),
        ({**entry(), "y": entry()["x"]}, "x and y overlap"),
        ({"x": 3}, "not a safetensors file"),
        ([1, 2], "not a safetensors file"),
        (b"{not json", "not a safetensors file"),
        (b"[" * 100_000, "not a safetensors file"),
    ],
)
def test_a_wrong_header_is_refused_with_the_reason(tmp_path, header, said):
    path = tmp_path / "w.safetensors"
    write(path, header)
    with pytest.raises(SpecError, match=said):
        load_weights(path)


@pytest.mark.parametrize("length", [0, 2**63, 10**12])
def test_a_header_longer_than_the_file_is_refused_unread(tmp_path, length):
    path = tmp_path / "w.safetensors"
    write(path, entry(), length=length)
    with pytest.raises(SpecError, match="not a safetensors file"):
        load_weights(path)


def test_a_pickle_in_disguise_is_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    path = tmp_path / "w.safetensors"
    for protocol in range(6):
        path.write_bytes(pickle.dumps([Bomb()] * 20, protocol=protocol))
        with pytest.raises(SpecError, match="not a safetensors file"):
            load_weights(path)


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights({"x": np.ones((8, 8), dtype=np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SpecError, match="cut short"):
        load_weights(path)
