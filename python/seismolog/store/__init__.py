"""The store: what was counted, on disk, as Delta Lake tables that anything can read.

:class:`Store` is the one door. It writes the rows of sources so that counting a source again replaces that
source's rows only, and a crash leaves nothing half done; it reads tables summed over sources; and it keeps
itself small.

- :mod:`~seismolog.store.schema`    the tables, each column declared once
- :mod:`~seismolog.store.identity`  which files are the same log (pure)
- :mod:`~seismolog.store.journal`   the table ``source``: what is true
- :mod:`~seismolog.store.writer`    the order of the steps that makes writing atomic
- :mod:`~seismolog.store.live`      rows that come in as lines do: absolute values with a revision
- :mod:`~seismolog.store.supersede` which of archives and live counts is read where both have the same lines
- :mod:`~seismolog.store.snapshot`  reading one moment
- :mod:`~seismolog.store.merge`     how rows of one key become one
- :mod:`~seismolog.store.upkeep`    compaction, expiry, vacuum
- :mod:`~seismolog.store.table`     Parquet files and Delta commits

docs/store.md explains the design, the crash cases, and the figures behind the settings.

Limits: one process writes at a time (a lock on a local folder, a failing commit on object storage); any
number read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import polars as pl

from seismolog.store.identity import FileIdentity, Plan, Skip, plan_sources, source_id
from seismolog.store.journal import Coverage, Journal, SourceEntry
from seismolog.store.live import LiveTotals, LiveWriter
from seismolog.store.lock import write_lock
from seismolog.store.merge import StateMerger, combine, core_merger
from seismolog.store.schema import TABLES, Column, Table, table_of
from seismolog.store.snapshot import Snapshot
from seismolog.store.table import DeltaFiles
from seismolog.store.upkeep import Upkeep, expired_sources, maintain
from seismolog.store.writer import SourceWriter, highest_number

__all__ = [
    "TABLES",
    "Column",
    "Coverage",
    "FileIdentity",
    "LiveTotals",
    "LiveWriter",
    "Plan",
    "Skip",
    "Snapshot",
    "SourceEntry",
    "SourceWriter",
    "Store",
    "Table",
    "Upkeep",
    "combine",
    "plan_sources",
    "source_id",
    "table_of",
]


class Store:
    """A store in a folder or under a URL (``s3://…``).

    Parameters
    ----------
    url
        Folder or URL. It is created when something is first written.
    storage_options
        Credentials and options of object storage, as deltalake and polars take them; by default they come
        from the environment.
    merger
        What merges states; the counting core by default.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, str] | None = None,
        merger: StateMerger = core_merger,
    ) -> None:
        self.url = os.fspath(url) if "://" in os.fspath(url) else os.path.abspath(os.fspath(url))  # noqa: PTH100
        self.tables = {n: DeltaFiles(self.url, t, storage_options) for n, t in TABLES.items()}
        self.journal = Journal(self.tables["source"])
        self.merger = merger

    # -- reading

    def sources(self) -> dict[str, SourceEntry]:
        """The sources whose rows are visible, by id."""
        return self.journal.current()

    def snapshot(self, tables: Sequence[str] | None = None) -> Snapshot:
        """One moment of these tables (all by default), for reads that belong together."""
        names = list(tables) if tables is not None else [n for n in TABLES if n != "source"]
        return Snapshot(self.tables, self.journal, names, self.merger)

    def read(
        self,
        table: str,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
        *,
        summed: bool = True,
    ) -> pl.LazyFrame:
        """Rows of a table as they are now, one for each key; see :meth:`Snapshot.read`."""
        table_of(table)
        return self.snapshot([table]).read(table, since, until, columns, where, summed=summed)

    def days(
        self,
        table: str,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
        *,
        summed: bool = True,
    ) -> Iterator[tuple[date, pl.DataFrame]]:
        """The same rows day by day (UTC): memory is bounded by the largest day. Empty days are left out."""
        snapshot = self.snapshot([table])
        for day in snapshot.days(table):
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            end = start + timedelta(days=1)
            first, last = max(start, since or start), min(end, until or end)
            if first >= last:
                continue
            frame = snapshot.read(table, first, last, columns, where, summed=summed).collect()
            if frame.height:
                yield day, frame

    # -- writing

    def writer(self, lock_wait: float = 10.0) -> SourceWriter:
        """A writer of sources: ``with store.writer() as w: w.add(frames, entries); w.commit()``."""
        return SourceWriter(self.tables, self.journal, lock_wait)

    def live_writer(self, source: str, *, fingerprint: str = "", lock_wait: float = 10.0) -> LiveWriter:
        """A writer of one live source; see :class:`LiveWriter`."""
        return LiveWriter(self.tables, self.journal, source, fingerprint=fingerprint, lock_wait=lock_wait)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with write_lock(self.tables["source"].local):
            yield

    def replace(
        self,
        table: str,
        frame: pl.DataFrame,
        where: pl.Expr | None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        """Replace the rows of an unsourced table (a fit, a detector's incidents) for which `where` holds.

        One commit takes the old rows out and puts the new ones in.

        Parameters
        ----------
        table
            "model_fit", "model_series" or "incident".
        frame
            The new rows; missing columns are null.
        where
            Which rows they replace; None for all.
        since, until
            If given, only days in that range can hold such rows.
        """
        declared = table_of(table)
        if declared.sourced or table == "source":
            raise ValueError(f"rows of {table} belong to sources; write them with Store.writer")
        rows = frame.select(
            (pl.col(c.name) if c.name in frame.columns else pl.lit(None)).cast(c.dtype).alias(c.name)
            for c in declared.columns
        )
        files = self.tables[table]
        with self._locked():
            files.open()
            touched, kept = [], [rows]
            for file in files.files():
                if (since and file.day < since.date()) or (until and file.day > until.date()):
                    continue
                content = files.scan([file]).collect()
                rest = content.clear() if where is None else content.filter(~where.fill_null(False))
                if rest.height < content.height:
                    touched.append(file)
                    kept.append(rest)
            files.commit(files.write(pl.concat(kept)), touched)

    def remove(self, sources: Sequence[str]) -> int:
        """Take sources out of the store; their rows vanish at once. Returns how many there were."""
        with self.writer() as writer:
            for source in sources:
                writer.replaces(source, None)
            return writer.commit()

    # -- upkeep

    def maintain(
        self,
        *,
        keep: timedelta | None = None,
        compact_files: int = 8,
        retention: timedelta | None = timedelta(days=1),
        now: datetime | None = None,
        archives: bool = True,
    ) -> Upkeep:
        """Clear replaced rows away, join small files, let old days expire, delete dead files.

        Parameters
        ----------
        keep
            Age at which days expire, None or zero for never.
        compact_files
            Files of a day and table after which they are joined.
        retention
            For how long a reader may still hold files that were replaced; None deletes nothing.
        archives
            False leaves the rows of archives alone (they still expire).
        """
        keep = keep or None
        now = now or datetime.now(UTC)
        if keep is not None:
            self._mark_expired(keep, now)
        with self._locked():
            return maintain(
                self.tables,
                self.journal,
                number=1 + highest_number(self.tables),
                keep=keep,
                compact_files=compact_files,
                retention_hours=None if retention is None else -(-retention // timedelta(hours=1)),
                now=now,
                archives=archives,
            )

    def _mark_expired(self, keep: timedelta, now: datetime) -> None:
        expired = expired_sources(self.journal.entries(), keep, now)
        if expired:
            with self.writer() as writer:
                for entry in expired:
                    writer.touch(entry)
                writer.commit()
