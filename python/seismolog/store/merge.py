"""Rows of one key become one row: counts are added, states merged, numbers recomputed.

:func:`combine` is the one place where rows are added up, whether they are two sources that share a minute
or sixty minutes that become an hour. What each column does stands in its declaration
(:mod:`seismolog.store.schema`). A distinct count or an entropy is never added: it is read from the merged
state.

Keys with one row only, which is nearly all of them where sources do not overlap, keep their row as it is; the
counting core is asked for the others. Where one of a key's rows was counted without states, the derived
numbers of that key are null: unknown is not zero. Its state is then :data:`UNKNOWN` and not null, which would be an
empty one to whoever adds the row to others again: minutes become ten minutes, and those an hour.

Limits: the frame is in memory, and so is its result. Read by day where a month would be too much
(:meth:`seismolog.store.Store.days`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import polars as pl

from seismolog.errors import core_errors
from seismolog.store.schema import Column, Table

__all__ = ["UNKNOWN", "StateMerger", "combine", "core_merger", "needed_columns"]

#: The state of a row that was added up from rows of which one was counted without states: no summary is of no bytes.
UNKNOWN = b""


class StateMerger(Protocol):
    """Merges summaries by group, as ``seismolog._core.merge_states`` does."""

    def __call__(self, group: pl.Series, state: pl.Series, /) -> Any:
        """An Arrow batch, one row a group: ``group``, ``state``, ``distinct``, ``entropy``, ``top_share``.

        ``group`` is UInt32 and ``state`` Binary without nulls, of equal length.
        """


def core_merger(group: pl.Series, state: pl.Series) -> Any:
    """The merger of the counting core, loaded when it is first needed."""
    from arro3.core import ChunkedArray

    from seismolog._core import merge_states

    # The core takes whole Arrow arrays; a polars series hands over chunks.
    groups, states = (ChunkedArray.from_arrow(c.rechunk()).combine_chunks() for c in (group, state))
    with core_errors():
        return merge_states(groups, states)


def needed_columns(table: Table, columns: Sequence[str]) -> list[str]:
    """These columns and those that they are computed from, in the table's order."""
    wanted = set(columns)
    for name in columns:
        column = table.column(name)
        wanted |= {n for n in (column.of, column.per) if n is not None}
    # Whether a missing state is an empty one is told by the distinct count beside it.
    wanted |= {c.name for c in table.columns if c.measure == "distinct" and c.of in wanted}
    return [n for n in table.names if n in wanted]


def combine(
    frame: pl.DataFrame,
    table: Table,
    keys: Sequence[str] | None = None,
    *,
    merger: StateMerger = core_merger,
) -> pl.DataFrame:
    """One row for each distinct combination of the key columns.

    Parameters
    ----------
    frame
        Rows of the table, with any of its columns. A derived column needs the column it is computed from
        (:func:`needed_columns`), or it becomes null for the keys with more than one row.
    keys
        The columns to group by, all key columns of the table that the frame has by default. A key column
        that is not named is dropped (its rows are added up).
    merger
        What merges states.

    Returns
    -------
    pl.DataFrame
        The frame's columns in the frame's order, less the key columns that were dropped. Rows are in no
        order.
    """
    keys = list(keys if keys is not None else [k for k in table.keys if k in frame.columns])
    values = {c.name for c in table.columns if c.role != "key"}
    columns = [c for c in frame.columns if c in keys or c in values]
    if not keys:
        return _combine_groups(frame.select(columns), table, ["_all"], merger).select(columns)
    frame = frame.select(columns)
    counted = frame.with_columns(pl.len().over(keys).alias("_rows"))
    single = counted.filter(pl.col("_rows") == 1).select(columns)
    if single.height == frame.height:
        return single
    many = counted.filter(pl.col("_rows") > 1).select(columns)
    merged = _combine_groups(many, table, keys, merger)
    return pl.concat([single, merged.select(columns).cast(single.schema)])


