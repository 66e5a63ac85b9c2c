"""Live rows: what is counted as lines come in, as absolute values that are only ever appended.

A bin that closes is written as rows with a ``revision``, the position in the write-ahead log up to which its
lines were counted. Lines that come later for that bin write it again, with all its columns and states, under a
higher revision. A reader takes the row with the highest revision of each key; nothing is replaced, so a
commit costs the same however large the day is. Upkeep folds older revisions away.

A live source is one source, one generation, for good. Its journal entry names besides up to which revision
its rows are visible (``live_revision``). :meth:`LiveWriter.commit` goes in this order:

1. take the write lock;
2. write the rows of each table and commit them, with the revision as an application transaction: rows that
   the table has already are left out;
3. append the journal entry with the new ``live_revision``. Now, in all tables at once, they are visible.

It is killed between two of these steps: rows above ``live_revision`` are in some tables and invisible. The
next start reads the closed-bin log from ``live_revision`` on, step 2 skips the tables that have those rows,
and step 3 makes them visible. So a reader never sees a bin in one table and not in another, and what is
replayed is not written twice.

The journal stays small: each entry takes the file of the entry before out of the table in the same commit.

Limits: rows of one commit are in memory. A key that vanishes from a bin between two revisions (the tables of
heavy hitters shed the lighter half) keeps its earlier row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from seismolog.errors import StoreError
from seismolog.store.journal import Coverage, Journal, SourceEntry
from seismolog.store.lock import write_lock
from seismolog.store.schema import GENERATION, REVISION, SOURCE, TABLES, Table
from seismolog.store.table import DataFile, DeltaFiles
from seismolog.store.writer import highest_number

__all__ = ["LiveTotals", "LiveWriter", "fold_revisions", "is_of", "late_source", "overlapping"]


@dataclass(frozen=True)
class LiveTotals:
    """Lines since the source began."""

    lines: int = 0
    matched: int = 0
    ignored: int = 0
    unmatched: int = 0


def late_source(source: str, number: int) -> str:
    """Id of a late set of a live source: bins of lines that came when their bin had been let go."""
    return f"{source}~{number}"


def is_of(source: str, live: str) -> bool:
    """Whether a source is this live source or one of its late sets."""
    return source == live or source.startswith(f"{live}~")


def fold_revisions(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The row with the highest revision of each key (and source, where the frame tells)."""
    keys = [k for k in (*table.keys, SOURCE) if k in frame.columns]
    return frame.sort(REVISION).unique(keys, keep="last", maintain_order=True)


def newest(table: Table) -> pl.Expr:
    """The same as a condition, for a lazy frame; equal revisions of one key do not occur between commits."""
    return pl.col(REVISION) == pl.col(REVISION).max().over([*table.keys, SOURCE])


def overlapping(files: Sequence[DataFile]) -> list[tuple[datetime, datetime]]:
    """Stretches of time (inclusive) in which more than one of these files may have rows."""
    spans = sorted(_span(f) for f in files)
    found: list[tuple[datetime, datetime]] = []
    reach: datetime | None = None
    for first, last in spans:
        if reach is not None and first <= reach:
            end = min(reach, last)
            if found and first <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], end))
            else:
                found.append((first, end))
        reach = last if reach is None else max(reach, last)
    return found


def _span(file: DataFile) -> tuple[datetime, datetime]:
    from datetime import UTC

    day = datetime(file.day.year, file.day.month, file.day.day, tzinfo=UTC)
    return file.first or day, file.last or day + timedelta(days=1, microseconds=-1)


