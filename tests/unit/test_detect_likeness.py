"""When two curves are alike: moved by one hand, and not by one working day."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seismolog.detect.common import alike

BINS = 54
FLAT = np.ones(BINS)
MORNING = np.concatenate([np.full(18, 0.05), np.linspace(0.05, 1.5, 12), np.full(24, 1.5)])


def counts(dice: np.random.Generator, *factors: np.ndarray, mean: float = 200.0) -> np.ndarray:
    return dice.poisson(mean * np.prod(factors, axis=0)).astype(float)


def log_normal(dice: np.random.Generator, sd: float) -> np.ndarray:
    return np.exp(dice.normal(-sd * sd / 2, sd, BINS))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [FLAT, MORNING])
def test_one_hand_moves_a_pc_and_a_stranger(seed: int, shape: np.ndarray) -> None:
    dice = np.random.default_rng(seed)
    shared = log_normal(dice, 0.7)
    a, b = (counts(dice, shared, log_normal(dice, 0.2)) for _ in range(2))
    # The PC hardly asks for itself, but its group has a morning.
    r, log_p, changes = alike(a, b, shape, FLAT)
    assert r > 0.8
    assert log_p < math.log(1e-6)
    assert changes < math.log(1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_two_users_share_their_morning_and_no_more(seed: int) -> None:
    dice = np.random.default_rng(seed)
    a, b = (counts(dice, MORNING, log_normal(dice, 0.5), mean=400.0) for _ in range(2))
    r, log_p, _ = alike(a, b, MORNING, MORNING)
    assert r < 0.6
    assert log_p > math.log(1e-3)


def test_how_far_beyond_doubt_is_what_the_caller_says() -> None:
    dice = np.random.default_rng(2)
    shared = log_normal(dice, 0.35)
    a, b = (counts(dice, shared, log_normal(dice, 0.2)) for _ in range(2))
    doubted, doubtless = alike(a, b, MORNING, FLAT), alike(a, b, MORNING, FLAT, -14.0)
    assert -20 < doubtless[2] < -14
    assert doubtless[0] > 0.6 > doubted[0]
