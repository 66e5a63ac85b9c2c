"""What accounts did by hour, over all servers, for the detectors of stolen ones."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from seismolog.detect import _hours

if TYPE_CHECKING:
    from seismolog.detect.view import View

__all__ = ["COLUMNS", "DAY", "hourly"]

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
