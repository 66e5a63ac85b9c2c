"""Events by hand, the frames that counting makes of them, and what InfluxDB must say about them.

Everything that is expected is reckoned from the events themselves, with sets and dictionaries, and not by merging or
rolling up what was stored. Summaries are in the stored form of the counting core.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
import pytest

from seismolog.store import SourceEntry, Store, combine
from seismolog.store.schema import QTYPES, TABLES
from tests.services.influxd.fixtures import Bucket

T0 = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)


class Event(NamedTuple):
    """One event, a line."""

    minute: int
    server: str
    kind: str
    client: str | None
    name: str | None = None
    query_type: str | None = None


def at(minute: int) -> datetime:
    return T0 + timedelta(minutes=minute)


def packed(items: Iterable[Any]) -> bytes:
    """A summary as the core stores it: level 0, then the items by hash with their counts."""
    found = bytearray([0])
    counts = Counter(items)
    hashes = {int.from_bytes(hashlib.blake2b(str(i).encode(), digest_size=4).digest()): i for i in counts}
    assert len(hashes) == len(counts)
    for hash32, item in sorted(hashes.items()):
        found += hash32.to_bytes(4, "little")
        count = counts[item]
        while count >= 0x80:
            found.append(count & 0x7F | 0x80)
            count >>= 7
        found.append(count)
    return bytes(found)


def entropy(items: Iterable[Any]) -> float:
    counts = Counter(items).values()
    total = sum(counts)
    return -sum(c / total * math.log2(c / total) for c in counts)


def side(client: str | None) -> str | None:
    return None if client is None else "inside" if client.startswith("10.") else "outside"


def traffic_numbers(events: list[Event]) -> dict[str, Any]:
    """The fields of ``traffic`` for events of one key."""
    clients = [e.client for e in events if e.client is not None]
    names = [e.name for e in events if e.name is not None]
    return {
        "count": len(events),
        "recipients": len(events),
        "distinct_clients": len(set(clients)) if clients else None,
        "client_entropy": entropy(clients) if clients else None,
        "distinct_names": len(set(names)) if names else None,
        "name_entropy": entropy(names) if names else None,
        "top_name_share": max(Counter(names).values()) / len(names) if names else None,
    }


def client_numbers(events: list[Event]) -> dict[str, int]:
    """The fields of ``client_traffic`` for events of one key."""
    types = Counter(e.query_type for e in events)
    return {
        "count": len(events),
        **{q: types.get(q, 0) for q in QTYPES},
        "distinct_names": len({e.name for e in events if e.name is not None}),
    }


def frames(events: Iterable[Event], revision: int | None = None) -> dict[str, pl.DataFrame]:
    """The tables of these events; with a revision, those of closed bins."""
    by_key: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    by_client: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for e in events:
        by_key[e.minute, e.server, e.kind, e.query_type, side(e.client)].append(e)
        by_client[e.minute, e.server, e.kind, e.client].append(e)
    rows: dict[str, list[dict[str, Any]]] = {"traffic": [], "client_traffic": []}
    for (minute, server, kind, query_type, where), of_key in by_key.items():
        clients = [e.client for e in of_key if e.client is not None]
        names = [e.name for e in of_key if e.name is not None]
        rows["traffic"].append(
            {"bin_start": at(minute), "server": server, "kind": kind, "query_type": query_type, "side": where}
            | traffic_numbers(of_key)
            | {
                "client_state": packed(clients) if clients else None,
                "name_state": packed(names) if names else None,
            }
        )
    for (minute, server, kind, client), of_key in by_client.items():
        names = [e.name for e in of_key if e.name is not None]
        rows["client_traffic"].append(
            {"bin_start": at(minute), "server": server, "kind": kind, "client": client}
            | client_numbers(of_key)
            | {"name_state": packed(names) if names else None}
        )
    made = {}
    for name, found in rows.items():
        schema = {c.name: c.dtype for c in TABLES[name].columns}
        frame = pl.DataFrame(found, schema=schema, orient="row")
        if revision is not None:
            frame = frame.with_columns(pl.lit(revision, dtype=pl.Int64).alias("revision"))
        made[name] = frame
    return made


def put(store: Store, source: str, events: Iterable[Event]) -> None:
    """Write an archive's events, in place of what that source had."""
    made = frames(events)
    entry = SourceEntry(source=source, generation=0, head_hash=source, full_hash=source)
    with store.writer() as writer:
        writer.add(
            {n: f.with_columns(pl.lit(0, dtype=pl.UInt32).alias("source")) for n, f in made.items()}, [entry]
        )
        writer.commit()


