"""Live counting by hand: what the engine does, in a few lines that are plainly right.

:class:`Counter` takes events and emits, as the engine does, every changed bin as absolute rows with a revision.
:class:`FakeEngine` is `seismolog._core.Live` as Python sees it, fed by a test.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl

from tests.unit.store_fakes import Event, frames

__all__ = ["Counter", "FakeClosed", "FakeEngine", "live_frames"]


def live_frames(events: Iterable[Event], revision: int) -> dict[str, pl.DataFrame]:
    """All rows of these events, with a revision."""
    made = frames((0, e) for e in events)
    return {
        name: frame.drop("source").with_columns(pl.lit(revision, dtype=pl.Int64).alias("revision"))
        for name, frame in made.items()
    }


class Counter:
    """Events in, changed bins out."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed: set[tuple[int, str]] = set()
        self.position = 0

    def feed(self, *events: Event) -> None:
        for event in events:
            self.events.append(event)
            self._changed.add((event[0], event[1]))
            self.position += 100

    def close(self) -> dict[str, pl.DataFrame]:
        """The bins that changed, with all their keys; the revision is the position."""
        rows = [e for e in self.events if (e[0], e[1]) in self._changed]
        self._changed.clear()
        return live_frames(rows, self.position)


class FakeClosed:
    """One entry of the closed-bin log, with codes for names as the core hands them over."""

    def __init__(self, revision: int, tables: dict[str, pl.DataFrame], kinds: tuple[str, ...]) -> None:
        self.revision = revision
        self.servers = sorted({s for f in tables.values() for s in f["server"].to_list()})
        self._tables = {}
        for name, frame in tables.items():
            frame = frame.drop("revision", strict=False).with_columns(
                pl.col("server").replace_strict(
                    {s: i for i, s in enumerate(self.servers)}, return_dtype=pl.UInt32
                ),
                pl.lit(0, dtype=pl.UInt32).alias("source"),
            )
            if "kind" in frame.columns:
                frame = frame.with_columns(
                    pl.col("kind").replace_strict({k: i for i, k in enumerate(kinds)}, return_dtype=pl.UInt8)
                )
            self._tables[name] = frame

    def tables(self) -> list[str]:
        return list(self._tables)

    def table(self, name: str) -> pl.DataFrame:
        return self._tables[name]


class FakeEngine:
    """The engine without lines: a test puts closed bins in, and sees what was asked of it."""

    def __init__(self, directory: str, *, intake: dict[str, Any], counting: dict[str, Any]) -> None:
        self.directory = directory
        self.intake, self.counting = intake, counting
        self.closed: list[FakeClosed] = []
        self.released = 0
        self.calls: list[str] = []
        self.counters: dict[str, Any] = {"lines": 0}
        self._news = threading.Condition()
        self._told = 0
        self.reload_error: Exception | None = None
        self.input_ended = False

    def put(self, tables: dict[str, pl.DataFrame]) -> int:
        """A closed bin; its revision is that of its rows."""
        from seismolog._core import KINDS

        revision = max(int(f["revision"].max()) for f in tables.values())  # type: ignore[arg-type]
        with self._news:
            self.closed.append(FakeClosed(revision, tables, KINDS))
            self._news.notify_all()
        return revision

    def start(self) -> dict[str, Any]:
        self.calls.append("start")
        return {"replayed_lines": 0, "seconds": 0.0}

    def wait(self, timeout: float) -> list[int]:
        with self._news:
            self._news.wait_for(lambda: any(c.revision > self._told for c in self.closed), timeout)
            new = [c.revision for c in self.closed if c.revision > self._told]
            self._told = max([self._told, *new])
            return new

    def closed_after(self, revision: int, limit: int = 64) -> list[FakeClosed]:
        return [c for c in self.closed if c.revision > revision][:limit]

    def release(self, revision: int) -> None:
        with self._news:  # a test puts bins in meanwhile
            self.released = max(self.released, revision)
            self.closed = [c for c in self.closed if c.revision > revision]

    def metrics(self) -> dict[str, Any]:
        return dict(self.counters)

    def unmatched_shapes(self) -> list[tuple[str, int]]:
        return [("cron: (root) CMD (#)", 2)]

    def top(self, n: int) -> dict[str, Any]:
        clients = [{"client": "192.0.2.1", "total": 3, "kinds": {"dns_query": 3}}]
        return {"since": 0, "kinds": {"dns_query": 3}, "distinct_clients": 1, "clients": clients[:n]}

    def ended(self) -> bool:
        return self.input_ended

    def reload(self, intake: dict[str, Any], counting: dict[str, Any]) -> None:
        if self.reload_error is not None:
            raise self.reload_error
        self.intake, self.counting = intake, counting
        self.calls.append("reload")

    def drain(self, timeout: float) -> bool:
        self.calls.append("drain")
        return True

    def stop(self) -> None:
        self.calls.append("stop")

    def addresses(self) -> dict[str, str]:
        return {"tcp": "127.0.0.1:5514"}


def when(frame: pl.DataFrame) -> list[datetime]:
    """The bins of a frame, rising."""
    return sorted(frame["bin_start"].unique().to_list())
