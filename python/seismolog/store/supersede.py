"""Where archives and live counts are of the same lines: which of them a reader sees.

A server's lines can be in the store twice, counted as they came in (a *live* source) and read from the file
that rsyslog wrote (an *archive*). Adding them would double them. The rule, for each server and kind (the
*group*) in each bin of a table:

- An archive *covers* the kinds that it has of a server from the bin of its first event of that server to the
  bin of the last. Its first and last bin are its *edges*: there the file may hold half of the bin only.
- Strictly inside, the archive supersedes: live rows are not read. (It may have been counted because live
  counts missed a stretch.)
- At an edge the live rows hold, where there are any, and the archive's are not read. Where live has no row
  of the group in that bin (seismolog was not running), the archive's edge is all there is, and is read.

So in every bin a group is read from one side only. Several archives, or several live sources, are still
summed among themselves.

Tables without the column ``kind`` mix kinds in a row. There the group is the server, and archives supersede
live in a bin only if together they cover every kind that live has of that server; where they have only some
of those, live holds and the archives that share a kind with it are not read. Archives that share none are
other lines, and are added.

All of it is a pure function of the journal, plus one look at which bins of the edges have live rows.

Limits: live rows do not tell from which daemon they are. An archive that has ``auth_failure`` of Postfix
supersedes those of every daemon of that server, until the other archive is analysed too. If live was
switched on in the very minute in which an archive ends, live holds in that minute though it has its second
half only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from seismolog.store.journal import Coverage, SourceEntry
from seismolog.store.schema import Table

__all__ = ["Stretches", "Superseding", "floor", "superseding"]

#: (server, kind), or (server, "") in tables without kinds.
Group = tuple[str, str]
#: First and last bin, both inclusive.
Stretch = tuple[datetime, datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Above all minutes since 1970, so that a group and a minute make one number.
_MINUTES = 1 << 32


def floor(when: datetime, length: timedelta) -> datetime:
    """The start of the bin that holds a moment; bins are counted from 1970 UTC."""
    return when - (when - _EPOCH) % length


def _united(stretches: Iterable[Stretch], length: timedelta) -> list[Stretch]:
    """The same bins as rising, disjoint stretches; neighbours are joined."""
    found: list[Stretch] = []
    for first, last in sorted(stretches):
        if found and first <= found[-1][1] + length:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        elif first <= last:
            found.append((first, last))
    return found


def _common(one: Sequence[Stretch], other: Sequence[Stretch]) -> list[Stretch]:
    """The bins that are in both; each rising and disjoint."""
    found: list[Stretch] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first, last = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if first <= last:
            found.append((first, last))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found


def _less(one: Sequence[Stretch], other: Sequence[Stretch], length: timedelta) -> list[Stretch]:
    """The bins of one that are not in other; each rising and disjoint."""
    found: list[Stretch] = []
    for first, last in one:
        at = first
        for begin, end in other:
            if end < at or begin > last:
                continue
            if begin > at:
                found.append((at, begin - length))
            at = end + length
        if at <= last:
            found.append((at, last))
    return found


@dataclass(frozen=True)
class Stretches:
    """Bins by group, as rising and disjoint stretches."""

    of: Mapping[Group, Sequence[Stretch]]
    by_kind: bool
    length: timedelta

    def between(self, since: datetime | None, until: datetime | None) -> Stretches:
        """Those that have a bin in [since, until)."""
        kept = {
            group: [
                (first, last)
                for first, last in stretches
                if (since is None or last + self.length > since) and (until is None or first < until)
            ]
            for group, stretches in self.of.items()
        }
        return Stretches({g: s for g, s in kept.items() if s}, self.by_kind, self.length)

    def __bool__(self) -> bool:
        return bool(self.of)

    def times(self) -> list[Stretch]:
        """The same without groups: when anything is in them."""
        return _united((s for stretches in self.of.values() for s in stretches), self.length)

    def hold(self, time: str) -> pl.Expr:
        """Whether a row's bin is in them; `time` is the column of the bin's start.

        One search in one sorted array, whatever the number of groups and stretches.
        """
        numbers = {group: i for i, group in enumerate(self.of)}
        bounds = np.array(
            [
                edge
                for group, i in numbers.items()
                for first, last in self.of[group]
                for edge in (
                    i * _MINUTES + _minute_number(first),
                    i * _MINUTES + _minute_number(last + self.length),
                )
            ],
            dtype=np.int64,
        )
        servers = pl.DataFrame(
            {
                "server": [g[0] for g in numbers],
                "kind": [g[1] for g in numbers],
                "number": list(numbers.values()),
            },
            schema={"server": pl.String, "kind": pl.String, "number": pl.Int64},
        )
        on = ["server", "kind"] if self.by_kind else ["server"]

        def inside(rows: pl.Series) -> pl.Series:
            frame = rows.struct.unnest().with_columns(pl.col(c).cast(pl.String) for c in on)
            found = frame.join(servers, on=on, how="left", maintain_order="left")
            minutes = found[time].dt.epoch("s") // 60
            codes = (found["number"] * _MINUTES + minutes).fill_null(-1).to_numpy()
            places = np.searchsorted(bounds, codes, side="right")
            return pl.Series(rows.name, places % 2 == 1)

        return pl.struct(*on, time).map_batches(inside, return_dtype=pl.Boolean(), is_elementwise=True)


def _minute_number(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(minutes=1)


@dataclass(frozen=True)
class Superseding:
    """For one table.

    Parameters
    ----------
    inside
        Live rows there are not read.
    disputed
        Archives' rows there are not read where live has a row of the group in the bin.
    touching
        Server -> generations of the archives that share a kind with live: only those are in dispute.
    added
        (generation, stretch) of archives and live sources on servers where they share no kind: such rows may
        meet at a key, and are summed.
    """

    inside: Stretches
    disputed: Stretches
    touching: Mapping[str, frozenset[int]] = field(default_factory=dict)
    added: Sequence[tuple[int, Coverage]] = ()


def superseding(entries: Iterable[SourceEntry], table: Table, length: timedelta) -> Superseding | None:
    """How archives and live sources share the bins of a table; None where they have nothing to do with each other.

    Parameters
    ----------
    entries
        The current sources.
    table
        Which table.
    length
        Length of its bins.
    """
    entries = list(entries)
    live = [e for e in entries if e.origin == "live"]
    archives = [e for e in entries if e.origin != "live"]
    if not live or not archives:
        return None
    by_kind = "kind" in table.keys
    of_live: dict[str, set[str]] = defaultdict(set)
    for entry in live:
        for c in entry.coverage:
            if table.kinds is None or c.kind in table.kinds:
                of_live[c.server].add(c.kind)
    full: dict[Group, list[Stretch]] = defaultdict(list)
    inner: dict[Group, list[Stretch]] = defaultdict(list)
    touching: dict[str, set[int]] = defaultdict(set)
    strangers: dict[str, list[tuple[int, Coverage]]] = defaultdict(list)
    for entry in archives:
        spans: dict[str, Stretch] = {}
        for c in entry.coverage:
            before = spans.get(c.server, (c.first, c.last))
            spans[c.server] = (min(before[0], c.first), max(before[1], c.last))
        for server, (first, last) in spans.items():
            if server not in of_live:
                continue
            mine = [c for c in entry.coverage if c.server == server]
            kinds = {c.kind for c in mine if table.kinds is None or c.kind in table.kinds}
            if not kinds & of_live[server]:
                strangers[server] += [(entry.generation, c) for c in mine]
                continue
            touching[server].add(entry.generation)
            low, high = floor(first, length), floor(last, length)
            for kind in kinds & of_live[server]:
                full[server, kind].append((low, high))
                inner[server, kind].append((low + length, high - length))
    inside = {g: _united(s, length) for g, s in inner.items()}
    covered = {g: _united(s, length) for g, s in full.items()}
    if not by_kind:
        inside, covered = _by_server(inside, covered, of_live, length)
    disputed = {g: _less(s, inside.get(g, ()), length) for g, s in covered.items()}
    added = [] if by_kind else [p for pairs in strangers.values() for p in pairs]
    if added:
        added += [(e.generation, c) for e in live for c in e.coverage if c.server in strangers]
    return Superseding(
        Stretches({g: s for g, s in inside.items() if s}, by_kind, length),
        Stretches({g: s for g, s in disputed.items() if s}, by_kind, length),
        {server: frozenset(generations) for server, generations in touching.items()},
        added,
    )


def _by_server(
    inside: Mapping[Group, list[Stretch]],
    covered: Mapping[Group, list[Stretch]],
    of_live: Mapping[str, set[str]],
    length: timedelta,
) -> tuple[dict[Group, list[Stretch]], dict[Group, list[Stretch]]]:
    """Groups that are servers: inside is what is inside for all kinds of live, covered for any."""
    all_inside: dict[Group, list[Stretch]] = {}
    any_covered: dict[Group, list[Stretch]] = {}
    for server in {s for s, _ in covered}:
        kinds = sorted(of_live[server])
        common = inside.get((server, kinds[0]), [])
        for kind in kinds[1:]:
            common = _common(common, inside.get((server, kind), []))
        all_inside[server, ""] = common
        stretches = (s for kind in kinds for s in covered.get((server, kind), ()))
        any_covered[server, ""] = _united(stretches, length)
    return all_inside, any_covered
