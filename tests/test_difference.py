import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.difference import (
    adjusted,
    fewer_p,
    paired,
    sign_flip_p,
    unpaired,
)

POSITIVE = st.floats(0.1, 10.0)


def test_sign_flips_are_counted_exactly():
    assert sign_flip_p([0.1] * 5) is None
    assert sign_flip_p([0.1] * 17) is None
    assert sign_flip_p([0.1, 0.2, 0.3, 0.2, 0.1, 0.2]) == 2 / 64
    assert sign_flip_p([0.0] * 6) == 1.0
    # |sum| >= 4 of six ones: six or five equal signs.
    assert sign_flip_p([1, 1, 1, 1, 1, -1]) == (2 + 12) / 64


def test_adjusting_is_benjamini_and_hochbergs():
    # The example of their paper (1995, section 4): four of 15 fall below 5 %.
    p = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
    found = adjusted(p)
    assert sum(each <= 0.05 for each in found) == 4
    assert found[0] == pytest.approx(0.0015)
    assert adjusted(p[::-1]) == found[::-1]
    assert adjusted([]) == []
    assert adjusted([0.03]) == [0.03]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_p_values_keep_their_order_and_never_shrink(p):
    found = adjusted(p)
    assert all(p[i] <= found[i] <= 1 for i in range(len(p)))
    ranked = [found[i] for i in sorted(range(len(p)), key=lambda i: p[i])]
    assert ranked == sorted(ranked)


def test_a_paired_difference_by_hand():
    # Logs of the ratios 0.1, 0.2, 0.3: mean 0.2, standard error 0.1 / sqrt(3).
    found = paired([1.0, 2.0, 3.0], [math.exp(0.1), 2 * math.exp(0.2), 3 * math.exp(0.3)])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.ratio == pytest.approx(math.exp(0.2))
    assert found.low == pytest.approx(math.exp(0.2 - half), rel=1e-6)
    assert found.high == pytest.approx(math.exp(0.2 + half), rel=1e-6)
    assert found.p == pytest.approx(0.0741799, abs=1e-6)  # t = 3.4641, 2 degrees of freedom
    assert (found.runs, found.paired, found.p_exact) == (3, True, None)


def test_pairing_takes_out_what_the_pairs_share():
    drift = np.exp(np.linspace(0, 1, 6))
    a, b = list(drift), list(drift * 1.02 * np.exp([0.001, -0.001, 0.001, -0.001, 0.002, -0.002]))
    assert paired(a, b).p < 0.001
    assert paired(a, b).p_exact == 2 / 64
    assert unpaired(a, b).p > 0.5


def test_welch_by_hand():
    found = unpaired(np.exp([0.0, 0.2, 0.4]).tolist(), np.exp([0.5, 0.6, 0.7, 0.8]).tolist())
    assert found.mean_log == pytest.approx(0.45)
    assert found.error_log == pytest.approx(math.sqrt(0.04 / 3 + (0.05 / 3) / 4))
    assert found.freedom == pytest.approx(
        (0.04 / 3 + 0.05 / 12) ** 2 / ((0.04 / 3) ** 2 / 2 + (0.05 / 12) ** 2 / 3)
    )
    assert (found.runs, found.paired, found.p_exact) == (3, False, None)


def test_one_run_a_side_has_no_interval_and_no_p():
    for found in (paired([1.0], [1.5]), unpaired([1.0], [1.5]), unpaired([1.0, 1.1], [1.5])):
        assert found.ratio > 1
        assert (found.low, found.high, found.p) == (None, None, None)
        assert found.p_equivalent(0.02) is None


def test_runs_without_any_scatter_are_certain():
    same, other = paired([2.0] * 4, [2.0] * 4), paired([2.0] * 4, [3.0] * 4)
    assert (same.p, same.p_equivalent(0.02)) == (1.0, 0.0)
    assert (other.p, other.p_equivalent(0.02)) == (0.0, 1.0)
    assert (unpaired([2.0] * 4, [3.0] * 3).p, unpaired([2.0] * 4, [2.0] * 3).p) == (0.0, 1.0)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=3, max_size=12))
def test_turned_round_the_ratio_is_the_inverse_and_the_p_the_same(pairs):
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    for test in (paired, unpaired):
        there, back = test(a, b), test(b, a)
        assert there.ratio == pytest.approx(1 / back.ratio)
        assert there.p == pytest.approx(back.p, abs=1e-9)
        assert there.low <= there.ratio * (1 + 1e-12)
        assert there.ratio <= there.high * (1 + 1e-12)
        assert there.p_exact == back.p_exact


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=3, max_size=12), st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(pairs, factor):
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    scaled = paired([x * factor for x in a], [x * factor for x in b])
    assert scaled.ratio == pytest.approx(paired(a, b).ratio)


def test_intervals_hold_what_they_promise():
    rng = np.random.default_rng(7)
    covered = {"paired": 0, "unpaired": 0}
    for _ in range(400):
        a, b = np.exp(rng.normal(0, 0.05, 5)), np.exp(rng.normal(0.1, 0.05, 5))
        for name, test in (("paired", paired), ("unpaired", unpaired)):
            found = test(a.tolist(), b.tolist())
            covered[name] += found.low <= math.exp(0.1) <= found.high
    # 380 +- 4.4 expected.
    assert all(365 <= count <= 394 for count in covered.values()), covered


def test_beyond_a_resolution_the_p_is_that_of_the_smaller_difference():
    a, b = [1.0] * 4, [math.exp(d) for d in (0.29, 0.31, 0.30, 0.30)]
    shifted = [value / 1.2 for value in b]
    assert paired(a, b).p_beyond(0.2) == pytest.approx(paired(a, shifted).p)
    assert paired(a, b).p_beyond(0.0) == paired(a, b).p
    assert paired(a, b).p_beyond(0.5) == 1.0
    assert paired([1.0], [2.0]).p_beyond(0.2) is None
    assert paired([1.0] * 4, [2.0] * 4).p_beyond(0.2) == 0.0


def test_what_a_resolution_leaves_open_counts_against_equivalence():
    a, b = [1.0] * 4, [1.001, 0.999, 1.002, 1.0]
    assert paired(a, b).p_equivalent(0.02) < 0.001
    assert paired(a, b).p_equivalent(0.02, resolution=0.01) > paired(a, b).p_equivalent(0.02)
    assert paired(a, b).p_equivalent(0.02, resolution=0.05) > 0.95


def test_fewer_p_is_fishers_exact_test():
    scipy_stats = pytest.importorskip("scipy.stats")
    for base, base_runs, new, new_runs in ((5, 5, 1, 5), (5, 5, 5, 5), (3, 3, 0, 3), (4, 6, 2, 7)):
        rows = [[new, new_runs - new], [base, base_runs - base]]
        expected = scipy_stats.fisher_exact(rows, alternative="less").pvalue
        assert fewer_p(base, base_runs, new, new_runs) == pytest.approx(expected)
