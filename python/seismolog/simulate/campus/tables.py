"""The tables of the store, counted from a simulated day without writing a line.

The result has the columns of :mod:`seismolog.store.schema` and is what the counting core makes of the same events written as
log lines (a test holds the two against each other). A day is counted hour by hour: look-ups are packed into numbers of 64
bits, and each table is a sort of these.

Limits: hashes of names and clients are of their numbers, see :mod:`~.names`. The bounds of ``domain`` and ``client_domain``
(the heaviest rows of ten minutes and of an hour) are those of the core's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from seismolog.simulate.campus.events import KINDS, MINUTES, MX, PTR, Day, Queries
from seismolog.simulate.campus.names import ENTROPY_PARTS, hash32
from seismolog.simulate.campus.ordinary import coarse_types, hour, visitors
from seismolog.simulate.campus.population import dotted
from seismolog.simulate.campus.states import lists, summaries
from seismolog.store.schema import INTERVAL_MINUTES, QTYPES, TABLES

__all__ = ["Bounds", "count", "count_coarsely"]

Ints = npt.NDArray[np.int64]
_TYPES = len(QTYPES)
_NAME_BITS, _CLIENT_BITS, _DOMAIN_BITS = 22, 18, 18
_SQUARES = np.array([0, 4, 64, 1024, 22_560, 44_268, 90_000])


@dataclass(frozen=True)
class Bounds:
    """Sizes of summaries and numbers of rows, as ``[limits]`` of the configuration sets them."""

    summary_size: int = 4096
    client_summary_size: int = 1024
    domain_rows: int = 1 << 14
    client_domain_rows: int = 20_000
    names_measured: int = 256


@dataclass
class _Making:
    """One day being counted."""

    day: Day
    bounds: Bounds
    wanted: Mapping[str, frozenset[str]] | None
    frames: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    last_asked: tuple[Ints, Ints] = field(
        default_factory=lambda: (np.empty(0, np.int64), np.empty(0, np.int64))
    )
    last_target: dict[int, int] = field(default_factory=dict)
    last_dropped: dict[tuple[int, int], int] = field(default_factory=dict)

    def wants(self, table: str, *columns: str) -> bool:
        """Whether a table, or one of these columns of it, is asked for."""
        if self.wanted is None:
            return True
        if table not in self.wanted:
            return False
        return not columns or bool(self.wanted[table] & set(columns))

    def put(self, table: str, columns: dict[str, Any]) -> None:
        """Rows of a table, with the stored types; columns that are not given are null."""
        made = pl.DataFrame({k: v for k, v in columns.items() if v is not None})
        self.frames.setdefault(table, []).append(made)

    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables with all columns; names of few things (servers, kinds) are codes, in a fourth of the space."""
        codes = {
            "server": pl.Enum(list(self.day.world.servers)),
            "kind": pl.Enum(list(_ALL_KINDS)),
            "query_type": pl.Enum(list(QTYPES)),
            "side": pl.Enum(list(_SIDES)),
        }
        result = {}
        for name, declared in TABLES.items():
            if not declared.sourced or not self.wants(name):
                continue
            parts = [p for p in self.frames.get(name, []) if p.height]
            made = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()
            columns = []
            for column in declared.columns:
                there = column.name in made.columns
                value = pl.col(column.name) if there else pl.lit(None).alias(column.name)
                columns.append(value.cast(codes.get(column.name, column.dtype)))
            result[name] = made.select(columns) if parts else made.select(columns).clear()
        return result


def count(
    day: Day,
    *,
    bounds: Bounds | None = None,
    wanted: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, pl.DataFrame]:
    """The tables of a day, every look-up counted by minute and name.

    Parameters
    ----------
    wanted
        Table -> columns that will be read; all of them by default. States and histograms that nobody reads are left out
        (null), which halves the time.
    """
    making = _making(day, bounds, wanted)
    explicit = day.kept_queries(Queries.join(day.queries))
    explicit = explicit.where((explicit.minute >= 0) & (explicit.minute < MINUTES))
    of_hour = explicit.minute // 60
    explicit = explicit.where(np.argsort(of_hour, kind="stable"))
    cuts = np.searchsorted(np.sort(of_hour), np.arange(25))
    for which in range(24):
        part = explicit.where(np.arange(cuts[which], cuts[which + 1]))
        ordinary = day.kept_queries(hour(day, which, day.world.names, day.world.mixture))
        _hour(making, which, Queries.join([ordinary, part]))
    _services(making)
    _drops(making)
    return making.tables()


