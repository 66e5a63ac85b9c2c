"""The counting core as the archive uses it, and its tables made plain.

:class:`Scanner` is what is asked of the core, as a protocol, so that a test can put another in its place.
:class:`ScanOptions` is all that decides what is counted; its :attr:`~ScanOptions.fingerprint` goes into the
store, so that a file counted under other options is counted again.

The core hands codes over (positions in lists of servers and kinds) and, in some bins, several rows of one
key of one file (an hour that the clock repeats, lines that come an hour late). :func:`plain_frames` turns
codes into names and adds such rows together, so that a source has one row a key.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from seismolog.store.merge import StateMerger, combine, core_merger
from seismolog.store.schema import SOURCE, TABLES

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = [
    "DETAIL_TABLES",
    "Progress",
    "ScanOptions",
    "Scanned",
    "Scanner",
    "Summary",
    "core",
    "detail_frames",
    "named",
    "plain_frames",
    "public_suffixes",
]

#: Tables of hours and of ten minutes, which the core counts when it is asked for ``details``.
DETAIL_TABLES = (
    "account_activity",
    "ptr_target",
    "drop_target",
    "domain",
    "client_domain",
    "client_names",
)

#: (bytes read, bytes in all, lines read); bytes as they lie on the disk.
Progress = Callable[[int, int, int], None]


class Scanned(Protocol):
    """What a scan found; see ``seismolog._core.Scan``."""

    @property
    def servers(self) -> list[str]:
        """Server names; the column ``server`` holds positions in this list."""

    @property
    def other_year(self) -> int | None:
        """The year of the first line, where a file counted in stretches shows that another one was taken."""

    @property
    def split_bins(self) -> list[tuple[int, int]]:
        """Bins (start in seconds, server) with rows of one key that must be added together."""

    @property
    def sources(self) -> list[dict[str, Any]]:
        """One report a file, in the order given."""

    @property
    def summary(self) -> dict[str, Any]:
        """Sums over all files."""

    def table(self, name: str, /) -> Any:
        """A table as an Arrow stream."""


class Scanner(Protocol):
    """The functions of ``seismolog._core`` that the archive calls; the module itself is one."""

    @property
    def KINDS(self) -> tuple[str, ...]:  # noqa: N802 - as the core spells it
        """Names of the kinds; the column ``kind`` holds positions in it."""

    @property
    def VERSION(self) -> str:  # noqa: N802
        """Version of the core."""

    def scan(self, paths: Sequence[str], /, **options: Any) -> Scanned:
        """Count files."""

    def identify(self, paths: Sequence[str], /) -> list[dict[str, Any]]:
        """Look at files."""

    def digest(self, path: str, lengths: Sequence[int], /) -> dict[str, Any]:
        """Hash a whole text and its prefixes."""


@cache
def public_suffixes() -> str:
    """The text of the public suffix list that is installed with the package ``publicsuffixlist``."""
    return (files("publicsuffixlist") / "public_suffix_list.dat").read_text(encoding="utf-8")


def core() -> Scanner:
    """The counting core, loaded when it is first needed."""
    import seismolog._core as module

    return module  # type: ignore[return-value]


@dataclass(frozen=True)
class ScanOptions:
    """What decides what is counted, and how fast."""

    timezone: str | None = None
    year: int | None = None
    server_timezones: Mapping[str, str] = field(default_factory=dict)
    server_names: Mapping[str, str] = field(default_factory=dict)
    default_server: str = "unknown"
    inside: Sequence[str] = ()
    reinjection: Sequence[str] = ()
    client_prefix_v6: int = 128
    limits: Mapping[str, int] = field(default_factory=dict)
    threads: int = 0
    #: Bytes of text that one batch holds at most, and one stretch of a longer file.
    batch_size: int = 2**30
    #: Rows of all tables that a batch or a stretch makes at most, about.
    batch_rows: int = 3_000_000
    #: Names of files in a folder that are no logs.
    skip: Sequence[str] = ()

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        timezone: str | None = None,
        year: int | None = None,
        threads: int | None = None,
    ) -> ScanOptions:
        """The options of a configuration; what the command line gives counts before it."""
        return cls(
            timezone=timezone or config.site.timezone,
            year=year,
            server_timezones=config.server_timezones,
            server_names=config.server_names,
            inside=tuple(config.site.inside),
            reinjection=tuple(config.site.reinjection),
            client_prefix_v6=config.site.client_prefix_v6,
            limits=config.limits.model_dump(mode="python") if config.limits.model_fields_set else {},
            threads=config.archive.threads if threads is None else threads,
            batch_size=config.archive.batch_size,
            batch_rows=config.archive.batch_rows,
            skip=tuple(config.archive.skip),
        )

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of the core's ``scan``."""
        return {
            "threads": self.threads,
            "timezone": self.timezone,
            "year": self.year,
            "server_timezones": dict(self.server_timezones),
            "server_names": dict(self.server_names),
            "default_server": self.default_server,
            "inside": list(self.inside),
            "reinjection": list(self.reinjection),
            "client_prefix_v6": self.client_prefix_v6,
            "limits": dict(self.limits),
        }

    def fingerprint(self, version: str) -> str:
        """Stands for everything that changes what is counted; the number of threads does not."""
        deciding = {k: v for k, v in self.arguments().items() if k != "threads"}
        # A store that an earlier version filled without these tables, or without edges, is to get them.
        text = json.dumps([version, DETAIL_TABLES, "edges", deciding], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Summary:
    """Sums over what was read."""

    lines: int = 0
    matched: int = 0
    ignored: int = 0
    unmatched: int = 0
    dialects: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    shed: Counter[str] = field(default_factory=Counter)
    #: Sentences on what was not in the logs and had to be assumed.
    guesses: list[str] = field(default_factory=list)

    def add(self, report: Mapping[str, Any]) -> None:
        """Add a report on one file, or on one source that was counted before."""
        for name in ("lines", "matched", "ignored", "unmatched"):
            setattr(self, name, getattr(self, name) + int(report.get(name) or 0))
        for name in ("dialects", "reasons", "shed"):
            getattr(self, name).update(report.get(name) or {})


def named(codes: pl.Series, names: Sequence[str]) -> pl.Series:
    """Names for positions, as an Enum: that is the positions themselves, in a fourth of the space of strings."""
    if not codes.dtype.is_integer():
        return codes
    named = pl.Enum(list(names))
    return codes.cast(pl.Series(dtype=named).to_physical().dtype).cat.to(named)


def plain_frames(
    scanned: Scanned,
    kinds: Sequence[str],
    tables: Sequence[str] = ("traffic", "client_traffic"),
    merger: StateMerger = core_merger,
) -> dict[str, pl.DataFrame]:
    """The tables of a scan with names for codes and one row for each source and key.

    Returns
    -------
    dict
        Table name to frame; its column ``source`` is the position in ``scanned.sources``.
    """
    split = _split_bins(scanned)
    frames = {}
    for name in tables:
        frame = pl.DataFrame(scanned.table(name))
        if not split.is_empty():
            frame = _join_split(frame, name, split, merger)
        frames[name] = frame.with_columns(
            named(frame["server"], scanned.servers), named(frame["kind"], kinds)
        )
    return frames


def detail_frames(scanned: Scanned) -> dict[str, pl.DataFrame]:
    """The tables of details of a scan that have rows, with names for codes.

    The core hands them over with one row for each source and key.

    Returns
    -------
    dict
        Table name to frame; its column ``source`` is the position in ``scanned.sources``.
    """
    frames = {name: pl.DataFrame(scanned.table(name)) for name in DETAIL_TABLES}
    return {
        name: frame.with_columns(named(frame["server"], scanned.servers))
        for name, frame in frames.items()
        if not frame.is_empty()
    }


def _split_bins(scanned: Scanned) -> pl.DataFrame:
    starts = [(start * 1_000_000, server) for start, server in scanned.split_bins]
    frame = pl.DataFrame(starts, schema={"bin_start": pl.Int64, "server": pl.UInt32}, orient="row")
    return frame.with_columns(pl.col("bin_start").cast(pl.Datetime("us", "UTC"))).unique()


def _join_split(frame: pl.DataFrame, name: str, split: pl.DataFrame, merger: StateMerger) -> pl.DataFrame:
    table = TABLES[name]
    split = split.with_columns(pl.col("server").cast(frame.schema["server"]))
    on = ["bin_start", "server"]
    together = frame.join(split, on=on, how="semi")
    if together.is_empty():
        return frame
    keys = [SOURCE, *(k for k in table.keys if k in frame.columns)]
    joined = combine(together, table, keys, merger=merger)
    return pl.concat([frame.join(split, on=on, how="anti"), joined.select(frame.columns).cast(frame.schema)])


def moment(seconds: int | datetime | None) -> datetime | None:
    """A time of a report as an aware datetime."""
    if seconds is None or isinstance(seconds, datetime):
        return seconds
    return datetime.fromtimestamp(seconds, UTC)


def guesses(reports: Sequence[Mapping[str, Any]], timezone: str | None, year: int | None = None) -> list[str]:
    """Sentences on what the lines of these files did not tell and had to be assumed."""
    told = []
    years = [r for r in reports if r.get("years")]
    if years and year is None:
        first = min(int(r["years"][0]) for r in years)
        last = max(int(r["years"][1]) for r in years)
        span = str(first) if first == last else f"{first} to {last}"
        told.append(
            f"the lines of {_files(years)} tell no year; taken from file times and order: {span} (--year overrides)"
        )
    zones = [r for r in reports if r.get("timezone_guessed")]
    if zones and timezone is None:
        told.append(f"the lines of {_files(zones)} tell no time zone; read as UTC (--tz overrides)")
    return told


def _files(reports: Sequence[Mapping[str, Any]]) -> str:
    return str(reports[0]["path"]) if len(reports) == 1 else f"{len(reports)} files"
