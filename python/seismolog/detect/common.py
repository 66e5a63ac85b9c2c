"""What several detectors share: runs of bins in which a client is far above all that was to be expected of it.

:func:`elevated` is the cheap first look. It wants an effect (a minimum, and a multiple of the expected), significance
(negative binomial, corrected for clients and bins) and novelty (against the busiest half hour of the client's own past),
and gives the stretches in which all hold. What the curve does in such a stretch (is it flat, does it ripple, does
another client do the same) is then looked at for those few only.

*Without a past* (an address that was never seen, or the first day) a client is held against the others: its level has
to lie beyond what the tail of its group's levels lets expect of the largest (:func:`population_peak`). On a campus
where such rises happen every day, as the baseline remembers, they are no news (``jumps_a_day``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seismolog.detect import residuals
from seismolog.detect._runs import runs_of
from seismolog.detect.view import Curves, Expected, running_sum

if TYPE_CHECKING:
    from seismolog.detect.base import Settings
    from seismolog.detect.view import View

__all__ = [
    "Run",
    "alike",
    "begun",
    "beyond_pool",
    "busy",
    "effective",
    "elevated",
    "lag_one",
    "likeness",
    "log_normal_tail",
    "number",
    "open_end",
    "population_peak",
    "ranks",
    "rises_a_day",
    "runs_of",
    "spearman",
    "usable",
]

POOL = 1.5
"""Multiple of what one in a hundred of a network does, where addresses change hands."""
WINDOW = 3
"""Bins over which a level is taken."""
FRESH = -20.0
"""Natural logarithm of the chance from which the likeness of what is new in each bin speaks for itself."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of bins of one curve.

    ``level`` is the mean count a bin in it, ``expected`` what was expected, ``usual`` the busiest half hour of the past as
    counts a bin, ``log_p`` the natural logarithm of the chance of its strongest half hour, ``known`` days of past.
    """

    row: int
    first: int
    stop: int
    level: float
    expected: float
    usual: float
    log_p: float
    known: float

    @property
    def bins(self) -> int:
        """Its length."""
        return self.stop - self.first


def usable(view: View, curves: Curves, settings: Settings, *, servers: bool = False) -> Curves:
    """The curves of clients that may be judged: neither excluded nor (unless `servers`) known servers."""
    from seismolog.detect.site import Networks

    left = (
        ~Networks(settings.exclude).contain(curves.names)
        if settings.exclude
        else np.ones(len(curves), np.bool_)
    )
    if not servers:
        left &= ~view.site.is_known_server(curves.names)
    return curves if left.all() else curves.where(left)


def busy(view: View, curves: Curves, minimum: float, settings: Settings, *, servers: bool = False) -> Curves:
    """The :func:`usable` curves that reach `minimum` counts per ten minutes over half an hour.

    Few do, so that is asked first. These are the rows that the runs of :func:`elevated` with this minimum name.
    """
    return usable(view, curves.where_peak(minimum, WINDOW), settings, servers=servers)


def beyond_pool(view: View, curves: Curves, run: Run) -> bool:
    """Whether a run is beyond what addresses of its network do where these change hands: its client has no past then."""
    if view.baseline is None:
        return True
    return run.level >= POOL * view.baseline.pool_peak(curves.kind, curves.names[run.row]) * curves.scale


def population_peak(view: View, curves: Curves) -> npt.NDArray[np.float64]:
    """For each row the busiest half hour (as counts a bin) that the tail of all clients lets expect of the busiest.

    Clients inside and outside are populations of their own. The logarithms of the ranked values below the
    first half to one in a hundred of all clients are continued in a straight line (Zipf's law) to the first rank. Known
    servers do not count. A population of less than 50 is told by both.
    """
    whole = view.curves(curves.key[0], bin=curves.key[1]) if curves.key else curves

    def make() -> tuple[float, float]:
        if not len(whole) or whole.bins < WINDOW:
            return 0.0, 0.0
        peaks = running_sum(whole.values, WINDOW).max(axis=1) / WINDOW
        usual = ~view.site.is_known_server(whole.names)
        inside = view.site.is_inside(whole.names)
        every = _largest(peaks[usual])
        within, without = peaks[usual & inside], peaks[usual & ~inside]
        return (
            _largest(within) if len(within) >= 50 else every,
            _largest(without) if len(without) >= 50 else every,
        )

    within, without = view.kept(("population peak", whole.kind, whole.bin, len(whole)), make)
    beyond: npt.NDArray[np.float64] = np.where(view.site.is_inside(curves.names), within, without)
    return beyond


def _largest(peaks: npt.NDArray[np.floating]) -> float:
    """The largest of some values as their tail lets expect it."""
    ordered = np.sort(peaks)[::-1].astype(np.float64)
    n = len(ordered)
    found = []
    # Not the very first: a few clients that are under an incident must not say what is usual. A tail with a bend in it
    # is told by two stretches; the smaller answer holds.
    for low, high in ((max(10, n // 200), max(40, n // 20)), (max(20, n // 100), max(60, n // 6))):
        chosen = ordered[low:high]
        chosen = chosen[chosen > 0]
        if len(chosen) < 8:
            found.append(float(ordered[low]) if low < n else 0.0)
            continue
        x, y = np.log(np.arange(low + 1, low + 1 + len(chosen))), np.log(chosen)
        slope = min(max(float(np.polyfit(x, y, 1)[0]), -1.0), 0.0)
        found.append(float(math.exp(y.mean() - slope * x.mean())))
    return min(found)


def elevated(
    view: View,
    curves: Curves,
    *,
    minimum: float,
    factor: float,
    novelty: float = 2.0,
    alpha: float = 1e-3,
    jumps_a_day: float | None = None,
    newcomers: float = 1.5,
    gap: int = 3,
) -> list[Run]:
    """Stretches in which clients are far above the expected; see the module.

    Parameters
    ----------
    minimum
        Counts in ten minutes, over half an hour.
    factor
        Multiple of the expected.
    novelty
        Multiple of the busiest half hour of the client's past.
    alpha
        Chance of a false stretch a day that significance allows.
    jumps_a_day
        With a baseline: not told where rises of this height happen more often than this.
    newcomers
        Multiple of the largest level that the population lets expect, for clients without a past.
    gap
        Bins below the limit that do not end a stretch.
    """
    curves = (
        curves.where_peak(minimum, WINDOW)
        if curves.bins >= WINDOW
        else curves.where(np.zeros(len(curves), bool))
    )
    if not len(curves):
        return []
    expected = view.expected(curves)
    past = view.before(curves, np.zeros(len(curves), np.int64))
    beyond = population_peak(view, curves) * newcomers
    smooth = np.zeros(curves.values.shape, np.float64)
    total = running_sum(curves.values, WINDOW).astype(np.float64)
    half = WINDOW // 2
    smooth[:, half : half + total.shape[1]] = total / WINDOW
    smooth[:, :half] = smooth[:, half : half + 1]
    smooth[:, half + total.shape[1] :] = smooth[:, half + total.shape[1] - 1 : half + total.shape[1]]
    # By night nothing may be expected of a client that is busy by day: its usual level counts as well.
    reference = np.maximum(expected.mean, np.where(expected.known > 0, past.mean, 0.0)[:, None])
    # Without a past, what a client did earlier in the view says what is new (see _quiet).
    own = (expected.known > 0)[:, None]
    told = view.told(curves)
    floor = np.maximum(minimum * curves.scale, np.where(own, factor * reference, 0.0))
    limit = np.where(expected.known > 0, novelty * past.peak, beyond)
    strong = (smooth >= floor) & (smooth >= limit[:, None])
    # A stretch that is strong somewhere reaches as far as half of that holds, so that it does not fall to pieces.
    weak = smooth >= 0.5 * floor
    tests = (
        max(len(view.curves(curves.key[0], bin=curves.key[1])) if curves.key else len(curves), 1)
        * curves.bins
    )
    found: list[Run] = []
    for row in np.flatnonzero(strong.any(axis=1)).tolist():
        for run in _runs(curves, expected, past.peak, row, (strong[row], weak[row]), told[row], gap):
            judged = run if run.known else _quiet(curves, expected, run, smooth[row], factor)
            if judged is not None:
                found.append(judged)
    kept = []
    for run in found:
        if not residuals.significant(run.log_p, tests / view.days, alpha):
            continue
        if jumps_a_day is not None and run.known and view.baseline is not None:
            if not beyond_pool(view, curves, run):
                continue
            rate = rises_a_day(view, curves, run)
            # Until a day was compared with one before it, nobody knows how often clients rise here.
            if (rate is None and run.level < beyond[run.row]) or (rate is not None and rate > jumps_a_day):
                continue
        kept.append(run)
    return kept


def rises_a_day(view: View, curves: Curves, run: Run) -> float | None:
    """How often a rise like this one happens here on an ordinary day; None where nobody knows."""
    if view.baseline is None:
        return None
    return view.baseline.jump_rate(
        curves.kind,
        run.level / curves.scale,
        run.bins * curves.bin.total_seconds() / 60,
        run.level / max(run.usual, 1.0),
        hour=curves.start(run.first).astimezone(view.zone).hour,
        client=curves.names[run.row],
    )


def _runs(
    curves: Curves,
    expected: Expected,
    usual: npt.NDArray[np.float64],
    row: int,
    flags: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    told: npt.NDArray[np.bool_],
    gap: int,
) -> Iterator[Run]:
    values = curves.values[row].astype(np.float64)
    mean = expected.mean[row]
    strong, weak = flags
    for low, high in runs_of(weak, gap=gap):
        if not strong[low:high].any():
            continue
        level = float(values[low:high].mean())
        first, stop = _edges(values, mean, low, high, level, curves.covered)
        first = min(begun(told, first), stop - 1)
        part = slice(first, stop)
        log_p = _chance(
            values[part], float(mean[part].mean()), float(usual[row]), expected.shape[row], expected.rho
        )
        yield Run(
            row,
            first,
            stop,
            float(values[part].mean()),
            float(mean[part].mean()),
            float(usual[row]),
            log_p,
            float(expected.known[row]),
        )


def _quiet(
    curves: Curves, expected: Expected, run: Run, smooth: npt.NDArray[np.float64], factor: float
) -> Run | None:
    """The run against what the client did before it in the view, in the shape of its group; None where that is no rise.

    An hour at least has to be seen before.
    """
    least = max(1, round(6 / curves.scale))
    before = slice(0, max(0, run.first - 1))
    good = curves.covered[before]
    if good.sum() < least:
        return None
    mean = expected.mean[run.row]
    shape = mean / max(float(mean.mean()), 1e-9)
    own = curves.values[run.row, before][good]
    # Half a count that was not seen keeps a client that was never there from being expected never to be.
    level = (float(own.sum()) + 0.5) / max(float(shape[before][good].sum()), 0.5)
    should = level * shape
    if run.level < factor * max(float(should[run.first : run.stop].mean()), float(own.mean())):
        return None
    mean = float(should[run.first : run.stop].mean())
    usual = float(smooth[: max(1, run.first - 2)].max())
    values = curves.values[run.row, run.first : run.stop].astype(np.float64)
    log_p = _chance(values, mean, usual, expected.shape[run.row], expected.rho)
    return replace(run, expected=mean, usual=usual, log_p=log_p)


def _chance(values: npt.NDArray[np.float64], mean: float, usual: float, shape: float, rho: float) -> float:
    """Logarithm of the chance of a stretch of counts, were the client as busy as it has ever been.

    Its mean is then half of its busiest half hour (or the expected, if that is more): the busiest of many half hours is two
    to three times what they are on average. The counts of the stretch are one negative binomial whose shape is that
    of as many bins as the autocorrelation leaves.
    """
    bins = len(values)
    independent = max(1.0, bins * (1 - rho) / (1 + rho))
    should = max(mean, usual / 2) * bins
    return float(residuals.log_upper(float(values.sum()), should, shape * independent)[()])


def _edges(
    values: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    low: int,
    high: int,
    level: float,
    covered: npt.NDArray[np.bool_],
) -> tuple[int, int]:
    """First bin and end of a run: where the count leaves the expected by a quarter of the way to the level."""
    limit = mean + 0.25 * np.maximum(level - mean, 0)
    above = values >= np.maximum(limit, 1.0)
    first, stop = low, high
    while first < stop - 1 and not above[first]:
        first += 1
    while first > 0 and above[first - 1]:
        first -= 1
    while stop > first + 1 and not above[stop - 1]:
        stop -= 1
    while stop < len(values) and (above[stop] or not covered[stop]):
        stop += 1
    while stop > first + 1 and not covered[stop - 1]:
        stop -= 1
    return first, stop


def begun(told: npt.NDArray[np.bool_], first: int) -> int:
    """`first`, or the middle of the gap of the log into which it falls.

    In a gap the curve is a line between both sides, and where on it something began nobody knows: from the middle the
    error is half of the gap at most.
    """
    if told[first]:
        return first
    low, high = first, first + 1
    while low > 0 and not told[low - 1]:
        low -= 1
    while high < len(told) and not told[high]:
        high += 1
    return (low + high) // 2


def open_end(curves: Curves, stop: int, slack: int = 1) -> datetime | None:
    """End of a run as a moment; None where it reaches the last covered bin (or `slack` bins before)."""
    last = np.flatnonzero(curves.covered)
    end = int(last[-1]) + 1 if len(last) else curves.bins
    return None if stop >= end - slack else curves.end(stop - 1)


def ranks(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Ranks of each row (mean of ties), standardized to mean 0 and length 1: a product of two rows is Spearman's r."""
    from scipy import stats

    ranked = stats.rankdata(values, axis=-1)
    ranked -= ranked.mean(axis=-1, keepdims=True)
    length = np.sqrt((ranked * ranked).sum(axis=-1, keepdims=True))
    result: npt.NDArray[np.float64] = ranked / np.maximum(length, 1e-12)
    return result


def spearman(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two series."""
    return float(ranks(a) @ ranks(b))


def number(value: float) -> str:
    """A number as a tired reader takes it in: ``1,320``, ``42``, ``3.1``, ``0.02``."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 100 or (size >= 10 and abs(value - round(value)) < 0.05):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.0f}"
    if size >= 1:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2g}" if size else "0"


def lag_one(values: npt.NDArray[np.floating]) -> float:
    """Autocorrelation of a series at lag one, in [0, 0.99]."""
    centred = values - values.mean()
    bottom = float(centred @ centred)
    return min(max(float(centred[1:] @ centred[:-1]) / bottom, 0.0), 0.99) if bottom > 0 else 0.0


def effective(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Number of independent bins that a correlation of two autocorrelated series rests on: n (1 − ρ₁ρ₂)/(1 + ρ₁ρ₂)."""
    product = lag_one(a) * lag_one(b)
    return len(a) * (1 - product) / (1 + product)


def likeness(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> tuple[float, float, float]:
    """Rank correlation of two series, the natural logarithm of its chance, and that of what is new in each bin alone.

    The chance is that of two together (Fisher, 1932): of the correlation of the levels with the number of bins corrected
    for autocorrelation, and of the correlation of what is new in each bin (both series whitened by their own AR(1)) with
    all of them. Slow waves alone are two or three observations; fast ones are many.
    """
    r = min(spearman(a, b), 0.9999)
    levels = log_normal_tail(math.atanh(r) * math.sqrt(max(effective(a, b) - 3, 0.0)))
    fresh = [x[1:] - lag_one(x) * x[:-1] for x in (a, b)]
    new = min(spearman(fresh[0], fresh[1]), 0.9999)
    changes = log_normal_tail(math.atanh(new) * math.sqrt(max(len(fresh[0]) - 3, 0)))
    both = levels + changes
    # P(χ² with four degrees of freedom > −2 ln p₁p₂) = p₁p₂ (1 − ln p₁p₂)
    return r, min(0.0, both + math.log1p(-both)), changes


def alike(
    a: npt.NDArray[np.floating],
    b: npt.NDArray[np.floating],
    shape_a: npt.NDArray[np.floating],
    shape_b: npt.NDArray[np.floating],
    doubtless: float = FRESH,
) -> tuple[float, float, float]:
    """:func:`likeness` of two curves of counts, as they are and with the shape of their groups taken from them: the lesser.

    Users resemble each other as they are, by the shape of the day; two even curves do once a shape is taken from both. Who
    is moved by one hand resembles the other either way. Where what is new in each bin is the same beyond all doubt (the
    logarithm of its chance is `doubtless` at most), no shape is taken: a shape changes slowly, and over a morning it would
    bend the curve of a host that hardly asks for itself.
    """
    plain = likeness(np.log(a + 1.0), np.log(b + 1.0))
    if plain[2] <= doubtless:
        return plain
    over = likeness(
        np.log(a + 1.0) - np.log(np.maximum(shape_a, 0.02)),
        np.log(b + 1.0) - np.log(np.maximum(shape_b, 0.02)),
    )
    return min(plain[0], over[0]), max(plain[1], over[1]), max(plain[2], over[2])


def log_normal_tail(z: float) -> float:
    """Natural logarithm of the upper tail of the normal distribution."""
    from scipy import special

    return float(special.log_ndtr(-z))