def count_coarsely(
    day: Day,
    *,
    bounds: Bounds | None = None,
    wanted: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, pl.DataFrame]:
    """The tables of a day of the past: ordinary look-ups and mail by ten minutes and without names, drops by the minute.

    ``domain`` and ``client_domain`` hold programs, mail servers and incidents only; numbers of names are null where ordinary
    look-ups are among what was counted.
    """
    making = _making(day, bounds, wanted)
    explicit = day.kept_queries(Queries.join(day.queries))
    explicit = explicit.where((explicit.minute >= 0) & (explicit.minute < MINUTES))
    reverse = _coarse_traffic(making, explicit)
    named = making.wants("client_domain") or making.wants("client_names")
    detailed = explicit if named else explicit.where(explicit.qtype == PTR)
    for which in range(24):
        part = detailed.where(detailed.minute // 60 == which)
        packed = _Packed.of(making, which, part)
        _client_domain(making, packed, least=_lightest(making, which))
        if making.wants("client_names"):
            _client_names(making, packed)
        back = reverse.where(reverse.minute // 60 == which)
        _ptr_target(making, which, Queries.join([back, part.where(part.qtype == PTR)]))
    _services(making, minutes=10)
    # Few enough to be counted by the minute: the entropy of ten minutes is not the mean of that of its minutes.
    _drops(making)
    return making.tables()


def _making(day: Day, bounds: Bounds | None, wanted: Mapping[str, Sequence[str]] | None) -> _Making:
    chosen = None if wanted is None else {t: frozenset(c) for t, c in wanted.items()}
    return _Making(day, bounds or Bounds(), chosen)


# -- look-ups


@dataclass(frozen=True)
class _Packed:
    """Look-ups of an hour with what the tables need of each."""

    which: int
    minute: Ints
    client: Ints
    name: Ints
    qtype: Ints
    domain: Ints
    server: Ints
    name_hash: npt.NDArray[np.uint64]
    client_hash: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, making: _Making, which: int, queries: Queries) -> _Packed:
        world = making.day.world
        return cls(
            which,
            queries.minute - which * 60,
            queries.client,
            queries.name,
            queries.qtype,
            world.names.domain[queries.name].astype(np.int64),
            world.people.server[queries.client].astype(np.int64),
            hash32(queries.name).astype(np.uint64),
            hash32(queries.client + (1 << 40)).astype(np.uint64),
        )

    def __len__(self) -> int:
        return len(self.minute)


def _enum(codes: Ints, names: Sequence[str]) -> pl.Series:
    kind = pl.Enum(list(names))
    return pl.Series(codes.astype(np.uint32)).cast(pl.Series(dtype=kind).to_physical().dtype).cat.to(kind)


def _texts(making: _Making, clients: Ints) -> pl.Series:
    """Addresses of clients, through a dictionary."""
    known = pl.Series(making.day.world.people.texts)
    return known.gather(clients)


def _starts(making: _Making, minutes: Ints) -> pl.Series:
    origin = int(making.day.start.timestamp()) * 1_000_000
    return pl.Series(origin + minutes.astype(np.int64) * 60_000_000).cast(pl.Datetime("us", "UTC"))


def _where(chosen: npt.NDArray[np.bool_], values: Any) -> pl.Series:
    """The values, null where they are not chosen."""
    return pl.select(pl.when(pl.Series(chosen)).then(pl.Series(values))).to_series()


def _runs(sorted_keys: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Places where a new key begins, and how long each run is."""
    if not len(sorted_keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first = np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))
    return first, np.diff(np.append(first, len(sorted_keys)))


def _hour(making: _Making, which: int, queries: Queries) -> None:
    packed = _Packed.of(making, which, queries)
    if not len(packed):
        return
    _client_traffic(making, packed)
    _traffic(making, packed)
    if making.wants("domain"):
        _domain(making, packed)
    if making.wants("client_domain"):
        _client_domain(making, packed)
    if making.wants("client_names"):
        _client_names(making, packed)
    if making.wants("ptr_target"):
        _ptr_target(making, which, queries)


def _client_traffic(making: _Making, p: _Packed) -> None:
    key = ((p.minute << (_CLIENT_BITS + _NAME_BITS)) | (p.client << _NAME_BITS) | p.name) << 4 | p.qtype
    key.sort()
    of_row = key >> (_NAME_BITS + 4)
    first, length = _runs(of_row)
    row = np.repeat(np.arange(len(first)), length)
    by_type = np.bincount(row * _TYPES + (key & 15), minlength=len(first) * _TYPES).reshape(-1, _TYPES)
    name = key >> 4
    new_name = np.concatenate([[True], name[1:] != name[:-1]])
    distinct = np.bincount(row[new_name], minlength=len(first))
    state = None
    if making.wants("client_traffic", "name_state"):
        asked = name[new_name] & ((1 << _NAME_BITS) - 1)
        hashed = row[new_name].astype(np.uint64) << np.uint64(32) | hash32(asked).astype(np.uint64)
        made = summaries(np.sort(hashed), len(first), making.bounds.client_summary_size, counts=False)
        state, distinct = made.state, made.distinct
    client = of_row[first] & ((1 << _CLIENT_BITS) - 1)
    minute = of_row[first] >> _CLIENT_BITS
    world = making.day.world
    making.put(
        "client_traffic",
        {
            "bin_start": _starts(making, minute + p.which * 60),
            "server": _enum(world.people.server[client].astype(np.int64), world.servers),
            "kind": _enum(np.zeros(len(client), np.int64), _ALL_KINDS),
            "client": _texts(making, client),
            "count": length.astype(np.int32),
            **{q: by_type[:, i].astype(np.int32) for i, q in enumerate(QTYPES)},
            "distinct_names": distinct.astype(np.int32),
            "name_state": state,
        },
    )


_ALL_KINDS = ("dns_query", *KINDS, "firewall_drop")
_SIDES = ("inside", "outside")


def _traffic(making: _Making, p: _Packed) -> None:
    world = making.day.world
    side = (p.client >= world.people.world).astype(np.int64)
    group = ((p.server * 60 + p.minute) * _TYPES + p.qtype) * 2 + side
    present, row = np.unique(group, return_inverse=True)
    wide = row.astype(np.uint64) << np.uint64(32)
    size = making.bounds.summary_size
    state = making.wants("traffic", "client_state", "name_state")
    clients = summaries(np.sort(wide | p.client_hash), len(present), size, state=state)
    names = summaries(np.sort(wide | p.name_hash), len(present), size, state=state)
    rest = present // 2
    making.put(
        "traffic",
        {
            "bin_start": _starts(making, rest // _TYPES % 60 + p.which * 60),
            "server": _enum(rest // _TYPES // 60, world.servers),
            "kind": _enum(np.zeros(len(present), np.int64), _ALL_KINDS),
            "query_type": _enum(rest % _TYPES, QTYPES),
            "side": _enum(present % 2, _SIDES),
            "count": np.bincount(row, minlength=len(present)),
            "recipients": np.zeros(len(present), np.int64),
            "distinct_clients": clients.distinct,
            "client_entropy": clients.entropy,
            "distinct_names": names.distinct,
            "name_entropy": names.entropy,
            "top_name_share": names.top_share,
            "client_state": clients.state,
            "name_state": names.state,
        },
    )


def _domain(making: _Making, p: _Packed) -> None:
    world = making.day.world
    cell = (p.server * 6 + p.minute // 10) << _DOMAIN_BITS | p.domain
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    first, length = _runs(ordered)
    of_row = ordered[first]
    keep = _heaviest(of_row >> _DOMAIN_BITS, length, making.bounds.domain_rows)
    number = np.cumsum(keep) - 1
    row = np.repeat(np.where(keep, number, -1), length)
    chosen = row >= 0
    row, order = row[chosen], order[chosen]
    rows = int(keep.sum())
    by_type = np.bincount(row * _TYPES + p.qtype[order], minlength=rows * _TYPES).reshape(-1, _TYPES)
    wide = row.astype(np.uint64) << np.uint64(32)
    state = making.wants("domain", "name_state", "client_state")
    size = making.bounds.client_summary_size
    names = summaries(np.sort(wide | p.name_hash[order]), rows, size, state=state)
    clients = summaries(np.sort(wide | p.client_hash[order]), rows, size, state=state)
    of_row, length = of_row[keep], length[keep]
    place = of_row >> _DOMAIN_BITS
    making.put(
        "domain",
        {
            "bin_start": _starts(making, place % 6 * 10 + p.which * 60),
            "server": _enum(place // 6, world.servers),
            "domain": pl.Series(world.names.domains).gather(of_row & ((1 << _DOMAIN_BITS) - 1)),
            "count": length,
            **{q: by_type[:, i].astype(np.int32) for i, q in enumerate(QTYPES)},
            "distinct_names": names.distinct,
            "distinct_clients": clients.distinct,
            "name_state": names.state,
            "client_state": clients.state,
        },
    )


def _heaviest(cell: Ints, weight: Ints, most: int) -> npt.NDArray[np.bool_]:
    """The `most` heaviest rows of each cell; rows of a cell lie together."""
    keep = np.ones(len(cell), bool)
    first, length = _runs(cell)
    for begin, size in zip(first.tolist(), length.tolist(), strict=True):
        if size > most:
            part = weight[begin : begin + size]
            order = np.argsort(-part, kind="stable")
            keep[begin + order[most:]] = False
    return keep


def _lightest(making: _Making, which: int) -> tuple[int, ...]:
    """Count of the lightest row that an hour of each DNS server keeps, where ordinary look-ups compete for its rows.

    Seen in days that were counted whole: about one more for each 160,000 look-ups.
    """
    day, world = making.day, making.day.world
    asked = day.counts[:, which * 6 : which * 6 + 6].sum(axis=1)
    served = world.people.server[day.address]
    return tuple(1 + int(asked[served == n].sum()) // 160_000 for n in range(len(world.dns_names)))


def _client_domain(making: _Making, p: _Packed, least: tuple[int, ...] = (1, 1)) -> None:
    if not len(p) or not making.wants("client_domain"):
        return
    world = making.day.world
    pair = p.client << _DOMAIN_BITS | p.domain
    key = np.sort((p.server << (_CLIENT_BITS + _DOMAIN_BITS) | pair) << 6 | p.minute)
    of_pair = key >> 6
    first, length = _runs(of_pair)
    pairs = of_pair[first]
    minute = (key & 63) + p.which * 60
    before, making.last_asked = _bridge(making.last_asked, pairs, minute[first + length - 1])
    of_server = pairs >> (_CLIENT_BITS + _DOMAIN_BITS)
    keep = _heaviest(of_server, length, making.bounds.client_domain_rows)
    keep &= length >= np.array(least)[of_server]
    rows = int(keep.sum())
    if rows == 0:
        return
    number = np.where(keep, np.cumsum(keep) - 1, -1)

    intervals = None
    if making.wants("client_domain", "interval_histogram"):
        step = np.diff(minute, prepend=0)
        row = np.repeat(number, length)
        step[first] = np.where(before >= 0, minute[first] - before, -1)
        chosen = (row >= 0) & (step >= 0)
        bucket = np.searchsorted(INTERVAL_MINUTES, step[chosen], side="right") - 1
        intervals = _histogram(row[chosen], bucket, rows)

    kept = pairs[keep]
    place = np.searchsorted(kept, p.server << (_CLIENT_BITS + _DOMAIN_BITS) | pair).clip(0, rows - 1)
    mine = kept[place] == (p.server << (_CLIENT_BITS + _DOMAIN_BITS) | pair)
    asked = np.unique(place[mine] << _NAME_BITS | p.name[mine])
    of_name, name = asked >> _NAME_BITS, asked & ((1 << _NAME_BITS) - 1)
    looks = world.names
    distinct = np.bincount(of_name, minlength=rows)
    bits = np.zeros(rows, np.int64)
    np.bitwise_or.at(bits, of_name, looks.mail[name].astype(np.int64))
    hashed = hash32(name).astype(np.int64)
    level = np.zeros(rows, np.int64)
    held = distinct.copy()
    while (over := held > making.bounds.names_measured).any():
        level[over] += 1
        inside = hashed < (np.int64(1) << (32 - level[of_name]))
        of_name, name, hashed = of_name[inside], name[inside], hashed[inside]
        held = np.bincount(of_name, minlength=rows)
    entropy = np.bincount(of_name, looks.entropy[name].astype(float), minlength=rows) / ENTROPY_PARTS
    lengths = looks.length[name].astype(np.int64)
    order = np.lexsort((lengths, of_name))
    begin = np.cumsum(held) - held
    middle = lengths[order][begin + (held - 1) // 2] if rows else np.empty(0, np.int64)
    spread = None
    if making.wants("client_domain", "name_length_histogram"):
        spread = _histogram(of_name, lengths, rows)
    state = None
    if making.wants("client_domain", "name_state"):
        wide = of_name.astype(np.uint64) << np.uint64(32) | hashed.astype(np.uint64)
        made = summaries(np.sort(wide), rows, making.bounds.names_measured, counts=False)
        state = made.state
    making.put(
        "client_domain",
        {
            "bin_start": _starts(making, np.full(rows, p.which * 60)),
            "server": _enum(kept >> (_CLIENT_BITS + _DOMAIN_BITS), world.servers),
            "client": _texts(making, kept >> _DOMAIN_BITS & ((1 << _CLIENT_BITS) - 1)),
            "domain": pl.Series(world.names.domains).gather(kept & ((1 << _DOMAIN_BITS) - 1)),
            "count": length[keep],
            "distinct_names": held << level,
            "names_measured": held,
            "label_entropy_sum": entropy,
            "mean_label_entropy": entropy / np.maximum(held, 1),
            "name_length_histogram": spread,
            "median_name_length": middle,
            "mail_label_bits": bits,
            "mail_labels": np.bitwise_count(bits.astype(np.uint64)).astype(np.int32),
            "interval_histogram": intervals,
            "name_state": state,
        },
    )


def _client_names(making: _Making, p: _Packed) -> None:
    """Of each client and hour: MX names, domains with mail-like labels, domains whose name looks made up."""
    world = making.day.world
    looks = world.names
    who = p.server << _CLIENT_BITS | p.client
    mx = np.unique((who[p.qtype == MX] << _NAME_BITS) | p.name[p.qtype == MX]) >> _NAME_BITS
    mail = looks.mail[p.name] > 0
    pair = np.unique(
        ((who[mail] << _DOMAIN_BITS | p.domain[mail]) << 6) | looks.mail[p.name[mail]].astype(np.int64)
    )
    first, labels = _runs(pair >> 6)
    of_pair = pair[first] >> (6 + _DOMAIN_BITS)
    unlikely = looks.unlikely()[p.domain]
    odd = np.unique(who[unlikely] << _DOMAIN_BITS | p.domain[unlikely]) >> _DOMAIN_BITS
    rows = np.unique(np.concatenate([mx, of_pair, odd]))

    def each(of: Ints) -> Ints:
        return np.bincount(np.searchsorted(rows, of), minlength=len(rows))

    making.put(
        "client_names",
        {
            "bin_start": _starts(making, np.full(len(rows), p.which * 60)),
            "server": _enum(rows >> _CLIENT_BITS, world.servers),
            "client": _texts(making, rows & ((1 << _CLIENT_BITS) - 1)),
            "mx_names": each(mx),
            "mail_domains": each(of_pair),
            "probed_domains": each(of_pair[labels >= 3]),
            "unlikely_domains": each(odd),
        },
    )


def _bridge(known: tuple[Ints, Ints], pairs: Ints, last: Ints) -> tuple[Ints, tuple[Ints, Ints]]:
    """Minute at which each pair was asked for last before (-1: never), and what is known from now on."""
    keys, minutes = known
    before = np.full(len(pairs), -1, np.int64)
    if len(keys):
        at = np.searchsorted(keys, pairs).clip(0, len(keys) - 1)
        found = keys[at] == pairs
        before[found] = minutes[at[found]]
        minutes[at[found]] = last[found]
        new = ~found
    else:
        new = np.ones(len(pairs), bool)
    if new.any():
        where = np.searchsorted(keys, pairs[new])
        keys, minutes = np.insert(keys, where, pairs[new]), np.insert(minutes, where, last[new])
    return before, (keys, minutes)


def _histogram(row: Ints, bucket: Ints, rows: int) -> pl.Series:
    """Lists of counts by bucket, zeros at the end left out."""
    most = np.full(rows, -1, np.int64)
    np.maximum.at(most, row, bucket)
    size = most + 1
    ends = np.cumsum(size)
    flat = np.bincount((ends - size)[row] + bucket, minlength=int(ends[-1]) if rows else 0).astype(np.int32)
    return lists(flat, ends)


def _distance(a: Ints, b: Ints) -> Ints:
    square = np.zeros(len(a), np.int64)
    for shift in (0, 8, 16, 24):
        square += ((a >> shift & 255) - (b >> shift & 255)) ** 2
    return np.searchsorted(_SQUARES, square)


def _ptr_target(making: _Making, which: int, queries: Queries) -> None:
    if not making.wants("ptr_target"):
        return
    world = making.day.world
    target = world.names.target[queries.name]
    chosen = np.flatnonzero((queries.qtype == PTR) & (target >= 0))
    if not len(chosen):
        return
    client, minute, target = queries.client[chosen], queries.minute[chosen], target[chosen]
    order = np.lexsort((np.arange(len(chosen)), minute, client))
    client, target = client[order], target[order]
    bucket = _steps(client, target, making.last_target)
    columns = _origins(making, which, client, target, bucket, world.people.server[client].astype(np.int64))
    making.put("ptr_target", columns)


def _steps(client: Ints, target: Ints, last: dict[int, int]) -> Ints:
    """Bucket of the distance from the target before of the same client, -1 for the first."""
    first, length = _runs(client)
    before = np.empty(len(target), np.int64)
    before[1:] = target[:-1]
    has = np.ones(len(target), bool)
    for place, who in zip(first.tolist(), client[first].tolist(), strict=True):
        earlier = last.get(who)
        has[place] = earlier is not None
        before[place] = earlier or 0
    for place, who in zip((first + length - 1).tolist(), client[first].tolist(), strict=True):
        last[who] = int(target[place])
    return np.where(has, _distance(before, target), -1)


def _origins(
    making: _Making, which: int, client: Ints, target: Ints, bucket: Ints, server: Ints
) -> dict[str, Any]:
    """Rows of clients and of their /24 with counts, distinct targets and distances."""
    world = making.day.world
    network = world.people.numbers[client].astype(np.int64) >> 8 << 8
    origin = np.concatenate([client, network | 1 << 40])
    both = np.concatenate([server, server])
    key = both << 48 | origin
    present, row = np.unique(key, return_inverse=True)
    hashed = hash32(target + (1 << 41)).astype(np.uint64)
    wide = row.astype(np.uint64) << np.uint64(32) | np.concatenate([hashed, hashed])
    made = summaries(
        np.sort(wide),
        len(present),
        making.bounds.client_summary_size,
        state=making.wants("ptr_target", "target_state"),
    )
    stepped = np.concatenate([bucket, bucket])
    has = stepped >= 0
    of = present & ((1 << 48) - 1)
    return {
        "bin_start": _starts(making, np.full(len(present), which * 60)),
        "server": _enum(present >> 48, world.servers),
        "origin": _origin_texts(making, of),
        "count": np.bincount(row, minlength=len(present)),
        "distinct_targets": made.distinct,
        "target_state": made.state,
        "distance_histogram": _histogram(row[has], stepped[has], len(present)),
    }


def _origin_texts(making: _Making, of: Ints) -> list[str]:
    texts = making.day.world.people.texts
    return [texts[o] if o < 1 << 40 else f"{dotted(o & 0xFFFFFFFF)}/24" for o in of.tolist()]


# -- mail servers and the firewall


def _services(making: _Making, minutes: int = 1) -> None:
    world = making.day.world
    lines = making.day.kept_services()
    offset = len(world.dns_names)
    minute = lines.minute // minutes * minutes
    # By client.
    key = ((minute << 4 | lines.server) << 4 | lines.kind) << 20 | (lines.client + 1)
    present, row = np.unique(key, return_inverse=True)
    of_client = present & ((1 << 20) - 1)
    rest = present >> 20
    who = _texts(making, np.maximum(of_client - 1, 0))
    making.put(
        "client_traffic",
        {
            "bin_start": _starts(making, rest >> 8),
            "server": _enum((rest >> 4 & 15) + offset, world.servers),
            "kind": _enum((rest & 15) + 1, _ALL_KINDS),
            "client": _where(of_client > 0, who),
            "count": np.bincount(row, minlength=len(present)).astype(np.int32),
            **{q: np.zeros(len(present), np.int32) for q in QTYPES},
            "distinct_names": np.zeros(len(present), np.int32),
        },
    )
    # By side.
    side = np.where(lines.client < 0, 2, lines.client >= world.people.world)
    key = ((minute << 4 | lines.server) << 4 | lines.kind) << 2 | side
    present, row = np.unique(key, return_inverse=True)
    named = np.flatnonzero(lines.client >= 0)
    hashed = hash32(lines.client[named] + (1 << 40)).astype(np.uint64)
    wide = np.sort(row[named].astype(np.uint64) << np.uint64(32) | hashed)
    state = making.wants("traffic", "client_state", "name_state")
    clients = summaries(wide, len(present), making.bounds.summary_size, state=state)
    known = (present & 3) < 2
    rest = present >> 2
    sides = pl.Series(np.where(known, present & 3, 0))
    making.put(
        "traffic",
        {
            "bin_start": _starts(making, rest >> 8),
            "server": _enum((rest >> 4 & 15) + offset, world.servers),
            "kind": _enum((rest & 15) + 1, _ALL_KINDS),
            "side": _where(known, _enum(sides.to_numpy(), _SIDES)),
            "count": np.bincount(row, minlength=len(present)),
            "recipients": np.bincount(row, lines.recipients, minlength=len(present)).astype(np.int64),
            # What has no client has no number of clients; what is no look-up has none of names.
            "distinct_clients": _where(known, clients.distinct),
            "client_entropy": _where(known, clients.entropy),
            "client_state": clients.state,
        },
    )
    if making.wants("account_activity"):
        _accounts(making, lines.where(lines.account >= 0))


_LOGINS = tuple(KINDS.index(k) for k in ("pop_access", "imap_access"))


def _accounts(making: _Making, lines: Any) -> None:
    world = making.day.world
    key = ((lines.minute // 60) << 4 | lines.server) << 32 | lines.account
    present, row = np.unique(key, return_inverse=True)
    rows = len(present)

    def of(kinds: Sequence[int]) -> Ints:
        return np.bincount(row, np.isin(lines.kind, kinds), minlength=rows).astype(np.int64)

    seen = lines.client >= 0
    wide = row[seen].astype(np.uint64) << np.uint64(32) | hash32(lines.client[seen] + (1 << 40)).astype(
        np.uint64
    )
    size = making.bounds.client_summary_size
    clients = summaries(np.sort(wide), rows, size)
    inside = seen & (lines.kind != KINDS.index("auth_failure"))
    network = world.people.numbers[lines.client[inside]].astype(np.int64) >> 8
    wide = row[inside].astype(np.uint64) << np.uint64(32) | hash32(network + (1 << 42)).astype(np.uint64)
    networks = summaries(np.sort(wide), rows, size)
    making.put(
        "account_activity",
        {
            "bin_start": _starts(making, (present >> 36) * 60),
            "server": _enum((present >> 32 & 15) + len(world.dns_names), world.servers),
            "account": pl.Series(world.accounts).gather(present & 0xFFFFFFFF),
            "logins": of(_LOGINS),
            "failures": of([KINDS.index("auth_failure")]),
            "authenticated_sends": of([KINDS.index("smtp_accepted")]),
            "distinct_clients": clients.distinct,
            "client_state": clients.state,
            "distinct_networks": networks.distinct,
            "network_state": networks.state,
        },
    )


def _drops(making: _Making) -> None:
    world = making.day.world
    drops = making.day.kept_drops()
    if not len(drops):
        return
    place = np.full(1, len(world.servers) - 1)
    minute = drops.minute
    present, row = np.unique(minute << 20 | drops.client, return_inverse=True)
    rows = len(present)
    making.put(
        "client_traffic",
        {
            "bin_start": _starts(making, present >> 20),
            "server": _enum(np.repeat(place, rows), world.servers),
            "kind": _enum(np.full(rows, len(_ALL_KINDS) - 1), _ALL_KINDS),
            "client": _texts(making, present & ((1 << 20) - 1)),
            "count": np.bincount(row, minlength=rows).astype(np.int32),
            **{q: np.zeros(rows, np.int32) for q in QTYPES},
            "distinct_names": np.zeros(rows, np.int32),
        },
    )
    side = (drops.client >= world.people.world).astype(np.int64)
    present, row = np.unique(minute << 1 | side, return_inverse=True)
    rows = len(present)
    wide = row.astype(np.uint64) << np.uint64(32) | hash32(drops.client + (1 << 40)).astype(np.uint64)
    clients = summaries(np.sort(wide), rows, making.bounds.summary_size)
    making.put(
        "traffic",
        {
            "bin_start": _starts(making, present >> 1),
            "server": _enum(np.repeat(place, rows), world.servers),
            "kind": _enum(np.full(rows, len(_ALL_KINDS) - 1), _ALL_KINDS),
            "side": _enum(present & 1, _SIDES),
            "count": np.bincount(row, minlength=rows),
            "recipients": np.zeros(rows, np.int64),
            "distinct_clients": clients.distinct,
            "client_entropy": clients.entropy,
            "client_state": clients.state,
        },
    )
    if making.wants("drop_target"):
        for which in range(24):
            part = np.flatnonzero(drops.minute // 60 == which)
            if len(part):
                _drop_hour(making, which, drops.client[part], drops.target[part], drops.port[part])


def _drop_hour(making: _Making, which: int, client: Ints, target: Ints, port: Ints) -> None:
    """Rows of clients and networks, for each port and for all ports together (null)."""
    world = making.day.world
    network = (world.people.numbers[client].astype(np.int64) >> 8 << 8) | 1 << 40
    every = np.full(len(port), 1 << 17)
    origin = np.concatenate([client, network, client, network])
    of_port = np.concatenate([port, port, every, every])
    # Distances are between consecutive packets of one client, of one port or of any.
    bucket_port = np.full(len(client), -1, np.int64)
    bucket_all = np.full(len(client), -1, np.int64)
    for keys, made in ((client << 20 | port, bucket_port), (client << 20 | every, bucket_all)):
        order = np.argsort(keys, kind="stable")
        made[order] = _steps_by(keys[order], target[order], making.last_dropped)
    bucket = np.concatenate([bucket_port, bucket_port, bucket_all, bucket_all])
    goal = np.concatenate([target] * 4)
    key = origin << 20 | of_port
    present, row = np.unique(key, return_inverse=True)
    wide = row.astype(np.uint64) << np.uint64(32)
    size = making.bounds.client_summary_size
    targets = summaries(np.sort(wide | hash32(goal + (1 << 41)).astype(np.uint64)), len(present), size)
    ends = hash32((goal << 17 | np.concatenate([port] * 4)) + (1 << 50)).astype(np.uint64)
    endpoints = summaries(np.sort(wide | ends), len(present), size)
    has = bucket >= 0
    all_ports = (present & ((1 << 20) - 1)) == 1 << 17
    making.put(
        "drop_target",
        {
            "bin_start": _starts(making, np.full(len(present), which * 60)),
            "server": _enum(np.full(len(present), len(world.servers) - 1), world.servers),
            "origin": _origin_texts(making, present >> 20),
            "port": _where(~all_ports, present & 0xFFFFF),
            "count": np.bincount(row, minlength=len(present)),
            "distinct_targets": targets.distinct,
            "target_state": targets.state,
            "distance_histogram": _histogram(row[has], bucket[has], len(present)),
            "distinct_endpoints": _where(all_ports, endpoints.distinct),
            "endpoint_state": _where(all_ports, endpoints.state),
        },
    )


def _steps_by(key: Ints, target: Ints, last: dict[Any, int]) -> Ints:
    return _steps(key, target, last)


# -- the past


def _coarse_traffic(making: _Making, explicit: Queries) -> Queries:
    """``client_traffic`` and ``traffic`` of look-ups by ten minutes; returns the ordinary ones in reverse."""
    day, world = making.day, making.day.world
    rng = np.random.default_rng([world.parameters.seed, 2025, 13, day.number + 1000])
    counts = day.counts
    for one in day.removals:
        if one.client is not None and one.server is None:
            rows = np.flatnonzero(day.address == one.client)
        elif one.server in world.dns_names:
            rows = np.flatnonzero(world.people.server[day.address] == world.dns_names.index(str(one.server)))
        else:
            continue
        counts = counts.copy()
        for place in range(one.begin // 10, -(-one.end // 10)):
            # Of a bin that is lost in part, a part is left.
            lost = (min(one.end, place * 10 + 10) - max(one.begin, place * 10)) / 10
            counts[rows, place] = rng.binomial(counts[rows, place], 1 - lost)
    device, block = np.nonzero(counts)
    ordinary = counts[device, block].astype(np.int64)
    by_type = coarse_types(rng, ordinary, world.people.of_class[device], world.mixture)
    client = day.address[device]
    key = np.concatenate(
        [block << _CLIENT_BITS | client, (explicit.minute // 10) << _CLIENT_BITS | explicit.client]
    )
    order = np.argsort(key, kind="stable")
    first, _ = _runs(key[order])
    present = key[order][first]
    types = np.zeros((len(key), _TYPES), np.int64)
    types[: len(device)] = by_type
    types[len(device) + np.arange(len(explicit)), explicit.qtype] = 1
    summed = np.add.reduceat(types[order], first, axis=0) if len(first) else types[:0]
    who, when = present & ((1 << _CLIENT_BITS) - 1), present >> _CLIENT_BITS
    making.put(
        "client_traffic",
        {
            "bin_start": _starts(making, when * 10),
            "server": _enum(world.people.server[who].astype(np.int64), world.servers),
            "kind": _enum(np.zeros(len(who), np.int64), _ALL_KINDS),
            "client": _texts(making, who),
            "count": summed.sum(axis=1).astype(np.int32),
            **{q: summed[:, i].astype(np.int32) for i, q in enumerate(QTYPES)},
        },
    )
    side = (who >= world.people.world).astype(np.int64)
    group = (world.people.server[who].astype(np.int64) * 144 + when) * 2 + side
    present, row = np.unique(group, return_inverse=True)
    for kind, label in enumerate(QTYPES):
        total = np.bincount(row, summed[:, kind], minlength=len(present)).astype(np.int64)
        some = np.flatnonzero(total)
        rest = present[some] // 2
        making.put(
            "traffic",
            {
                "bin_start": _starts(making, rest % 144 * 10),
                "server": _enum(rest // 144, world.servers),
                "kind": _enum(np.zeros(len(some), np.int64), _ALL_KINDS),
                "query_type": _enum(np.full(len(some), QTYPES.index(label)), QTYPES),
                "side": _enum(present[some] % 2, _SIDES),
                "count": total[some],
                "recipients": np.zeros(len(some), np.int64),
            },
        )
    times = by_type[:, PTR]
    minute = np.repeat(block * 10, times) + rng.integers(0, 10, int(times.sum()))
    own = np.repeat(device, times)
    who = visitors(
        own, rng.integers(0, 1 << 21, len(own)), world.names.groups["pointer"], world.people.devices
    )
    return Queries.of(minute, day.address[own], who, PTR)
