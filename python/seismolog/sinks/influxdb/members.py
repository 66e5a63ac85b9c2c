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

from seismolog.sinks.influxdb.points import HOUR, MEMBER, Numbered

__all__ = ["MEMBER", "activity", "chosen", "empty", "leaders"]

_GROUP = [HOUR, "server", "kind"]
_SCHEMA = {HOUR: pl.Datetime("us", "UTC"), **dict.fromkeys(MEMBER[1:], pl.String())}


def empty() -> pl.DataFrame:
    """No members."""
    return pl.DataFrame(schema=_SCHEMA)


def activity(clients: pl.DataFrame, numbered: Numbered | None = None) -> pl.DataFrame:
    """Events of each client by hour.

    Rows of ``client_traffic`` become ``hour``, ``server``, ``kind``, ``client``, ``count``.

    Parameters
    ----------
    numbered
        The numbers of `clients`, where they are known.
    """
    numbered = numbered or Numbered(clients)
    sums = (
        pl.DataFrame([numbered.members, clients["count"]])
        .lazy()
        .filter(pl.col("member").is_not_null())
        .group_by("member")
        .agg(pl.col("count").cast(pl.Int64).sum())
        .collect()
    )
    by_client = pl.DataFrame([*numbered.keys(sums["member"]), sums["count"]])
    return by_client.filter(pl.col("client") != "")


def chosen(
    stored: pl.DataFrame,
    before: pl.DataFrame,
    now: pl.DataFrame,
    watched: pl.DataFrame,
    per_hour: int,
    admit: Callable[[pl.DataFrame], pl.DataFrame] = lambda wanted: wanted,
    leading: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The members of some hours.

    Parameters
    ----------
    stored
        Those chosen before.
    before, now
        :func:`activity` of the hours before these hours, and of these hours; of the former :func:`leaders` are enough.
    watched
        ``hour`` and ``client`` under an incident.
    per_hour
        Clients of a server and kind.
    admit
        Given the new ones that are wanted, the most active first, says which may have a series.
    leading
        :func:`leaders` of `now`, where they are known.

    Returns
    -------
    pl.DataFrame
        ``hour``, ``server``, ``kind``, ``client``: all of `stored` and what is new.
    """
    if leading is None:
        leading = leaders(now, per_hour)
    # Servers and kinds that have nothing in the hour need no members in it.
    groups = leading.select(_GROUP).unique()
    earlier = leaders(before, per_hour).with_columns(pl.col(HOUR).dt.offset_by("1h"))
    earlier = earlier.join(groups, on=_GROUP, how="semi")
    ranked = pl.concat(
        [
            earlier.with_columns(pl.lit(0).alias("_turn")),
            leading.with_columns(pl.lit(1).alias("_turn")),
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
    seen = now.clear() if watched.is_empty() else now.join(watched, on=[HOUR, "client"], how="semi")
    under = seen.select(*MEMBER, "count")
    wanted = (
        pl.concat([under, by_rank])
        .unique(MEMBER, keep="first", maintain_order=True)
        .join(kept, on=MEMBER, how="anti")
    )
    if wanted.is_empty():
        return stored.select(MEMBER)
    return pl.concat([stored.select(MEMBER), admit(wanted).select(MEMBER)])


def leaders(active: pl.DataFrame, most: int) -> pl.DataFrame:
    """The most active clients of each hour, server and kind, of equal ones the first by name."""
    if most == 0:
        return active.clear().select(*MEMBER, "count")
    # Thousands of clients are never looked at: only those that reach the count of the last one wanted are sorted.
    last = pl.col("count").top_k(most).min().over(_GROUP)
    ordered = active.filter(pl.col("count") >= last).sort("count", "client", descending=[True, False])
    return ordered.group_by(_GROUP, maintain_order=True).head(most).select(*MEMBER, "count")
