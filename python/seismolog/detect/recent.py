"""The store as the detectors beside a daemon read it, look after look: hours that have not changed are not read again.

A look at the close of ten minutes is of the last day, and a few series reach back a week. All but the newest hour of it was
read by the look before. :class:`Recent` keeps what a look made of each whole hour, with the stamp of that hour's rows in the
store (:meth:`seismolog.store.snapshot.Snapshot.stamp`), and reads an hour again when its stamp is another: late lines, an
archive that was analysed over it, an archive that was removed.

    recent = Recent()
    tables = recent.of(store)        # one look: one moment of each table
    View(tables, …)                  # View.by_hour asks for hours; all other reads pass through

Memory: what is kept are sums by bin and key, of the hours that the last look asked for, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.store.schema import table_of

if TYPE_CHECKING:
    from seismolog.detect.view import Tables
    from seismolog.store import Store
    from seismolog.store.snapshot import Snapshot

__all__ = ["Recent"]

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: An hour's stamp, and what was made of its rows.
_Hours = dict[datetime, tuple[Hashable, pl.DataFrame]]


class Recent:
    """What looks have made of the hours of a store."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Hours] = {}

    def of(self, tables: Tables) -> Tables:
        """The tables for one look: a store as it is now, with the hours that are kept; others as they are."""
        from seismolog.store import Store

        return _Look(tables, self._kept) if isinstance(tables, Store) else tables

    @property
    def bytes(self) -> int:
        """Estimated size of what is kept."""
        return sum(
            int(frame.estimated_size()) for hours in self._kept.values() for _, frame in hours.values()
        )


class _Look:
    """One moment of a store; see :class:`Recent`."""

    def __init__(self, store: Store, kept: dict[Hashable, _Hours]) -> None:
        self._store, self._kept = store, kept
        self._snapshots: dict[str, Snapshot] = {}

    def _snapshot(self, table: str) -> Snapshot:
        if table not in self._snapshots:
            self._snapshots[table] = self._store.snapshot([table])
        return self._snapshots[table]

    def read(
        self,
        table: str,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.LazyFrame:
        """Rows of a table, of the moment at which this look first asked for the table."""
        return self._snapshot(table).read(table, since, until, columns, where)

    def by_hour(
        self,
        key: Hashable,
        table: str,
        since: datetime,
        until: datetime,
        columns: Sequence[str],
        where: pl.Expr | None,
        make: Callable[[pl.LazyFrame], pl.LazyFrame],
    ) -> pl.DataFrame:
        """What `make` makes of the rows of each hour, as :meth:`seismolog.detect.view.View.by_hour` promises it."""
        snapshot, when = self._snapshot(table), table_of(table).time
        kept = self._kept.setdefault(key, {})
        first = since - (since - _EPOCH) % _HOUR
        hours = [first + i * _HOUR for i in range(-((first - until) // _HOUR))]
        stamps: dict[datetime, Hashable] = {
            hour: snapshot.stamp(table, hour, hour + _HOUR) for hour in hours if hour + _HOUR <= until
        }
        for hour in [h for h, (stamp, _) in kept.items() if h not in stamps or stamp != stamps[h]]:
            del kept[hour]
        parts = [frame for _, frame in kept.values()]
        for low, high in _runs([h for h in hours if h not in kept]):
            rows = snapshot.read(table, low, min(high, until), columns, where, summed=False)
            made = make(rows).collect()
            parts.append(made)
            whole = made.filter(pl.col(when) < until - (until - _EPOCH) % _HOUR)
            found: dict[Any, pl.DataFrame] = dict(
                whole.group_by(pl.col(when).dt.truncate("1h"), maintain_order=False)
            )
            empty = made.clear()
            for hour in (low + i * _HOUR for i in range((high - low) // _HOUR)):
                if hour in stamps and stamps[hour] is not None:
                    kept[hour] = (stamps[hour], found.get((hour,), empty))
        return (
            pl.concat(parts) if parts else make(snapshot.read(table, since, since, columns, where)).collect()
        )


def _runs(hours: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """Half-open stretches of hours that follow one another."""
    runs: list[tuple[datetime, datetime]] = []
    for hour in hours:
        if runs and runs[-1][1] == hour:
            runs[-1] = (runs[-1][0], hour + _HOUR)
        else:
            runs.append((hour, hour + _HOUR))
    return runs
