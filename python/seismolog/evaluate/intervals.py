"""Exact intervals: of a share (Clopper and Pearson, 1934) and of a rate (Garwood, 1936)."""

from __future__ import annotations

__all__ = ["rate", "share"]


def share(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a probability after `hits` in `trials`; the whole of [0, 1] where there were none.

    >>> [round(x, 3) for x in share(58, 60)]
    [0.885, 0.996]
    """
    if trials == 0:
        return 0.0, 1.0
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(beta.ppf(1 - tail, hits + 1, trials - hits))
    return low, high


def rate(events: int, exposure: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a Poisson rate after so many events in an exposure (days); (0, inf) without any.

    >>> [round(x, 3) for x in rate(0, 60)]
    [0.0, 0.061]
    """
    if exposure <= 0:
        return 0.0, float("inf")
    from scipy.stats import chi2

    tail = (1 - level) / 2
    low = 0.0 if events == 0 else float(chi2.ppf(tail, 2 * events)) / 2 / exposure
    return low, float(chi2.ppf(1 - tail, 2 * events + 2)) / 2 / exposure
