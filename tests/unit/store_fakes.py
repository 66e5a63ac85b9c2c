"""Hand-made frames and summaries for the tests of the store and the archive.

A fake summary is a sorted list of (item, count) pairs as JSON: readable in a failure, merged in three lines.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from seismolog.store.schema import QTYPES

T0 = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)


def minute(n: int) -> datetime:
    return T0 + timedelta(minutes=n)


def state(items: Mapping[str, int]) -> bytes:
    return json.dumps(sorted(items.items())).encode()


def numbers(packed: bytes) -> dict[str, float | int]:
    counts = [c for _, c in json.loads(packed)]
    total = sum(counts)
    return {
        "distinct": len(counts),
        "entropy": -sum(c / total * math.log2(c / total) for c in counts) if total else 0.0,
        "top_share": max(counts) / total if total else 0.0,
    }


def merge_states(group: pl.Series, packed: pl.Series) -> pl.DataFrame:
    merged: dict[int, Counter[str]] = defaultdict(Counter)
    for g, p in zip(group.to_list(), packed.to_list(), strict=True):
        merged[g].update(dict(json.loads(p)))
    rows = []
    for g in sorted(merged):
        together = state(merged[g])
        rows.append({"group": g, "state": together, **numbers(together)})
    return pl.DataFrame(
        rows,
        schema={
            "group": pl.UInt32,
            "state": pl.Binary,
            "distinct": pl.UInt64,
            "entropy": pl.Float64,
            "top_share": pl.Float64,
        },
    )


#: (minute, server, kind, client, name): one DNS query or mail event.
Event = tuple[int, str, str, str, str]


def frames(events: Iterable[tuple[int, Event]]) -> dict[str, pl.DataFrame]:
    """Frames as the core hands them over, for (source index, event) pairs."""
    traffic: dict[tuple, list[Event]] = defaultdict(list)
    clients: dict[tuple, list[Event]] = defaultdict(list)
    for source, event in events:
        at, server, kind, client, _ = event
        traffic[source, at, server, kind].append(event)
        clients[source, at, server, kind, client].append(event)

    def summary(items: Iterable[str]) -> tuple[bytes, dict[str, float | int]]:
        packed = state(Counter(items))
        return packed, numbers(packed)

    t_rows = []
    for (source, at, server, kind), of_key in traffic.items():
        dns = kind == "dns_query"
        names, n = summary(e[4] for e in of_key)
        addresses, c = summary(e[3] for e in of_key)
        t_rows.append(
            {
                "source": source,
                "bin_start": minute(at),
                "server": server,
                "kind": kind,
                "query_type": "a" if dns else None,
                "side": "inside",
                "count": len(of_key),
                "recipients": len(of_key),
                "distinct_clients": c["distinct"],
                "client_entropy": c["entropy"],
                "distinct_names": n["distinct"] if dns else None,
                "name_entropy": n["entropy"] if dns else None,
                "top_name_share": n["top_share"] if dns else None,
                "client_state": addresses,
                "name_state": names if dns else None,
            }
        )
    c_rows = []
    for (source, at, server, kind, client), of_key in clients.items():
        names, n = summary(e[4] for e in of_key)
        dns = kind == "dns_query"
        c_rows.append(
            {
                "source": source,
                "bin_start": minute(at),
                "server": server,
                "kind": kind,
                "client": client,
                "count": len(of_key),
                **dict.fromkeys(QTYPES, 0),
                "a": len(of_key) if dns else 0,
                "distinct_names": n["distinct"],
                "name_state": names,
            }
        )
    when = pl.Datetime("us", "UTC")
    return {
        "traffic": pl.DataFrame(
            t_rows,
            schema={
                "source": pl.UInt32,
                "bin_start": when,
                "server": pl.String,
                "kind": pl.String,
                "query_type": pl.String,
                "side": pl.String,
                "count": pl.UInt64,
                "recipients": pl.UInt64,
                "distinct_clients": pl.UInt32,
                "client_entropy": pl.Float64,
                "distinct_names": pl.UInt32,
                "name_entropy": pl.Float64,
                "top_name_share": pl.Float64,
                "client_state": pl.Binary,
                "name_state": pl.Binary,
            },
        ),
        "client_traffic": pl.DataFrame(
            c_rows,
            schema={
                "source": pl.UInt32,
                "bin_start": when,
                "server": pl.String,
                "kind": pl.String,
                "client": pl.String,
                "count": pl.UInt32,
                **dict.fromkeys(QTYPES, pl.UInt32),
                "distinct_names": pl.UInt32,
                "name_state": pl.Binary,
            },
        ),
    }


def canonical(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows in a fixed order and entropies rounded, to compare tables by value."""
    keys = [c for c in ("bin_start", "server", "kind", "query_type", "side", "client") if c in frame.columns]
    return frame.with_columns(pl.col(pl.Float64).round(9)).sort(keys, nulls_last=True)
