"""`outbreak_growth`: a number that doubles is found while it does, a roll-out and a steady number are not."""

from __future__ import annotations

import numpy as np
import pytest

from seismolog.detect.outbreak_growth import Settings, find, growth
from tests.unit.detect_hands import at, world_of


def infect(world, hours: list[float], network=lambda i: 60 + i) -> None:
    for i, hour in enumerate(hours):
        world.queries(f"133.95.{network(i)}.{10 + i}", at(hour, 1), 24 - hour, mx=40, a=40)


DOUBLING = [9.0, 12.0, 13.5, 14.4, 15.0, 15.5, 15.9, 16.2, 16.5, 16.7, 16.9]


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


def test_doubling_is_found() -> None:
    world = world_of()
    infect(world, DOUBLING)
    view = world.view()
    (one,) = find(view, Settings(stale_hours=12))
    assert one.cause == "worm" and len(one.subjects) == len(DOUBLING)
    assert one.end is None
    assert 0.5 < one.evidence["doubling_hours"] < 5
    assert "doubles every" in one.explanation


def test_a_roll_out_is_in_one_network() -> None:
    world = world_of()
    infect(world, DOUBLING, network=lambda i: 60)
    assert find(world.view(), Settings(stale_hours=12)) == []


def test_all_at_once_is_no_growth() -> None:
    world = world_of()
    infect(world, [10.0] * 8)
    assert find(world.view(), Settings(stale_hours=24)) == []


def test_a_steady_number_does_not_grow() -> None:
    world = world_of()
    infect(world, [8.0 + i for i in range(9)])
    assert find(world.view(), Settings(stale_hours=24)) == []


def test_the_rate_is_that_of_the_process() -> None:
    rng = np.random.default_rng(3)
    rates, covered = [], 0
    for _ in range(200):
        uniform = rng.random(30)
        times = np.log1p(uniform * (np.exp(0.5 * 8) - 1)) / 0.5  # rate 0.5 an hour over 8 hours
        rate, error, p = growth(times, 8.0)
        rates.append(rate)
        covered += abs(rate - 0.5) < 1.96 * error
        assert p < 0.05
    assert np.mean(rates) == pytest.approx(0.5, rel=0.1)
    assert covered / 200 > 0.9
    steady = [growth(rng.random(10) * 8, 8.0)[2] for _ in range(1000)]
    assert 0.03 < np.mean(np.array(steady) < 0.05) < 0.07
