"""Which clients have series of their own in an hour.

Of each server and kind the most active clients of the hour before (``[influxdb] clients_per_hour``), and where that
leaves room, as for a server that was silent, the most active ones of the hour so far. To these come the clients
under an incident, in every kind in which they were seen. Within an hour the membership only grows: a client that was
once given a series keeps it for that hour, however late lines change the order.

Nothing is added past ``[influxdb] max_series``: the client stays in ``other``.

Pure functions of frames with ``hour``, ``server``, ``kind``, ``client``.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from seismolog.sinks.influxdb.points import HOUR

__all__ = ["MEMBER", "activity", "chosen", "empty"]

MEMBER = (HOUR, "server", "kind", "client")
_GROUP = [HOUR, "server", "kind"]
_SCHEMA = {HOUR: pl.Datetime("us", "UTC"), **dict.fromkeys(MEMBER[1:], pl.String())}


def empty() -> pl.DataFrame:
    """No members."""
    return pl.DataFrame(schema=_SCHEMA)


def activity(clients: pl.DataFrame) -> pl.DataFrame:
    """Events of each client by hour.

    Rows of ``client_traffic`` become ``hour``, ``server``, ``kind``, ``client``, ``count``.
    """
    # The states are most of the bytes of these rows: a filter over all columns would copy them.
    counted = clients.select("bin_start", "server", "kind", "client", "count")
    known = counted.filter(pl.col("client").is_not_null() & (pl.col("client") != ""))
    return known.group_by(pl.col("bin_start").dt.truncate("1h").alias(HOUR), "server", "kind", "client").agg(
        pl.col("count").cast(pl.Int64).sum()
    )


def chosen(
    stored: pl.DataFrame,
    before: pl.DataFrame,
    now: pl.DataFrame,
    watched: pl.DataFrame,
    per_hour: int,
    admit: Callable[[pl.DataFrame], pl.DataFrame] = lambda wanted: wanted,
) -> pl.DataFrame:
    """The members of some hours.

    Parameters
    ----------
    stored
        Those chosen before.
    before, now
        :func:`activity` of the hours before these hours, and of these hours.
    watched
        ``hour`` and ``client`` under an incident.
    per_hour
        Clients of a server and kind.
    admit
        Given the new ones that are wanted, the most active first, says which may have a series.

    Returns
    -------
    pl.DataFrame
        ``hour``, ``server``, ``kind``, ``client``: all of `stored` and what is new.
    """
    hours = now.select(HOUR).unique()
    earlier = before.with_columns(pl.col(HOUR).dt.offset_by("1h")).join(hours, on=HOUR, how="semi")
    # Servers and kinds that have nothing in the hour need no members in it.
    earlier = earlier.join(now.select(_GROUP).unique(), on=_GROUP, how="semi")
    ranked = pl.concat(
        [
            _top(earlier, per_hour).with_columns(pl.lit(0).alias("_turn")),
            _top(now, per_hour).with_columns(pl.lit(1).alias("_turn")),
        ]
    )
    kept = stored.select(MEMBER).with_columns(pl.lit(True).alias("_stored"))
    ranked = (
        ranked.sort("_turn", "count", "client", descending=[False, True, False])
        .unique(MEMBER, keep="first", maintain_order=True)
        .join(kept, on=MEMBER, how="left")
    )
    # The hour before decides; the hour itself only fills what is left over, counting who is there already.
    have = kept.group_by(_GROUP).len("_have")
    ranked = (
        ranked.join(have, on=_GROUP, how="left")
        .with_columns(pl.col("_stored").is_null().alias("_new"))
        .with_columns(
            (pl.col("_have").fill_null(0) + pl.col("_new").cum_sum().over(_GROUP)).alias("_place"),
        )
    )
    by_rank = ranked.filter(pl.col("_new") & (pl.col("_place") <= per_hour)).select(*MEMBER, "count")
    under = now.join(watched, on=[HOUR, "client"], how="semi").select(*MEMBER, "count")
    wanted = (
        pl.concat([under, by_rank])
        .unique(MEMBER, keep="first", maintain_order=True)
        .join(kept, on=MEMBER, how="anti")
    )
    if wanted.is_empty():
        return stored.select(MEMBER)
    return pl.concat([stored.select(MEMBER), admit(wanted).select(MEMBER)])


def _top(active: pl.DataFrame, most: int) -> pl.DataFrame:
    if most == 0:
        return active.clear().select(*MEMBER, "count")
    # Thousands of clients are never looked at: only those that reach the count of the last one wanted are sorted.
    last = pl.col("count").top_k(most).min().over(_GROUP)
    ordered = active.filter(pl.col("count") >= last).sort("count", "client", descending=[True, False])
    return ordered.group_by(_GROUP, maintain_order=True).head(most).select(*MEMBER, "count")
