"""The resolver cache of the simulation against a cache written the plain way."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seismolog.simulate.cache import misses, times_to_live


def plain(times: list[float], keys: list[int], lives: list[float]) -> list[bool]:
    """One look-up after the other, with a dictionary."""
    fetched: dict[int, float] = {}
    missed = [False] * len(times)
    for i in sorted(range(len(times)), key=lambda i: (times[i], i)):
        last = fetched.get(keys[i])
        if last is None or times[i] >= last + lives[i]:
            missed[i] = True
            fetched[keys[i]] = times[i]
    return missed


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 6)), max_size=200))
def test_equals_a_dictionary_walked_in_time_order(lookups: list[tuple[int, int]]) -> None:
    times = [float(t) for t, _ in lookups]
    keys = [k for _, k in lookups]
    lives = [float(100 * (k + 1)) for k in keys]
    found = misses(np.array(times, float), np.array(keys, np.int64), np.array(lives, float))
    assert found.tolist() == plain(times, keys, lives)


def test_a_hit_does_not_lengthen_a_life() -> None:
    times = np.array([0.0, 60.0, 110.0])
    assert misses(times, np.zeros(3, np.int64), np.full(3, 100.0)).tolist() == [True, False, True]


def test_lives_belong_to_names() -> None:
    names = np.arange(1000)
    lives = times_to_live(names)
    assert (lives == times_to_live(names)).all()
    assert set(lives) == {300.0, 1800.0, 3600.0, 14400.0, 86400.0}
