"""What detectors share that read hourly rows or curves of one query type: novelty, significance, and the ends of runs.

An hourly row has no expectation of its own in :mod:`seismolog.detect.view`. Here a count is held against the
largest of what the same key did before (in the view, and in the :data:`PAST` before it), and its chance is a
negative binomial tail with the mean that the population lets expect, or its own past where that is more.

Limits: the past of a key is read only for those that have passed all other tests, and for :data:`PAST` at
most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seismolog.detect import residuals
from seismolog.store.schema import table_of

if TYPE_CHECKING:
    from seismolog.detect.base import Settings
    from seismolog.detect.view import Curves, View

__all__ = [
    "HOUR",
    "PAST",
    "Earlier",
    "chance",
    "curve_before",
    "end_or_open",
    "hours_in_runs",
    "left_out",
    "middle",
    "most",
    "past_of",
    "per_hours",
]

HOUR = timedelta(hours=1)
PAST = timedelta(days=8)
"""How far novelty looks back: a week and a day, so that the same weekday is among it."""
SHAPE = 2.0
"""Shape k of the negative binomial for counts by hour, whose spread is not estimated row by row (ours)."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What one key did before: mean and highest count a bin, and how many bins are known."""

    mean: float
    peak: float
    bins: float

    @property
    def days(self) -> float:
        """The bins of ten minutes that are known, in days."""
        return self.bins / 144


def chance(count: float, mean: float, shape: float = SHAPE) -> float:
    """Natural logarithm of P(X ≥ count), negative binomial with this mean and shape."""
    return float(residuals.log_upper(count, max(mean, 1e-3), shape)[()])


def most(column: pl.Series) -> float:
    """The largest of a column, 0 where there is none."""
    value: Any = column.max()
    return float(value) if value is not None else 0.0


def middle(column: pl.Series, otherwise: float, *, median: bool = False) -> float:
    """The mean (or the median) of a column, `otherwise` where it is empty or 0."""
    value: Any = column.median() if median else column.mean()
    return float(value) if value else otherwise


def left_out(
    view: View, settings: Settings, names: Sequence[str], *, servers: bool = True
) -> npt.NDArray[np.bool_]:
    """For each client whether it is not to be judged: excluded, or (with `servers`) a known server."""
    from seismolog.detect.site import Networks

    out = Networks(settings.exclude).contain(names)
    if servers:
        out |= view.site.is_known_server(names)
    return out


def past_of(view: View, table: str, columns: Sequence[str], where: pl.Expr) -> pl.DataFrame:
    """Rows of the table in the :data:`PAST` before the view, for the keys that `where` chooses."""
    since = max(view.history, view.since - PAST)
    if since >= view.since or not view.has(table):
        schema = {n: table_of(table).column(n).dtype for n in columns}
        return pl.DataFrame(schema=schema)
    return view.lazy(table, columns, since=since, until=view.since, where=where).collect()


def curve_before(
    view: View, curves: Curves, firsts: Sequence[int], value: str, *, gap: int = 1
) -> list[Earlier]:
    """What the clients of curves of one column (a query type, or ``count``) did before the bins `firsts`.

    The view up to `gap` bins before, and the rows of the days before.
    """
    if not len(curves):
        return []
    micros = round(curves.bin / timedelta(microseconds=1))
    rows = past_of(
        view,
        "client_traffic",
        ["bin_start", "kind", "client", value],
        (pl.col("kind").cast(pl.String) == curves.kind) & pl.col("client").is_in(list(curves.names)),
    )
    known: dict[str, tuple[float, float]] = {}
    past_bins = 0.0
    if view.history < view.since:
        past_bins = min(view.since - view.history, PAST) / curves.bin
        by_bin = rows.group_by("client", pl.col("bin_start").dt.epoch("us") // micros).agg(
            pl.col(value).cast(pl.Int64).sum()
        )
        for name, total, peak in (
            by_bin.group_by("client")
            .agg(pl.col(value).sum().alias("t"), pl.col(value).max().alias("p"))
            .rows()
        ):
            known[name] = (float(total), float(peak))
    found = []
    for i, (name, first) in enumerate(zip(curves.names, firsts, strict=True)):
        stop = max(0, first - gap)
        part = curves.values[i, :stop][curves.covered[:stop]]
        total, peak = known.get(name, (0.0, 0.0))
        bins = len(part) + past_bins
        total += float(part.sum())
        peak = max(peak, float(part.max(initial=0)))
        found.append(Earlier(total / bins if bins else 0.0, peak, bins))
    return found


def end_or_open(view: View, end: datetime, slack: timedelta = timedelta(minutes=20)) -> datetime | None:
    """None where an incident that ends here reaches the end of the view."""
    return None if end >= view.until - slack else end


def hours_in_runs(hours: Sequence[datetime], gap: int = 1) -> list[tuple[int, int]]:
    """Half-open runs of sorted hours; up to `gap` missing hours do not end a run."""
    runs: list[tuple[int, int]] = []
    for i, hour in enumerate(hours):
        if runs and hour - hours[runs[-1][1] - 1] <= (gap + 1) * HOUR:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def per_hours(view: View) -> int:
    """Whole or begun hours in the view."""
    return max(1, math.ceil((view.until - view.since) / HOUR))
