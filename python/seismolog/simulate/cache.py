"""A resolver cache with time to live: which look-ups of a client reach the DNS server.

What it is for
    In the March 2002 week of the study the queries seen at the DNS server were far fewer than the look-ups
    that mail and POP cause. Here that falls out of repeated names, not out of a factor.

How it works
    A look-up whose (name, type) was fetched less than its time to live ago is answered from the cache;
    any other is a query and starts a new life. Hits do not lengthen a life. The lives of all names are
    followed side by side: for every look-up the first one past its life is found with one binary search,
    and the chains of fetches are walked together, one fetch of every name a step.

Limits
    No eviction, no negative answers, one time to live for all records of a name. Names have their
    time to live from a fixed table by their number, after what name servers commonly set.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["misses", "times_to_live"]

_COMMON_SECONDS = np.array([300, 1800, 3600, 3600, 14400, 86400], float)


def times_to_live(names: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Seconds that the answers for ``names`` may be kept; the same name always has the same."""
    # A multiplicative hash (Knuth) so that popular names, which have small numbers, get every value.
    hashed = (names * 2654435761) & 0xFFFFFFFF
    lives: npt.NDArray[np.float64] = _COMMON_SECONDS[hashed * len(_COMMON_SECONDS) >> 32]
    return lives


def misses(
    times: npt.NDArray[np.float64], keys: npt.NDArray[np.int64], lives: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which look-ups miss the cache and become queries.

    Parameters
    ----------
    times
        Seconds of each look-up, not negative, in any order.
    keys
        What is looked up: equal numbers share a cache entry.
    lives
        Time to live in seconds, equal for equal keys.

    Returns
    -------
    numpy.ndarray
        Boolean, in the order given.
    """
    count = len(times)
    missed = np.zeros(count, dtype=bool)
    if count == 0:
        return missed
    order = np.lexsort((times, keys))
    when, key, life = times[order], keys[order], lives[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    group = np.cumsum(np.r_[True, key[1:] != key[:-1]]) - 1
    # One sorted axis for all groups: a group's times lie in a span of their own.
    span = float(when.max()) + float(life.max()) + 1.0
    axis = group * span + when
    following = np.searchsorted(axis, group * span + when + life, side="left")
    ends = np.r_[starts[1:], count]
    at, end = starts, ends
    while at.size:
        missed[order[at]] = True
        at = following[at]
        inside = at < end
        at, end = at[inside], end[inside]
    return missed
