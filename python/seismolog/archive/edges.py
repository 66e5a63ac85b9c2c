"""Events that only the files around a log can decide.

Some events count until another line takes them back: a message that sendmail's submission program hands to sendmail's
server is logged twice, a session of qpopper at its login and at its end (docs/counting-rules.md). A *cancel* takes back one
*held* event of the same identifier on the same server within the hour, as ``rust/core/src/count/memory.rs`` does. Where
a log was rotated between the two, each file has one half of the pair.

The core tells, for each source, the halves near its ends that found no other one. They stand in the journal beside the
source, and whenever a source is written, the pairs that it makes with the sources around it are looked for. What is
taken back of a source becomes rows of negative counts in a part of that source, ``<source>~back``, which ends with it. So
a table is the same whether a log was analysed whole or in pieces, in any order.

Limits: pairs are looked for among sources that touch a new one and among those that touch these. Of one identifier with
several held events in an hour (a pid that comes again) the earliest is taken, by the minute. "last message repeated" at
the head of a file is of nothing, as it stands in no other file what its last line was.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from seismolog.archive.scanning import Scanned, named
from seismolog.store import Store
from seismolog.store.journal import SourceEntry
from seismolog.store.schema import SOURCE
from seismolog.store.writer import SourceWriter

__all__ = ["by_source", "frames", "pack", "pairs", "settle", "unpack"]

#: How far apart a held event and its cancel may be, as in the core.
HORIZON: Final = timedelta(hours=1)
#: Kinds that are neither held nor cancel anything: sources of these alone are not looked at.
_ALONE: Final = frozenset({"dns_query", "firewall_drop"})
_TAKEN_AWAY: Final = 0x40
_SUFFIX: Final = "~back"


def by_source(scanned: Scanned, kinds: Sequence[str]) -> dict[int, pl.DataFrame]:
    """The halves near the ends of each source of a scan, by its position, with names for codes.

    Returns
    -------
    dict
        Frames with ``id``, ``bin_start``, ``server`` and, of held events, ``kind`` (null of a cancel), ``client``, ``side``,
        ``client_hash``, ``network_hash``, ``recipients``, ``account`` and ``account_part``.
    """
    edges = pl.DataFrame(scanned.table("edges"))
    if edges.is_empty():
        return {}
    edges = edges.with_columns(
        named(edges["server"], scanned.servers).cast(pl.String), named(edges["kind"], kinds).cast(pl.String)
    )
    return {
        int(str(key[0])): part.drop(SOURCE) for key, part in edges.partition_by(SOURCE, as_dict=True).items()
    }


def pack(edges: pl.DataFrame) -> bytes:
    """The halves of a source as the journal keeps them."""
    stream = io.BytesIO()
    edges.write_ipc(stream, compression="zstd")
    return stream.getvalue()


def unpack(blob: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The halves of a source that :func:`pack` packed."""
    return pl.read_ipc(io.BytesIO(blob), columns=None if columns is None else list(columns))


def pairs(edges: pl.DataFrame) -> pl.DataFrame:
    """The held events that cancels take back.

    Parameters
    ----------
    edges
        Halves of several sources, with a column ``source`` beside those of :func:`by_source`.

    Returns
    -------
    pl.DataFrame
        Rows of `edges`: each held event that is taken back.
    """
    group = ["server", "id"]
    cancel = pl.col("kind").is_null()
    both = (cancel.any() & (~cancel).any()).over(group)
    few = edges.filter(both).sort("bin_start", *group, SOURCE)
    waiting: dict[tuple[str, int], list[tuple[datetime, int]]] = defaultdict(list)
    rows = few.select(*group, "bin_start", cancel.alias("_cancel")).rows()
    for at, (server, number, when, is_cancel) in enumerate(rows):
        if not is_cancel:
            waiting[server, number].append((when, at))
    taken = []
    for server, number, when, is_cancel in rows:
        if is_cancel:
            held = waiting[server, number]
            found = next((h for h in held if abs(h[0] - when) <= HORIZON), None)
            if found is not None:
                held.remove(found)
                taken.append(found[1])
    return few[sorted(taken)]


