"""Series: what is done with counts by bin before a model or a reader sees them.

Frames in, frames out, nothing is changed in place. Bins are half-open UTC intervals ``[bin_start, bin_start
+ bin)``; a bin's length divides a day or is a number of whole days, counted from 1970-01-01 UTC.

- :func:`counts`      the table of ``seismolog count``
- :func:`roll_up`     shorter bins become longer ones, states are merged
- :func:`zero_fill`   bins without a row become rows of zero
- :func:`gaps`        where a server wrote nothing
- :func:`local_time`  columns of local time for reports and day shapes

Limits: frames are in memory. A month of a campus by client is read and rolled up day by day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from seismolog.store.merge import StateMerger, combine, core_merger
from seismolog.store.schema import QTYPES, table_of

__all__ = ["BY", "bin_name", "counts", "gaps", "local_time", "roll_up", "zero_fill"]

#: What counts can be told apart by, in the words of the command line.
BY = ("server", "kind", "client", "qtype")

_DAY = timedelta(days=1)
_KEY_OF = {"server": "server", "kind": "kind", "client": "client", "qtype": "query_type"}


def bin_name(length: timedelta) -> str:
    """A bin's length as polars writes it: ``10m``; ValueError for one that neither divides a day nor is whole days."""
    seconds = round(length.total_seconds())
    if seconds < 60 or seconds % 60 or (86_400 % seconds and seconds % 86_400):
        raise ValueError(f"a bin of {length}: whole minutes that divide a day, or whole days, are expected")
    return f"{seconds // 60}m"


def _floor(length: timedelta) -> pl.Expr:
    if length <= _DAY:
        return pl.col("bin_start").dt.truncate(bin_name(length))
    # polars counts longer steps from a Monday or a month; here all bins are counted from 1970-01-01
    bin_name(length)
    micros = round(length.total_seconds()) * 1_000_000
    whole = pl.col("bin_start").dt.timestamp("us") // micros * micros
    return whole.cast(pl.Datetime("us", "UTC")).alias("bin_start")


def counts(
    frame: pl.DataFrame,
    by: Sequence[str] = ("server", "kind"),
    bin: timedelta | Literal["all"] = "all",  # noqa: A002 - the word of the field
) -> pl.DataFrame:
    """The table of ``seismolog count``.

    Parameters
    ----------
    frame
        Rows of ``traffic`` or, where clients are told apart, of ``client_traffic``; rows of one key may
        repeat.
    by
        Any of ``server``, ``kind``, ``client``, ``qtype``, each at most once.
    bin
        Length of the bins, or "all" for none.

    Returns
    -------
    pl.DataFrame
        ``bin_start`` (left out with "all"), the columns of `by` in that order, ``count`` (Int64); sorted by
        them. ``client`` is null for events without one, ``qtype`` for what is no DNS query.
    """
    unknown = [b for b in by if b not in BY]
    if unknown or len(set(by)) < len(by):
        raise ValueError(f"by {', '.join(by)}: each of {', '.join(BY)} at most once")
    when = [] if bin == "all" else ["bin_start"]
    if when:
        assert isinstance(bin, timedelta)
        frame = frame.with_columns(_floor(bin))
    if "qtype" in by and "query_type" not in frame.columns:
        frame = _by_query_type(frame, [*when, *(b for b in by if b != "qtype")])
    keys = [*(pl.col(w) for w in when), *(pl.col(_KEY_OF[b]).alias(b) for b in by)]
    total = pl.col("count").cast(pl.Int64).sum()
    if not keys:
        return frame.select(total)
    table = frame.group_by(keys).agg(total)
    for name in ("server", "kind", "qtype"):
        if name in by:
            table = table.with_columns(pl.col(name).cast(pl.String))
    return table.sort([*when, *by], nulls_last=True)


