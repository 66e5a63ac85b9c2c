"""Closed bins into the store, in a thread of its own.

At most every ``[store] commit_interval`` the thread takes what has closed since, and commits it in one step over
all tables (:class:`~seismolog.store.LiveWriter`); more than ``[store] commit_rows`` in several; and at once where somebody
needs it (:meth:`Committer.flush`). Reception never waits for it: the log of closed bins lies between.

A store that cannot be written (a full disk, another process that holds its lock for long, a bucket that is
away) is tried again, after 1 s, 2 s, … a minute; the error is told once, and its end too. After a restart the
thread goes on from the revision that the store names.

Every ``[live] upkeep_interval`` earlier revisions are folded away and old days expire, in the same thread, so
that no two writers of ours meet.

Limits: one commit holds about ``commit_rows`` rows in memory, or those of one closing where that has more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from seismolog.errors import SeismologError
from seismolog.live.closed import Bins, ClosedBins, Cursor
from seismolog.store import LiveTotals, Store
from seismolog.store.live import late_source

__all__ = ["CommitSettings", "Committer", "CommitterState"]

log = logging.getLogger(__name__)

#: Seconds between two tries, doubled up to the last.
_FIRST_WAIT, _LAST_WAIT = 1.0, 60.0


@dataclass(frozen=True)
class CommitSettings:
    """How often, how much, and what becomes of old days."""

    interval: float = 10.0
    rows: int = 1_000_000
    upkeep: float = 3600.0
    keep: timedelta | None = timedelta(days=400)
    compact_files: int = 8
    retention: timedelta = timedelta(days=1)


@dataclass
class CommitterState:
    """What the thread has done, for /metrics."""

    commits: int = 0
    rows: int = 0
    errors: int = 0
    upkeeps: int = 0
    upkeep_seconds: float = 0.0
    commit_seconds: float = 0.0
    #: Why the store cannot be written now, None where it can.
    trouble: str | None = None
    committed_at: float = 0.0


def _joined(parts: Sequence[Mapping[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """The rows of several entries, by table."""
    names = {name: None for part in parts for name in part}
    return {n: pl.concat([p[n] for p in parts if n in p], how="diagonal_relaxed") for n in names}


class Committer:
    """The thread. :meth:`nudge` it when bins have closed; :meth:`stop` commits the rest."""

    def __init__(
        self,
        store: Store,
        source: str,
        bins: ClosedBins,
        settings: CommitSettings,
        *,
        fingerprint: str = "",
        totals: Callable[[], LiveTotals] | None = None,
        committed: Callable[[int], None] | None = None,
    ) -> None:
        self.settings = settings
        self.state = CommitterState()
        self._store = store
        self._source = source
        self._fingerprint = fingerprint
        self._writer = store.live_writer(source, fingerprint=fingerprint)
        self._bins = bins
        self._totals = totals
        self._committed = committed
        self._cursor: Cursor | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        #: Stopping, or somebody waits: the interval is not waited for.
        self._urgent = threading.Event()
        self._flushed = threading.Condition()
        self._asked = self._done = 0
        self._ended = False
        self._abandon = threading.Event()
        self._waiting_since: float | None = None
        self._last_upkeep = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def nudge(self) -> None:
        """Bins have closed."""
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._wake.set()

    def flush(self, timeout: float) -> bool:
        """Wait until what has closed up to now is in the store; False where that takes longer, or cannot be."""
        with self._flushed:
            self._asked += 1
            asked = self._asked
            self._urgent.set()
            self._wake.set()
            self._flushed.wait_for(lambda: self._done >= asked or self._ended, timeout)
            return self._done >= asked

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def lag(self) -> float:
        """Seconds that the oldest uncommitted closed bin has waited."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def stop(self, timeout: float) -> bool:
        """Commit what has closed and end; False where that did not come about in time."""
        self._stopping.set()
        self._urgent.set()
        self._wake.set()
        self._thread.join(timeout)
        self._abandon.set()
        return not self._thread.is_alive() and self.state.trouble is None

    def _run(self) -> None:
        try:
            self._work()
        finally:
            with self._flushed:
                self._ended = True
                self._flushed.notify_all()

    def _work(self) -> None:
        pause = _FIRST_WAIT
        last = -1e9
        while not self._abandon.is_set():
            stopping = self._stopping.is_set()
            try:
                if not stopping:
                    if not self._urgent.is_set():
                        self._wake.wait(min(self.settings.interval, 5.0) if self._cursor else 0.0)
                    left = last + self.settings.interval - time.monotonic()
                    if left > 0 and self._cursor is not None:
                        self._urgent.wait(left)
                    stopping = self._stopping.is_set()
                    if not stopping:
                        self._urgent.clear()
                began = time.monotonic()
                with self._flushed:
                    asked = self._asked
                if self._commit_all():
                    last = began
                with self._flushed:
                    self._done = asked
                    self._flushed.notify_all()
                if not stopping:
                    self._upkeep()
                self._recovered()
                pause = _FIRST_WAIT
            except SeismologError as error:
                self._failed(error)
                if stopping:
                    return
                self._stopping.wait(pause)
                pause = min(2 * pause, _LAST_WAIT)
                continue
            if stopping:
                return

    def _open(self) -> Cursor:
        if self._cursor is None:
            position = self._writer.committed()
            self._cursor = self._bins.cursor("store", position)
            self._bins.release()
        return self._cursor

    def _commit_all(self) -> bool:
        """Commit what has closed; whether there was something.

        What closes meanwhile waits for the next time, unless this is the last time.
        """
        cursor = self._open()
        some = False
        while not self._abandon.is_set():
            since = time.monotonic()
            self._wake.clear()
            batch: list[Bins] = []
            rows = 0
            position = cursor.position
            while rows < self.settings.rows:
                found = self._bins.after(position, 16)
                if not found:
                    break
                batch += found
                rows += sum(b.rows for b in found)
                position = found[-1].revision
            if not batch:
                self._waiting_since = None
                return some
            self._commit(cursor, batch, rows)
            some = True
            self._waiting_since = since if self._wake.is_set() else None
            if rows < self.settings.rows and not self._stopping.is_set():
                return some
        return some

    def _commit(self, cursor: Cursor, batch: list[Bins], rows: int) -> None:
        frames = _joined([b.frames for b in batch])
        revision = batch[-1].revision
        began = time.monotonic()
        # Late sets first: when the rows of the bins proper are visible, the cursor goes on.
        for number in sorted({n for b in batch for n in b.late}):
            late = self._store.live_writer(late_source(self._source, number), fingerprint=self._fingerprint)
            late.commit(_joined([b.late[number] for b in batch if number in b.late]), revision)
        self._writer.commit(frames, revision, self._totals() if self._totals else None)
        self.state.commit_seconds += time.monotonic() - began
        self.state.commits += 1
        self.state.rows += rows
        self.state.committed_at = time.time()
        cursor.advance(revision)
        self._bins.bound()
        if self._committed is not None:
            self._committed(revision)

    def _upkeep(self) -> None:
        if time.monotonic() - self._last_upkeep < self.settings.upkeep:
            return
        self._last_upkeep = time.monotonic()
        settings = self.settings
        self._store.maintain(
            keep=settings.keep,
            compact_files=settings.compact_files,
            retention=settings.retention,
            archives=False,
        )
        self.state.upkeeps += 1
        self.state.upkeep_seconds = time.monotonic() - self._last_upkeep

    def _failed(self, error: SeismologError) -> None:
        self.state.errors += 1
        if self.state.trouble != error.message:
            log.error(
                "the store cannot be written; it is tried again, and nothing is lost: %s", error.render()
            )
        self.state.trouble = error.message

    def _recovered(self) -> None:
        if self.state.trouble is not None:
            log.info("the store can be written again")
        self.state.trouble = None