def some(seed: int, minutes: Iterable[int], a_minute: int = 12, clients: int = 9) -> list[Event]:
    """Queries and mail of a few servers and clients, some of them far more active than others."""
    chance = random.Random(seed)
    found = []
    for minute in minutes:
        for _ in range(chance.randint(1, a_minute)):
            rank = min(int(chance.paretovariate(0.9)), clients)
            client = f"10.0.0.{rank}" if rank % 2 else f"2001:db8::{rank:x}"
            if chance.random() < 0.75:
                name = f"n{int(chance.paretovariate(0.7)) % 40}.example"
                query_type = chance.choice(("a", "a", "aaaa", "mx", "ptr"))
                found.append(
                    Event(minute, chance.choice(("1dns", "2dns")), "dns_query", client, name, query_type)
                )
            elif chance.random() < 0.5:
                found.append(Event(minute, "1mx", "smtp_accepted", client))
            else:
                found.append(Event(minute, "1mx", "smtp_sent", None))
    return found


# --- what InfluxDB says ---------------------------------------------------------------------------------------------


def said(bucket: Bucket, measurement: str) -> list[dict[str, Any]]:
    """Every point of a measurement."""
    rows = bucket.server.influxql(f'select * from "{measurement}"', bucket.name)
    return [{k: v for k, v in r.items() if k != "_measurement"} for r in rows]


def assert_equal(bucket: Bucket, events: list[Event], *, zeros: bool = False) -> dict[str, int]:
    """InfluxDB says what these events say, in bins of every length, and nothing else.

    Parameters
    ----------
    zeros
        Whether there may be points of zeros, of keys that are gone.

    Returns
    -------
    dict
        Measurement to its number of points, less those of keys that are gone.
    """
    points = {}
    for suffix, width in (("", 1), ("_10m", 10), ("_1h", 60)):
        points[f"traffic{suffix}"] = _assert_traffic(bucket, events, f"traffic{suffix}", width, zeros)
        name = f"client_traffic{suffix}"
        points[name] = _assert_clients(bucket, events, name, width, zeros)
    return points


def same_as_store(bucket: Bucket, store: Store) -> str | None:
    """What InfluxDB says otherwise than the store, whatever that holds; None where they are equal.

    Points of zeros count as none. Of the clients it is looked at those that have series of their own, and at the sum.
    """
    for suffix, width in (("", 1), ("_10m", 10), ("_1h", 60)):
        traffic, clients = (
            combine(
                store.read(name).collect().with_columns(pl.col("bin_start").dt.truncate(f"{width}m")),
                TABLES[name],
            ).with_columns(pl.col("bin_start").dt.epoch("s").alias("time"))
            for name in ("traffic", "client_traffic")
        )
        want = {
            (r["time"], r["server"], r["kind"], r["query_type"] or "none", r["side"] or "none"): r
            for r in traffic.iter_rows(named=True)
        }
        rows = [r for r in said(bucket, f"traffic{suffix}") if r["count"]]
        found = {(r["time"], r["server"], r["kind"], r["query_type"], r["side"]): r for r in rows}
        if found.keys() != want.keys():
            return f"traffic{suffix}: {sorted(found.keys() ^ want.keys())[:3]}"
        for key, row in want.items():
            for name in traffic_numbers([Event(0, "", "", None)]):
                got = found[key].get(name)
                if (got is None) != (row[name] is None) or (got or 0) != pytest.approx(row[name] or 0):
                    return f"traffic{suffix}: {key}: {name} is {got}, not {row[name]}"
        of_client = {
            (r["time"], r["server"], r["kind"], r["client"]): r["count"]
            for r in clients.iter_rows(named=True)
        }
        totals: Counter[tuple[Any, ...]] = Counter()
        for (*key, _, _), row in want.items():
            totals[tuple(key)] += row["count"]
        sums: Counter[tuple[Any, ...]] = Counter()
        for r in said(bucket, f"client_traffic{suffix}"):
            key = (r["time"], r["server"], r["kind"])
            sums[key] += r["count"]
            if r["client"] != "other" and r["count"] != of_client.get((*key, r["client"]), 0):
                return f"client_traffic{suffix}: {key} {r['client']}"
        if +sums != +totals:
            return f"client_traffic{suffix}: {(+totals - +sums) or (+sums - +totals)}"
    return None


