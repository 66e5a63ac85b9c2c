"""What one target was sent, and what is still to do: one SQLite file in the state folder.

- *hours*    the keys that were sent for each hour, with bitmaps of its minutes (sent at all; with values of fields that
             may be null), and the members that were chosen. Written
             before the points are, so that after a crash it names at least what the target has: what is gone from the
             store can be written as 0.
- *pending*  roll-up bins that have changed and are to be written when they are over.
- *todo*     hours that are to be written whole, out of the store.
- *sources*  what of the store's journal was taken account of.
- *series*   every series that was sent, for the bound on their number.
- *watched*  clients under an incident.
- *findings* which models and incidents were sent, by key.

Each step is one transaction, flushed to disk. Keys are kept as compressed Arrow frames, an hour about ten kilobytes.

Limits: one thread at a time; one process for a target (:meth:`Ledger.claim`). Times are minutes or seconds since 1970.
"""

from __future__ import annotations

import fcntl
import io
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import polars as pl

from seismolog.errors import SeismologError
from seismolog.sinks.influxdb import members
from seismolog.sinks.influxdb.measurements import CLIENT_TRAFFIC, TRAFFIC, Measurement
from seismolog.sinks.influxdb.points import HOUR, known

__all__ = ["Ledger", "empty_keys"]

_VERSION = 1
_TABLES = """
create table if not exists meta (key text primary key, value text not null) without rowid;
create table if not exists hours (
    hour integer primary key, traffic blob, clients blob, members blob, stamp text
);
create table if not exists pending (
    start integer not null, width integer not null, server text not null, primary key (start, width, server)
) without rowid;
create table if not exists todo (hour integer primary key);
create table if not exists sources (source text primary key, state text not null) without rowid;
create table if not exists series (key text primary key, seen integer not null) without rowid;
create table if not exists watched (
    incident text not null, client text not null, since integer not null, until integer,
    primary key (incident, client)
) without rowid;
create table if not exists findings (
    measurement text not null, key text not null, at integer not null, digest text not null, tags text not null,
    primary key (measurement, key)
) without rowid;
"""
_TIME = pl.Datetime("us", "UTC")
_HOUR = timedelta(hours=1)


def empty_keys(measurement: Measurement) -> pl.DataFrame:
    """No keys of a measurement."""
    return pl.DataFrame(
        schema={
            HOUR: _TIME,
            **dict.fromkeys(measurement.tags, pl.String()),
            **dict.fromkeys(("minutes", *known(measurement)), pl.Int64()),
        }
    )


