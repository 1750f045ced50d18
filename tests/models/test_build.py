import logging
import multiprocessing
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from harness.errors import SpecError, StoreError, UnsupportedError
from harness.models import build, llama
from harness.models.build import build_model, quantised
from harness.models.onnx_graph import Graph, count_operators
from harness.models.weights import load_weights, save_weights, stream_weights
from harness.schema.model import LlamaModel, TreesMlpModel, WhisperModel

WORKLOADS = Path(__file__).parents[2] / "workloads"
LLAMA = LlamaModel(
    family="llama",
    vocabulary=64,
    hidden=32,
    layers=1,
    heads=2,
    kv_heads=1,
    intermediate=48,
    context=16,
)


def of(tmp_path: Path, **changes):
    architecture = LLAMA.model_copy(update=changes)
    return build_model(architecture, "text_generation", cache=tmp_path / "cache", data=tmp_path)


def test_drawn_weights_are_kept_and_mapped(tmp_path):
    model = of(tmp_path)
    assert not model.folder.exists(), "nothing is built before it is asked for"
    weights = model.weights()
    expected = llama.draw_weights(LLAMA)
    assert set(weights) == set(expected)
    assert all(np.array_equal(weights[name], expected[name]) for name in expected)
    assert isinstance(weights["model.norm.weight"], np.memmap)
    assert model.parameters == sum(array.size for array in expected.values())
    (stored,) = model.folder.rglob("*.safetensors")
    changed = stored.stat().st_mtime_ns
    of(tmp_path).weights()
    assert stored.stat().st_mtime_ns == changed


def test_the_folder_follows_all_that_is_built_from(tmp_path, monkeypatch):
    file = tmp_path / "weights.safetensors"
    save_weights(llama.draw_weights(LLAMA), file)
    folders = [
        of(tmp_path).folder,
        of(tmp_path, seed=1).folder,
        of(tmp_path, rope_theta=9999.0).folder,
        of(tmp_path, weights=file.name).folder,
    ]
    save_weights(llama.draw_weights(LLAMA.model_copy(update={"seed": 1})), file)
    folders.append(of(tmp_path, weights=file.name).folder)
    monkeypatch.setattr(build, "_builders", lambda: "another source")
    folders.append(of(tmp_path).folder)
    assert len(set(folders)) == 6
    assert of(tmp_path).folder == folders[-1]
    assert folders[0].name.startswith("llama-")


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_weight_file_is_loaded_as_float32(tmp_path, kind):
    drawn = {name: array.astype(kind) for name, array in llama.draw_weights(LLAMA).items()}
    save_file(drawn, tmp_path / "w.safetensors")
    weights = of(tmp_path, weights="w.safetensors").weights()
    for name, array in drawn.items():
        assert weights[name].dtype == np.float32
        assert np.array_equal(weights[name], array.astype(np.float32))


def test_bfloat16_is_widened_exactly(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    values = torch.randn(100).to(torch.bfloat16)
    save_torch({"x": values}, tmp_path / "w.safetensors")
    assert np.array_equal(load_weights(tmp_path / "w.safetensors")["x"], values.float().numpy())


def test_a_weight_file_that_does_not_fit_is_refused(tmp_path):
    good = llama.draw_weights(LLAMA)
    norm = good["model.norm.weight"]
    without = {name: array for name, array in good.items() if name != "model.norm.weight"}
    cases = {
        "1 missing (model.norm.weight)": without,
        "1 unknown (lm_head.weight)": good | {"lm_head.weight": norm},
        "model.norm.weight is float32 [31], not float32 [32]": good
        | {"model.norm.weight": norm[:31].copy()},
        "model.norm.weight is int32": good | {"model.norm.weight": norm.astype(np.int32)},
        "not finite": good | {"model.norm.weight": norm * np.float32(np.nan)},
        "of type I64": good | {"model.norm.weight": norm.astype(np.int64)},
    }
    for said, arrays in cases.items():
        save_file(arrays, tmp_path / "w.safetensors")
        with pytest.raises(SpecError) as caught:
            of(tmp_path, weights="w.safetensors").weights()
        assert said in str(caught.value)


def test_a_file_that_is_missing_broken_or_cut_short_is_refused(tmp_path):
    with pytest.raises(SpecError, match="cannot read the weights") as caught:
        of(tmp_path, weights="none.safetensors")
    assert "relative to the folder of the workloads" in str(caught.value.hint)
    file = tmp_path / "w.safetensors"
    save_weights(llama.draw_weights(LLAMA), file)
    whole = file.read_bytes()
    broken = [b"", b"no", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b'\x0c\0\0\0\0\0\0\0{"x": "y"}  ']
    for content in [*broken, whole[:-4]]:
        file.write_bytes(content)
        with pytest.raises(SpecError, match=r"not a safetensors file|cut short"):
            load_weights(file)


def test_onnx_files_are_built_once_with_their_weights_beside_them(tmp_path):
    model = of(tmp_path)
    folder = model.onnx("portable")
    assert folder == model.onnx("standard")
    assert sorted(path.name for path in folder.iterdir()) == ["model.data", "model.onnx"]
    onnx.checker.check_model(str(folder / "model.onnx"))
    loaded = onnx.load(folder / "model.onnx")
    assert {each.domain for each in loaded.opset_import} == {""}
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in loaded.graph.initializer}
    embeddings = model.weights()["model.embed_tokens.weight"]
    assert np.array_equal(stored["lm_head"], embeddings.T)
    with pytest.raises(ValueError, match="dialect"):
        model.onnx("other")


