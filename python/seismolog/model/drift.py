"""Do the coefficients stand still? The same fit in consecutive windows, and a test that they are one.

Windows are a week long where there are two weeks or more, else a day where there are three days or more; with less there
is nothing to compare. For each kind the windows' estimates are compared with their weighted mean by Cochran's Q, which is
χ² with (windows − 1) degrees of freedom when nothing drifts; each window's variance is enlarged by df / (df − 2), since
its error is itself estimated from few blocks.

Limits: a slow drift within a window is averaged. A day has few blocks, so that only a large drift shows from day to day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from seismolog.model.estimate import BASELINE, TERMS, Fit, fit

_SCHEMA: Final[dict[str, Any]] = {
    "window_start": pl.Datetime("us", "UTC"),
    "window_end": pl.Datetime("us", "UTC"),
    "term": pl.String,
    "estimate": pl.Float64,
    "std_error": pl.Float64,
}


@dataclass(frozen=True)
class Drift:
    """Coefficients by window.

    Attributes
    ----------
    frame
        window_start, window_end (half open), term, estimate, std_error.
    p_values
        By term: chance of so much spread when the coefficient stands still.
    notes
        Sentences for the reader.
    """

    frame: pl.DataFrame
    p_values: dict[str, float]
    notes: tuple[str, ...]


def drift(
    frame: pl.DataFrame,
    *,
    terms: Sequence[str] = TERMS,
    baseline: bool = True,
    window: timedelta | None = None,
) -> Drift:
    """Fit each window on its own and compare.

    Parameters
    ----------
    frame
        A `ModelSeries.frame`.
    terms, baseline
        As for `fit`.
    window
        Length; default: see the module.
    """
    empty = pl.DataFrame(schema=_SCHEMA)
    if frame.is_empty():
        return Drift(empty, {}, ("No bins: no drift can be shown.",))
    frame = frame.sort("bin_start")
    first, last = frame["bin_start"][0], frame["bin_start"][-1]
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    span = last - first
    if window is None:
        window = timedelta(days=7) if span >= timedelta(days=13, hours=12) else timedelta(days=1)
    if span < 1.9 * window:
        return Drift(empty, {}, ("Less than two windows of data: no drift can be shown.",))

    rows: list[tuple[datetime, datetime, str, float, float]] = []
    found: dict[str, list[tuple[float, float]]] = {}
    start = first
    while start <= last:
        part = frame.filter(pl.col("bin_start") >= start, pl.col("bin_start") < start + window)
        fitted = fit(part, terms=terms, baseline=baseline)
        if fitted.method == "fit" and fitted.degrees > 2:
            for term, coefficient in fitted.coefficients.items():
                assert coefficient.std_error is not None
                rows.append((start, start + window, term, coefficient.estimate, coefficient.std_error))
                if term != BASELINE and coefficient.std_error > 0:
                    inflated = coefficient.std_error**2 * fitted.degrees / (fitted.degrees - 2)
                    found.setdefault(term, []).append((coefficient.estimate, inflated))
        start += window
    p_values = {term: _homogeneity(pairs) for term, pairs in found.items() if len(pairs) > 1}
    moved = {term: p for term, p in p_values.items() if p < 0.01 / max(len(p_values), 1)}
    notes = [_sentence(term, found[term], p, window) for term, p in moved.items()]
    if p_values and not moved:
        notes.append(f"The coefficients stand still over {_windows(window, max(map(len, found.values())))}.")
    return Drift(pl.DataFrame(rows, schema=_SCHEMA, orient="row"), p_values, tuple(notes))


def _homogeneity(pairs: Sequence[tuple[float, float]]) -> float:
    from scipy.special import chdtrc

    estimates, variances = np.array(pairs).T
    weight = 1 / variances
    mean = float((weight * estimates).sum() / weight.sum())
    return float(chdtrc(len(pairs) - 1, float((weight * (estimates - mean) ** 2).sum())))


def _windows(window: timedelta, number: int) -> str:
    unit = "week" if window == timedelta(days=7) else "day" if window == timedelta(days=1) else "window"
    return f"{number} {unit}s"


def _sentence(term: str, pairs: Sequence[tuple[float, float]], p: float, window: timedelta) -> str:
    values = [estimate for estimate, _ in pairs]
    return (
        f"The queries caused by one {term} drift: {values[0]:.2f} in the first and {values[-1]:.2f} in the last of "
        f"{_windows(window, len(values))}, between {min(values):.2f} and {max(values):.2f} (p = {p:.1g})."
    )


def rolling(
    frame: pl.DataFrame,
    *,
    window: timedelta = timedelta(days=7),
    step: timedelta = timedelta(days=1),
    terms: Sequence[str] = TERMS,
    baseline: bool = True,
) -> list[tuple[datetime, Fit]]:
    """Fits in overlapping windows, for a curve of the coefficients: (end of the window, fit)."""
    if frame.is_empty():
        return []
    frame = frame.sort("bin_start")
    first, last = frame["bin_start"][0], frame["bin_start"][-1]
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    fits = []
    end = first + window
    # The last bin ends a bin's width after its start; a window that the data do not fill is not fitted.
    width = frame["bin_start"].diff().min()
    stop = last + width if isinstance(width, timedelta) else last
    while end <= stop:
        part = frame.filter(pl.col("bin_start") >= end - window, pl.col("bin_start") < end)
        fits.append((end, fit(part, terms=terms, baseline=baseline)))
        end += step
    return fits
