"""An hour as it is now: what the store has, and closed bins that it has not committed yet.

:class:`StoreHours` reads one moment of the store. :class:`LiveHours` lays the closed bins that went by since over it:
live rows are absolute and carry a revision, so of each key the highest one holds, wherever it was read. Late sets
(lines that came when their bin had been let go) are sources of their own, and are added. An hour is read from the store
once in a while and kept; what closes meanwhile is laid over what was kept.

Limits: the hours that are kept are in memory with all clients and states. Where an archive that was analysed a moment
ago covers a bin that closes now, the bin is counted from both until the hour is read anew
(:mod:`~seismolog.sinks.influxdb.changes`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import polars as pl

from seismolog.sinks.influxdb.members import activity
from seismolog.store.live import fold_revisions, late_source
from seismolog.store.merge import StateMerger, combine, core_merger
from seismolog.store.schema import REVISION, SOURCE, TABLES, Table

if TYPE_CHECKING:
    from seismolog.live.closed import Bins
    from seismolog.store import Snapshot, Store

__all__ = ["Hours", "LiveHours", "StoreHours"]

_TRAFFIC, _CLIENTS = TABLES["traffic"], TABLES["client_traffic"]
_HOUR = timedelta(hours=1)


class Hours(Protocol):
    """What is asked of either."""

    def rows(self, since: datetime, until: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        """``traffic`` and ``client_traffic`` of whole hours, one row a key, with states."""

    def activity(self, since: datetime, until: datetime) -> pl.DataFrame:
        """Events of each client by hour; see :func:`~seismolog.sinks.influxdb.members.activity`."""


class StoreHours:
    """Hours of one moment of the store."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def rows(self, since: datetime, until: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        """``traffic`` and ``client_traffic`` of whole hours, one row a key, with states."""
        read = self._snapshot.read
        return read("traffic", since, until).collect(), read("client_traffic", since, until).collect()

    def activity(self, since: datetime, until: datetime) -> pl.DataFrame:
        """Events of each client by hour."""
        columns = ["bin_start", "server", "kind", "client", "count"]
        rows = self._snapshot.read("client_traffic", since, until, columns, summed=False)
        return activity(rows.collect())


@dataclass
class _Kept:
    """An hour as the store had it, not summed over sources."""

    read_at: float
    revision: int
    frames: dict[str, pl.DataFrame]


class LiveHours:
    """Hours of the store with the closed bins of one live source laid over.

    Parameters
    ----------
    store, source
        The store, and the id of the live source that closes bins.
    kept
        Hours that are kept.
    age
        Seconds after which an hour is read anew.
    """

    def __init__(
        self,
        store: Store,
        source: str,
        *,
        kept: int = 3,
        age: float = 300.0,
        merger: StateMerger = core_merger,
    ) -> None:
        self._store = store
        self._source = source
        self._most = kept
        self._age = age
        self._merger = merger
        self._hours: dict[datetime, _Kept] = {}
        #: Revision, source, frames.
        self._over: list[tuple[int, str, dict[str, pl.DataFrame]]] = []

    def add(self, closed: Iterable[Bins]) -> None:
        """Bins have closed."""
        for bins in closed:
            sets = [(self._source, bins.frames)]
            sets += [(late_source(self._source, n), frames) for n, frames in bins.late.items()]
            for source, tables in sets:
                frames = {n: f for n, f in tables.items() if n in ("traffic", "client_traffic")}
                if frames:
                    self._over.append((bins.revision, source, frames))

    def invalidate(self) -> None:
        """The store was changed by others: read it anew."""
        self._hours.clear()

    def rows(self, since: datetime, until: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        """``traffic`` and ``client_traffic`` of whole hours, one row a key, with states."""
        return self._table(_TRAFFIC, since, until), self._table(_CLIENTS, since, until)

    def activity(self, since: datetime, until: datetime) -> pl.DataFrame:
        """Events of each client by hour."""
        return activity(self._table(_CLIENTS, since, until))

    def _table(self, table: Table, since: datetime, until: datetime) -> pl.DataFrame:
        when = pl.col(table.time)
        parts = []
        hour = since
        while hour < until:
            parts.append(self._hour(hour).frames[table.name])
            hour += _HOUR
        parts += [
            _conform(f[table.name].filter((when >= since) & (when < until)), table, source)
            for _, source, f in self._over
            if table.name in f
        ]
        frame = pl.concat(parts)
        if frame.is_empty():
            return frame.select(table.names)
        live = frame[REVISION].is_not_null()
        if live.any():
            frame = pl.concat([frame.filter(~live), fold_revisions(frame.filter(live), table)])
        frame = frame.select(SOURCE, *table.names)
        one = frame[SOURCE].n_unique() == 1
        frame = frame.drop(SOURCE)
        return frame if one else combine(frame, table, merger=self._merger)

    def _hour(self, hour: datetime) -> _Kept:
        kept = self._hours.get(hour)
        if kept is None or time.monotonic() - kept.read_at > self._age:
            snapshot = self._store.snapshot(["traffic", "client_traffic"])
            entry = snapshot.sources.get(self._source)
            frames = {
                t.name: snapshot.rows(t.name, hour, hour + _HOUR)
                .select(*(pl.col(c.name).cast(c.dtype) for c in t.columns), SOURCE, REVISION)
                .collect()
                for t in (_TRAFFIC, _CLIENTS)
            }
            committed = 0 if entry is None else entry.live_revision or 0
            kept = _Kept(time.monotonic(), committed, frames)
            self._hours.pop(hour, None)
            self._hours[hour] = kept
            while len(self._hours) > self._most:
                del self._hours[next(iter(self._hours))]
            # Hours that are not kept will be read with what is committed by then.
            safe = min(k.revision for k in self._hours.values())
            self._over = [o for o in self._over if o[0] > safe]
        return kept


def _conform(frame: pl.DataFrame, table: Table, source: str) -> pl.DataFrame:
    """A frame of closed bins with the columns and types of the store."""
    own = [
        (pl.col(c.name) if c.name in frame.columns else pl.lit(None)).cast(c.dtype).alias(c.name)
        for c in table.columns
    ]
    return frame.select(*own, pl.lit(source).alias(SOURCE), pl.col(REVISION).cast(pl.Int64))
