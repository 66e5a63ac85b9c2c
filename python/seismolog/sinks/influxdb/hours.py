"""Bins on their way to the target: points, roll-ups, and zeros for what has vanished.

:class:`HourWriter` is given bins that have changed, or whole hours, and makes of them all that has to be written so
that the target says what the store says:

1. the members of the hour, which only grow (:mod:`~seismolog.sinks.influxdb.members`);
2. the points of every bin that changed, each with all its fields;
3. the roll-ups that such a bin lies in, once they are over;
4. a point of zeros for every key that was sent for such a bin and is not in the store any more;
5. the deletion, before it is written again, of a point of which a field had a value and is null now.

What is about to be sent is noted in the ledger first, then it is sent, then the ledger takes note that it was
(:meth:`HourWriter.prepare`, :meth:`HourWriter.settle`). A crash between any two of these costs work, no truth.

Limits: the hours of one call are in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from seismolog.sinks.influxdb import members
from seismolog.sinks.influxdb.current import Hours, StoreHours
from seismolog.sinks.influxdb.ledger import Ledger
from seismolog.sinks.influxdb.measurements import CLIENT_TRAFFIC, OTHER, ROLLUPS, TRAFFIC, Measurement, render
from seismolog.sinks.influxdb.points import (
    HOUR,
    Numbered,
    Reduced,
    bits,
    hour_of,
    known,
    reduce,
    rolled_up,
    stale,
    vanished,
)
from seismolog.sinks.influxdb.writer import Writer
from seismolog.store.merge import StateMerger, core_merger

__all__ = ["HourWriter", "Prepared", "Stale", "bins_of"]

_HOUR = timedelta(hours=1)
#: Later than any bin: everything is over.
_END = datetime(9000, 1, 1, tzinfo=UTC)
#: A roll-up of a server that has gone quiet is written so long after its end.
GRACE = timedelta(minutes=5)
#: Measurements that a key stands for: bins of a minute and each roll-up.
_SERIES_A_KEY = 1 + len(ROLLUPS)
_BASE = (TRAFFIC, CLIENT_TRAFFIC)
#: Of the series that there may be: the rest is for traffic by server, kind and type, which is worth more than a client.
_SHARE_OF_CLIENTS = 0.75


@dataclass
class Stale:
    """Points of a series without a gap that are to be deleted before they are written."""

    measurement: Measurement
    tags: dict[str, str]
    #: Seconds since 1970, both included.
    first: int
    last: int
    #: In place of that, where the target cannot delete: 0 in the fields that are null.
    blanks: list[bytes]


@dataclass
class Prepared:
    """What is to be sent, and what is to be noted when it was."""

    stale: list[Stale] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    points: int = 0
    zeros: int = 0
    #: Rows of the store that it was made of.
    rows: int = 0
    hours: list[datetime] = field(default_factory=list)
    rollups: pl.DataFrame = field(default_factory=lambda: _no_rollups())
    stamps: dict[datetime, str] = field(default_factory=dict)

    def send(self, writer: Writer) -> None:
        """Send it; raises what the writer raises."""
        blanks: list[bytes] = []
        for one in self.stale:
            nanos = 1_000_000_000
            if not writer.erase(one.measurement.name, one.first * nanos, one.last * nanos, one.tags):
                blanks += one.blanks
        writer.write(self.texts)
        if blanks:
            writer.write([b"".join(blanks)])


@dataclass
class HourCounts:
    """What has been made since the start, for /metrics."""

    points: int = 0
    zeros: int = 0
    series: int = 0
    refused_series: int = 0


def _no_rollups() -> pl.DataFrame:
    return pl.DataFrame(
        schema={"bin_start": pl.Datetime("us", "UTC"), "width": pl.Int64, "server": pl.String}
    )


def bins_of(frame: pl.DataFrame) -> pl.DataFrame:
    """The bins that a frame has rows of: ``bin_start``, ``server``."""
    return frame.select("bin_start", "server").unique()


class HourWriter:
    """Makes the points of hours for one target.

    Parameters
    ----------
    ledger
        What the target was sent.
    per_hour, max_series
        ``[influxdb] clients_per_hour`` and ``max_series``.
    batch
        Points of one text.
    pseudonym
        Turns a client into what is written in its place; one to one.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        per_hour: int = 50,
        max_series: int = 200_000,
        batch: int = 10_000,
        pseudonym: Callable[[str], str] | None = None,
        merger: StateMerger = core_merger,
    ) -> None:
        self.counts = HourCounts()
        self._ledger = ledger
        self._per_hour = per_hour
        self._max_series = max_series
        self._batch = batch
        self._pseudonym = pseudonym
        self._merger = merger
        self._series = ledger.series()
        self._fresh: set[str] = set()
        self._newest: dict[str, datetime] = {}
        self._refused: set[str] = set()
        #: The last hour of one moment of the store, and its most active clients.
        self._last: tuple[StoreHours, datetime, pl.DataFrame] | None = None
        # Reading and settling may be on two threads; the ledger is one connection.
        self._lock = threading.RLock()
        self.counts.series = _SERIES_A_KEY * len(self._series)

    # -- what is asked for

    def prepare_bins(self, hours: Hours, bins: pl.DataFrame, now: datetime | None = None) -> Prepared:
        """Bins that have closed or changed: ``bin_start``, ``server``."""
        for server, newest in bins.group_by("server").agg(pl.col("bin_start").max()).iter_rows():
            end = newest + timedelta(minutes=1)
            self._newest[server] = max(end, self._newest.get(server, end))
        touched = _touched(bins)
        with self._lock:
            waiting = self._ledger.pending()
        return self.prepare(hours, bins, pl.concat([waiting, touched]).unique(), now)

    def prepare_due(self, hours: Hours, now: datetime | None = None) -> Prepared | None:
        """Roll-ups that wait and are over; None where there are none."""
        with self._lock:
            waiting = self._ledger.pending()
        if self._over(waiting, now).is_empty():
            return None
        return self.prepare(hours, bins_of(waiting).clear(), waiting, now)

    def prepare_hours(
        self, hours: Hours, wanted: Sequence[datetime], stamps: dict[datetime, str] | None = None
    ) -> Prepared:
        """Whole hours, every bin of them; `stamps` says what each is made of."""
        if not wanted:
            return Prepared()
        rows = _of_hours(hours, sorted(wanted))
        with self._lock:
            sent = self._ledger.keys(wanted, TRAFFIC)
        bins = pl.concat([bins_of(rows[0]), _bins_sent(sent)]).unique()
        made = self.prepare(hours, bins, _touched(bins), _END, rows)
        made.rows = rows[0].height + rows[1].height
        made.hours = list(wanted)
        made.stamps = dict(stamps or {})
        return made

    # -- how

    def prepare(
        self,
        hours: Hours,
        bins: pl.DataFrame,
        rollups: pl.DataFrame,
        now: datetime | None,
        rows: tuple[pl.DataFrame, pl.DataFrame] | None = None,
    ) -> Prepared:
        """Points of these bins and of those of the roll-ups that are over; the ledger notes them."""
        due = self._over(rollups, now)
        waiting = rollups.join(due, on=rollups.columns, how="anti")
        needed = pl.concat([bins, _minutes(due)]).unique()
        made = Prepared(rollups=due)
        if needed.is_empty():
            return made
        whole = needed.select(hour_of()).unique().to_series().sort().to_list()
        traffic, clients = _of_hours(hours, whole) if rows is None else rows
        with self._lock:
            every, traffic = traffic.height, self._admitted(traffic)
            numbered: Numbered | None = Numbered(clients)
            chosen = self._members(hours, whole, clients, numbered)
            if traffic.height < every or rows is None:
                numbered = None
            if traffic.height < every:
                groups = traffic.select("bin_start", "server", "kind").unique()
                clients = clients.join(groups, on=groups.columns, how="semi")
            if rows is None:
                on = ["bin_start", "server"]
                traffic = traffic.join(needed, on=on, how="semi")
                clients = clients.join(needed, on=on, how="semi")
            reduced = reduce(traffic, clients, chosen, self._merger, numbered)
            minute = reduced if rows is not None else reduced.joined(bins)
            sent = {m.name: self._ledger.keys(whole, m) for m in _BASE}
            frames = [self._frames(minute, bins, sent, 1, "")]
            zeros = {m.name: gone for m, _, gone, _ in frames[0]}
            widths = [1]
            # Longer bins are made of those before them: an hour of six, not of sixty.
            parts = reduced
            for suffix, width in ROLLUPS.items():
                of_width = due.filter(pl.col("width") == width).select("bin_start", "server")
                later = due.filter(pl.col("width") >= width)
                if later.is_empty():
                    break
                covered = _minutes(later).with_columns(pl.col("bin_start").dt.truncate(_before(width)))
                parts = rolled_up(parts.joined(covered.unique()), width, self._merger)
                if of_width.height:
                    frames.append(self._frames(parts.joined(of_width), of_width, sent, width, suffix))
                    widths.append(width)
            self._note(minute, zeros, chosen, whole, waiting)
        for (measurement, points, gone, old), width in (
            (f, w) for of_one_width, w in zip(frames, widths, strict=True) for f in of_one_width
        ):
            self._render(made, measurement, points, gone)
            made.stale += self._stale(measurement, old, width)
        return made

    def settle(self, made: Prepared) -> None:
        """It was all sent."""
        with self._lock, self._ledger.step():
            self._ledger.drop_pending(made.rollups)
            self._ledger.drop_todo(made.hours)
            for hour, stamp in made.stamps.items():
                self._ledger.set_stamp(hour, stamp)

    def _over(self, rollups: pl.DataFrame, now: datetime | None) -> pl.DataFrame:
        """Those that are over: their server has closed a later bin, or it is past their end for long."""
        moment = _END if now == _END else (now or datetime.now(UTC)) - GRACE
        newest = pl.DataFrame(
            [(s, t) for s, t in self._newest.items()],
            schema={"server": pl.String, "_newest": pl.Datetime("us", "UTC")},
            orient="row",
        )
        end = pl.col("bin_start") + pl.duration(minutes=pl.col("width"))
        return (
            rollups.join(newest, on="server", how="left")
            .filter((end <= moment) | (end <= pl.col("_newest")).fill_null(False))
            .select(rollups.columns)
        )

    def _members(
        self, hours: Hours, whole: list[datetime], clients: pl.DataFrame, numbered: Numbered | None
    ) -> pl.DataFrame:
        stored = self._ledger.members(whole)
        now = members.activity(clients, numbered)
        leading = members.leaders(now, self._per_hour)
        # The hours before these hours, without those that are among them.
        missing = sorted({h - _HOUR for h in whole} - set(whole))
        before = pl.concat([leading, *(self._before(hours, h).select(leading.columns) for h in missing)])
        if isinstance(hours, StoreHours):
            last = max(whole)
            self._last = (hours, last, leading.filter(pl.col(HOUR) == last))
        watched = self._ledger.watched(whole)
        return members.chosen(stored, before, now, watched, self._per_hour, self._admit, leading)

    def _before(self, hours: Hours, hour: datetime) -> pl.DataFrame:
        """Activity of an hour, or the most active clients of one that a backfill has just read."""
        if self._last is not None and self._last[0] is hours and self._last[1] == hour:
            return self._last[2]
        return hours.activity(hour, hour + _HOUR)

    # -- the bound on series

    def _admit(self, wanted: pl.DataFrame) -> pl.DataFrame:
        keys = _keys(wanted, CLIENT_TRAFFIC)
        most = self._max_series * _SHARE_OF_CLIENTS
        return wanted.filter(pl.Series([self._may(k, most) for k in keys], dtype=pl.Boolean))

    def _may(self, key: str, most: float) -> bool:
        if key in self._series:
            return True
        if (len(self._series) + 1) * _SERIES_A_KEY > most:
            if key not in self._refused:
                self.counts.refused_series += 1
                if len(self._refused) < self._max_series:
                    self._refused.add(key)
            return False
        self._series.add(key)
        self._fresh.add(key)
        self.counts.series = _SERIES_A_KEY * len(self._series)
        return True

    def _admitted(self, traffic: pl.DataFrame) -> pl.DataFrame:
        """Traffic without servers and kinds that are new past the bound (a flood of made-up host names)."""
        tags = list(TRAFFIC.tags)
        known = traffic.select(tags).unique()
        # With `traffic` comes the series `other` of the same server and kind.
        allowed = [
            self._may(k, self._max_series) & self._may(o, self._max_series)
            for k, o in zip(
                _keys(known, TRAFFIC),
                _keys(known.with_columns(pl.lit(OTHER).alias("client")), CLIENT_TRAFFIC),
                strict=True,
            )
        ]
        if all(allowed):
            return traffic
        return traffic.join(
            known.filter(pl.Series(allowed, dtype=pl.Boolean)), on=tags, how="semi", nulls_equal=True
        )

    # -- points

    def _frames(
        self, now: Reduced, bins: pl.DataFrame, sent: dict[str, pl.DataFrame], width: int, suffix: str
    ) -> list[tuple[Measurement, pl.DataFrame, pl.DataFrame, pl.DataFrame]]:
        """Of each measurement: its points, those of zeros, and which of the former have lost a value."""
        found = []
        for base in _BASE:
            points = now.of(base).select(base.time, *base.tags, *base.fields)
            gone = vanished(sent[base.name], bins, points, base, width)
            old = stale(sent[base.name], points, base, width)
            found.append((base.of_bins(suffix) if suffix else base, points, base.zeros(gone), old))
        return found

    def _stale(self, measurement: Measurement, points: pl.DataFrame, width: int) -> list[Stale]:
        """These points as stretches of bins without a gap."""
        found = []
        written = self._written_as(points).sort(measurement.time)
        for rows in written.partition_by(measurement.tags):
            step = pl.col(measurement.time).diff().fill_null(timedelta()) > timedelta(minutes=width)
            for run in rows.with_columns(step.cum_sum().alias("_run")).partition_by(
                "_run", include_key=False
            ):
                first = run.row(0, named=True)
                # As `render` spells them: what is null is written as a word.
                tags = {t: "none" if first[t] is None else str(first[t]) for t in measurement.tags}
                times = run[measurement.time].dt.epoch("s")
                optional = [f for group in measurement.optional for f in group]
                blank = run.select(measurement.time, *measurement.tags, pl.col(optional).fill_null(0))
                found.append(
                    Stale(measurement, tags, times[0], times[-1], render(blank, measurement, self._batch))
                )
        return found

    def _render(
        self, made: Prepared, measurement: Measurement, points: pl.DataFrame, zeros: pl.DataFrame
    ) -> None:
        for frame in (points, zeros):
            written = self._written_as(frame)
            made.texts += render(written.sort(_by_series(measurement)), measurement, self._batch)
        made.points += points.height + zeros.height
        made.zeros += zeros.height
        self.counts.points += points.height + zeros.height
        self.counts.zeros += zeros.height

    def _written_as(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._pseudonym is None or "client" not in frame.columns:
            return frame
        names = frame["client"].unique()
        words = {c: c if c == OTHER else self._pseudonym(c) for c in names if c is not None}
        return frame.with_columns(pl.col("client").replace(words))

    def _note(
        self,
        minute: Reduced,
        zeros: dict[str, pl.DataFrame],
        chosen: pl.DataFrame,
        whole: list[datetime],
        waiting: pl.DataFrame,
    ) -> None:
        """Note in the ledger what is about to be sent."""
        keys = []
        for m in _BASE:
            valued = [
                pl.when(pl.any_horizontal(pl.col(f).is_not_null() for f in group)).then(bits()).otherwise(0)
                for group in m.optional
            ]
            columns = [hour_of(), *m.tags, bits().alias("minutes")]
            columns += [v.alias(k) for v, k in zip(valued, known(m), strict=True)]
            # A 0 is a value, too.
            both = pl.concat([f.select(columns) for f in (minute.of(m), zeros[m.name])])
            keys.append(both.group_by(HOUR, *m.tags).agg(pl.col("minutes", *known(m)).bitwise_or()))
        with self._ledger.step():
            self._ledger.sent(keys[0], keys[1], chosen, whole)
            self._ledger.add_pending(waiting)
            self._ledger.add_series(self._fresh)
        self._fresh = set()


def _by_series(measurement: Measurement) -> pl.Expr:
    """An order of one series after the other, each by time: InfluxDB appends a request's points series by series.

    Texts are not compared for it: two series of one hash come out mixed, and as right.
    """
    minute = pl.col(measurement.time).dt.epoch("s") // 60
    return (pl.struct(measurement.tags).hash() & ~0xFFFF) | (minute % 0x10000).cast(pl.UInt64)


def _before(width: int) -> str:
    """Length of the bins that bins of so many minutes are made of."""
    return f"{max((w for w in ROLLUPS.values() if w < width), default=1)}m"


def _of_hours(hours: Hours, whole: list[datetime]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of these hours, read in runs of consecutive ones."""
    runs: list[list[datetime]] = []
    for hour in whole:
        if runs and hour - runs[-1][1] == timedelta():
            runs[-1][1] = hour + _HOUR
        else:
            runs.append([hour, hour + _HOUR])
    parts = [hours.rows(first, last) for first, last in runs]
    return pl.concat([p[0] for p in parts]), pl.concat([p[1] for p in parts])


def _touched(bins: pl.DataFrame) -> pl.DataFrame:
    """The roll-up bins that some bins lie in."""
    return pl.concat(
        [
            bins.select(
                pl.col("bin_start").dt.truncate(f"{width}m"),
                pl.lit(width, dtype=pl.Int64).alias("width"),
                "server",
            ).unique()
            for width in ROLLUPS.values()
        ]
    )


def _minutes(rollups: pl.DataFrame) -> pl.DataFrame:
    """The bins of a minute that roll-up bins cover."""
    if rollups.is_empty():
        return rollups.select("bin_start", "server")
    end = pl.col("bin_start") + pl.duration(minutes=pl.col("width"))
    return (
        rollups.select(
            pl.datetime_ranges("bin_start", end, "1m", closed="left", time_zone="UTC")
            .cast(pl.List(pl.Datetime("us", "UTC")))
            .alias("bin_start"),
            "server",
        )
        .explode("bin_start")
        .unique()
    )


def _bins_sent(sent: pl.DataFrame) -> pl.DataFrame:
    """The bins in which any key was sent."""
    by_hour = sent.group_by(HOUR, "server").agg(pl.col("minutes").bitwise_or())
    start = pl.col(HOUR).alias("bin_start")
    full = _minutes(by_hour.select(start, pl.lit(60, dtype=pl.Int64).alias("width"), "server"))
    return (
        full.with_columns(hour_of(), bits().alias("_bit"))
        .join(by_hour, on=[HOUR, "server"])
        .filter((pl.col("minutes") & pl.col("_bit")) != 0)
        .select("bin_start", "server")
    )


def _keys(frame: pl.DataFrame, measurement: Measurement) -> Iterable[str]:
    """A text for each row that stands for its series."""
    parts = [pl.lit(measurement.name), *(pl.col(t).fill_null("\0") for t in measurement.tags)]
    return frame.select(pl.concat_str(parts, separator="\x1f")).to_series().to_list()
