"""What was read, for the summary and the report: files, lines, guesses, and shapes of what was not understood."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seismolog.errors import SeismologError
from seismolog.pipeline.lines import unmatched_shapes
from seismolog.pipeline.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seismolog.archive import Archived
    from seismolog.report.analysis import InputSummary, SourceFile, UnmatchedShape
    from seismolog.store import SourceEntry, Store

__all__ = ["SHAPES_BYTES", "input_summary"]


SHAPES_BYTES = 256_000_000
"""Text that is read again to group what was not understood; more would take longer than counting did."""


def input_summary(
    store: Store, archived: Archived | None, reading: Reading, guesses: tuple[str, ...]
) -> tuple[InputSummary, tuple[SeismologError, ...]]:
    """What was read: from the run that read it, or from the journal of the store."""
    from seismolog.report.analysis import InputSummary

    if archived is None:
        entries = sorted(
            (e for e in store.sources().values() if not e.is_part),
            key=lambda e: (e.first_time is None, e.first_time, e.paths),
        )
        files = tuple(_source_file(entry, {}, "unchanged") for entry in entries)
        summary = InputSummary(
            files=files,
            lines=sum(f.lines for f in files),
            matched=sum(f.matched for f in files),
            ignored=sum(f.ignored for f in files),
            unmatched=sum(f.unmatched for f in files),
            guesses=guesses,
        )
        return summary, ()
    given = {str(Path(path).absolute()): path for path in archived.files}
    scanned = {str(Path(path).absolute()) for path in archived.scanned} | ({"-"} & set(archived.scanned))
    order = {path: place for place, path in enumerate(given)}
    files = tuple(
        _source_file(entry, given, "read" if scanned & set(entry.paths) else "unchanged")
        for entry in sorted(
            archived.sources, key=lambda e: min((order.get(p, len(order)) for p in e.paths), default=0)
        )
    )
    shapes, of = _shapes(files, reading) if archived.summary.unmatched else ((), None)
    summary = InputSummary(
        files=files,
        lines=archived.summary.lines,
        matched=archived.summary.matched,
        ignored=archived.summary.ignored,
        unmatched=archived.summary.unmatched,
        guesses=(*archived.summary.guesses, *guesses),
        shed={name: count for name, count in archived.summary.shed.items() if count},
        reasons=dict(archived.summary.reasons),
        shapes=shapes,
        shapes_of=of,
        passed_over=tuple((p.path, p.reason) for p in archived.passed_over),
    )
    return summary, tuple(archived.failures)


def _source_file(entry: SourceEntry, given: Mapping[str, str], state: str) -> SourceFile:
    from seismolog.report.analysis import SourceFile

    path = next(
        (given[p] for p in entry.paths if p in given), entry.paths[0] if entry.paths else entry.source
    )
    error = None
    if entry.error is not None:
        error = (int(entry.error.get("offset", 0)), str(entry.error.get("message", "")))
    years = None
    if entry.first_time and entry.last_time:
        years = (entry.first_time.year, entry.last_time.year)
    return SourceFile(
        path=path,
        compression=entry.compression or "plain",
        bytes=entry.bytes,
        lines=entry.lines,
        matched=entry.matched,
        ignored=entry.ignored,
        unmatched=entry.unmatched,
        servers=entry.servers,
        first_time=entry.first_time,
        last_time=entry.last_time,
        years=years,
        year_guessed=entry.year_guessed,
        timezone_guessed=entry.timezone_guessed,
        error=error,
        dialects=entry.dialects,
        state=state,
    )


def _shapes(
    files: Sequence[SourceFile], reading: Reading
) -> tuple[tuple[UnmatchedShape, ...], tuple[int, int] | None]:
    """Shapes of what was not understood, of the files with the densest unmatched lines that can be read in seconds."""
    candidates = [f for f in files if f.unmatched and f.path != "-" and Path(f.path).is_file()]
    candidates.sort(key=lambda f: -f.unmatched / max(f.bytes, 1))
    chosen: list[str] = []
    budget = SHAPES_BYTES
    for file in candidates:
        if file.bytes <= budget:
            chosen.append(file.path)
            budget -= file.bytes
    if not chosen:
        return (), (0, len(candidates)) if candidates else None
    shapes = tuple(unmatched_shapes(chosen, reading))
    return shapes, (len(chosen), len(candidates)) if len(chosen) < len(candidates) else None