def frames(taken: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows that take held events back, by table: negative counts, and summaries that are taken away.

    Parameters
    ----------
    taken
        Held events, as :func:`pairs` gives them.

    Returns
    -------
    dict
        Table name to frame; ``source`` is that of `taken`.
    """
    minute = [SOURCE, "bin_start", "server", "kind"]
    gone = -pl.len().cast(pl.Int64)
    hashes = pl.col("client_hash").alias("client_state")
    traffic = (
        taken.group_by(*minute, "side", maintain_order=True)
        .agg(gone.alias("count"), -pl.col("recipients").cast(pl.Int64).sum(), hashes)
        .with_columns(_states("client_state"))
    )
    clients = taken.group_by(*minute, "client", maintain_order=True).agg(
        gone.alias("count"), distinct_names=pl.lit(0)
    )
    used = pl.col("account_part") != "failures"
    accounts = (
        taken.filter(pl.col("account").is_not_null())
        .group_by(SOURCE, pl.col("bin_start").dt.truncate("1h"), "server", "account", maintain_order=True)
        .agg(
            *(
                -(pl.col("account_part") == part).sum().cast(pl.Int64).alias(part)
                for part in ("logins", "failures", "authenticated_sends")
            ),
            hashes,
            pl.col("network_hash").filter(used).alias("network_state"),
        )
        .with_columns(_states("client_state"), _states("network_state"))
    )
    found = {"traffic": traffic, "client_traffic": clients, "account_activity": accounts}
    return {name: frame for name, frame in found.items() if not frame.is_empty()}


def _states(column: str) -> pl.Expr:
    """Lists of hashes as stored summaries of counts that are taken away (``rust/core/src/count/summary.rs``)."""

    def state(hashes: Iterable[int | None]) -> bytes | None:
        counts: dict[int, int] = defaultdict(int)
        for number in hashes:
            if number is not None:
                counts[number] += 1
        if not counts:
            return None
        items = b"".join(h.to_bytes(4, "little") + _varint(n) for h, n in sorted(counts.items()))
        return bytes([_TAKEN_AWAY]) + items

    return pl.col(column).map_elements(lambda s: state(s.to_list()), return_dtype=pl.Binary)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def settle(
    writer: SourceWriter, store: Store, fresh: Mapping[str, bytes], logs: Collection[str] = ()
) -> None:
    """Write what is taken back of sources that are being written, and of those around them.

    Parameters
    ----------
    writer
        Has the rows of the fresh sources; nothing is committed here.
    store
        The store as it is before.
    fresh
        The sources that are being written, each with its halves as :func:`pack` packs them.
    logs
        Logs of which what the store has ends with this writing, all of their parts: those replaced, and those written anew.
    """
    if not fresh:
        return
    current = store.sources()
    spans = {
        source: span
        for source, entry in current.items()
        if source not in fresh and entry.whole not in logs and (span := _span(entry))
    }
    spans |= {source: span for source, blob in fresh.items() if (span := _span_of(blob))}
    holders = {s for s in fresh if s in spans}
    holders |= _near(holders, spans)
    around = holders | _near(holders, spans)
    blobs = {**store.journal.edges(around - fresh.keys()), **{s: fresh[s] for s in fresh if s in around}}
    taken = _taken(blobs).filter(pl.col(SOURCE).is_in(list(holders)))
    of_source = {str(key[0]): part for key, part in taken.partition_by(SOURCE, as_dict=True).items()}
    for source in sorted(holders):
        part, name = of_source.get(source), source + _SUFFIX
        before = current.get(name)
        if part is None:
            if before is not None:
                writer.replaces(name, None)
            continue
        mark = _mark(part)
        if before is not None and source not in fresh and before.fingerprint == mark:
            continue
        servers = tuple(sorted(set(part["server"])))
        entry = SourceEntry(source=name, generation=0, servers=servers, fingerprint=mark)
        rows = frames(part.with_columns(pl.lit(0, dtype=pl.UInt32).alias(SOURCE)))
        writer.add(rows, [entry])


#: Of each server, from when to when a source has events that may be halves.
_Span = dict[str, tuple[datetime, datetime]]


def _span(entry: SourceEntry) -> _Span:
    found: _Span = {}
    if entry.origin != "archive" or entry.source.endswith(_SUFFIX):
        return found
    for c in entry.coverage:
        if c.kind not in _ALONE:
            first, last = found.get(c.server, (c.first, c.last))
            found[c.server] = (min(first, c.first), max(last, c.last))
    return found


def _span_of(blob: bytes) -> _Span:
    halves = unpack(blob, ["server", "bin_start"])
    spans = halves.group_by("server").agg(first=pl.col("bin_start").min(), last=pl.col("bin_start").max())
    return {server: (first, last) for server, first, last in spans.rows()}


def _near(some: Collection[str], spans: Mapping[str, _Span]) -> set[str]:
    """The sources that have a server in common with one of some, within the horizon of what it covers."""
    wanted: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for source in some:
        for server, span in spans[source].items():
            wanted[server].append(span)
    return {
        source
        for source, mine in spans.items()
        if source not in some
        and any(
            first <= until + HORIZON and last >= since - HORIZON
            for server, (first, last) in mine.items()
            for since, until in wanted[server]
        )
    }


def _taken(blobs: Mapping[str, bytes]) -> pl.DataFrame:
    """The held events of these sources that cancels in them take back."""
    keys = ["server", "id"]
    short = pl.concat(
        [
            unpack(blob, [*keys, "bin_start", "kind"]).with_columns(pl.lit(source).alias(SOURCE))
            for source, blob in blobs.items()
        ]
        or [pl.DataFrame(schema={"server": pl.String, "id": pl.UInt64, "kind": pl.String, SOURCE: pl.String})]
    )
    cancel = pl.col("kind").is_null()
    wanted = (
        short.group_by(keys).agg(cancel.any().alias("_c"), (~cancel).any().alias("_h")).filter("_c", "_h")
    )
    concerned = set(short.join(wanted, on=keys, how="semi")[SOURCE])
    whole = [
        unpack(blobs[source])
        .join(wanted.select(keys), on=keys, how="semi")
        .with_columns(pl.lit(source).alias(SOURCE))
        for source in sorted(concerned)
    ]
    return pairs(pl.concat(whole)) if whole else short.clear()


def _mark(taken: pl.DataFrame) -> str:
    text = repr(taken.drop(SOURCE).sort("bin_start", "server", "id").rows())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
