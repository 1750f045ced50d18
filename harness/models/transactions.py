"""Synthetic card transactions: the population that the fraud model is trained and judged on.

No real person is in it. A hidden rule with interactions gives each row its fraud probability, and
the label is drawn from that, so even a perfect model stays short of a perfect score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPAN_S = 90 * 86400.0
"""The transactions of one draw cover 90 days."""

NAMES = (
    "amount_log_usd",
    "hour",
    "weekday",
    "merchant_category",
    "merchant_risk",
    "country_mismatch",
    "card_present",
    "distance_home_log_km",
    "distance_last_log_km",
    "since_last_log_s",
    "count_1h",
    "count_24h",
    "amount_24h_log_usd",
    "amount_over_usual",
    "card_age_days",
    "account_age_days",
    "device_change",
    "device_age_log_days",
    "failed_pins_24h",
    "new_merchant",
    "cross_border_share",
    "network_risk",
    "batch_number",
    "terminal_age_days",
    "noise_0",
    "noise_1",
    "noise_2",
    "noise_3",
    "noise_4",
    "noise_5",
)
"""The features, in the order of the columns. The last eight say nothing about fraud."""

CATEGORY_RISK = np.array([0.05, 0.1, 0.08, 0.12, 0.2, 0.25, 0.35, 0.3, 0.5, 0.6, 0.75, 0.9])
CATEGORY_SHARE = np.array([0.22, 0.18, 0.14, 0.1, 0.09, 0.07, 0.06, 0.05, 0.04, 0.03, 0.01, 0.01])
INTERCEPT = -7.5
"""Log-odds of a row that nothing speaks against; sets the overall fraud rate to about 1 %."""


def draw_transactions(
    count: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]]:
    """Return `count` transactions in the order of time: features, labels and times.

    features: float32 [count, 30], all finite, columns as in NAMES. labels: uint8 [count], 1 is
    fraud (about 1 % of rows, rising over the span). times: float64 [count] in seconds, 0 to SPAN_S.
    The population does not depend on `count`: two draws differ only by chance.
    """
    rng = np.random.default_rng(seed)
    time_s = np.sort(rng.uniform(0.0, SPAN_S, count))
    age = time_s / SPAN_S
    hour = np.mod(_draw_hour(rng, count), 24.0)
    category = rng.choice(len(CATEGORY_SHARE), size=count, p=CATEGORY_SHARE)
    merchant_risk = np.clip(CATEGORY_RISK[category] + rng.normal(0.0, 0.05, count), 0.0, 1.0)
    mismatch = rng.random(count) < 0.04 + 0.02 * age
    present = rng.random(count) < np.where(mismatch, 0.45, 0.7)
    usual_log = rng.normal(3.4, 0.5, count)
    over_usual = rng.normal(0.0, 0.9, count) + 0.6 * merchant_risk
    amount_log = np.clip(usual_log + over_usual, 0.0, 10.0)
    distance_home = np.log1p(rng.lognormal(np.where(mismatch, 6.5, 1.8), 1.2))
    distance_last = np.log1p(rng.lognormal(np.where(mismatch, 5.0, 1.2), 1.3))
    activity = rng.gamma(0.6, 1.0, count)
    count_1h = rng.poisson(0.5 * activity)
    count_24h = count_1h + rng.poisson(3.0 * activity)
    since_last = rng.normal(9.5, 1.5, count) - 1.2 * np.log1p(count_1h)
    amount_24h = np.log1p(np.exp(amount_log) + count_24h * np.exp(usual_log))
    account_age = rng.gamma(2.0, 700.0, count)
    card_age = account_age * rng.beta(2.0, 1.5, count)
    device_change = rng.random(count) < 0.06
    device_age = np.where(device_change, 0.0, np.log1p(rng.exponential(300.0, count)))
    failed_pins = rng.poisson(0.03 + 0.4 * (rng.random(count) < 0.03))
    new_merchant = rng.random(count) < 0.25
    cross_border = rng.beta(0.6, 6.0, count)
    network_risk = rng.beta(1.2, 6.0, count) ** (1.0 - 0.15 * age)

    night = (hour < 6.0) | (hour >= 23.0)
    odds = (
        INTERCEPT
        + 2.4 * np.maximum(over_usual - 0.8, 0.0) * (1.0 + new_merchant)
        + 3.5 * mismatch * ~present
        + 1.2 * (distance_last - 3.0) * (since_last < 8.0) * (distance_last > 3.0)
        + 0.9 * np.minimum(count_1h, 6) * (amount_log > 3.0)
        + 3.0 * (device_change & (amount_24h > 5.0))
        + 4.0 * network_risk * (1.0 - present)
        + 2.0 * merchant_risk**2
        + 1.5 * (night & ~present)
        + 1.8 * np.minimum(failed_pins, 3)
        - 0.8 * np.log1p(card_age / 200.0)
        - 3.0 * cross_border * mismatch
        + 1.0 * age * (category >= 8)
        + rng.normal(0.0, 0.8, count)
    )
    label = rng.random(count) < 1.0 / (1.0 + np.exp(-odds))
    columns = [
        amount_log,
        hour,
        np.floor(time_s / 86400.0) % 7,
        category,
        merchant_risk,
        mismatch,
        present,
        distance_home,
        distance_last,
        since_last,
        count_1h,
        count_24h,
        amount_24h,
        over_usual,
        card_age,
        account_age,
        device_change,
        device_age,
        failed_pins,
        new_merchant,
        cross_border,
        network_risk,
        rng.integers(0, 500, count),
        rng.exponential(900.0, count),
        *rng.normal(0.0, 1.0, (6, count)),
    ]
    features = np.stack(columns, axis=1).astype(np.float32)
    return features, label.astype(np.uint8), time_s


def _draw_hour(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return hours of the day: a day's peak, an evening's peak, and a thin even floor."""
    part = rng.random(count)
    day, evening = rng.normal(12.5, 3.0, count), rng.normal(19.0, 2.0, count)
    even = rng.uniform(0.0, 24.0, count)
    return np.where(part < 0.55, day, np.where(part < 0.9, evening, even))
