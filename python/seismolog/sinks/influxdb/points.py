"""Rows of the store become points: clients that have series of their own, one series for all others, roll-ups.

For each bin, server and kind the clients of the hour's membership (:mod:`~seismolog.sinks.influxdb.members`) keep
their row. All others, and events without a client, become the client ``other``: its counts are those of ``traffic``
less those of the members, so that the sum over the clients is the traffic whatever the two tables hold; its distinct
names are read from the merged states of the others.

Longer bins are made of the states of shorter ones, never by adding distinct counts. A roll-up bin lies within one
hour, so membership is the same in all of it.

Pure functions of frames. ``minutes`` are bitmaps of an hour: bit m stands for its minute m.

Limits: an hour with all its clients and states is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from seismolog.sinks.influxdb.measurements import CLIENT_TRAFFIC, OTHER, TRAFFIC, Measurement
from seismolog.store.merge import UNKNOWN, StateMerger, combine, core_merger
from seismolog.store.schema import QTYPES, TABLES

__all__ = [
    "HOUR",
    "MEMBER",
    "Numbered",
    "Reduced",
    "bits",
    "hour_of",
    "known",
    "reduce",
    "rolled_up",
    "spelled",
    "stale",
    "vanished",
]

#: Columns of the hour's keys in a ledger, whichever measurement they are of.
HOUR = "hour"

#: What a client is a member of, and who it is.
MEMBER = (HOUR, "server", "kind", "client")

_CLIENT_COLUMNS = list(TABLES["client_traffic"].names)
_BIN = ["bin_start", "server", "kind"]
#: A number that the core can take.
_MOST_GROUPS = (1 << 32) - 1


@dataclass(frozen=True)
class Reduced:
    """Bins of one length, as they will be points, still with their states."""

    traffic: pl.DataFrame
    clients: pl.DataFrame

    def of(self, measurement: Measurement) -> pl.DataFrame:
        """The frame that belongs to a measurement or a roll-up of it."""
        return self.clients if "client" in measurement.tags else self.traffic

    def where(self, condition: pl.Expr) -> Reduced:
        """The rows of both for which a condition on bin and server holds."""
        return Reduced(self.traffic.filter(condition), self.clients.filter(condition))

    def joined(self, bins: pl.DataFrame) -> Reduced:
        """The rows of these bins: a frame of ``bin_start`` and ``server``."""
        on = ["bin_start", "server"]
        return Reduced(self.traffic.join(bins, on=on, how="semi"), self.clients.join(bins, on=on, how="semi"))


def hour_of(column: str = "bin_start") -> pl.Expr:
    """The hour that a bin lies in."""
    return pl.col(column).dt.truncate("1h").alias(HOUR)


def bits(width: int = 1) -> pl.Expr:
    """The minutes of the hour that a bin of so many minutes covers, as a bitmap."""
    first = pl.col("bin_start").dt.minute().cast(pl.Int64)
    return (pl.lit((1 << width) - 1, dtype=pl.Int64) * pl.lit(2, dtype=pl.Int64).pow(first)).cast(pl.Int64)


class Numbered:
    """Rows of ``client_traffic`` with a number in place of their keys.

    Millions of rows are grouped and looked up by these keys several times over; by one integer that takes half of the
    time that it takes by four columns of texts.

    Parameters
    ----------
    clients
        ``bin_start``, ``server``, ``kind``, ``client``; bins of a minute.
    """

    def __init__(self, clients: pl.DataFrame) -> None:
        servers, self._servers = _numbers(clients["server"])
        kinds, self._kinds = _numbers(clients["kind"])
        names, self._clients = _numbers(clients["client"])
        minutes = clients["bin_start"].dt.epoch("s") // 60
        self._first = (minutes.min() or 0) // 60 * 60  # type: ignore[operator]
        self._cells = max(1, self._servers.len() * self._kinds.len())
        frame = pl.DataFrame(
            [minutes.alias("m"), servers.alias("s"), kinds.alias("k"), names.alias("c")]
        ).lazy()
        cell = pl.col("s").cast(pl.Int64) * self._kinds.len() + pl.col("k")
        minute = pl.col("m") - self._first
        numbers = frame.select(
            (minute * self._cells + cell).alias("group"),
            ((minute // 60 * self._cells + cell) * self._clients.len() + pl.col("c")).alias("member"),
        ).collect()
        #: Of each row: bin, server and kind as one number.
        self.groups = numbers["group"]
        #: Hour, server, kind and client as one number; null where there is no client.
        self.members = numbers["member"]

    def of(self, members: pl.DataFrame) -> pl.Series:
        """The numbers of those of these members that have rows."""
        found = members.lazy().select(
            ((pl.col(HOUR).dt.epoch("s") // 60 - self._first) // 60).alias("h"), *MEMBER[1:]
        )
        for name, names in zip(MEMBER[1:], (self._servers, self._kinds, self._clients), strict=True):
            numbered = pl.LazyFrame([names.alias(name)]).with_row_index(f"{name}_number")
            found = found.join(numbered, on=name)
        cell = pl.col("server_number").cast(pl.Int64) * self._kinds.len() + pl.col("kind_number")
        number = (pl.col("h") * self._cells + cell) * self._clients.len() + pl.col("client_number")
        return found.filter(pl.col("h") >= 0).select(number.alias("member")).collect().to_series()

    def bins(self, groups: pl.Series) -> list[pl.Series]:
        """``bin_start``, ``server`` and ``kind`` of groups."""
        return [self._times(groups // self._cells).alias("bin_start"), *self._cell(groups % self._cells)]

    def keys(self, members: pl.Series) -> list[pl.Series]:
        """``hour``, ``server``, ``kind`` and ``client`` of members."""
        among = max(1, self._clients.len())
        cells = members // among
        hour = self._times(cells // self._cells * 60).alias(HOUR)
        return [hour, *self._cell(cells % self._cells), self._clients.gather(members % among).alias("client")]

    def _times(self, minutes: pl.Series) -> pl.Series:
        return ((minutes + self._first) * 60_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def _cell(self, cells: pl.Series) -> list[pl.Series]:
        among = max(1, self._kinds.len())
        return [
            self._servers.gather(cells // among).alias("server"),
            self._kinds.gather(cells % among).alias("kind"),
        ]


def _numbers(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """A number for each text, and the texts by number."""
    # Categories of no name live no longer than the last series of them.
    categories = pl.Categories.random()
    coded = texts.cast(pl.Categorical(categories))
    return coded.to_physical(), categories.to_series()


def reduce(
    traffic: pl.DataFrame,
    clients: pl.DataFrame,
    members: pl.DataFrame,
    merger: StateMerger = core_merger,
    numbered: Numbered | None = None,
) -> Reduced:
    """Bins of a minute with the clients that have series of their own, and ``other``.

    Parameters
    ----------
    traffic, clients
        Rows of ``traffic`` and ``client_traffic``, one a key, with their states.
    members
        ``hour``, ``server``, ``kind``, ``client``.
    numbered
        The numbers of `clients`, where they are known.
    """
    numbered = numbered or Numbered(clients)
    is_own = numbered.members.is_in(numbered.of(members).implode()).fill_null(False)
    own = clients.select(_CLIENT_COLUMNS).filter(is_own)
    other = _others(traffic, own, _names_of(clients, ~is_own, numbered, merger))
    return Reduced(traffic, _asked(pl.concat([own, other.select(own.columns).cast(own.schema)])))


def _asked(clients: pl.DataFrame) -> pl.DataFrame:
    """Query types and names are told of queries only: a field costs InfluxDB nearly what a point does."""
    of_queries = pl.col("kind").str.starts_with("dns_")
    return clients.with_columns(
        pl.when(of_queries).then(n).otherwise(None).alias(n) for n in (*QTYPES, "distinct_names")
    )


def _names_of(
    clients: pl.DataFrame, rest: pl.Series, numbered: Numbered, merger: StateMerger
) -> pl.DataFrame:
    """Merged query names of the clients without series, by bin, server and kind.

    The same as :func:`seismolog.store.merge.combine` says, in half the time: nearly every row is one of many here.
    """
    # Most bins of most kinds have no names at all (mail): nothing is to be merged there.
    # A client's number is null only where it is not known.
    told = clients["name_state"].is_not_null() | (clients["distinct_names"].fill_null(1) > 0)
    known = rest & told
    rows = pl.DataFrame([numbered.groups, clients["name_state"]]).filter(known)
    groups = rows.select(pl.col("group").unique())
    unknown = pl.col("name_state").is_null() | (pl.col("name_state") == UNKNOWN)
    if rows.select(unknown.any()).item():
        lost = rows.filter(unknown).select("group").unique()
        rows = rows.join(lost, on="group", how="anti")
    schema = pl.Schema({"group": pl.Int64(), "state": pl.Binary(), "distinct": pl.Int32()})
    merged = pl.DataFrame(schema=schema)
    if rows.height:
        numbers, back = rows["group"], None
        if numbers.max() > _MOST_GROUPS:  # type: ignore[operator]
            # Made-up names of servers by the thousand: of all that there might be few are there.
            back = numbers.unique().sort()
            numbers = numbers.rank("dense") - 1
        found = pl.DataFrame(merger(numbers.cast(pl.UInt32), rows["name_state"]))
        merged = found.select(schema.names()).cast(schema)
        if back is not None:
            merged = merged.with_columns(back.gather(merged["group"]).alias("group"))
    all_groups = groups.join(merged, on="group", how="left")
    return pl.DataFrame(
        [
            *numbered.bins(all_groups["group"]),
            all_groups["distinct"].alias("distinct_names"),
            all_groups["state"].alias("name_state"),
        ]
    )


def _others(traffic: pl.DataFrame, own: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """What is left of each bin, server and kind."""
    whole = traffic.group_by(_BIN).agg(
        pl.col("count").sum(),
        *(pl.col("count").filter(pl.col("query_type") == q).sum().alias(q) for q in QTYPES),
    )
    taken = own.group_by(_BIN).agg(pl.col("count", *QTYPES).cast(pl.Int64).sum())
    return (
        whole.join(taken, on=_BIN, how="left", suffix="_own")
        .with_columns(pl.col(n) - pl.col(f"{n}_own").fill_null(0) for n in ("count", *QTYPES))
        .join(names, on=_BIN, how="left")
        .with_columns(
            pl.lit(OTHER).alias("client"),
            # Without a state there was no name; where one was lost, `combine` says null and we keep it.
            pl.when(pl.col("name_state").is_null() & pl.col("distinct_names").is_null() & ~_lost(names))
            .then(0)
            .otherwise(pl.col("distinct_names"))
            .alias("distinct_names"),
        )
    )


def _lost(names: pl.DataFrame) -> pl.Expr:
    """Whether a bin is one whose names are unknown, because a row of it was counted without states."""
    lost = names.filter(pl.col("distinct_names").is_null()).select(_BIN)
    if lost.is_empty():
        return pl.lit(False)
    return pl.struct(_BIN).is_in(lost.select(pl.struct(_BIN).alias("_")).to_series().implode())


def rolled_up(reduced: Reduced, minutes: int, merger: StateMerger = core_merger) -> Reduced:
    """Longer bins: counts added, states merged, numbers read from what was merged."""
    floor = pl.col("bin_start").dt.truncate(f"{minutes}m")
    # What is not known of a shorter bin is not known of the longer one: `combine` tells that by a number without state.
    stateless = pl.when(pl.col("name_state").is_null())
    names = stateless.then(pl.col("distinct_names").fill_null(1)).otherwise("distinct_names")
    return Reduced(
        combine(reduced.traffic.with_columns(floor), TABLES["traffic"], merger=merger),
        # Single bins become longer ones as they are, so their numbers are put back.
        _unknown_again(
            combine(
                reduced.clients.with_columns(floor, distinct_names=names),
                TABLES["client_traffic"],
                merger=merger,
            )
        ),
    )


def _unknown_again(clients: pl.DataFrame) -> pl.DataFrame:
    lost = pl.col("name_state").is_null() & (pl.col("distinct_names") > 0)
    return clients.with_columns(pl.when(lost).then(None).otherwise("distinct_names").alias("distinct_names"))


def vanished(
    ledger: pl.DataFrame, bins: pl.DataFrame, now: pl.DataFrame, measurement: Measurement, width: int
) -> pl.DataFrame:
    """Keys that were sent in some of these bins and are in the store no more: ``bin_start`` and tags.

    Parameters
    ----------
    ledger
        Keys that were sent before: ``hour``, the tags, ``minutes``.
    bins
        The bins that are written again: ``bin_start``, ``server``.
    now
        The points that they have now.
    width
        Minutes of a bin.
    """
    tags = list(measurement.tags)
    if ledger.is_empty() or bins.is_empty():
        return now.clear().select("bin_start", *tags)
    wanted = bins.with_columns(hour_of(), bits(width).alias("_mask"))
    sent = (
        wanted.join(ledger, on=[HOUR, "server"], how="inner")
        .filter((pl.col("minutes") & pl.col("_mask")) != 0)
        .select("bin_start", *tags)
    )
    return sent.join(now, on=["bin_start", *tags], how="anti", nulls_equal=True)


def known(measurement: Measurement) -> list[str]:
    """Columns of a ledger's keys: the minutes in which the optional fields of each group had values."""
    return [f"known_{at}" for at in range(len(measurement.optional))]


