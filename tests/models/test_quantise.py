import numpy as np
import onnx
import pytest

from harness.errors import UnsupportedError
from harness.models.onnx_graph import Graph, count_operators
from harness.models.quantise import BLOCK, ZERO, pack_int4, quantise_folder, unpack_int4


def matrix(outputs, inputs, seed=0):
    return np.random.default_rng(seed).standard_normal((outputs, inputs)).astype(np.float32)


def write_product(folder, weights, *, again=False):
    """Write model.onnx: y = x times the transpose of `weights`."""
    outputs, inputs = weights.shape
    folder.mkdir()
    with Graph(folder / "model.onnx") as graph:
        states = graph.input("x", np.float32, ["rows", inputs])
        graph.linear("w", states, weights, output=graph.output("y", np.float32, ["rows", outputs]))
        if again:
            graph.op("Identity", "w", output=graph.output("z", np.float32, [inputs, outputs]))
    return folder


@pytest.mark.parametrize(("outputs", "inputs"), [(5, 64), (3, 50), (1, 7), (4100, 32)])
def test_a_weight_moves_by_at_most_the_scale_of_its_block(outputs, inputs):
    weights = matrix(outputs, inputs)
    codes, scales = pack_int4(weights)
    blocks = -(-inputs // BLOCK)
    assert codes.shape == (outputs, blocks, BLOCK // 2)
    assert scales.shape == (outputs * blocks,)
    moved = np.abs(unpack_int4(codes, scales, inputs) - weights)
    limit = np.repeat(np.abs(scales.reshape(outputs, blocks)), BLOCK, axis=1)[:, :inputs]
    assert (moved <= limit * 1.001).all()
    # The far end of the range is cut by one step; all others round.
    assert np.mean(moved > limit * 0.501) < 0.05


def test_the_largest_weight_of_a_block_is_exact():
    weights = matrix(6, 96)
    back = unpack_int4(*pack_int4(weights), 96)
    for row, kept in zip(weights.reshape(-1, BLOCK), back.reshape(-1, BLOCK), strict=True):
        place = np.abs(row).argmax()
        assert kept[place] == pytest.approx(row[place], rel=1e-6)


def test_a_block_of_zeros_stays_zero():
    codes, scales = pack_int4(np.zeros((2, 40), dtype=np.float32))
    assert not scales.any()
    assert (codes == ZERO | ZERO << 4).all()
    assert not unpack_int4(codes, scales, 40).any()


@pytest.mark.parametrize("inputs", [64, 50])
def test_the_runtime_reads_the_codes_as_they_are_meant(tmp_path, inputs):
    import onnxruntime

    weights, states = matrix(48, inputs), matrix(3, inputs, seed=1)
    (tmp_path / "out").mkdir()
    quantise_folder(write_product(tmp_path / "in", weights), tmp_path / "out")
    path = tmp_path / "out/model.onnx"
    assert count_operators(path) == {"com.microsoft.MatMulNBits": 1}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], {"x": states})
    expected = states @ unpack_int4(*pack_int4(weights), inputs).T
    exact = states @ weights.T
    # Less than the quantised weights move it: what is left is the int8 of the states.
    assert np.abs(found - expected).std() < 0.2 * np.abs(exact - expected).std()


def test_the_file_shrinks_by_its_weights(tmp_path):
    (tmp_path / "out").mkdir()
    folder = write_product(tmp_path / "in", matrix(512, 1024))
    quantise_folder(folder, tmp_path / "out")
    before, after = (
        sum(path.stat().st_size for path in each.iterdir()) for each in (folder, tmp_path / "out")
    )
    assert before / after == pytest.approx(32 / 5, rel=0.05)  # 4 bits and a float32 for every 32


def test_a_matrix_that_something_else_reads_is_not_taken_away(tmp_path):
    (tmp_path / "out").mkdir()
    folder = write_product(tmp_path / "in", matrix(8, 64), again=True)
    with pytest.raises(UnsupportedError, match="in a product and elsewhere"):
        quantise_folder(folder, tmp_path / "out")


def test_a_file_without_products_is_unsupported(tmp_path):
    (tmp_path / "in").mkdir()
    with Graph(tmp_path / "in/model.onnx") as graph:
        states = graph.input("x", np.float32, [2])
        graph.op("Exp", states, output=graph.output("y", np.float32, [2]))
    with pytest.raises(UnsupportedError, match="nothing that int4"):
        quantise_folder(tmp_path / "in", tmp_path)


def test_equal_inputs_give_equal_bytes(tmp_path):
    folder = write_product(tmp_path / "in", matrix(64, 64))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        quantise_folder(folder, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert onnx.load(tmp_path / "a/model.onnx").graph.node[0].domain == "com.microsoft"
