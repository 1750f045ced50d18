import numpy as np
import pytest

from harness.models.requests import Sampling
from harness.models.sampler import Sampler

SHARES = np.array([0.1, 0.4, 0.3, 0.2])
LOGITS = np.log(SHARES).astype(np.float32)


def draws(logits=LOGITS, count=4000, *, temperature=1.0, top_p=1.0, seed=3):
    sampler = Sampler(Sampling(temperature, top_p, seed))
    return [sampler.choose(logits) for _ in range(count)]


def frequencies(drawn):
    return np.bincount(drawn, minlength=len(SHARES)) / len(drawn)


def test_tokens_come_as_often_as_their_shares_say():
    assert frequencies(draws()) == pytest.approx(SHARES, abs=0.03)


def test_temperature_sharpens_and_flattens():
    for temperature in (0.5, 2.0):
        expected = SHARES ** (1 / temperature)
        found = frequencies(draws(temperature=temperature))
        assert found == pytest.approx(expected / expected.sum(), abs=0.03)


def test_only_the_likeliest_up_to_the_mass_are_drawn():
    assert frequencies(draws(top_p=0.6)) == pytest.approx([0, 4 / 7, 3 / 7, 0], abs=0.03)
    assert set(draws(top_p=0.3)) == {1}


def test_of_equal_tokens_the_lower_ids_are_kept():
    assert set(draws(np.zeros(8, dtype=np.float32), top_p=0.25)) == {0, 1}


def test_a_seed_gives_its_draws_again():
    assert draws(count=50) == draws(count=50)
    assert draws(count=50) != draws(count=50, seed=4)


def test_large_logits_do_not_overflow():
    assert set(draws(np.array([1e4, 0, 0, 0], dtype=np.float32), count=5, temperature=0.1)) == {0}