def stale(ledger: pl.DataFrame, points: pl.DataFrame, measurement: Measurement, width: int) -> pl.DataFrame:
    """Points of which a field is null that had, or may have had, a value when the point was sent before.

    Of a longer bin it is said as soon as one of its minutes had a value: a point may then be deleted for nothing, none
    that ought to be is left.

    Parameters
    ----------
    ledger
        Keys that were sent before, with the columns of :func:`known`.
    points
        The points that are to be written.
    width
        Minutes of a bin.
    """
    null = [pl.any_horizontal(pl.col(f).is_null() for f in group) for group in measurement.optional]
    some = points.filter(pl.any_horizontal(null))
    if some.is_empty() or ledger.is_empty():
        return points.clear()
    on = [HOUR, *measurement.tags]
    sent = ledger.select(*on, *known(measurement))
    had = [(pl.col(k) & pl.col("_mask")) != 0 for k in known(measurement)]
    return (
        some.with_columns(hour_of(measurement.time), bits(width).alias("_mask"))
        .join(sent, on=on, how="inner", nulls_equal=True)
        .filter(pl.any_horizontal(n & h for n, h in zip(null, had, strict=True)))
        .select(points.columns)
    )


def spelled(reduced: Reduced) -> dict[str, pl.DataFrame]:
    """The frames by measurement, with the columns that their points have."""
    return {m.name: reduced.of(m).select(m.time, *m.tags, *m.fields) for m in (TRAFFIC, CLIENT_TRAFFIC)}
