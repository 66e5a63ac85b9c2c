"""The two jobs on archives: count files into a table, and count files into a store.

Both find the files, decide which are the same log, count the rest in batches bounded by size, and report.
What cannot be read does not stop them: it is collected in ``failures``, with what was readable counted.

Into a store each batch is one atomic step. A run that is stopped keeps what its finished batches counted,
and the next run skips those files.

Limits: see the package.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl

from seismolog.archive import edges
from seismolog.archive.batches import Pace, batches
from seismolog.archive.discover import STDIN, Found, PassedOver, discover
from seismolog.archive.scanning import (
    Progress,
    Scanned,
    Scanner,
    ScanOptions,
    Summary,
    core,
    detail_frames,
    guesses,
    moment,
    plain_frames,
    public_suffixes,
)
from seismolog.archive.sources import PlannedFiles, absolute, plan_files
from seismolog.archive.stretches import Stretches, right_year, together
from seismolog.errors import InputError, core_errors
from seismolog.series import counts
from seismolog.store import Store
from seismolog.store.identity import may_replace, source_id
from seismolog.store.journal import SourceEntry
from seismolog.store.schema import SOURCE
from seismolog.store.writer import SourceWriter

__all__ = ["Archived", "Counted", "analyze_into_store", "count"]

#: Names of one content that are remembered.
_NAMES = 8


@dataclass
class Counted:
    """Counts of files, and what was read for them."""

    table: pl.DataFrame
    files: list[str]
    summary: Summary
    passed_over: list[PassedOver]
    failures: list[InputError]


@dataclass
class Archived:
    """What an analysis put into a store.

    ``sources`` are the current entries of all files of the command, those counted before included: they
    tell which servers, kinds and times are there. ``replaced`` are the sources that ended.
    """

    files: list[str] = field(default_factory=list)
    scanned: list[str] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    sources: list[SourceEntry] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    summary: Summary = field(default_factory=Summary)
    failures: list[InputError] = field(default_factory=list)


def count(
    paths: Sequence[str | os.PathLike[str]],
    options: ScanOptions | None = None,
    *,
    by: Sequence[str] = ("server", "kind"),
    bin: timedelta | Literal["all"] = "all",  # noqa: A002 - the word of the field
    since: datetime | None = None,
    until: datetime | None = None,
    servers: Sequence[str] = (),
    progress: Progress | None = None,
    scanner: Scanner | None = None,
) -> Counted:
    """Count files, each log once, into the table of ``seismolog count``.

    Parameters
    ----------
    paths
        Files, folders, globs, ``-``.
    by, bin
        As :func:`seismolog.series.counts` takes them.
    since, until
        Only bins of one minute in [since, until).
    servers
        Only these servers, all by default.

    Raises
    ------
    UsageError, InputError
        A path that was named does not exist or cannot be opened. What goes wrong later is in ``failures``.
    """
    options = options or ScanOptions()
    scanner = scanner or core()
    found = discover(paths, options.skip)
    planned = plan_files(found.files, (), scanner)
    table = "client_traffic" if "client" in by else "traffic"
    want = {
        "clients": "client" in by,
        "query_types": "qtype" in by,
        "names": False,
        "edges": True,
        "digest": False,
    }
    parts: list[pl.DataFrame] = []
    halves = edges.Halves()
    sources = itertools.count()
    reports: list[Mapping[str, Any]] = []
    todo = _paths_to_scan(planned)
    tell = _Telling(progress, todo)

    def within(frame: pl.DataFrame) -> pl.DataFrame:
        if since is not None:
            frame = frame.filter(pl.col("bin_start") >= since)
        if until is not None:
            frame = frame.filter(pl.col("bin_start") < until)
        if servers:
            frame = frame.filter(pl.col("server").is_in(list(servers)))
        return counts(frame, by, bin)

    def chosen(scanned: Scanned) -> tuple[pl.DataFrame, int]:
        frame = plain_frames(_Unsplit(scanned), scanner.KINDS, (table,))[table]
        for part in edges.by_source(scanned, scanner.KINDS).values():
            halves.add(next(sources), part)
        return within(frame), frame.height

    pace = Pace(options)
    for batch in batches(todo, planned, pace):
        again = batch[0] not in planned.streams
        scanned, taken, rows = _in_stretches(scanner, batch, options, want, tell.batch(batch), chosen, again)
        pace.made(sum(int(r["bytes"]) for r in scanned), rows)
        parts += taken
        reports += scanned
    if not (back := halves.taken()).is_empty():
        parts.append(within(edges.frames(back)[table].with_columns(query_type=pl.lit(None, dtype=pl.String))))
    summary = _summary(reports, options.timezone, options.year)
    return Counted(
        table=_add_up(parts, by, bin),
        files=todo,
        summary=summary,
        passed_over=_passed_over(found, planned),
        failures=[*found.failures, *planned.failures, *_damages(reports)],
    )


def _in_stretches(
    scanner: Scanner,
    batch: list[str],
    options: ScanOptions,
    want: Mapping[str, bool],
    progress: Progress | None,
    chosen: Callable[[Scanned], tuple[pl.DataFrame, int]],
    again: bool,
) -> tuple[list[Mapping[str, Any]], list[pl.DataFrame], int]:
    """The reports on a batch, what is chosen of its tables, and their rows; of a single file, stretch by stretch."""
    arguments = options.arguments()
    while True:
        frames: list[pl.DataFrame] = []
        told: list[Mapping[str, Any]] = []
        rows: list[int] = []

        def take(
            scanned: Scanned, frames: list[pl.DataFrame] = frames, told: Any = told, rows: Any = rows
        ) -> None:
            frame, made = chosen(scanned)
            frames.append(frame)
            rows.append(made)
            told += scanned.sources

        bounds = {"stretch": options.batch_size, "stretch_rows": options.batch_rows}
        long = {**bounds, "take": take} if len(batch) == 1 else {}
        with core_errors():
            scanned = scanner.scan(batch, **arguments, **want, **long, progress=progress)
        if frames and (year := right_year(batch[0], scanned, again=again)) is not None:
            arguments["year"] = year
            continue
        take(scanned)
        return ([together(told)] if len(batch) == 1 else told), frames, sum(rows)


class _Unsplit:
    """A scan whose rows need not be one a key: adding them up is the next step anyway."""

    split_bins: list[tuple[int, int]] = []  # noqa: RUF012 - never filled
    other_year: int | None = None

    def __init__(self, scanned: Scanned) -> None:
        self.servers = scanned.servers
        self.sources = scanned.sources
        self.summary = scanned.summary
        self.table = scanned.table


def _add_up(parts: list[pl.DataFrame], by: Sequence[str], bin: timedelta | Literal["all"]) -> pl.DataFrame:  # noqa: A002
    if len(parts) == 1:
        return parts[0]
    keys = [*([] if bin == "all" else ["bin_start"]), *by]
    if not parts:
        types = {k: pl.Datetime("us", "UTC") if k == "bin_start" else pl.String() for k in keys}
        return pl.DataFrame(schema={**types, "count": pl.Int64()})
    together = pl.concat(parts)
    if not keys:
        return together.sum()
    summed = together.group_by(keys).agg(pl.col("count").sum())
    return summed.filter(pl.col("count") != 0).sort(keys, nulls_last=True)


def analyze_into_store(
    paths: Sequence[str | os.PathLike[str]],
    options: ScanOptions,
    store: Store,
    progress: Progress | None = None,
    *,
    again: bool = False,
    scanner: Scanner | None = None,
) -> Archived:
    """Count files into a store; what is there already is not counted again, what has grown is replaced.

    Parameters
    ----------
    paths
        Files, folders, globs, ``-``.
    options
        How to count, from :meth:`ScanOptions.from_config`.
    store
        Where the rows go.
    progress
        Called with (bytes read, bytes in all, lines).
    again
        Count files again that have not changed.

    Raises
    ------
    UsageError, InputError
        A path that was named does not exist or cannot be opened.
    StoreError
        The store cannot be written. What earlier batches counted stays.
    """
    scanner = scanner or core()
    fingerprint = options.fingerprint(scanner.VERSION)
    found = discover(paths, options.skip)
    known = store.sources()
    planned = plan_files(found.files, known.values(), scanner, fingerprint=fingerprint, again=again)
    result = Archived(files=found.files, failures=[*found.failures, *planned.failures])
    reports: list[Mapping[str, Any]] = []
    todo = _paths_to_scan(planned)
    tell = _Telling(progress, todo)
    done: set[str] = set()
    pace = Pace(options)
    for batch in batches(todo, planned, pace):
        run = _Run(options, scanner, planned, fingerprint, store, known, done, tell.batch(batch))
        told, replaced = run.one(batch[0]) if len(batch) == 1 else run.several(batch)
        pace.made(sum(int(r["bytes"]) for r in told), run.rows)
        reports += told
        result.replaced += replaced
        result.scanned += batch
    _note_new_names(store, planned, known)
    counted_before = {s.known for s in planned.plan.skip if s.known is not None}
    current = store.sources()
    result.sources = [e for s, e in current.items() if s in done | counted_before]
    for entry in result.sources:
        if entry.source not in done:
            reports.append(_report_of(entry))
    result.summary = _summary(reports, options.timezone, options.year)
    result.failures += _damages(reports)
    result.passed_over = _passed_over(found, planned)
    return result


@dataclass
class _Run:
    """One batch of files on its way into a store; `done` are the sources that this command has counted."""

    options: ScanOptions
    scanner: Scanner
    planned: PlannedFiles
    fingerprint: str
    store: Store
    known: Mapping[str, SourceEntry]
    done: set[str]
    progress: Progress | None
    #: Rows that were made.
    rows: int = 0

    def several(self, batch: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
        """Count several files at once; the reports, and the sources that ended."""
        return self._write(self._scan(batch))

    def one(self, path: str) -> tuple[list[dict[str, Any]], list[str]]:
        """Count one file, in stretches if it is longer than a batch."""
        year = self.options.year
        while True:
            stream = path in self.planned.streams
            identity = None if stream else self.planned.identities.get(absolute(path))
            with Stretches(
                self.store, identity, self._frames, self._entries, self.scanner.KINDS
            ) as stretches:
                last = self._scan(
                    [path],
                    stretch=self.options.batch_size,
                    stretch_rows=self.options.batch_rows,
                    take=stretches.take,
                    year=year,
                )
                if not stretches.any:
                    return self._write(last)
                if (other := right_year(path, last, again=not stream)) is not None:
                    year = other
                    continue
                report, entry, ended = stretches.end(
                    last,
                    self.store.sources().values(),
                    self.done,
                    lambda e: _ended(e, self.planned, self.known),
                )
                if entry is not None:
                    self.done.add(entry.source)
                return [report], ended

    def _scan(self, batch: list[str], **more: Any) -> Scanned:
        with core_errors():
            return self.scanner.scan(
                batch,
                **{**self.options.arguments(), **more},
                names=True,
                state=True,
                details=True,
                edges=True,
                public_suffixes=public_suffixes(),
                digest=True,
                progress=self.progress,
            )

    def _frames(self, scanned: Scanned) -> dict[str, pl.DataFrame]:
        frames = plain_frames(scanned, self.scanner.KINDS, merger=self.store.merger) | detail_frames(scanned)
        self.rows += sum(frame.height for frame in frames.values())
        return frames

    def _entries(self, reports: Sequence[Mapping[str, Any]]) -> list[SourceEntry]:
        return _entries(reports, self.planned, self.fingerprint)

    def _write(self, scanned: Scanned) -> tuple[list[dict[str, Any]], list[str]]:
        ended: list[str] = []
        with self.store.writer() as writer:
            packed = edges.packed(scanned, self.scanner.KINDS)
            entries = [
                replace(entry, edges=packed.get(i)) for i, entry in enumerate(self._entries(scanned.sources))
            ]
            written = _write(writer, self._frames(scanned), entries, self.done)
            for entry in entries:
                for old in _ended(entry, self.planned, self.known):
                    writer.replaces(old, entry.source)
                    ended.append(old)
            fresh = {entry.source: entry.edges for entry in written if entry.edges is not None}
            edges.settle(writer, self.store, fresh, {*ended, *(entry.source for entry in entries)})
            writer.commit()
        self.done |= {e.source for e in entries}
        return list(scanned.sources), ended


def _note_new_names(store: Store, planned: PlannedFiles, known: Mapping[str, SourceEntry]) -> None:
    """Record under which name and time a known content lies now, so that it need not be read the next time."""
    moved: dict[str, SourceEntry] = {}
    for skipped in planned.plan.skip:
        if skipped.known is not None and skipped.equal:
            old = known[skipped.known]
            file = planned.identities[skipped.path]
            moved[old.source] = replace(
                old,
                paths=tuple(dict.fromkeys((file.path, *old.paths)))[:_NAMES],
                compression=file.compression,
                compressed_bytes=file.compressed_bytes,
                mtime_ns=file.mtime_ns,
            )
    if moved:
        with store.writer() as writer:
            for entry in moved.values():
                writer.touch(entry)
            writer.commit()


def _write(
    writer: SourceWriter, frames: dict[str, pl.DataFrame], entries: list[SourceEntry], done: set[str]
) -> list[SourceEntry]:
    """Hand the rows to the writer, each source once: a pipe can repeat what a file said. The entries written."""
    keep: list[int] = []
    seen = set(done)
    for i, entry in enumerate(entries):
        if entry.source not in seen:
            keep.append(i)
            seen.add(entry.source)
    if len(keep) < len(entries):
        position = {old: new for new, old in enumerate(keep)}
        frames = {
            name: frame.filter(pl.col(SOURCE).is_in(keep)).with_columns(
                pl.col(SOURCE).replace_strict(position, return_dtype=pl.UInt32)
            )
            for name, frame in frames.items()
        }
    written = [entries[i] for i in keep]
    writer.add(frames, written)
    return written


def _entries(
    reports: Sequence[Mapping[str, Any]], planned: PlannedFiles, fingerprint: str
) -> list[SourceEntry]:
    entries = []
    for report in reports:
        path = str(report["path"])
        full_path = path if path == STDIN else absolute(path)
        identity = planned.identities.get(full_path)
        head = report.get("head_hash") or (identity.head_hash if identity else "")
        error = report.get("error")
        full = None if error else report.get("full_hash")
        servers = tuple(sorted(report.get("servers") or ()))
        entries.append(
            SourceEntry(
                source=source_id(servers, head, int(report["bytes"]), full),
                generation=0,
                paths=(full_path,),
                compression=report.get("compression"),
                compressed_bytes=identity.compressed_bytes if identity else None,
                mtime_ns=identity.mtime_ns if identity else None,
                bytes=int(report["bytes"]),
                head_hash=head,
                full_hash=full,
                servers=servers,
                dialects=dict(report.get("dialects") or {}),
                lines=int(report["lines"]),
                matched=int(report["matched"]),
                ignored=int(report.get("ignored") or 0),
                unmatched=int(report["unmatched"]),
                first_time=moment(report.get("first_time")),
                last_time=moment(report.get("last_time")),
                year_guessed=bool(report.get("years") or report.get("year_guessed")),
                timezone_guessed=bool(report.get("timezone_guessed")),
                error=None if error is None else dict(error),
                fingerprint=fingerprint,
            )
        )
    return entries


def _ended(entry: SourceEntry, planned: PlannedFiles, known: Mapping[str, SourceEntry]) -> Iterator[str]:
    """The known sources whose place this one takes."""
    path = entry.paths[0]
    for old in planned.plan.replace.get(path, ()):
        if old != entry.source and may_replace(known[old], path, entry.servers):
            yield old


def _report_of(entry: SourceEntry) -> dict[str, Any]:
    """A source counted before, as a report on its file."""
    return {
        "path": entry.paths[0] if entry.paths else entry.source,
        "lines": entry.lines,
        "matched": entry.matched,
        "ignored": entry.ignored,
        "unmatched": entry.unmatched,
        "dialects": entry.dialects,
        "years": _years(entry),
        "timezone_guessed": entry.timezone_guessed,
        "error": entry.error,
    }


def _years(entry: SourceEntry) -> tuple[int, int] | None:
    if not entry.year_guessed or entry.first_time is None or entry.last_time is None:
        return None
    return entry.first_time.year, entry.last_time.year


def _paths_to_scan(planned: PlannedFiles) -> list[str]:
    return [*(planned.given[f.path] for f in planned.plan.scan), *planned.streams]


class _Telling:
    """Progress over all batches from the progress of one."""

    def __init__(self, progress: Progress | None, todo: Sequence[str]) -> None:
        self._progress = progress
        self._total = sum(_size(p) for p in todo)
        self._bytes = 0
        self._lines = 0
        self._last_lines = 0

    def batch(self, paths: Sequence[str]) -> Progress | None:
        """The call-back for the next batch."""
        if self._progress is None:
            return None
        tell = self._progress
        before_bytes, before_lines = self._bytes, self._lines + self._last_lines
        self._bytes += sum(_size(p) for p in paths)
        self._lines = before_lines

        def told(done: int, _: int, lines: int) -> None:
            self._last_lines = lines
            tell(before_bytes + done, self._total, before_lines + lines)

        return told


def _size(path: str) -> int:
    try:
        return 0 if path == STDIN else Path(path).stat().st_size
    except OSError:
        return 0


def _summary(reports: Sequence[Mapping[str, Any]], timezone: str | None, year: int | None) -> Summary:
    summary = Summary(guesses=guesses(reports, timezone, year))
    for report in reports:
        summary.add(report)
    return summary


def _damages(reports: Sequence[Mapping[str, Any]]) -> list[InputError]:
    """Files that could not be read to their end: what came before that was counted."""
    return [
        InputError(
            f"{r['error']['message']}; the {r['lines']} lines before are counted",
            file=r["path"],
            offset=int(r["error"]["offset"]),
            mend="fetch the file again, or add --keep-going",
        )
        for r in reports
        if r.get("error")
    ]


def _passed_over(found: Found, planned: PlannedFiles) -> list[PassedOver]:
    skipped = [
        PassedOver(
            planned.given.get(s.path, s.path),
            s.reason
            if s.same_as in (None, s.path)
            else f"{s.reason}: {planned.given.get(s.same_as or '', s.same_as)}",
        )
        for s in planned.plan.skip
    ]
    return [*found.passed_over, *skipped]
