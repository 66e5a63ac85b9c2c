"""A counting core of a few lines, over logs of lines like ``7 1dns dns_query 10.0.0.1 www.example``.

It hands over what the real one does: codes for servers and kinds, several rows of one key in some bins, a report a
file. Its summaries are those of the store's tests.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tests.unit.store_fakes import Event, frames, minute

KINDS = ("dns_query", "dns_denied", "smtp_accepted", "pop_access")


class InputError(Exception):
    """As ``seismolog._core.InputError`` looks from outside."""


InputError.__module__ = "seismolog._core"


def log(*events: Event) -> bytes:
    return b"".join(" ".join(map(str, e)).encode() + b"\n" for e in events)


def hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def read(path: str) -> tuple[bytes, str, str | None]:
    """Text, compression, and what went wrong."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if not raw.startswith(b"\x1f\x8b"):
        return raw, "plain", None
    try:
        return gzip.decompress(raw), "gz", None
    except (EOFError, OSError, zlib.error) as error:
        return zlib.decompressobj(31).decompress(raw), "gz", str(error)


class Scanned:
    def __init__(self, paths: Sequence[str], default_server: str, split: bool) -> None:
        self.sources: list[dict[str, Any]] = []
        events: list[tuple[int, Event]] = []
        for index, path in enumerate(paths):
            text, compression, error = read(path)
            found: list[Event] = []
            unmatched = 0
            lines = text.splitlines()
            for each in lines:
                words = each.decode(errors="replace").split()
                if len(words) == 5 and words[2] in KINDS:
                    server = default_server if words[1] == "-" else words[1]
                    found.append((int(words[0]), server, *words[2:]))  # type: ignore[arg-type]
                else:
                    unmatched += 1
            events += [(index, e) for e in found]
            minutes = [e[0] for e in found]
            self.sources.append(
                {
                    "path": path,
                    "compression": compression,
                    "compressed_bytes": Path(path).stat().st_size,
                    "bytes": len(text),
                    "head_hash": hashed(text[:4096]),
                    "full_hash": None if error else hashed(text),
                    "lines": len(lines),
                    "matched": len(found),
                    "ignored": 0,
                    "unmatched": unmatched,
                    "dialects": {"fake": len(found)},
                    "reasons": {"no dialect": unmatched} if unmatched else {},
                    "shed": {},
                    "servers": sorted({e[1] for e in found}),
                    "first_time": int(minute(min(minutes)).timestamp()) if minutes else None,
                    "last_time": int(minute(max(minutes)).timestamp()) if minutes else None,
                    "years": (2026, 2026),
                    "timezone_guessed": True,
                    "error": {"offset": len(text), "message": error} if error else None,
                }
            )
        self.servers = sorted({e[1] for _, e in events})
        self.split_bins: list[tuple[int, int]] = []
        if split:
            # Every bin comes as two rows of one key: the first event of it and the rest.
            parts = [events[::2], events[1::2]]
            self._frames = {n: pl.concat(frames(p)[n] for p in parts) for n in ("traffic", "client_traffic")}
            self.split_bins = [
                (int(minute(m).timestamp()), self.servers.index(s))
                for m, s in {(e[0], e[1]) for _, e in events}
            ]
        else:
            self._frames = frames(events)

    @property
    def summary(self) -> dict[str, Any]:
        return {n: sum(s[n] for s in self.sources) for n in ("lines", "matched", "ignored", "unmatched")}

    def table(self, name: str) -> pl.DataFrame:
        if name not in self._frames:
            return pl.DataFrame(schema={"server": pl.UInt32})
        server = pl.col("server").replace_strict(
            {s: i for i, s in enumerate(self.servers)}, return_dtype=pl.UInt32
        )
        kind = pl.col("kind").replace_strict({k: i for i, k in enumerate(KINDS)}, return_dtype=pl.UInt8)
        return self._frames[name].with_columns(server, kind)


class FakeCore:
    """Counts its calls, so that a test can say that a file was not read again."""

    KINDS = KINDS
    VERSION = "fake"

    def __init__(self, split: bool = False) -> None:
        self.split = split
        self.scans: list[list[str]] = []
        self.digests: list[str] = []

    def scan(self, paths: Sequence[str], **options: Any) -> Scanned:
        self.scans.append(list(paths))
        scanned = Scanned(paths, options["default_server"], self.split)
        if options["progress"] is not None:
            size = sum(Path(p).stat().st_size for p in paths)
            options["progress"](size, size, scanned.summary["lines"])
        return scanned

    def identify(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for path in paths:
            text, compression, _ = read(path)
            found.append(
                {
                    "path": path,
                    "compression": compression,
                    "compressed_bytes": Path(path).stat().st_size,
                    "regular": True,
                    "head_hash": hashed(text[:4096]),
                    "error": None,
                }
            )
        return found

    def digest(self, path: str, lengths: Sequence[int]) -> dict[str, Any]:
        self.digests.append(path)
        text, _, error = read(path)
        if error:
            raise InputError(f"{path}: {error}")
        return {
            "head_hash": hashed(text[:4096]),
            "full_hash": hashed(text),
            "bytes": len(text),
            "prefixes": [hashed(text[:n]) if n <= len(text) else None for n in lengths],
        }
