"""Writing the rows of sources, so that a crash at any moment leaves the store as it was before or after.

The order of the steps is what makes it safe (docs/store.md goes through every point at which it can end):

1. take the write lock; read the highest number ever used; number this writing above it;
2. write Parquet files (:meth:`SourceWriter.add`, as often as needed): no reader knows of them;
3. commit the files to each table: in the tables, but of generations that the journal does not name, so
   invisible;
4. commit the journal entries: from here on the new rows are visible and those they replace are not.

What is left after step 4, the rows of replaced generations, is cleared away by :mod:`seismolog.store.upkeep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

import polars as pl

from seismolog.errors import StoreError
from seismolog.store.journal import Coverage, Journal, SourceEntry
from seismolog.store.lock import write_lock
from seismolog.store.schema import GENERATION, REVISION, SOURCE, TABLES, Table
from seismolog.store.table import DeltaFiles, NewFile

__all__ = ["SourceWriter", "coverage_of", "highest_number"]


def highest_number(tables: Mapping[str, DeltaFiles]) -> int:
    """The highest generation or revision that any commit to any of these tables carries."""
    return max(files.last_number() for files in tables.values())


def coverage_of(traffic: pl.DataFrame, sources: int) -> list[tuple[Coverage, ...]]:
    """For each source index: in which bins it has events of which kind on which server.

    Parameters
    ----------
    traffic
        Rows with ``source`` (index), ``bin_start``, ``server``, ``kind``, ``count``.
    sources
        Number of sources.
    """
    result: list[tuple[Coverage, ...]] = [()] * sources
    if traffic.is_empty():
        return result
    stretches = (
        traffic.group_by(SOURCE, pl.col("server").cast(pl.String), pl.col("kind").cast(pl.String))
        .agg(
            pl.col("bin_start").min().alias("first"),
            pl.col("bin_start").max().alias("last"),
            pl.col("count").cast(pl.Int64).sum().alias("events"),
        )
        .sort(SOURCE, "server", "kind")
    )
    for row in stretches.iter_rows(named=True):
        one = Coverage(row["server"], row["kind"], row["first"], row["last"], row["events"])
        result[row[SOURCE]] = (*result[row[SOURCE]], one)
    return result


class SourceWriter:
    """One atomic writing of any number of sources; a context manager that holds the write lock.

    Leaving the block without :meth:`commit` drops what was written.
    """

    def __init__(self, tables: Mapping[str, DeltaFiles], journal: Journal, lock_wait: float = 10.0) -> None:
        self._tables = tables
        self._journal = journal
        self._lock_wait = lock_wait
        self._stack = ExitStack()
        self._before = 0
        self._next = 0
        self._written: dict[str, list[NewFile]] = {}
        self._entries: list[SourceEntry] = []
        self._replaced: dict[str, str] = {}
        self._committing = False

    def __enter__(self) -> Self:
        self._stack.enter_context(write_lock(self._tables["source"].local, self._lock_wait))
        try:
            self._before = highest_number(self._tables)
            self._next = self._before + 1
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Once a commit was tried it may have come through although it reported an error: files that a log
            # names must stay. What no log names goes with the next vacuum.
            if not self._committing:
                for name, files in self._written.items():
                    self._tables[name].discard(files)
        finally:
            self._stack.close()

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def add(self, frames: Mapping[str, pl.DataFrame], sources: Sequence[SourceEntry]) -> None:
        """Write the rows of these sources; they become visible with :meth:`commit`.

        Parameters
        ----------
        frames
            Table name to rows, as the counting core hands them over: with a column ``source`` that is an
            index into `sources`. Columns that the table does not declare are an error, missing ones are
            null.
        sources
            Their entries; generation, revision and coverage are filled in here.
        """
        generations = [self._number() for _ in sources]
        coverage = (
            coverage_of(frames["traffic"], len(sources)) if "traffic" in frames else [()] * len(sources)
        )
        ids = [s.source for s in sources]
        for name, frame in frames.items():
            columns = _conform(frame, TABLES[name], ids, generations)
            self._written.setdefault(name, []).extend(self._tables[name].write(frame, columns))
        for source, generation, stretches in zip(sources, generations, coverage, strict=True):
            self._entries.append(
                replace(
                    source,
                    generation=generation,
                    revision=generation,
                    state="current",
                    coverage=stretches or source.coverage,
                )
            )

    def complete(self, entry: SourceEntry) -> None:
        """Say of a source whose rows were added what was not known then; its rows and where they are stay."""
        self._entries = [
            replace(
                entry,
                generation=held.generation,
                revision=held.revision,
                state=held.state,
                coverage=held.coverage,
                edges=held.edges,
            )
            if held.source == entry.source
            else held
            for held in self._entries
        ]

    def replaces(self, old: str, new: str | None) -> None:
        """With the commit, the source `old` ends, replaced by the source `new` (None: removed)."""
        self._replaced[old] = new or ""

    def touch(self, entry: SourceEntry) -> None:
        """Record a changed entry of a source whose rows stay as they are (it was seen under another path)."""
        revision = max(self._number(), entry.revision + 1)  # a live source counts on by itself
        self._entries.append(replace(entry, revision=revision, recorded_at=None))

    def commit(self) -> int:
        """Make it all visible in one step; returns the number of sources that changed.

        Raises
        ------
        StoreError
            Nothing has become visible.
        """
        known = self._journal.entries()
        ours = {e.source for e in self._entries}
        counted = {e.source for e in self._entries if e.generation > self._before}
        # The stretches of a long log end with it, and where it is counted anew in fewer of them.
        for part in known.values():
            if part.is_part and part.state == "current" and part.source not in ours:
                if part.whole in self._replaced:
                    self._replaced[part.source] = self._replaced[part.whole]
                elif part.whole in counted:
                    self._replaced[part.source] = part.whole
        ended = [
            replace(
                known[old],
                revision=max(self._number(), known[old].revision + 1),
                state="replaced" if new else "removed",
                replaced_by=new or None,
                recorded_at=None,
            )
            for old, new in self._replaced.items()
            if old in known and old not in ours
        ]
        entries = self._entries + ended
        if not entries:
            return 0
        numbers = (self._before, self._next - 1)
        self._committing = True
        for name, files in self._written.items():
            self._tables[name].commit(files, numbers=numbers)
        self._journal.append(entries, numbers)
        self._entries, self._written, self._replaced = [], {}, {}
        return len(entries)


def _conform(
    frame: pl.DataFrame, table: Table, ids: Sequence[str], generations: Sequence[int]
) -> list[pl.Expr]:
    """The columns of the table's files, computed from a frame of the core; an unknown column is an error.

    A value that does not fit its column stops the writing.
    """
    extra = set(frame.columns) - set(table.names) - {SOURCE}
    if extra:
        raise StoreError(
            f"the table {table.name} has no column {', '.join(sorted(extra))}",
            expected=", ".join(table.names),
            mend="declare it in store/schema.py: the core and the package are of different versions",
        )
    own = [
        (pl.col(c.name) if c.name in frame.columns else pl.lit(None)).cast(c.dtype).alias(c.name)
        for c in table.columns
    ]
    none = pl.lit(None, dtype=pl.Int64).alias(REVISION)
    if len(ids) == 1:
        return [
            *own,
            pl.lit(ids[0]).alias(SOURCE),
            pl.lit(generations[0], dtype=pl.Int64).alias(GENERATION),
            none,
        ]
    index = pl.col(SOURCE).cast(pl.UInt32)
    places = list(range(len(ids)))
    return [
        *own,
        index.replace_strict(places, list(ids), return_dtype=pl.String).alias(SOURCE),
        index.replace_strict(places, list(generations), return_dtype=pl.Int64).alias(GENERATION),
        none,
    ]
