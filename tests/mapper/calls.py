"""Calls whose latencies are known, for the tests of tasks that are made of them."""

import math
from statistics import NormalDist

import numpy as np

from harness.mapper.task_latency import Calls, calls_of
from harness.statistics import histogram
from tests.factories import make_point, make_workload

WORKLOAD = make_workload()
SIGMA = 0.6


def calls(values, n_eff=None):
    """Return `values` as the calls of a record's histogram."""
    found = histogram(np.asarray(values, dtype=np.float64))
    point = make_point(WORKLOAD, latency=found)
    read = calls_of(point)
    return read if n_eff is None else Calls(read.seconds, read.shares, n_eff, read.count)


def lognormal(sigma=SIGMA, count=200_000):
    """Return the quantiles of a lognormal with median 1, evenly spaced in probability."""
    normal = NormalDist()
    return [math.exp(sigma * normal.inv_cdf((i + 0.5) / count)) for i in range(count)]