def _by_query_type(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of ``client_traffic`` as one row for each key and query type, less the zeros."""
    sums = [pl.col(c).cast(pl.Int64).sum() for c in ("count", *QTYPES)]
    summed = frame.group_by(keys).agg(sums) if keys else frame.select(sums)
    rest = pl.col("count") - pl.sum_horizontal(QTYPES)  # events that are no DNS query
    long = summed.with_columns(rest.alias("_none")).drop("count")
    long = long.unpivot(
        [*QTYPES, "_none"], index=list(keys) or None, variable_name="query_type", value_name="count"
    )
    return long.filter(pl.col("count") > 0).with_columns(
        pl.when(pl.col("query_type") != "_none").then(pl.col("query_type")).alias("query_type")
    )


def roll_up(
    frame: pl.DataFrame,
    table: str,
    bin: timedelta,  # noqa: A002 - the word of the field
    keys: Sequence[str] | None = None,
    *,
    merger: StateMerger = core_merger,
) -> pl.DataFrame:
    """Rows of a table in longer bins, and by fewer keys where `keys` names fewer.

    Counts are added and states merged; distinct counts and entropies are those of the longer bin, computed
    from the merged state, and null where a state is missing.

    Parameters
    ----------
    table
        The table that the rows are of ("traffic", "client_traffic", …).
    bin
        Length of the new bins, a multiple of the table's.
    keys
        Key columns besides ``bin_start`` to keep, all of them by default.
    """
    declared = table_of(table)
    kept = [
        k for k in (keys if keys is not None else declared.keys) if k != "bin_start" and k in frame.columns
    ]
    return combine(frame.with_columns(_floor(bin)), declared, ["bin_start", *kept], merger=merger).sort(
        ["bin_start", *kept], nulls_last=True
    )


def zero_fill(
    frame: pl.DataFrame,
    bin: timedelta,  # noqa: A002 - the word of the field
    since: datetime,
    until: datetime,
    by: Sequence[str] = (),
    values: Iterable[str] = ("count",),
) -> pl.DataFrame:
    """The frame with a row for every bin of [since, until) and every combination of `by` that it has.

    A bin without a row had no event; its `values` are 0 and its other columns null. Use :func:`gaps` to
    tell a quiet server from one whose log is missing.

    Parameters
    ----------
    since, until
        Aware datetimes; taken outward to bins.
    """
    step = bin_name(bin)
    span = pl.DataFrame({"bin_start": [since, until]}, schema={"bin_start": pl.Datetime("us", "UTC")})
    first = span.select(_floor(bin))["bin_start"][0]
    every = pl.datetime_range(first, until, step, closed="left", time_zone="UTC", eager=True)
    grid = pl.DataFrame({"bin_start": every.cast(pl.Datetime("us", "UTC"))})
    if by:
        grid = frame.select(by).unique(maintain_order=True).join(grid, how="cross")
    on = ["bin_start", *by]
    filled = grid.join(frame, on=on, how="left", nulls_equal=True)
    return (
        filled.with_columns(pl.col(v).fill_null(0) for v in values)
        .select(frame.columns)
        .sort(on, nulls_last=True)
    )


def gaps(
    frame: pl.DataFrame,
    bin: timedelta,  # noqa: A002 - the word of the field
    at_least: timedelta,
) -> pl.DataFrame:
    """Stretches in which a server has no event of any kind, between two that it has.

    Parameters
    ----------
    frame
        Rows with ``bin_start``, ``server`` and ``count``.
    bin
        Length of the frame's bins.
    at_least
        Shorter stretches are left out.

    Returns
    -------
    pl.DataFrame
        ``server``, ``start`` (end of the last bin before), ``end`` (start of the first bin after), sorted.
    """
    seen = (
        frame.filter(pl.col("count") > 0).select("server", "bin_start").unique().sort("server", "bin_start")
    )
    return (
        seen.with_columns(pl.col("bin_start").shift(-1).over("server").alias("end"))
        .select("server", (pl.col("bin_start") + bin).alias("start"), "end")
        .filter(pl.col("end") - pl.col("start") >= at_least)
    )


def local_time(frame: pl.DataFrame, timezone: str, column: str = "bin_start") -> pl.DataFrame:
    """The frame with columns of local time added.

    ``local`` (naive Datetime: what the clock on the wall showed; an hour repeats when summer time ends),
    ``utc_offset`` (Duration), ``weekday`` (1 Monday to 7 Sunday) and ``minute_of_day`` (0 to 1439), the
    slot of a day shape.
    """
    zoned = pl.col(column).dt.convert_time_zone(timezone)
    local = zoned.dt.replace_time_zone(None)
    return frame.with_columns(
        local.alias("local"),
        (zoned.dt.base_utc_offset() + zoned.dt.dst_offset()).alias("utc_offset"),
        zoned.dt.weekday().cast(pl.Int32).alias("weekday"),
        (zoned.dt.hour().cast(pl.Int32) * 60 + zoned.dt.minute().cast(pl.Int32)).alias("minute_of_day"),
    )
