import numpy as np
import pytest

from harness.adapters.base import RowRequest
from harness.adapters.openvino import OpenVinoAdapter, _RowEngine
from harness.models.trees_mlp import reference_scores
from tests.adapters.recorder import ask, open_session

openvino = pytest.importorskip("openvino")


def test_one_row_and_many_rows_have_the_same_scores_in_any_order(fraud_model):
    rows = np.random.default_rng(3).standard_normal((5, 30)).astype(np.float32)
    truth = reference_scores(fraud_model.weights(), rows)
    session = open_session(OpenVinoAdapter, fraud_model, options={"max_batch": 5})
    assert "of a model of one row" in session.describe()["call"]
    for numbers in ([0], [0, 1, 2, 3, 4], [4], [2, 1], [1]):
        outputs = ask(session, *(RowRequest(rows[number]) for number in numbers))
        assert [output.score for output in outputs] == pytest.approx(truth[numbers], abs=1e-5)
    session.close()


def product(batch):
    """Return a compiled model: the rows' sums."""
    from openvino import Core, Model, Type, opset13

    rows = opset13.parameter([batch, 3], Type.f32)
    sums = opset13.reduce_sum(rows, opset13.constant(1), False)
    return Core().compile_model(Model([sums], [rows]), "CPU")


def test_a_row_of_another_type_is_no_row():
    engine = _RowEngine(product(1), product(-1))
    assert engine.score(np.ones((1, 3), dtype=np.float32)).tolist() == [3.0]
    with pytest.raises(TypeError):
        engine.score(np.ones((1, 3), dtype=np.float64))


def test_a_row_of_another_width_is_refused_by_the_runtime():
    engine = _RowEngine(product(1), product(-1))
    with pytest.raises(RuntimeError):
        engine.score(np.ones((1, 1), dtype=np.float32))