def test_trees_have_an_onnx_folder_for_each_dialect(tmp_path):
    fraud = TreesMlpModel(family="trees_mlp", weights="weights/fraud.safetensors")
    model = build_model(fraud, "tabular_classification", cache=tmp_path, data=WORKLOADS)
    counts = {each: count_operators(model.onnx(each) / "model.onnx") for each in build.DIALECTS}
    assert counts["standard"]["ai.onnx.ml.TreeEnsembleRegressor"] == 1
    assert not any("ai.onnx.ml" in name for name in counts["portable"])


def test_whisper_has_two_graphs(tmp_path):
    architecture = WhisperModel(
        family="whisper",
        mel_bands=8,
        frames=20,
        vocabulary=32,
        hidden=16,
        encoder_layers=1,
        decoder_layers=1,
        heads=2,
        text_context=8,
    )
    model = build_model(architecture, "speech_to_text", cache=tmp_path, data=tmp_path)
    names = {path.name for path in model.onnx("portable").glob("*.onnx")}
    assert names == {"encoder.onnx", "decoder.onnx"}


def test_quantised_is_a_twin_made_once_and_quietly(tmp_path, caplog):
    folder = of(tmp_path).onnx("standard")
    before = sorted(path.name for path in folder.iterdir())
    with caplog.at_level(logging.DEBUG):
        twin = quantised(folder)
    assert caplog.records == []
    assert count_operators(twin / "model.onnx")["MatMulInteger"] == 5
    assert sorted(path.name for path in folder.iterdir()) == before
    changed = (twin / "model.onnx").stat().st_mtime_ns
    assert quantised(folder) == twin
    assert (twin / "model.onnx").stat().st_mtime_ns == changed


def test_a_graph_without_constant_products_cannot_be_quantised(tmp_path):
    folder = tmp_path / "onnx"
    folder.mkdir()
    with Graph(folder / "model.onnx") as graph:
        value = graph.input("x", np.float32, ["n"])
        graph.op("Add", value, graph.constant(1.0), output=graph.output("y", np.float32, ["n"]))
    with pytest.raises(UnsupportedError, match="nothing that int8"):
        quantised(folder)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["onnx"]


def test_a_build_that_breaks_leaves_nothing_and_can_be_repeated(tmp_path, monkeypatch):
    model = of(tmp_path)
    model.weights()

    def breaks(weights, architecture, folder):
        (folder / "model.onnx").write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(build.llama_onnx, "build_onnx", breaks)
        with pytest.raises(StoreError, match="disk full"):
            model.onnx("standard")
    assert [path.name for path in model.folder.iterdir() if path.is_dir()] == ["drawn"]
    # What a builder that was killed leaves behind.
    (model.folder / ".onnx~left").mkdir()
    onnx.checker.check_model(str(model.onnx("standard") / "model.onnx"))
    assert not (model.folder / ".onnx~left").exists()


def _build(tmp_path: Path, start) -> None:
    start.wait()
    of(tmp_path, layers=4).onnx("standard")


def test_two_processes_may_want_the_same_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=_build, args=(tmp_path, start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    folders = [path.name for path in of(tmp_path, layers=4).folder.iterdir() if path.is_dir()]
    assert sorted(folders) == ["drawn", "onnx"]


def test_streamed_weights_are_read_back_and_must_come_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"b": rng.random((3, 5), dtype=np.float32), "a": rng.random(7, dtype=np.float32)}
    shapes = {name: array.shape for name, array in arrays.items()}
    path = tmp_path / "weights.safetensors"
    stream_weights(shapes, arrays.items(), path)
    for reader in (load_weights, load_file):
        loaded = reader(path)
        assert loaded.keys() == arrays.keys()
        assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())
    with pytest.raises(ValueError, match=r"a \[7\] came in place of b"):
        stream_weights(shapes, reversed(arrays.items()), path)
    with pytest.raises(ValueError, match="shorter"):
        stream_weights(shapes, list(arrays.items())[:1], path)
