"""A user's own model: every file gives the scores of the library that wrote it."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import SpecError, UnsupportedError
from harness.models.build import build_model
from harness.models.inputs import draw_requests
from harness.models.onnx_file import onnx_scores
from harness.models.own_model import own_features
from harness.models.trees_mlp import reference_scores
from harness.schema.model import OnnxFileModel, TreeFileModel
from tests.models.own import (
    NAMES,
    draw_rows,
    lightgbm_file,
    onnx_file,
    onnx_logits,
    own_workload,
    write_csv,
    xgboost_file,
)

WRITERS = {"lightgbm": (lightgbm_file, "model.txt"), "xgboost": (xgboost_file, "model.json")}


def build(model, folder: Path):
    return build_model(model, "tabular_classification", cache=folder / "cache", data=folder)


@pytest.fixture(scope="module", params=WRITERS)
def family(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture(scope="module")
def written(family, tmp_path_factory) -> Path:
    write, name = WRITERS[family]
    return write(tmp_path_factory.mktemp("own") / name)


def native_scores(family: str, path: Path, features: np.ndarray) -> np.ndarray:
    if family == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=path).predict(features, num_threads=1)
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(path)
    return booster.inplace_predict(features, validate_features=False)


def edges(weights, features: np.ndarray) -> np.ndarray:
    """Return rows with values exactly at thresholds, just above and just below."""
    inner = np.flatnonzero(weights["trees.left"] != np.arange(len(weights["trees.left"])))
    rng = np.random.default_rng(0)
    rows = features.copy()
    for row in rows:
        for node in rng.choice(inner, size=20):
            row[weights["trees.feature"][node]] = weights["trees.threshold"][node]
    up, down = np.float32(np.inf), np.float32(-np.inf)
    return np.concatenate([rows, np.nextafter(rows, up), np.nextafter(rows, down)])


def test_arrays_score_as_the_library_does_also_at_thresholds(family, written):
    model = build(TreeFileModel(family=family, file=written.name), written.parent)
    features = draw_rows(500, seed=8)[0]
    rows = np.concatenate([features, edges(model.weights(), features)])
    truth = native_scores(family, written, rows)
    assert truth.std() > 0.05, "a constant would prove nothing"
    assert np.abs(reference_scores(model.weights(), rows) - truth).max() < 2e-6
    assert model.file == written
    assert model.parameters > 1000


def test_names_and_number_of_features_are_read(family, written):
    model = TreeFileModel(family=family, file=written.name)
    assert own_features(model, written.parent) == (len(NAMES), NAMES)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
@pytest.mark.parametrize("columns", [1, 2])
def test_an_onnx_file_becomes_one_score_per_row(tmp_path, kind, columns):
    onnx_file(tmp_path / "model.onnx", kind, columns)
    column = 1 if columns == 2 else None
    model = build(OnnxFileModel(family="onnx", file="model.onnx", column=column), tmp_path)
    features = draw_rows(50)[0]
    logits = onnx_logits(features, columns)
    margin = logits[:, 1] - logits[:, 0] if columns == 2 else logits[:, 0]
    scores = onnx_scores(model.onnx("standard"), features)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-margin)), atol=1e-5)
    assert scores.std() > 0.01
    with pytest.raises(UnsupportedError, match="only runtimes that take ONNX"):
        model.weights()


def test_another_file_is_another_artefact(tmp_path):
    model = OnnxFileModel(family="onnx", file="model.onnx", column=1, data=("model.bin",))
    onnx_file(tmp_path / "model.onnx", external="model.bin")
    before = build(model, tmp_path).folder
    content = bytearray((tmp_path / "model.bin").read_bytes())
    content[3] ^= 1
    (tmp_path / "model.bin").write_bytes(content)
    assert build(model, tmp_path).folder != before


def test_weights_beside_an_onnx_file_are_used_when_named(tmp_path):
    onnx_file(tmp_path / "inside.onnx")
    onnx_file(tmp_path / "beside.onnx", external="beside.bin")
    features = draw_rows(20)[0]
    inside = OnnxFileModel(family="onnx", file="inside.onnx", column=1)
    beside = OnnxFileModel(family="onnx", file="beside.onnx", column=1, data=("beside.bin",))
    one, two = (
        onnx_scores(build(m, tmp_path).onnx("standard"), features) for m in (inside, beside)
    )
    np.testing.assert_array_equal(one, two)


# What is refused, with the reason.


def refused(model, folder: Path) -> str:
    with pytest.raises(SpecError) as caught:
        build(model, folder).onnx("standard")
    return f"{caught.value} {caught.value.hint}"


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("family", ["lightgbm", "xgboost", "onnx"])
def test_a_pickle_in_disguise_is_refused_unread(tmp_path, family, protocol):
    (tmp_path / "model").write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    kind = OnnxFileModel if family == "onnx" else TreeFileModel
    said = refused(kind(family=family, file="model"), tmp_path)
    # The two text protocols are no model either; they may be refused as such.
    assert "pickle" in said or protocol < 2


def test_an_archive_such_as_torch_saves_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"PK\x03\x04" + bytes(64))
    assert "could run any code" in refused(
        OnnxFileModel(family="onnx", file="model.onnx"), tmp_path
    )


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_onnx_file_is_refused(tmp_path, share):
    path = onnx_file(tmp_path / "model.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    said = refused(OnnxFileModel(family="onnx", file="model.onnx", column=1), tmp_path)
    assert "ONNX model" in said


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_truncated_trees_are_refused(family, written, tmp_path, share):
    content = written.read_bytes()
    (tmp_path / written.name).write_bytes(content[: int(len(content) * share)])
    model = TreeFileModel(family=family, file=written.name)
    with pytest.raises(SpecError, match=r"cut short|not a|is empty"):
        build(model, tmp_path)


@pytest.mark.parametrize("outside", ["../secret.bin", "/etc/hostname", "deeper/../../secret.bin"])
def test_weights_outside_the_folder_of_an_onnx_file_are_refused(tmp_path, outside):
    folder = tmp_path / "inner"
    folder.mkdir()
    onnx_file(folder / "model.onnx", external="secret.bin")
    content = (folder / "model.onnx").read_bytes()
    (folder / "secret.bin").rename(tmp_path / "secret.bin")
    import onnx

    model = onnx.ModelProto.FromString(content)
    model.graph.initializer[0].external_data[0].value = outside
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    said = refused(OnnxFileModel(family="onnx", file="model.onnx", column=1), folder)
    assert "points outside its folder" in said


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    onnx_file(folder / "model.onnx", external="weights.bin")
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    said = refused(
        OnnxFileModel(family="onnx", file="model.onnx", column=1, data=("weights.bin",)), folder
    )
    assert "leads outside" in said


def test_weights_that_the_workload_does_not_name_are_refused_with_what_to_write(tmp_path):
    (tmp_path / "inner").mkdir()
    onnx_file(tmp_path / "inner/model.onnx", external="weights.bin")
    said = refused(OnnxFileModel(family="onnx", file="inner/model.onnx", column=1), tmp_path)
    assert "data: [inner/weights.bin]" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "column: 1"),
        ({"column": 2}, "no column 2"),
        ({"column": 1, "output": "label"}, "no output 'label', but probabilities"),
        ({"column": 1, "input": "rows"}, "no input 'rows', but X"),
    ],
)
def test_a_signature_that_does_not_fit_is_named(tmp_path, change, said):
    onnx_file(tmp_path / "model.onnx")
    assert said in refused(OnnxFileModel(family="onnx", file="model.onnx", **change), tmp_path)


def test_a_second_input_is_refused_whether_or_not_one_is_named(tmp_path):
    onnx_file(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.input.append(helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 2]))
    onnx.save(model, tmp_path / "model.onnx")
    for named in ({}, {"input": "X"}):
        spec = OnnxFileModel(family="onnx", file="model.onnx", column=1, **named)
        assert "one matrix of rows is supported" in refused(spec, tmp_path)


def test_what_is_added_to_a_graph_takes_no_name_of_it(tmp_path):
    onnx_file(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "score_constant"))
    onnx.save(model, tmp_path / "model.onnx")
    spec = OnnxFileModel(family="onnx", file="model.onnx", column=1)
    assert onnx_scores(build(spec, tmp_path).onnx("standard"), draw_rows(8)[0]).shape == (8,)


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        ("lightgbm", {"objective": "regression"}, "objective 'regression'"),
        ("lightgbm", {"objective": "multiclass", "num_class": 2}, "more than one score"),
        ("lightgbm", {"linear_tree": True}, "linear leaves"),
        ("lightgbm", {"categories": (4,)}, "categorical splits"),
        ("lightgbm", {"zero_as_missing": True}, "zeros for missing"),
        ("xgboost", {"objective": "reg:squarederror"}, "objective 'reg:squarederror'"),
        ("xgboost", {"booster": "dart"}, "booster 'dart'"),
    ],
)
def test_trees_that_the_arrays_do_not_hold_are_refused(tmp_path, family, change, said):
    pytest.importorskip(family)
    write, name = WRITERS[family]
    write(tmp_path / name, **change)
    assert said in refused(TreeFileModel(family=family, file=name), tmp_path)


def test_rounds_that_early_stopping_rejected_are_not_scored_silently(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    path = xgboost_file(tmp_path / "model.json")
    booster = xgboost.Booster(model_file=path)
    booster.set_attr(best_iteration="11")
    booster.save_model(path)
    said = refused(TreeFileModel(family="xgboost", file="model.json"), tmp_path)
    assert "30 rounds" in said
    assert "booster[:12]" in said


# The rows.


def test_rows_of_a_csv_file_are_the_inputs_in_its_order(tmp_path):
    pytest.importorskip("lightgbm")
    lightgbm_file(tmp_path / "model.txt")
    features, labels = draw_rows(40)
    write_csv(tmp_path / "rows.csv", features, labels)
    inputs = {"kind": "rows", "file": "rows.csv", "columns": list(NAMES), "count": 30}
    workload = own_workload({"family": "lightgbm", "file": "model.txt"}, inputs=inputs)
    requests = draw_requests(workload, tmp_path)
    np.testing.assert_array_equal(np.stack([r.features for r in requests]), features[:30])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["age", "amount", "hour", "country", "device"], "feature 1 of the model .* is 'amount'"),
        (["amount", "age"], "has 5 features; the rows of rows.csv have 2"),
        ([], "has 5 features; the rows of rows.csv have 6"),
        (["amount", "age", "hour", "country", "colour"], "no column 'colour'; there are amount"),
    ],
)
def test_permuted_and_missing_columns_are_refused(tmp_path, columns, said):
    pytest.importorskip("lightgbm")
    lightgbm_file(tmp_path / "model.txt")
    write_csv(tmp_path / "rows.csv", *draw_rows(10))
    inputs = {"kind": "rows", "file": "rows.csv", "columns": columns}
    workload = own_workload({"family": "lightgbm", "file": "model.txt"}, inputs=inputs)
    with pytest.raises(SpecError, match=said):
        draw_requests(workload, tmp_path)


@pytest.mark.parametrize(
    ("row", "place", "said"),
    [
        ("1,2,,4,5", "rows.csv:3:5: hour", "is empty"),
        ("1,2,much,4,5", "rows.csv:3:5: hour", "must be a finite number, is 'much'"),
        ("1,nan,3,4,5", "rows.csv:3:3: age", "must be a finite number"),
        ("1,2,1_000,4,5", "rows.csv:3:5: hour", "must be a finite number, is '1_000'"),
        ("1,2,٤,4,5", "rows.csv:3:5: hour", "must be a finite number"),
        ("1,2,3,4,1e39", "rows.csv:3:9: device", "must be a finite number"),
        ("1,2,3,4", "rows.csv:3:1", "must have 5 columns, has 4"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(tmp_path, row, place, said):
    onnx_file(tmp_path / "model.onnx")
    (tmp_path / "rows.csv").write_text(f"{','.join(NAMES)}\n1,2,3,4,5\n{row}\n")
    workload = own_workload({"family": "onnx", "file": "model.onnx", "column": 1})
    with pytest.raises(SpecError) as caught:
        draw_requests(workload, tmp_path)
    assert place in str(caught.value)
    assert said in str(caught.value)
