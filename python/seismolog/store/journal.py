"""Which sources are in the store, and which writing of each is the true one.

The table ``source`` is a journal: entries are appended and never changed, and the entry with the highest
revision of a source says what holds. An entry names the *generation* of that source's rows; rows of any
other generation are invisible to readers. So one append to this table, one atomic Delta commit, switches
any number of sources in all tables at once: new ones appear, replaced ones vanish, and no reader sees a
half.

Generations and revisions come out of one rising sequence of integers. Every commit, to any table, carries
the highest number that it uses as an application transaction; a writer starts above all of them, also above
those of a writer that died before its journal entry. So a number is never used twice, and rows without an
entry stay invisible for good.

Limits: the journal is read whole (some hundred bytes for each file ever analysed, plus the open state at
its edges, which is read only when asked for).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl

from seismolog.store.schema import TABLES
from seismolog.store.table import DeltaFiles

__all__ = ["Coverage", "Journal", "SourceEntry", "fold", "part_of"]

#: An entry has a field ``bytes``, the length of its content.
Blob = bytes

State = Literal["current", "replaced", "removed", "expired"]


@dataclass(frozen=True)
class Coverage:
    """The stretch of bins in which a source has events of one kind on one server (inclusive)."""

    server: str
    kind: str
    first: datetime
    last: datetime
    events: int


def part_of(source: str, number: int) -> str:
    """The id of a stretch of a long log: the first has the log's own (:mod:`seismolog.archive.stretches`)."""
    return f"{source}~{number}" if number else source


@dataclass(frozen=True)
class SourceEntry:
    """One source as the journal has it; the fields are the columns of the table ``source``."""

    source: str
    generation: int
    revision: int = 0
    state: State = "current"
    replaced_by: str | None = None
    recorded_at: datetime | None = None
    origin: str = "archive"
    paths: tuple[str, ...] = ()
    compression: str | None = None
    compressed_bytes: int | None = None
    mtime_ns: int | None = None
    bytes: int = 0
    head_hash: str = ""
    full_hash: str | None = None
    servers: tuple[str, ...] = ()
    dialects: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    matched: int = 0
    ignored: int = 0
    unmatched: int = 0
    first_time: datetime | None = None
    last_time: datetime | None = None
    year_guessed: bool = False
    timezone_guessed: bool = False
    error: dict[str, Any] | None = None
    fingerprint: str = ""
    coverage: tuple[Coverage, ...] = ()
    edges: Blob | None = None
    #: Of a live source: its rows up to this revision are visible.
    live_revision: int | None = None

    @property
    def is_part(self) -> bool:
        """Whether it has rows of a log that another entry tells of: a later stretch of an archive."""
        return self.origin == "archive" and "~" in self.source

    @property
    def whole(self) -> str:
        """The source of the log that it is a part of, or its own."""
        return self.source.partition("~")[0] if self.origin == "archive" else self.source

    def row(self) -> dict[str, Any]:
        """The entry as a row of the table."""
        return {
            **{n: getattr(self, n) for n in TABLES["source"].names},
            "recorded_at": self.recorded_at or datetime.now(UTC),
            "paths": list(self.paths),
            "servers": list(self.servers),
            "dialects": json.dumps(self.dialects, sort_keys=True),
            "error": None if self.error is None else json.dumps(self.error),
            "coverage": json.dumps(
                [[c.server, c.kind, c.first.isoformat(), c.last.isoformat(), c.events] for c in self.coverage]
            ),
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> SourceEntry:
        """The entry of a row of the table; columns that were not read keep their defaults."""
        coverage = tuple(
            Coverage(server, kind, datetime.fromisoformat(first), datetime.fromisoformat(last), events)
            for server, kind, first, last, events in json.loads(row.get("coverage") or "[]")
        )
        plain = {n: v for n, v in row.items() if v is not None and n in cls.__dataclass_fields__}
        error = row.get("error")
        return cls(
            **{
                **plain,
                "paths": tuple(row.get("paths") or ()),
                "servers": tuple(row.get("servers") or ()),
                "dialects": json.loads(row.get("dialects") or "{}"),
                "error": None if error is None else json.loads(error),
                "coverage": coverage,
            }
        )


def fold(rows: pl.DataFrame) -> pl.DataFrame:
    """The entry with the highest revision of each source.

    Entries that only note a change are written without ``edges``; those of the same generation still hold.
    """
    rows = rows.sort("revision")
    if "edges" in rows.columns:
        rows = rows.with_columns(pl.col("edges").forward_fill().over("source", "generation"))
    return rows.unique("source", keep="last", maintain_order=True)


class Journal:
    """The table ``source``, read as a journal."""

    def __init__(self, files: DeltaFiles) -> None:
        self.files = files
        self._version = -2
        self._entries: dict[str, SourceEntry] = {}

    def entries(self) -> dict[str, SourceEntry]:
        """What holds for each source that was ever recorded, without ``edges``, at the newest version."""
        self.files.open()
        if self.files.version != self._version:
            names = [n for n in TABLES["source"].names if n != "edges"]
            frame = self.files.scan(self.files.files()).select(names).collect()
            self._entries = {r["source"]: SourceEntry.from_row(r) for r in fold(frame).iter_rows(named=True)}
            self._version = self.files.version
        return self._entries

    def current(self) -> dict[str, SourceEntry]:
        """The entries whose rows are visible."""
        return {s: e for s, e in self.entries().items() if e.state == "current"}

    def edges(self, sources: Collection[str]) -> dict[str, Blob]:
        """What the files around each of these sources decide (:mod:`seismolog.archive.edges`), where there is any."""
        current = self.current()
        wanted = sorted(s for s in sources if s in current)
        if not wanted:
            return {}
        frame = (
            self.files.scan(self.files.files())
            .filter(pl.col("source").is_in(wanted))
            .select("source", "revision", "generation", "edges")
            .collect()
        )
        return {r["source"]: r["edges"] for r in fold(frame).iter_rows(named=True) if r["edges"]}

    @property
    def version(self) -> int:
        """Version of the table at the last read."""
        return self._version

    @staticmethod
    def frame(entries: Sequence[SourceEntry]) -> pl.DataFrame:
        """Entries as rows of the table, recorded now where they do not say when."""
        now = datetime.now(UTC)
        return pl.DataFrame(
            [replace(e, recorded_at=e.recorded_at or now).row() for e in entries],
            schema=TABLES["source"].file_schema,
            orient="row",
        )

    def append(self, entries: Sequence[SourceEntry], numbers: tuple[int, int]) -> None:
        """Record entries in one atomic step; `numbers` as :meth:`DeltaFiles.commit` takes them."""
        self.files.commit(self.files.write(self.frame(entries)), numbers=numbers)
