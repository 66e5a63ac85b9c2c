"""What the tests of the compiled core share: tables with names for codes, and ready-made log lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from seismolog import _core
from seismolog.archive.scanning import plain_frames

KEYS = ["bin_start", "server", "kind", "client"]


def save(path: Path, *lines: str | bytes) -> Path:
    """Writes lines, each with its line feed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((x.encode() if isinstance(x, str) else x) + b"\n" for x in lines))
    return path


def counts(scan: _core.Scan) -> pl.DataFrame:
    """Events by bin, server, kind and client, over all sources; rows of nothing are left out."""
    frame = pl.DataFrame(scan.table("client_traffic")).with_columns(pl.col("kind").cast(pl.UInt32))
    servers = pl.DataFrame({"server": range(len(scan.servers)), "server_name": scan.servers})
    kinds = pl.DataFrame({"kind": range(len(_core.KINDS)), "kind_name": list(_core.KINDS)})
    named = frame.join(servers.cast({"server": pl.UInt32}), on="server", how="left", maintain_order="left")
    named = named.join(kinds.cast({"kind": pl.UInt32}), on="kind", how="left", maintain_order="left")
    return (
        named.select(
            "bin_start",
            pl.col("server_name").alias("server"),
            pl.col("kind_name").alias("kind"),
            "client",
            pl.col("count").cast(pl.Int64),
        )
        .group_by(KEYS)
        .agg(pl.col("count").sum())
        .filter(pl.col("count") > 0)
        .sort(KEYS, nulls_last=False)
    )


def tables(scan: _core.Scan) -> dict[str, pl.DataFrame]:
    """Both tables as the archive makes them plain, in one order."""
    frames = plain_frames(scan, _core.KINDS)
    plain = {}
    for name, frame in frames.items():
        text = frame.with_columns(pl.col("server", "kind").cast(pl.String))
        wide = text.with_columns(pl.col(pl.UInt16).cast(pl.UInt32))
        keys = [
            c for c in ("bin_start", "server", "kind", "client", "query_type", "side", "source") if c in wide
        ]
        plain[name] = wide.sort(keys)
    return plain


def by_minute(scan: _core.Scan) -> list[tuple[datetime, int]]:
    """Events of each minute."""
    return counts(scan).group_by("bin_start").agg(pl.col("count").sum()).sort("bin_start").rows()


def of(scan: _core.Scan) -> dict[str, int]:
    """Events of each kind."""
    return dict(counts(scan).group_by("kind").agg(pl.col("count").sum()).sort("kind").iter_rows())


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def balanced(report: dict[str, Any]) -> bool:
    """Every line became exactly one of the three."""
    return report["lines"] == report["matched"] + report["ignored"] + report["unmatched"]


def query(when: str, client: str = "192.0.2.7", name: str = "www.example.org", host: str = "ns1") -> str:
    """A query as BIND 9 writes it to syslog; `when` is the header's time."""
    return f"{when} {host} named[77]: client {client}#4711 ({name}): query: {name} IN A + (192.0.2.1)"


def texts(lines: Iterable[str | bytes]) -> bytes:
    return b"".join((x.encode() if isinstance(x, str) else x) + b"\n" for x in lines)


def scan_text(folder: Path, *parts: bytes, names: Sequence[str] = (), **options: Any) -> _core.Scan:
    """Scans texts, each a file of its own."""
    paths = []
    for i, part in enumerate(parts):
        path = folder / (names[i] if names else f"part{i}.log")
        path.write_bytes(part)
        paths.append(path)
    return _core.scan(paths, **{"timezone": "UTC", "year": 2002, **options})
