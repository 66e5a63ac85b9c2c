"""Events that only the files around a log can decide.

Some events count until another line takes them back: a message that sendmail's submission program hands to sendmail's
server is logged twice, a session of qpopper at its login and at its end (docs/counting-rules.md). A *cancel* takes back one
*held* event of the same identifier on the same server within the hour, as ``rust/core/src/count/memory.rs`` does. Where
a log was rotated between the two, each file has one half of the pair.

The core tells, for each source, the halves near its ends that found no other one. They stand in the journal beside the
source, and whenever a source is written, the pairs that it makes with the sources around it are looked for. What is
taken back of a source becomes rows of negative counts in a part of that source, ``<source>~back``, which ends with it. So
a table is the same whether a log was analysed whole or in pieces, in any order.

Limits: pairs are looked for among sources that touch one that is written or ends, and among those that touch these. Of one
identifier with several held events in an hour (a pid that comes again) the earliest is taken, by the minute. Counting
without a store keeps 16 bytes for each cancel near an end of a file. "last message repeated" at the head of a file is of
nothing, as it stands in no other file what its last line was.
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

__all__ = ["Halves", "by_source", "frames", "packed", "settle"]

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


def packed(scanned: Scanned, kinds: Sequence[str]) -> dict[int, bytes]:
    """The halves of each source of a scan as the journal keeps them, by the source's position."""
    found = {}
    for at, halves in by_source(scanned, kinds).items():
        stream = io.BytesIO()
        halves.write_ipc(stream, compression="zstd")
        found[at] = stream.getvalue()
    return found


def _unpacked(blob: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(blob), columns=None if columns is None else list(columns))


class Halves:
    """Halves of several sources, among which pairs are looked for."""

    def __init__(self) -> None:
        self._held: list[pl.DataFrame] = []
        self._cancels: list[pl.DataFrame] = []

    def add(self, source: int | str, halves: pl.DataFrame) -> None:
        """Add those of a source, as :func:`by_source` gives them."""
        held = pl.col("kind").is_not_null()
        self._held.append(halves.filter(held).with_columns(pl.lit(source).alias(SOURCE)))
        # An identifier is of a server already (``identifier`` in ``rust/core/src/count/worker.rs``).
        self._cancels.append(halves.filter(~held).select("id", "bin_start"))

    def taken(self) -> pl.DataFrame:
        """The held events that cancels take back: rows of the halves, with the column ``source``."""
        if not self._held:
            return pl.DataFrame()
        held = pl.concat(self._held).sort("bin_start", "id", SOURCE)
        ids = held.select("id").unique()
        cancels = pl.concat([c.join(ids, on="id", how="semi") for c in self._cancels]).sort("bin_start", "id")
        waiting: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
        concerned = held.with_row_index("_at").join(cancels, on="id", how="semi")
        for number, when, at in concerned.sort("_at").select("id", "bin_start", "_at").rows():
            waiting[number].append((when, at))
        taken = []
        for number, when in cancels.rows():
            found = next((h for h in waiting[number] if abs(h[0] - when) <= HORIZON), None)
            if found is not None:
                waiting[number].remove(found)
                taken.append(found[1])
        return held[sorted(taken)]


def frames(taken: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows that take held events back, by table: negative counts, and summaries that are taken away.

    Parameters
    ----------
    taken
        Held events, as :meth:`Halves.taken` gives them.

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
        Halves of the sources that are being written, as :func:`packed` packs them; those without any may be left out.
    logs
        Logs of which what the store has ends with this writing, all of their parts: those replaced, and those written anew.
    """
    current = store.sources()
    ending = {source for source, entry in current.items() if entry.whole in logs and source not in fresh}
    spans = {source: _span(entry) for source, entry in current.items() if source not in fresh}
    spans |= {source: _span_of(blob) for source, blob in fresh.items()}
    # What ends takes its cancels with it.
    holders = (fresh.keys() | _near(fresh.keys() | ending, spans)) - ending
    around = (holders | _near(holders, spans)) - ending
    halves = Halves()
    for source, blob in {**store.journal.edges(around - fresh.keys()), **fresh}.items():
        halves.add(source, _unpacked(blob))
    taken = halves.taken()
    if not taken.is_empty():
        taken = taken.filter(pl.col(SOURCE).is_in(list(holders)))
    parts = {} if taken.is_empty() else taken.partition_by(SOURCE, as_dict=True)
    of_source = {str(key[0]): part for key, part in parts.items()}
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
    halves = _unpacked(blob, ["server", "bin_start"])
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


def _mark(taken: pl.DataFrame) -> str:
    text = repr(taken.drop(SOURCE).sort("bin_start", "server", "id").rows())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
