"""Scores of the fraud model, in-process and from a server, through the adapters themselves."""

from harness.adapters.base import RowRequest
from harness.adapters.http.adapter import HttpAdapter
from harness.adapters.onnxruntime import OnnxRuntimeAdapter
from harness.measure.clock import RealClock
from harness.measure.query import TimedQuery
from tests.adapters.http.served import make_served
from tests.factories import make_target

ANSWER_S = 20.0


def scores_here(model, rows):
    runtime = {"adapter": "onnxruntime", "precision": "fp32", "options": {"threads": 1}}
    return _scores(OnnxRuntimeAdapter().open(make_target(runtime=runtime), model), rows)


def scores_there(url, model, rows, **server):
    target = make_served(url, **{"protocol": "oip-http", "model": "fraud", **server})
    return _scores(HttpAdapter().open(target, model), rows)


def _scores(session, rows):
    try:
        return [_score(session, RowRequest(row)) for row in rows]
    finally:
        session.close()


def _score(session, request):
    query = TimedQuery([request], None, RealClock())
    session.submit(query)
    assert query.wait(ANSWER_S)
    (output,) = query.expect_outputs()
    return output.score
