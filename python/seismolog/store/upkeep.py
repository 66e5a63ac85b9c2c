"""Keeping the store small: replaced rows, small files, expired days and dead files go away.

Each step is one Delta commit that takes files out and puts their replacement in, so a crash leaves the
partition as it was or as it is to be. None of them changes what a reader sees; they may run at any time,
under the write lock.

A day expires when it is older than ``keep`` *and* its sources were counted longer ago than that: an archive
of 2002 that is analysed today is not thrown away tonight. Live rows expire by their day alone.

Of live rows (:mod:`seismolog.store.live`) those of earlier revisions are folded away: files that share an
hour become one file an hour, an hour in memory at a time, and the files of a day that is over are strung
together without looking at their rows.

Limits: one day's rows of one table are rewritten in pieces of at most some million rows; a piece is in
memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import polars as pl

from seismolog.store.journal import Journal, SourceEntry, fold
from seismolog.store.live import newest, overlapping
from seismolog.store.schema import GENERATION, TABLES
from seismolog.store.table import FILE_ROWS, DataFile, DeltaFiles, NewFile, storage_errors

__all__ = ["Upkeep", "maintain"]


@dataclass
class Upkeep:
    """What was done."""

    rewritten: int = 0
    removed: int = 0
    expired_days: int = 0
    deleted_files: int = 0


def maintain(
    tables: Mapping[str, DeltaFiles],
    journal: Journal,
    *,
    number: int,
    keep: timedelta | None = None,
    compact_files: int = 8,
    retention_hours: int | None = 24,
    now: datetime | None = None,
    archives: bool = True,
) -> Upkeep:
    """Clear away, compact, expire and vacuum; the caller holds the write lock.

    Parameters
    ----------
    number
        A number above all that were used, for the journal's own compaction.
    keep
        Age at which days expire, None for never.
    compact_files
        Files a day and table after which they are joined.
    retention_hours
        Files that a reader may still hold are deleted after this many hours; None deletes nothing.
    archives
        False leaves rows of archives as they are: a daemon has its memory to keep, and whoever counts
        archives clears up after himself.
    """
    done = Upkeep()
    now = now or datetime.now(UTC)
    current = journal.current()
    live = {e.generation: e for e in current.values() if e.origin == "live"}
    for name, files in tables.items():
        table = TABLES[name]
        if files.open() is None:
            continue
        content = files.files()
        expired: list[DataFile] = []
        if keep is not None and name != "source":
            cutoff = now - keep
            expired = [
                f
                for f in content
                if f.day < cutoff.date()
                and (_is_live(f, live) or _counted_before(f, current, cutoff, table.sourced))
            ]
            files.commit([], expired)
            done.expired_days += len({f.day for f in expired})
            done.removed += len(expired)
        left = [f for f in content if f not in expired]
        if table.sourced:
            if live:
                _tidy_live(files, live, compact_files, now, done)
            if archives:
                _tidy(files, [f for f in left if not _is_live(f, live)], current, compact_files, done)
        elif name == "source" and len(left) > compact_files:
            _compact_journal(files, left, number)
            done.rewritten += len(left)
        elif len(left) > compact_files:
            _join_by_day(files, left, compact_files, done)
        if live:
            files.tidy_log(timedelta(hours=max(1, retention_hours or 24)))
    if retention_hours is not None:
        done.deleted_files = sum(files.vacuum(retention_hours) for files in tables.values())
    return done


def _is_live(file: DataFile, live: Mapping[int, SourceEntry]) -> bool:
    """Whether all rows of a file are of one current live source."""
    return file.low_generation == file.high_generation and file.low_generation in live


def _tidy_live(
    files: DeltaFiles, live: Mapping[int, SourceEntry], compact_files: int, now: datetime, done: Upkeep
) -> None:
    """Fold earlier revisions away and join small files, by day and source."""
    for of_day in _visible_live(files, live):
        for linked in _sharing_hours(of_day):
            if len(linked) > 1:
                _fold_hours(files, linked, done)
    for of_day in _visible_live(files, live):
        day = of_day[0].day
        over = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=3) < now
        if over and len(of_day) > compact_files:
            _string_together(files, of_day, done)


def _visible_live(files: DeltaFiles, live: Mapping[int, SourceEntry]) -> list[list[DataFile]]:
    """The files of live sources as they are now, by day and source.

    Rows above the visible revision wait for their journal entry; folded with the others, they would hide those
    that are visible.
    """
    groups: dict[tuple[date, int | None], list[DataFile]] = defaultdict(list)
    files.open()
    for file in files.files():
        if _is_live(file, live) and file.high_revision is not None and file.first and file.last:
            visible = live[file.low_generation or 0].live_revision or 0
            if file.high_revision <= visible:
                groups[file.day, file.low_generation].append(file)
    return [groups[k] for k in sorted(groups, key=str)]


def _hour(when: datetime) -> datetime:
    return when.replace(minute=0, second=0, microsecond=0)


def _sharing_hours(content: Sequence[DataFile]) -> list[list[DataFile]]:
    """Files in groups: two that have rows of one hour are in the same."""
    groups: list[list[DataFile]] = []
    reach: datetime | None = None
    for file in sorted(content, key=lambda f: (f.first, f.last)):
        assert file.first is not None and file.last is not None
        if reach is not None and _hour(file.first) <= _hour(reach):
            groups[-1].append(file)
        else:
            groups.append([file])
        reach = file.last if reach is None else max(reach, file.last)
    return groups


def _fold_hours(files: DeltaFiles, old: Sequence[DataFile], done: Upkeep) -> None:
    """Replace files of one day and live source by one file for each hour, of each key the highest revision."""
    table = files.table
    at = min(_hour(f.first) for f in old if f.first is not None)
    last = max(f.last for f in old if f.last is not None)
    when = pl.col(table.time)
    written: list[NewFile] = []
    try:
        while at <= last:
            end = at + timedelta(hours=1)
            of_hour = [f for f in old if f.first and f.last and f.first < end and f.last >= at]
            frame = files.scan(of_hour).filter(when >= at, when < end)
            if len(of_hour) > 1:
                frame = frame.filter(newest(table))
            with storage_errors("read rows", files.uri):
                rows = frame.collect()
            written += files.write(rows)
            at = end
    except BaseException:
        files.discard(written)
        raise
    files.commit(written, old)
    done.rewritten += len(old)
    done.removed += len(old)


def _string_together(files: DeltaFiles, content: Sequence[DataFile], done: Upkeep) -> None:
    """Join the files of one day and source that do not overlap, in order of time."""
    small = sorted((f for f in content if (f.rows or 0) < FILE_ROWS // 2), key=lambda f: (f.first, f.last))
    if overlapping(small):
        return
    while len(small) > 1:
        run = [small.pop(0)]
        while small and sum(f.rows or 0 for f in (*run, small[0])) <= FILE_ROWS:
            run.append(small.pop(0))
        if len(run) > 1:
            files.commit([files.concatenate(run)], run)
            done.rewritten += len(run)
            done.removed += len(run)


def _counted_before(
    file: DataFile, current: Mapping[str, SourceEntry], cutoff: datetime, sourced: bool
) -> bool:
    if not sourced:
        return True
    low, high = file.low_generation, file.high_generation
    inside = [e for e in current.values() if low is None or high is None or low <= e.generation <= high]
    return all(e.recorded_at is not None and e.recorded_at < cutoff for e in inside)


def _tidy(
    files: DeltaFiles,
    content: Sequence[DataFile],
    current: Mapping[str, SourceEntry],
    compact_files: int,
    done: Upkeep,
) -> None:
    generations = pl.Series(sorted(e.generation for e in current.values()), dtype=pl.Int64)
    visible = set(generations.to_list())
    days: dict[date, list[DataFile]] = defaultdict(list)
    for file in content:
        days[file.day].append(file)
    for day, of_day in sorted(days.items()):
        stale = [f for f in of_day if _holds_stale(files, f, visible)]
        # Small files are joined; one that is large already is left alone unless it holds stale rows.
        small = [f for f in of_day if (f.rows or 0) < FILE_ROWS // 2]
        rewrite = small if len(small) > compact_files else []
        rewrite = list({f.path: f for f in [*stale, *rewrite]}.values())
        if not rewrite:
            continue
        _rewrite(files, rewrite, day, pl.col(GENERATION).is_in(generations.implode()), done)


def _holds_stale(files: DeltaFiles, file: DataFile, visible: set[int]) -> bool:
    low, high = file.low_generation, file.high_generation
    if low is not None and high is not None:
        if low == high:
            return low not in visible
        if high - low <= len(visible) and all(g in visible for g in range(low, high + 1)):
            return False
    with storage_errors("read rows", files.uri):
        inside = files.scan([file]).select(pl.col(GENERATION).unique()).collect()[GENERATION]
    return not set(inside.to_list()) <= visible


def _rewrite(
    files: DeltaFiles, old: Sequence[DataFile], day: date, kept: pl.Expr | None, done: Upkeep
) -> None:
    """Replace files of one day by new ones with the kept rows, piece by piece of the day."""
    rows = sum(f.rows or 0 for f in old)
    pieces = max(1, -(-rows // FILE_ROWS))
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    step = timedelta(days=1) / pieces
    when = pl.col(files.table.time)
    frame = files.scan(old)
    if kept is not None:
        frame = frame.filter(kept)
    written: list[NewFile] = []
    try:
        for piece in range(pieces):
            part = frame.filter(when >= start + piece * step)
            if piece < pieces - 1:
                part = part.filter(when < start + (piece + 1) * step)
            with storage_errors("read rows", files.uri):
                collected = part.collect()
            written += files.write(collected)
    except BaseException:
        files.discard(written)
        raise
    files.commit(written, old)
    done.rewritten += len(old)
    done.removed += len(old)


def _join_by_day(files: DeltaFiles, content: Sequence[DataFile], compact_files: int, done: Upkeep) -> None:
    days: dict[date, list[DataFile]] = defaultdict(list)
    for file in content:
        days[file.day].append(file)
    for day, of_day in sorted(days.items()):
        if len(of_day) > compact_files:
            _rewrite(files, of_day, day, None, done)


def _compact_journal(files: DeltaFiles, content: Sequence[DataFile], number: int) -> None:
    """The journal as what holds now, in as few files as it has days."""
    with storage_errors("read the journal", files.uri):
        rows = fold(files.scan(content).collect())
    files.commit(files.write(rows), content, numbers=(number - 1, number))


def expired_sources(entries: Mapping[str, SourceEntry], keep: timedelta, now: datetime) -> list[SourceEntry]:
    """Entries of current sources of which every row has expired, marked so."""
    cutoff = now - keep
    return [
        replace(e, state="expired", recorded_at=None)
        for e in entries.values()
        if e.state == "current"
        and e.coverage
        and e.recorded_at is not None
        and e.recorded_at < cutoff
        and max(c.last for c in e.coverage).date() < cutoff.date()
    ]
