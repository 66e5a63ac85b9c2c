"""Reading: one moment of the store, summed over its sources.

A :class:`Snapshot` pins the journal and the tables at one moment. A writer commits rows first and the
journal after, and clears replaced rows away only after that; so if the journal has the same version before
and after the tables were opened, the tables hold all rows of the generations that it names. If it has not,
we look again.

Rows are filtered by generation, by date partition and by the times in each file's statistics. Where only
one source has events of a kind on a server in a bin, which the journal knows, rows pass through lazily. In
the bins where sources meet (the edge of a rotated log, a relay beside a server) they are read and combined
by key.

Live rows (:mod:`seismolog.store.live`) are read beside the archives': of each key the row with the highest
revision, where files overlap; and where archives have the same lines, one of both (:mod:`seismolog.store.supersede`).

Limits: where whole months of the same kind and server are in several sources, all of it has to be combined in
memory: read by day then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from seismolog.errors import StoreError
from seismolog.store.journal import Coverage, Journal, SourceEntry
from seismolog.store.live import newest, overlapping
from seismolog.store.merge import StateMerger, combine, core_merger, needed_columns
from seismolog.store.schema import GENERATION, REVISION, SOURCE, Table, table_of
from seismolog.store.supersede import Superseding, floor, superseding
from seismolog.store.table import DataFile, DeltaFiles, storage_errors

__all__ = ["BIN_LENGTHS", "Snapshot", "meeting_stretches"]

#: Length of the tables' bins.
BIN_LENGTHS = {"1m": timedelta(minutes=1), "10m": timedelta(minutes=10), "1h": timedelta(hours=1)}

#: Above this many stretches a set of bins is looked up instead of testing each stretch.
_MANY = 24


@dataclass(frozen=True)
class _Pinned:
    files: DeltaFiles
    content: tuple[DataFile, ...]


def meeting_stretches(
    coverage: Iterable[tuple[int, Coverage]], table: Table
) -> list[tuple[datetime, datetime]]:
    """Stretches of bins in which sources may share a key, rising and disjoint.

    Parameters
    ----------
    coverage
        (generation, stretch) of every current source.
    table
        Stretches are taken outward to its bins, and only its kinds count.

    Returns
    -------
    list of (first bin, last bin), both inclusive
    """
    length = BIN_LENGTHS[table.bin or "1m"]
    groups: dict[tuple[str, str], list[tuple[datetime, datetime, int]]] = {}
    for generation, c in coverage:
        if table.kinds is not None and c.kind not in table.kinds:
            continue
        kind = c.kind if "kind" in table.keys else ""
        groups.setdefault((c.server, kind), []).append(
            (floor(c.first, length), floor(c.last, length), generation)
        )
    found: list[tuple[datetime, datetime]] = []
    for stretches in groups.values():
        found += _meetings(stretches)
    found.sort()
    merged: list[tuple[datetime, datetime]] = []
    for first, last in found:
        if merged and first <= merged[-1][1] + length:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _meetings(stretches: list[tuple[datetime, datetime, int]]) -> list[tuple[datetime, datetime]]:
    """Where a stretch meets one of another generation, swept from left to right.

    It is enough to hold the stretch that reaches furthest and the furthest one of any other generation.
    """
    stretches.sort()
    found: list[tuple[datetime, datetime]] = []
    reach: dict[int, datetime] = {}
    for first, last, generation in stretches:
        for other, until in reach.items():
            if other != generation and until >= first:
                found.append((first, min(until, last)))
        reach = {g: u for g, u in reach.items() if u >= first}
        reach[generation] = max(last, reach.get(generation, last))
    return found


class Snapshot:
    """One moment of the store.

    Made by :meth:`seismolog.store.Store.snapshot`. It stays readable for as long as the store keeps what was
    replaced (``[store] retention``, a day by default).
    """

    def __init__(
        self,
        tables: Mapping[str, DeltaFiles],
        journal: Journal,
        names: Sequence[str],
        merger: StateMerger = core_merger,
    ) -> None:
        self._merger = merger
        for _ in range(20):
            self.sources: dict[str, SourceEntry] = dict(journal.current())
            before = journal.version
            self._pinned = {n: self._pin(tables[n]) for n in names}
            journal.entries()
            if journal.version == before:
                break
        else:
            raise StoreError("the store is being written to faster than it can be read", mend="try again")
        current = self.sources.values()
        self._live = {e.generation: e for e in current if e.origin == "live"}
        self._generations = sorted({e.generation for e in current if e.origin != "live"})
        self._superseding: dict[str, Superseding | None] = {}

    @staticmethod
    def _pin(files: DeltaFiles) -> _Pinned:
        files.open()
        return _Pinned(files, tuple(files.files()))

    def span(self) -> tuple[datetime, datetime] | None:
        """First and last minute that any source covers, None for an empty store."""
        stretches = [c for e in self.sources.values() for c in e.coverage]
        if not stretches:
            return None
        return min(c.first for c in stretches), max(c.last for c in stretches)

    def files(
        self, name: str, since: datetime | None = None, until: datetime | None = None
    ) -> list[DataFile]:
        """The files of a table that can hold visible rows of the time [since, until)."""
        chosen = []
        for file in self._pinned[name].content:
            if since is not None and (file.day < _utc(since).date() or (file.last and file.last < since)):
                continue
            if until is not None and (file.day > _utc(until).date() or (file.first and file.first >= until)):
                continue
            if table_of(name).sourced and not (self._may_be_archived(file) or self._may_be_live(file)):
                continue
            chosen.append(file)
        return chosen

    def stamp(self, name: str, since: datetime, until: datetime) -> Hashable:
        """What tells the visible rows of [since, until) from those of another moment: equal stamps, equal rows.

        The stamp can change where the rows do not, as after a compaction. It is None where it cannot be told.
        """
        files = self.files(name, since, until)
        if not table_of(name).sourced:
            return frozenset(f.path for f in files)
        archived: set[int] = set()
        live: dict[int, int] = {}
        for file in files:
            low, high = file.low_generation, file.high_generation
            if low is None or high is None:
                return None
            at, end = bisect_left(self._generations, low), bisect_right(self._generations, high)
            archived.update(self._generations[at:end])
            for generation, entry in self._live.items():
                if low <= generation <= high:
                    if file.high_revision is None:
                        return None
                    # Later rows have higher revisions, and are seen once the journal says so.
                    reached = min(file.high_revision, entry.live_revision or 0)
                    live[generation] = max(reached, live.get(generation, 0))
        # Which of both sides is read in a bin hangs on what both cover.
        both = (
            frozenset((e.source, c) for e in self.sources.values() for c in e.coverage)
            if archived and live
            else None
        )
        return frozenset(archived), frozenset(live.items()), both

    def _may_be_archived(self, file: DataFile) -> bool:
        if file.low_generation is None or file.high_generation is None:
            return True
        return self._visible_within(file.low_generation, file.high_generation) > 0

    def _may_be_live(self, file: DataFile) -> bool:
        if file.low_generation is None or file.high_generation is None:
            return bool(self._live)
        return any(file.low_generation <= g <= file.high_generation for g in self._live)

    def _all_visible(self, file: DataFile) -> bool:
        if file.low_generation is None or file.high_generation is None:
            return False
        span = file.high_generation - file.low_generation + 1
        return self._visible_within(file.low_generation, file.high_generation) == span

    def _all_live(self, file: DataFile) -> bool:
        """Whether every row of a file is live and visible."""
        entry = self._live.get(-1 if file.low_generation is None else file.low_generation)
        return (
            entry is not None
            and file.low_generation == file.high_generation
            and file.high_revision is not None
            and file.high_revision <= (entry.live_revision or 0)
        )

    def _visible_within(self, low: int, high: int) -> int:
        """Number of visible generations of archives from `low` to `high`."""
        return bisect_right(self._generations, high) - bisect_left(self._generations, low)

    def rows(self, name: str, since: datetime | None = None, until: datetime | None = None) -> pl.LazyFrame:
        """The visible rows as stored, of every source, not summed; with ``source`` and ``generation``.

        Where archives and live sources have the same lines, one of both.
        """
        table = table_of(name)
        files = self.files(name, since, until)
        if not table.sourced:
            return self._within(self._pinned[name].files.scan(files), table, since, until)
        archived = [f for f in files if self._may_be_archived(f)]
        frame = self._pinned[name].files.scan(archived)
        if not all(self._all_visible(f) for f in archived):
            visible = pl.Series(self._generations, dtype=pl.Int64)
            frame = frame.filter(pl.col(GENERATION).is_in(visible.implode()))
        frame = self._within(frame, table, since, until)
        if not any(self._may_be_live(f) for f in files):
            return frame
        rule = self._rule(table)
        if rule is None:
            return pl.concat([frame, self._live_rows(table, since, until)])
        live = self._live_rows(table, since, until)
        inside = rule.inside.between(since, until)
        if inside:
            live = live.filter(~inside.hold(table.time))
        return pl.concat([self._undisputed(frame, table, rule, since, until), live])

    @staticmethod
    def _within(
        frame: pl.LazyFrame, table: Table, since: datetime | None, until: datetime | None
    ) -> pl.LazyFrame:
        when = pl.col(table.time)
        if since is not None:
            frame = frame.filter(when >= _utc(since))
        if until is not None:
            frame = frame.filter(when < _utc(until))
        return frame

    def _rule(self, table: Table) -> Superseding | None:
        if table.name not in self._superseding:
            length = BIN_LENGTHS[table.bin or "1m"]
            self._superseding[table.name] = superseding(self.sources.values(), table, length)
        return self._superseding[table.name]

    def _live_rows(
        self, table: Table, since: datetime | None, until: datetime | None, *, folded: bool = True
    ) -> pl.LazyFrame:
        """Visible rows of live sources, of each key the one with the highest revision.

        Keys can only be in several files where those overlap in time; elsewhere rows pass through.
        """
        pinned = self._pinned[table.name].files
        files = [f for f in self.files(table.name, since, until) if self._may_be_live(f)]
        frame = pinned.scan(files)
        if not all(self._all_live(f) for f in files):
            mine = [
                (pl.col(GENERATION) == g) & (pl.col(REVISION) <= (e.live_revision or 0))
                for g, e in self._live.items()
            ]
            frame = frame.filter(pl.any_horizontal(mine))
        frame = self._within(frame, table, since, until)
        shared = overlapping(files) if folded else []
        if not shared:
            return frame
        when = pl.col(table.time)
        inside = pl.any_horizontal([when.is_between(first, last) for first, last in shared])
        return pl.concat([frame.filter(~inside), frame.filter(inside).filter(newest(table))])

    def _undisputed(
        self,
        frame: pl.LazyFrame,
        table: Table,
        rule: Superseding,
        since: datetime | None,
        until: datetime | None,
    ) -> pl.LazyFrame:
        """Rows of archives, less those of bins in which live holds."""
        disputed = rule.disputed.between(since, until)
        if not disputed:
            return frame
        when = pl.col(table.time)
        stretches = disputed.times()
        live = self._live_rows(
            table,
            max(stretches[0][0], since or stretches[0][0]),
            stretches[-1][1] + BIN_LENGTHS[table.bin or "1m"],
            folded=False,
        ).filter(pl.any_horizontal([when.is_between(first, last) for first, last in stretches]))
        on = ["server", *(["kind"] if "kind" in table.keys else []), table.time]
        with storage_errors("read rows", table.name):
            held = live.filter(disputed.hold(table.time)).select(on).unique().collect()
        if held.is_empty():
            return frame
        if "kind" not in table.keys:
            pairs = [(server, g) for server, generations in rule.touching.items() for g in generations]
            schema = {"server": pl.String, GENERATION: pl.Int64}
            held = held.join(pl.DataFrame(pairs, schema=schema, orient="row"), on="server")
            on.append(GENERATION)
        return frame.join(held.lazy(), on=on, how="anti")

    def read(
        self,
        name: str,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
        *,
        summed: bool = True,
    ) -> pl.LazyFrame:
        """Rows of a table, one for each key, summed over sources.

        Parameters
        ----------
        name
            Name of the table.
        since, until
            Half-open range of its time column, aware datetimes.
        columns
            The columns wanted, all by default. States are the greater part of the store: leave them out when
            they are not needed.
        where
            A condition on key columns.
        summed
            False leaves rows of one key apart where sources meet. Sums over them are the same and nothing
            is read before the frame is collected; distinct counts and entropies are then those of a single
            source.

        Returns
        -------
        pl.LazyFrame
            In no order. Where sources meet, those bins have been read already.
        """
        table = table_of(name)
        wanted = list(columns) if columns is not None else list(table.names)
        system = (SOURCE, GENERATION, REVISION)
        unknown = [c for c in wanted if c not in table.names and c not in system]
        if unknown:
            raise ValueError(
                f"the table {name} has no column {', '.join(unknown)}; it has {', '.join(table.names)}"
            )
        frame = self.rows(name, since, until)
        if where is not None:
            frame = frame.filter(where)
        if not table.sourced or not summed or any(c in wanted for c in system):
            return frame.select(wanted)
        meet = self._meeting(table, since, until)
        if meet is None:
            return frame.select(wanted)
        needed = needed_columns(table, wanted)
        read = [*table.keys, *(c for c in needed if c not in table.keys)]
        with storage_errors("read rows", name):
            shared = frame.filter(meet).select(read).collect()
        alone = frame.filter(~meet).select(wanted)
        if shared.is_empty():
            return alone
        whole = combine(shared, table, merger=self._merger)
        events = ["count"] if "count" in table.names else [c.name for c in table.columns if c.role == "sum"]
        if all(c in whole.columns for c in events):
            # All that such a row had was taken back (:mod:`seismolog.archive.edges`): there was no event.
            whole = whole.filter(pl.any_horizontal(pl.col(c).is_null() | (pl.col(c) != 0) for c in events))
        return pl.concat([alone, whole.select(wanted).lazy()])

    def _meeting(self, table: Table, since: datetime | None, until: datetime | None) -> pl.Expr | None:
        """A condition that holds in the bins where sources meet, None where they never do."""
        current = self.sources.values()
        # Live and archives are never read of the same bin and group, unless they are of different lines.
        rule = self._rule(table)
        sides = [
            [(e.generation, c) for e in current if (e.origin == "live") is live for c in e.coverage]
            for live in (False, True)
        ]
        stretches = sorted(
            (first, last)
            for pairs in (*sides, [] if rule is None else rule.added)
            for first, last in meeting_stretches(pairs, table)
            if (since is None or last >= since) and (until is None or first < until)
        )
        if not stretches:
            return None
        when = pl.col(table.time)
        if len(stretches) <= _MANY:
            return pl.any_horizontal([when.is_between(first, last) for first, last in stretches])
        bins = pl.concat(
            [pl.datetime_range(f, t, table.bin or "1m", time_zone="UTC", eager=True) for f, t in stretches]
        )
        return when.is_in(bins.cast(pl.Datetime("us", "UTC")).implode())

    def days(self, name: str) -> list[date]:
        """The UTC dates on which the table may have visible rows, rising."""
        return sorted({f.day for f in self.files(name)})


def _utc(when: datetime) -> datetime:
    if when.tzinfo is None:
        raise ValueError("a time without a zone; times are aware, UTC")
    return when.astimezone(UTC)
