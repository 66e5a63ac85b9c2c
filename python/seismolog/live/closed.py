"""Closed bins as frames, and who has read how far.

The engine appends every closed bin to a log on disk before Python hears of it. Whoever needs them (the store, an
exporter) reads through a named *cursor* and advances it when what it read is safe; what all have passed is
released. A sink that is down simply does not advance.

That cannot go on without an end, so `[live] closed_size` and `closed_age` bound what is kept for sinks: past
them a cursor is moved on, counted (``seismolog_closed_skipped_total``), and told (:attr:`Cursor.skipped`), so that
the sink can read the same stretch from the store. The store's own cursor is never moved: while the store cannot be
written the log grows, then the write-ahead log does, and then senders wait. Nothing that was confirmed is lost.

Limits: the log is read from disk by each reader for itself.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.errors import core_errors
from seismolog.store.merge import StateMerger, combine, core_merger
from seismolog.store.schema import REVISION, SOURCE, TABLES

if TYPE_CHECKING:
    from seismolog.live.engine import Closed, Engine

__all__ = ["Bins", "ClosedBins", "Cursor", "frames_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bins:
    """Rows of closed bins up to a revision: table name to frame, with names for codes and ``revision``.

    ``late`` holds the same of late sets, by their number: lines that came when their bin had been let go are counted
    in bins of their own, which are sources of their own. Readers add them up.
    """

    revision: int
    frames: Mapping[str, pl.DataFrame]
    late: Mapping[int, Mapping[str, pl.DataFrame]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(f.height for frames in (self.frames, *self.late.values()) for f in frames.values())


def frames_of(
    closed: Closed, kinds: tuple[str, ...], merger: StateMerger = core_merger
) -> dict[int, dict[str, pl.DataFrame]]:
    """The tables of one entry of the log by late set, 0 being the bins proper.

    They have names for codes, one row a key, and a column ``revision``.
    """
    sets: dict[int, dict[str, pl.DataFrame]] = {}
    for name in closed.tables():
        with core_errors():
            frame = pl.DataFrame(closed.table(name))
        if frame.is_empty():
            continue
        numbers = frame[SOURCE].unique().to_list() if SOURCE in frame.columns else [0]
        frame = frame.with_columns(_named(frame["server"], closed.servers))
        if "kind" in frame.columns:
            frame = frame.with_columns(_named(frame["kind"], kinds))
        table = TABLES[name]
        for number in numbers:
            rows = frame if len(numbers) == 1 else frame.filter(pl.col(SOURCE) == number)
            rows = rows.drop(SOURCE, strict=False)
            rows = combine(rows, table, [k for k in table.keys if k in rows.columns], merger=merger)
            rows = rows.with_columns(pl.lit(closed.revision, dtype=pl.Int64).alias(REVISION))
            sets.setdefault(number, {})[name] = rows
    return sets


def _named(codes: pl.Series, names: list[str] | tuple[str, ...]) -> pl.Series:
    if not codes.dtype.is_integer():
        return codes.cast(pl.String)
    return pl.Series(codes.name, list(names), dtype=pl.String).gather(codes.cast(pl.UInt32))


class Cursor:
    """How far one reader has come; made by :meth:`ClosedBins.cursor`. Any thread may use it, one at a time."""

    def __init__(self, bins: ClosedBins, name: str, position: int, path: Path | None) -> None:
        self.name = name
        self.position = position
        #: (after, up to) of entries that went before they were read; the reader sets it to None when mended.
        self.skipped: tuple[int, int] | None = None
        self.moved = time.monotonic()
        self._bins = bins
        self._path = path

    def read(self, limit: int = 64) -> list[Bins]:
        """The next entries, rising; [] where there is nothing new."""
        return self._bins.after(self.position, limit)

    def advance(self, revision: int) -> None:
        """Everything up to `revision` is safe with this reader; what nobody needs any more is released."""
        if revision <= self.position:
            return
        self.position = revision
        self.moved = time.monotonic()
        self.save()
        self._bins.release()

    def save(self) -> None:
        """Remember the position over a restart; a reader that is ahead of its file only reads twice."""
        if self._path is None:
            return
        part = self._path.with_suffix(".part")
        text = json.dumps({"revision": self.position, "skipped": self.skipped})
        try:
            with part.open("w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            log.warning("the position of %s cannot be saved: %s", self.name, error.strerror)

    def mended(self) -> None:
        """What was skipped has been read from the store."""
        self.skipped = None
        self.save()


class ClosedBins:
    """The log of closed bins with its readers.

    Parameters
    ----------
    engine
        What writes the log.
    folder
        Where the positions of readers are kept (``<state>/cursors``).
    size, age
        Bounds for what is kept for readers other than the store, bytes and seconds.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        *,
        kinds: tuple[str, ...] | None = None,
        size: int = 2**30,
        age: float = 14 * 86_400,
        merger: StateMerger = core_merger,
    ) -> None:
        if kinds is None:
            from seismolog._core import KINDS

            kinds = KINDS
        self._engine = engine
        self._folder = folder
        self._kinds = kinds
        self._merger = merger
        self._lock = threading.RLock()
        self._cursors: dict[str, Cursor] = {}
        self._log_folder = folder.parent / "closed"
        self.size, self.age = size, age
        self.skipped_total = 0
        self.released = 0

    def cursor(self, name: str, position: int | None = None) -> Cursor:
        """The cursor of that name, as it was left.

        Parameters
        ----------
        position
            Where it stands, for a reader that knows it better than this folder: the store keeps its own.
            None takes the saved position, 0 for a new reader.
        """
        with self._lock:
            path = None if position is not None else self._folder / f"{name}.json"
            skipped = None
            if path is not None:
                position, skipped = _saved(path)
                self._folder.mkdir(parents=True, exist_ok=True)
            assert position is not None
            cursor = Cursor(self, name, position, path)
            cursor.skipped = skipped
            self._cursors[name] = cursor
            if path is not None:
                cursor.save()
            return cursor

    def forget(self, name: str) -> None:
        """A reader is gone for good (its sink was taken out of the configuration)."""
        with self._lock:
            self._cursors.pop(name, None)
            (self._folder / f"{name}.json").unlink(missing_ok=True)
        self.release()

    def after(self, revision: int, limit: int = 64) -> list[Bins]:
        """Entries above a revision, rising."""
        with core_errors():
            entries = self._engine.closed_after(revision, limit)
        bins = []
        for entry in entries:
            sets = frames_of(entry, self._kinds, self._merger)
            bins.append(Bins(entry.revision, sets.pop(0, {}), sets))
        return bins

    def release(self) -> None:
        """Let go of what every reader has passed."""
        with self._lock:
            if "store" not in self._cursors:
                return  # it comes later than we do, and needs what it has not committed
            lowest = min(c.position for c in self._cursors.values())
            if lowest > self.released:
                with core_errors():
                    self._engine.release(lowest)
                self.released = lowest

    def bound(self) -> None:
        """Move readers on that keep more than the bounds allow; never the store's, and never past the store."""
        with self._lock:
            store = self._cursors.get("store")
            if store is None:
                return
            too_large = self.bytes() > self.size
            for cursor in self._cursors.values():
                if cursor is store or cursor.position >= store.position:
                    continue
                too_old = time.monotonic() - cursor.moved > self.age
                if not (too_large or too_old):
                    continue
                first = cursor.skipped[0] if cursor.skipped else cursor.position
                log.warning(
                    "%s is behind by more than [live] %s allows: closed bins up to %d are left to the store",
                    cursor.name,
                    "closed_size" if too_large else "closed_age",
                    store.position,
                )
                self.skipped_total += 1
                cursor.skipped = (first, store.position)
                cursor.position = store.position
                cursor.moved = time.monotonic()
                cursor.save()
        self.release()

    def bytes(self) -> int:
        """Bytes of the log on disk."""
        total = 0
        try:
            with os.scandir(self._log_folder) as entries:
                for entry in entries:
                    try:
                        total += entry.stat().st_size
                    except FileNotFoundError:
                        continue  # released meanwhile
        except FileNotFoundError:
            return 0
        return total

    def positions(self) -> dict[str, int]:
        """Reader -> position, for /metrics."""
        with self._lock:
            return {name: c.position for name, c in self._cursors.items()}


def _saved(path: Path) -> tuple[int, tuple[int, int] | None]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
        skipped = content.get("skipped")
        return int(content["revision"]), None if skipped is None else (int(skipped[0]), int(skipped[1]))
    except FileNotFoundError:
        return 0, None
    except (ValueError, KeyError, TypeError, OSError) as error:
        log.warning("%s cannot be used (%s): that sink starts with the oldest closed bin", path, error)
        return 0, None
