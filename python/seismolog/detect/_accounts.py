"""What accounts did, for the detectors of stolen ones: sends by hour, and the networks that they were used from in a day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from seismolog.detect import _hours
from seismolog.detect._states import items

if TYPE_CHECKING:
    from seismolog.detect.view import View

__all__ = ["COLUMNS", "DAY", "hourly", "united"]

DAY = timedelta(days=1)
COLUMNS = (
    "bin_start",
    "account",
    "logins",
    "failures",
    "authenticated_sends",
    "distinct_clients",
    "client_state",
)


def hourly(view: View, *, past: bool = False) -> pl.DataFrame:
    """``account``, ``bin_start``, ``logins``, ``failures``, ``sends``, over all servers, of the view or before it."""
    columns = [*COLUMNS[:5]]
    if past:
        rows = _hours.past_of(view, "account_activity", columns, pl.col("account") != "(shed)")
    else:
        rows = view.table("account_activity", columns).filter(pl.col("account") != "(shed)")
    return (
        rows.group_by("account", "bin_start")
        .agg(
            pl.col("logins").sum(),
            pl.col("failures").sum(),
            pl.col("authenticated_sends").sum().alias("sends"),
        )
        .sort("account", "bin_start")
    )


def united(rows: pl.DataFrame, distinct: str, state: str) -> tuple[int, bool]:
    """Distinct items over rows: exact where every row has its summary, else those of the largest row."""
    held = rows.filter(pl.col(distinct) > 0)
    states = held[state].drop_nulls()
    if len(states) < held.height or not held.height:
        return int(_hours.most(held[distinct])) if held.height else 0, False
    together: set[int] = set()
    level = 0
    for one in states:
        found, sampled = items(one)
        level = max(level, sampled)
        together |= found.keys()
    if level:
        together = {h for h in together if h >> (32 - level) == 0}
    return len(together) << level, True