def _bin(minute: int, width: int) -> int:
    return int(at(minute - minute % width).timestamp())


def _assert_traffic(bucket: Bucket, events: list[Event], measurement: str, width: int, zeros: bool) -> int:
    by_key: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for e in events:
        by_key[
            _bin(e.minute, width), e.server, e.kind, e.query_type or "none", side(e.client) or "none"
        ].append(e)
    found = {}
    for row in said(bucket, measurement):
        key = (row["time"], row["server"], row["kind"], row["query_type"], row["side"])
        fields = {n: row.get(n) for n in traffic_numbers(events[:1])}
        if key not in by_key:
            assert zeros, f"{measurement}: {key} is not in the store"
            assert all(v == 0 for v in fields.values()), f"{measurement}: {key} is gone but {fields}"
            continue
        found[key] = fields
    assert set(found) == set(by_key), f"{measurement}: missing {sorted(set(by_key) - set(found))[:3]}"
    for key, of_key in by_key.items():
        for name, value in traffic_numbers(of_key).items():
            got = found[key][name]
            if isinstance(value, float):
                assert got is not None and math.isclose(got, value, abs_tol=1e-9), (measurement, key, name)
            elif value is None:
                # Not known is not 0.
                assert got is None, (measurement, key, name, got)
            else:
                assert got == value, (measurement, key, name, got, value)
    return len(found)


def _assert_clients(bucket: Bucket, events: list[Event], measurement: str, width: int, zeros: bool) -> int:
    whole: dict[tuple[int, str, str], list[Event]] = defaultdict(list)
    for e in events:
        whole[_bin(e.minute, width), e.server, e.kind].append(e)
    shown: dict[tuple[int, str, str], dict[str, dict[str, int]]] = defaultdict(dict)
    for row in said(bucket, measurement):
        fields = {n: row[n] for n in client_numbers([])}
        key = (row["time"], row["server"], row["kind"])
        if not row["kind"].startswith("dns_"):
            # Query types and names are told of queries only.
            assert {n for n, v in fields.items() if v is not None} == {"count"}, (measurement, key)
            fields = {n: v or 0 for n, v in fields.items()}
        assert None not in fields.values(), f"{measurement}: {key} {row['client']} lacks fields"
        shown[key][row["client"]] = fields
    count = 0
    for key in set(whole) | set(shown):
        of_key = whole.get(key, [])
        clients = shown.get(key, {})
        live = {c: f for c, f in clients.items() if any(f.values())}
        assert zeros or live.keys() | {"other"} == clients.keys() | {"other"}, (
            f"{measurement}: zeros at {key}"
        )
        # The sum over the clients is the traffic.
        for name in ("count", *QTYPES):
            total = sum(f[name] for f in clients.values())
            assert total == client_numbers(of_key)[name], (measurement, key, name, total)
        if of_key:
            assert "other" in clients, f"{measurement}: {key} has no `other`"
        for client, fields in live.items():
            if client == "other":
                mine = [e for e in of_key if e.client not in live]
            else:
                mine = [e for e in of_key if e.client == client]
            assert fields == client_numbers(mine), (measurement, key, client)
        # `other` is written where it is 0, too: it may have been more before.
        count += len(live.keys() | {"other"}) if of_key else 0
    return count
