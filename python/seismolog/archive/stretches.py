"""A log that is longer than memory, counted in stretches of ``[archive] batch_size`` bytes of text.

The core hands each stretch over as tables of its own, and :class:`Stretches` puts them into the store: the first as the
rows of the log's source, the others as sources beside it, ``<source>~1``, ``~2``, …, which readers add to it as they add the
halves of a log that was cut (:mod:`seismolog.store.snapshot`). All of them become visible in one commit, and end together.

A log that turns out to be of one stretch is counted as any other. The name of a long log's source is made before its content
is known: of its head, size, time and path, or at random for a pipe. Which log it is, is told by the content in its entry.

What a line takes back of another stretch is settled as between files (:mod:`seismolog.archive.edges`).

Limits: as between two files, a "last message repeated" at the head of a stretch is of nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import polars as pl

from seismolog.archive import edges
from seismolog.archive.scanning import Scanned
from seismolog.errors import UsageError
from seismolog.store import Store
from seismolog.store.identity import FileIdentity
from seismolog.store.journal import SourceEntry, part_of
from seismolog.store.writer import SourceWriter

__all__ = ["Stretches", "right_year", "together"]

#: A scan as frames, and its reports as entries.
Frames = Callable[[Scanned], dict[str, pl.DataFrame]]
Entries = Callable[[Sequence[Mapping[str, Any]]], list[SourceEntry]]


class Stretches:
    """Takes the stretches of one log into one writing of a store; leaving the block without an end drops them.

    Parameters
    ----------
    identity
        What is known of the file before it is counted, None of a pipe.
    frames, entries
        What makes frames of a scan, and entries of its reports.
    kinds
        Names of the core's kinds.
    """

    def __init__(
        self,
        store: Store,
        identity: FileIdentity | None,
        frames: Frames,
        entries: Entries,
        kinds: Sequence[str],
    ) -> None:
        self._store, self._frames, self._entries, self._kinds = store, frames, entries, kinds
        self._edges: dict[str, bytes] = {}
        self._name = _name(identity)
        self._stack = ExitStack()
        self._writer: SourceWriter | None = None
        self._parts = 0
        self._reports: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def any(self) -> bool:
        """Whether a stretch has been taken: the log is longer than one."""
        return self._parts > 0

    def take(self, scanned: Scanned) -> None:
        """Write the rows of a stretch."""
        if self._writer is None:
            self._writer = self._stack.enter_context(self._store.writer())
        name = part_of(self._name, self._parts)
        packed = edges.packed(scanned, self._kinds)
        if packed:
            self._edges[name] = packed[0]
        entry = SourceEntry(
            source=name, generation=0, servers=tuple(scanned.servers), edges=self._edges.get(name)
        )
        self._writer.add(self._frames(scanned), [entry])
        self._reports += scanned.sources
        self._parts += 1

    def end(
        self,
        last: Scanned,
        known: Iterable[SourceEntry],
        done: set[str],
        replaced: Callable[[SourceEntry], Iterable[str]],
    ) -> tuple[dict[str, Any], SourceEntry | None, list[str]]:
        """Write the last stretch and make all of them visible.

        Parameters
        ----------
        known
            The current sources of the store.
        done
            Sources that this run has counted: a pipe that repeats one of them is dropped.
        replaced
            Gives the sources whose place an entry takes.

        Returns
        -------
        The report on the whole log, its entry (None where it was dropped), and the sources that ended.
        """
        self.take(last)
        assert self._writer is not None
        report = together(self._reports)
        entry = replace(self._entries([report])[0], source=self._name)
        same = [e for e in known if _same_content(e, entry)]
        if any(e.source in done for e in same):
            return report, None, []
        ended = [e.source for e in same if e.source != self._name]
        ended += [old for old in replaced(entry) if old not in ended]
        self._writer.complete(entry)
        for old in ended:
            self._writer.replaces(old, self._name)
        edges.settle(self._writer, self._store, self._edges, {self._name, *ended})
        self._writer.commit()
        return report, entry, ended


def right_year(path: str, last: Scanned, *, again: bool) -> int | None:
    """The year with which a log must be counted again, None where its years are right.

    A log of more than a year that tells none is not what its first stretch lets expect. `again`: it can be read again.

    Raises
    ------
    UsageError
        It cannot: nothing of it is kept.
    """
    if last.other_year is not None and not again:
        raise UsageError(
            f"the lines of {path} tell no year and span more than one, which shows at their end only",
            mend=f"give the year of the first line: --year {last.other_year}; or name a file, which can be read again",
        )
    return last.other_year


def together(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One report of those on the stretches of a log, in order."""
    last = reports[-1]
    found: dict[str, Any] = dict(last)
    for name in ("lines", "matched", "ignored", "unmatched"):
        found[name] = sum(int(r.get(name) or 0) for r in reports)
    for name in ("dialects", "reasons", "shed"):
        total: Counter[str] = Counter()
        for report in reports:
            total.update(report.get(name) or {})
        found[name] = dict(total)
    found["servers"] = sorted({s for r in reports for s in r.get("servers") or ()})
    for name, choose in (("first_time", min), ("last_time", max)):
        times = [r[name] for r in reports if r.get(name) is not None]
        found[name] = choose(times) if times else None
    years = [r["years"] for r in reports if r.get("years")]
    found["years"] = (min(y[0] for y in years), max(y[1] for y in years)) if years else None
    found["timezone_guessed"] = any(r.get("timezone_guessed") for r in reports)
    return found


def _name(identity: FileIdentity | None) -> str:
    if identity is None:
        return uuid.uuid4().hex
    told = (
        identity.head_hash,
        identity.full_hash,
        identity.compressed_bytes,
        identity.mtime_ns,
        identity.path,
    )
    return hashlib.sha256("\0".join(map(str, told)).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _same_content(one: SourceEntry, other: SourceEntry) -> bool:
    def content(entry: SourceEntry) -> tuple[Any, ...]:
        return entry.head_hash, entry.full_hash, entry.bytes, entry.servers

    return other.full_hash is not None and one.origin == "archive" and content(one) == content(other)
