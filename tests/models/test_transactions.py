import numpy as np
import pytest

from harness.models.transactions import NAMES, SPAN_S, draw_transactions


@pytest.fixture(scope="module")
def drawn():
    return draw_transactions(60_000, 5)


def test_shapes_and_types(drawn):
    features, labels, time_s = drawn
    assert features.shape == (60_000, len(NAMES)) == (60_000, 30)
    assert (features.dtype, labels.dtype, time_s.dtype) == (np.float32, np.uint8, np.float64)
    assert np.isfinite(features).all()
    assert set(np.unique(labels)) == {0, 1}


def test_rows_are_in_the_order_of_time(drawn):
    _, _, time_s = drawn
    assert (np.diff(time_s) >= 0).all()
    assert time_s[0] >= 0
    assert time_s[-1] < SPAN_S


def test_fraud_is_rare_and_rises(drawn):
    labels = drawn[1]
    assert 0.007 < labels.mean() < 0.013
    early, late = labels[:20_000].mean(), labels[-20_000:].mean()
    assert early < late < 2 * early


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (draw_transactions(500, seed) for seed in (1, 1, 2))
    for left, right in zip(first, again, strict=True):
        assert left.tobytes() == right.tobytes()
    assert first[0].tobytes() != other[0].tobytes()


def test_features_stay_in_their_ranges(drawn):
    column = {name: drawn[0][:, index] for index, name in enumerate(NAMES)}
    assert column["hour"].min() >= 0
    assert column["hour"].max() < 24
    for name in ("country_mismatch", "card_present", "device_change", "new_merchant"):
        assert set(np.unique(column[name])) == {0, 1}
    assert (column["count_24h"] >= column["count_1h"]).all()
    assert (column["amount_24h_log_usd"] >= column["amount_log_usd"] * (1 - 1e-6)).all()
    assert (column["card_age_days"] <= column["account_age_days"]).all()
    assert (column["device_age_log_days"][column["device_change"] == 1] == 0).all()


def test_noise_columns_tell_nothing(drawn):
    features, labels, _ = drawn
    for name in NAMES[-8:]:
        value = features[:, NAMES.index(name)]
        gap = value[labels == 1].mean() - value[labels == 0].mean()
        assert abs(gap) < 4.5 * value.std() / np.sqrt(labels.sum()), name
    told = features[:, NAMES.index("amount_over_usual")]
    gap = told[labels == 1].mean() - told[labels == 0].mean()
    assert gap > 10 * told.std() / np.sqrt(labels.sum())


def test_a_short_draw_is_whole():
    features, labels, time_s = draw_transactions(1, 0)
    assert (features.shape, labels.shape, time_s.shape) == ((1, 30), (1,), (1,))