def _combine_groups(frame: pl.DataFrame, table: Table, keys: list[str], merger: StateMerger) -> pl.DataFrame:
    if keys == ["_all"]:
        frame = frame.with_columns(pl.lit(0).alias("_all"))
    groups = frame.select(keys).unique(maintain_order=True).with_row_index("_group")
    rows = frame.join(groups, on=keys, how="left", nulls_equal=True, maintain_order="left")
    values = [table.column(n) for n in frame.columns if n in table.names and n not in keys]
    result = groups.join(
        rows.group_by("_group").agg([_aggregate(c) for c in values if _aggregate_by_polars(c)]),
        on="_group",
        how="left",
    )
    for column in values:
        if column.role == "histogram":
            result = result.join(_add_lists(rows, column.name), on="_group", how="left")
        elif column.role == "state":
            numbers = [c for c in values if c.of == column.name]
            result = result.join(_merge_state(rows, column.name, numbers, merger), on="_group", how="left")
    for column in values:
        if column.name not in result.columns:
            result = result.with_columns(_recompute(column, result).cast(column.dtype).alias(column.name))
    return result.drop("_group")


def _aggregate_by_polars(column: Column) -> bool:
    return column.role in {"sum", "bits", "value"}


def _aggregate(column: Column) -> pl.Expr:
    value = pl.col(column.name)
    if column.role == "sum":
        # A sum of nothing known is unknown. Narrow counts are added wide, then must fit again.
        wide = value.cast(pl.Float64 if column.dtype == pl.Float64 else pl.Int64)
        return pl.when(value.count() > 0).then(wide.sum()).alias(column.name)
    if column.role == "bits":
        return value.bitwise_or()
    return value.drop_nulls().first()


def _add_lists(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Element-wise sums of lists by group; shorter lists count as filled with zeros."""
    long = (
        rows.select("_group", pl.col(name).alias("_value"))
        .drop_nulls("_value")
        .with_columns(pl.int_ranges(0, pl.col("_value").list.len()).alias("_at"))
        .explode("_value", "_at")
        .drop_nulls("_at")
        .group_by("_group", "_at")
        .agg(pl.col("_value").cast(pl.Int64).sum())
        .sort("_group", "_at")
    )
    return long.group_by("_group", maintain_order=True).agg(pl.col("_value").alias(name))


def _merge_state(
    rows: pl.DataFrame, name: str, numbers: Sequence[Column], merger: StateMerger
) -> pl.DataFrame:
    """Merged states and the numbers read from them, by group.

    A null is an empty summary (an event without a client has none), unless the row's own distinct count
    says that there was something: then it was counted without states, and nothing is known of the group. Nor is
    anything known of one of which a row is such a group itself.
    """
    distinct = next((c.name for c in numbers if c.measure == "distinct"), None)
    lost = pl.col(name).eq_missing(pl.lit(UNKNOWN))
    if distinct:
        lost |= pl.col(name).is_null() & (pl.col(distinct).fill_null(0) > 0)
    groups = rows.group_by("_group", maintain_order=True).agg(
        lost.any().alias("_lost"),
        pl.col(name).is_not_null().any().alias("_any"),
        *(pl.col(c.name).first() for c in numbers),
    )
    # Groups that are all empty keep the numbers that each of their rows has (0, or null).
    rest = groups.filter(~pl.col("_any") | pl.col("_lost")).select(
        "_group",
        pl.when("_lost").then(pl.lit(UNKNOWN)).alias(name),
        *(pl.when(~pl.col("_lost")).then(c.name).alias(c.name) for c in numbers),
    )
    known = groups.filter(pl.col("_any") & ~pl.col("_lost")).select("_group")
    if known.is_empty():
        return rest
    states = rows.join(known, on="_group", how="semi").select("_group", name).drop_nulls(name)
    merged = pl.DataFrame(merger(states["_group"].cast(pl.UInt32), states[name]))
    return pl.concat(
        [
            rest,
            merged.select(
                pl.col("group").cast(pl.UInt32).alias("_group"),
                pl.col("state").cast(pl.Binary).alias(name),
                *(pl.col(str(c.measure)).cast(rows.schema[c.name]).alias(c.name) for c in numbers),
            ),
        ]
    )


def _recompute(column: Column, result: pl.DataFrame) -> pl.Expr:
    if column.of is None or column.of not in result.columns:
        return pl.lit(None)
    of = pl.col(column.of)
    if column.measure == "ratio" and column.per in result.columns:
        return of / pl.col(str(column.per))
    if column.measure == "ones":
        return of.bitwise_count_ones()
    if column.measure == "median":
        return _histogram_median(of)
    return pl.lit(None)


def _histogram_median(histogram: pl.Expr) -> pl.Expr:
    """Index of the list element at which half of the counts are reached (the lower median)."""
    reached = histogram.list.eval(pl.element().cum_sum() * 2 >= pl.element().sum())
    return pl.when(histogram.list.sum() > 0).then(reached.list.arg_max())