def _seconds(when: datetime) -> int:
    return int(when.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _packed(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.rechunk().write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def _unpacked(blob: bytes | None) -> pl.DataFrame | None:
    return None if blob is None else pl.read_ipc(io.BytesIO(blob))


class Ledger:
    """The ledger of one target.

    Parameters
    ----------
    path
        The file; its folder is made. Its lock stands beside it.

    Raises
    ------
    SeismologError
        The file cannot be opened or is of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise SeismologError(
                f"the exporter's ledger cannot be opened: {error}",
                file=path,
                mend="check its permissions; if it is damaged, remove it and export what it held again "
                "(seismolog export --since …): writing twice changes nothing",
            ) from error
        found = int(self.meta("version") or _VERSION)
        if found > _VERSION:
            raise SeismologError(
                f"the ledger is of version {found}; this seismolog knows {_VERSION}",
                file=path,
                mend="use the newer seismolog that wrote it",
            )
        self.set_meta("version", str(_VERSION))

    def close(self) -> None:
        """Close the file and give up the claim."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def claim(self) -> bool:
        """Be the one exporter of this target; False where another process is."""
        if self._lock is None:
            lock = self.path.with_suffix(".lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                return False
            self._lock = lock
        return True

    @contextmanager
    def step(self) -> Iterator[None]:
        """One transaction: all of it or nothing."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    # -- small facts

    def meta(self, key: str) -> str | None:
        """A fact by name."""
        row = self._db.execute("select value from meta where key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Remember a fact."""
        self._db.execute("insert or replace into meta values (?, ?)", (key, value))

    # -- hours

    def keys(self, hours: Iterable[datetime], measurement: Measurement) -> pl.DataFrame:
        """Keys that were sent in these hours: ``hour``, the tags, ``minutes``, and those of :func:`known`."""
        column = "clients" if measurement.name == CLIENT_TRAFFIC.name else "traffic"
        empty = empty_keys(measurement)
        # A ledger of before these columns does not know of any value.
        parts = [
            f.with_columns(pl.lit(0, dtype=pl.Int64).alias(c) for c in empty.columns if c not in f.columns)
            for f in self._blobs(hours, column)
        ]
        return pl.concat([empty, *(p.select(empty.columns) for p in parts)])

    def members(self, hours: Iterable[datetime]) -> pl.DataFrame:
        """Clients with series of their own in these hours."""
        return pl.concat([members.empty(), *self._blobs(hours, "members")])

    def _blobs(self, hours: Iterable[datetime], column: str) -> list[pl.DataFrame]:
        found = []
        for hour in hours:
            query = f"select {column} from hours where hour = ?"  # noqa: S608 - a column of ours
            row = self._db.execute(query, (_seconds(hour),)).fetchone()
            frame = _unpacked(row[0]) if row else None
            if frame is not None:
                found.append(frame)
        return found

    def sent(
        self, traffic: pl.DataFrame, clients: pl.DataFrame, chosen: pl.DataFrame, hours: Sequence[datetime]
    ) -> None:
        """Note keys that are about to be sent, beside those that were, and the members of these hours."""
        frames = (
            self._united(traffic, hours, TRAFFIC),
            self._united(clients, hours, CLIENT_TRAFFIC),
            chosen,
        )
        parts = [{k[0]: f for k, f in frame.partition_by(HOUR, as_dict=True).items()} for frame in frames]
        for hour in hours:
            row = [None if hour not in part else _packed(part[hour]) for part in parts]
            self._db.execute(
                "insert into hours (hour, traffic, clients, members) values (?, ?, ?, ?) on conflict (hour) do update "
                "set traffic = excluded.traffic, clients = excluded.clients, members = excluded.members",
                (_seconds(hour), *row),
            )

    def _united(self, new: pl.DataFrame, hours: Sequence[datetime], measurement: Measurement) -> pl.DataFrame:
        both = pl.concat([self.keys(hours, measurement), new.select(empty_keys(measurement).columns)])
        return both.group_by(HOUR, *measurement.tags).agg(pl.col("minutes", *known(measurement)).bitwise_or())

    def stamp(self, hour: datetime) -> str | None:
        """What the hour was made of when it was last written whole."""
        row = self._db.execute("select stamp from hours where hour = ?", (_seconds(hour),)).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def set_stamp(self, hour: datetime, stamp: str) -> None:
        """The hour was written whole out of what `stamp` stands for."""
        self._db.execute(
            "insert into hours (hour, stamp) values (?, ?) on conflict (hour) do update set stamp = excluded.stamp",
            (_seconds(hour), stamp),
        )

    def known_hours(self, since: datetime | None = None, until: datetime | None = None) -> list[datetime]:
        """Hours in which something was sent, rising."""
        low = -(2**62) if since is None else _seconds(since)
        high = 2**62 if until is None else _seconds(until)
        rows = self._db.execute(
            "select hour from hours where hour >= ? and hour < ? order by hour", (low, high)
        )
        return [_moment(r[0]) for r in rows]

    def forget_before(self, hour: datetime) -> None:
        """Hours that the store has let go of need no keys any more."""
        self._db.execute("delete from hours where hour < ?", (_seconds(hour),))

    # -- roll-ups that wait

    def pending(self) -> pl.DataFrame:
        """Roll-up bins that wait: ``bin_start``, ``width``, ``server``."""
        rows = self._db.execute("select start, width, server from pending").fetchall()
        frame = pl.DataFrame(
            rows, schema={"start": pl.Int64, "width": pl.Int64, "server": pl.String}, orient="row"
        )
        return frame.select(
            pl.from_epoch("start", "s")
            .dt.cast_time_unit("us")
            .dt.replace_time_zone("UTC")
            .alias("bin_start"),
            "width",
            "server",
        )

    def add_pending(self, bins: pl.DataFrame) -> None:
        """These roll-up bins have changed."""
        self._db.executemany("insert or ignore into pending values (?, ?, ?)", _triples(bins))

    def drop_pending(self, bins: pl.DataFrame) -> None:
        """These are written."""
        self._db.executemany(
            "delete from pending where start = ? and width = ? and server = ?", _triples(bins)
        )

    # -- hours to do

    def todo(self, limit: int = 24) -> list[datetime]:
        """The next hours that are to be written whole, rising."""
        return [
            _moment(r[0]) for r in self._db.execute("select hour from todo order by hour limit ?", (limit,))
        ]

    def todo_count(self) -> int:
        """How many there are."""
        return int(self._db.execute("select count(*) from todo").fetchone()[0])

    def add_todo(self, hours: Iterable[datetime]) -> None:
        """Write these hours whole."""
        self._db.executemany("insert or ignore into todo values (?)", [(_seconds(h),) for h in hours])

    def drop_todo(self, hours: Iterable[datetime]) -> None:
        """These are written."""
        self._db.executemany("delete from todo where hour = ?", [(_seconds(h),) for h in hours])

    # -- what of the journal is known

    def sources(self) -> dict[str, str]:
        """Source to the state (JSON) that was taken account of."""
        return dict(self._db.execute("select source, state from sources"))

    def set_sources(self, states: Mapping[str, str]) -> None:
        """Take account of these."""
        self._db.executemany("insert or replace into sources values (?, ?)", list(states.items()))

    # -- series

    def series(self) -> set[str]:
        """Every series that was sent and is not forgotten."""
        return {r[0] for r in self._db.execute("select key from series")}

    def add_series(self, keys: Iterable[str]) -> None:
        """These were sent now."""
        now = int(time.time())
        self._db.executemany("insert or replace into series values (?, ?)", [(k, now) for k in keys])

    def forget_series(self, age: timedelta) -> None:
        """Those that were not sent for so long are gone from the bucket."""
        self._db.execute("delete from series where seen < ?", (int(time.time() - age.total_seconds()),))

    # -- clients under an incident

    def watched(self, hours: Sequence[datetime]) -> pl.DataFrame:
        """``hour`` and ``client`` of those hours in which an incident concerns the client."""
        found: set[tuple[datetime, str]] = set()
        rows = self._db.execute("select client, since, until from watched").fetchall()
        for client, since, until in rows:
            for hour in hours:
                if since < _seconds(hour + _HOUR) and (until is None or _seconds(hour) < until):
                    found.add((hour, client))
        return pl.DataFrame(sorted(found), schema={HOUR: _TIME, "client": pl.String}, orient="row")

    def watches(self) -> dict[tuple[str, str], tuple[int, int | None]]:
        """(incident, client) to from when until when (None: open), in seconds."""
        rows = self._db.execute("select incident, client, since, until from watched")
        return {(r[0], r[1]): (r[2], r[3]) for r in rows}

    def set_watch(self, incident: str, client: str, since: int, until: int | None) -> None:
        """An incident concerns a client in this time."""
        self._db.execute(
            "insert or replace into watched values (?, ?, ?, ?)", (incident, client, since, until)
        )

    # -- models and incidents

    def findings(self, measurement: str) -> dict[str, tuple[int, str, str]]:
        """Key to (time in the measurement's unit, digest, tags as JSON) of every point that was sent."""
        rows = self._db.execute(
            "select key, at, digest, tags from findings where measurement = ?", (measurement,)
        )
        return {r[0]: (r[1], r[2], r[3]) for r in rows}

    def set_findings(self, measurement: str, points: Mapping[str, tuple[int, str, str]]) -> None:
        """These points are about to be sent."""
        self._db.executemany(
            "insert or replace into findings values (?, ?, ?, ?, ?)",
            [(measurement, k, *v) for k, v in points.items()],
        )

    def drop_findings(self, measurement: str, keys: Iterable[str]) -> None:
        """These are gone from the target."""
        self._db.executemany(
            "delete from findings where measurement = ? and key = ?", [(measurement, k) for k in keys]
        )


def _triples(bins: pl.DataFrame) -> list[tuple[int, int, str]]:
    frame = bins.select(pl.col("bin_start").dt.epoch("s"), pl.col("width").cast(pl.Int64), "server")
    return [(int(a), int(b), str(c)) for a, b, c in frame.iter_rows()]