class LiveWriter:
    """Appends the rows of one live source; one at a time for a source.

    Parameters
    ----------
    tables, journal
        Those of the store.
    source
        Id of the source. It stands for one write-ahead log: whoever begins a new log begins a new source, for
        revisions start again.
    fingerprint
        Stands for the options of counting.
    lock_wait
        Seconds to wait for another writer.
    """

    def __init__(
        self,
        tables: Mapping[str, DeltaFiles],
        journal: Journal,
        source: str,
        *,
        fingerprint: str = "",
        lock_wait: float = 10.0,
    ) -> None:
        self.source = source
        self._tables = tables
        self._journal = journal
        self._fingerprint = fingerprint
        self._lock_wait = lock_wait
        self._entry: SourceEntry | None = None
        self._entry_file: str | None = None
        self._journal_version = -2

    @property
    def app(self) -> str:
        """Application id of the transactions that number this source's commits."""
        return f"seismolog-live-{self.source}"

    def committed(self) -> int:
        """The revision up to which rows are visible, 0 at the beginning.

        Raises
        ------
        StoreError
            The journal cannot be read.
        """
        entry = self._journal.entries().get(self.source)
        return 0 if entry is None else entry.live_revision or 0

    def totals(self) -> LiveTotals:
        """Lines since the source began, as last committed."""
        entry = self._journal.entries().get(self.source)
        if entry is None:
            return LiveTotals()
        return LiveTotals(entry.lines, entry.matched, entry.ignored, entry.unmatched)

    @contextmanager
    def _current(self) -> Iterator[SourceEntry]:
        """Our entry under the write lock; it is made where there is none."""
        journal = self._journal
        with write_lock(journal.files.local, self._lock_wait):
            journal.files.open()
            if self._entry is None or journal.files.version != self._journal_version:
                self._entry = journal.entries().get(self.source)
                if self._entry is not None and self._entry.origin != "live":
                    raise StoreError(f"the source {self.source} is an archive's", file=journal.files.uri)
            if self._entry is None:
                # The number must be taken before rows carry it: another writer would take it again.
                before = highest_number(self._tables)
                number = before + 1
                self._append(
                    SourceEntry(
                        source=self.source,
                        generation=number,
                        revision=number,
                        origin="live",
                        live_revision=0,
                        fingerprint=self._fingerprint,
                    ),
                    numbers=(before, number),
                )
            assert self._entry is not None
            yield self._entry

    def _append(self, entry: SourceEntry, numbers: tuple[int, int] | None = None) -> None:
        """Journal an entry, and take the file of the one before out."""
        files = self._journal.files
        new = files.write(self._journal.frame([entry]))
        old = [f for f in files.files() if f.path == self._entry_file and f.rows == 1]
        files.commit(new, old, numbers=numbers)
        self._entry, self._entry_file = entry, new[0].action.path
        self._journal_version = files.version

    def commit(
        self,
        frames: Mapping[str, pl.DataFrame],
        revision: int,
        totals: LiveTotals | None = None,
    ) -> bool:
        """Make rows visible up to a revision, in all tables at once.

        Parameters
        ----------
        frames
            Table name to rows, with names for codes and a column ``revision``; every row above
            :meth:`committed`, and all that there are up to `revision`.
        revision
            The highest revision that is now complete.
        totals
            Lines since the source began.

        Returns
        -------
        bool
            False where the store had it all before (a replay).

        Raises
        ------
        StoreError
            The disk is full, or another process holds the lock. Nothing has become visible; the same rows, or
            more, are to be given again.
        """
        with self._current() as entry:
            if revision <= (entry.live_revision or 0):
                return False
            for name, frame in frames.items():
                self._commit_table(TABLES[name], self._tables[name], frame, entry.generation, revision)
            coverage = _widened(entry.coverage, frames.get("traffic"))
            after = totals or LiveTotals(entry.lines, entry.matched, entry.ignored, entry.unmatched)
            self._append(
                replace(
                    entry,
                    revision=entry.revision + 1,
                    live_revision=revision,
                    state="current",
                    replaced_by=None,
                    recorded_at=None,
                    fingerprint=self._fingerprint,
                    coverage=coverage,
                    servers=tuple(sorted({c.server for c in coverage})),
                    first_time=min((c.first for c in coverage), default=None),
                    last_time=max((c.last for c in coverage), default=None),
                    lines=after.lines,
                    matched=after.matched,
                    ignored=after.ignored,
                    unmatched=after.unmatched,
                )
            )
            return True

    def _commit_table(
        self, table: Table, files: DeltaFiles, frame: pl.DataFrame, generation: int, revision: int
    ) -> None:
        rows = frame.filter(pl.col(REVISION) > files.last_number(self.app))
        if rows.is_empty():
            return
        extra = set(rows.columns) - set(table.names) - {SOURCE, REVISION}
        if extra:
            raise StoreError(
                f"the table {table.name} has no column {', '.join(sorted(extra))}",
                expected=", ".join(table.names),
                mend="declare it in store/schema.py: the core and the package are of different versions",
            )
        rows = fold_revisions(rows.drop(SOURCE, strict=False), table)
        columns = [
            *(
                (pl.col(c.name) if c.name in rows.columns else pl.lit(None)).cast(c.dtype).alias(c.name)
                for c in table.columns
            ),
            pl.lit(self.source).alias(SOURCE),
            pl.lit(generation, dtype=pl.Int64).alias(GENERATION),
            pl.col(REVISION).cast(pl.Int64),
        ]
        written = files.write(rows, columns)
        # No discard on an error: the commit may have come through, and what no log names goes with the vacuum.
        files.commit(written, transaction=(self.app, revision))


def _widened(coverage: Sequence[Coverage], traffic: pl.DataFrame | None) -> tuple[Coverage, ...]:
    """The stretches of server and kind, reaching over these rows as well; events are not told of live sources."""
    if traffic is None or traffic.is_empty():
        return tuple(coverage)
    known = {(c.server, c.kind): c for c in coverage}
    spans = traffic.group_by(pl.col("server").cast(pl.String), pl.col("kind").cast(pl.String)).agg(
        pl.col("bin_start").min().alias("first"), pl.col("bin_start").max().alias("last")
    )
    for row in spans.iter_rows(named=True):
        key = (row["server"], row["kind"])
        old = known.get(key)
        first, last = row["first"], row["last"]
        if old is not None:
            first, last = min(first, old.first), max(last, old.last)
        known[key] = Coverage(*key, first, last, 0)
    return tuple(known[k] for k in sorted(known))
