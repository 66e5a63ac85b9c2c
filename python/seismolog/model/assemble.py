"""One row a bin: the DNS queries of a mail server beside its own mail.

The DNS server and the mail server write different logs, which seldom start and end together. A bin counts only where
*both* cover the whole of it; inside that coverage a kind without a line is a true zero and is filled in, outside it
nothing is known and the bin is left out and counted.

Coverage is taken from the caller where it knows it (first and last line of each source). Otherwise it is inferred from
the frames: a server covers the time from its first to its last counted minute, interrupted where it wrote nothing at
all for longer than `gap`. Limits: a server that is idle for longer than `gap` looks as if its log were missing, and
those bins are left out; a missing stretch shorter than `gap` looks like silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

DNS_KINDS: Final = ("dns_query", "dns_denied", "dns_error")
MAIL_KINDS: Final = (
    "smtp_accepted",
    "smtp_sent",
    "smtp_deferred",
    "smtp_bounced",
    "smtp_rejected",
    "smtp_connection",
    "smtp_reinjected",
    "pop_access",
    "imap_access",
    "auth_failure",
)
"""Columns that a series always has, in this order, after bin_start and dns_query."""

_UNIT_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400}

Coverage = Mapping[str, Sequence[tuple[datetime, datetime]]]
"""For each server the half-open intervals [first, last) that its logs cover, in UTC."""


def bin_width(text: str) -> timedelta:
    """Width of a bin written as ``10m``, ``1h`` or ``1d``.

    Raises
    ------
    ValueError
        When the text is not a whole number of minutes, hours or days that divides a day.
    """
    found = re.fullmatch(r"([1-9]\d{0,3})([mhd])", text)
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]] if found else 0
    if not seconds or 86400 % seconds:
        raise ValueError(
            f"bin must be minutes, hours or days that divide a day, such as 10m or 1h, not {text!r}"
        )
    return timedelta(seconds=seconds)


@dataclass(frozen=True)
class ModelSeries:
    """The bins of one mail server.

    Attributes
    ----------
    frame
        bin_start Datetime(us, UTC), dns_query and one Int64 column a kind (`MAIL_KINDS`, then what else the mail
        server logged), sorted, without nulls.
    bin
        Width of a bin.
    left_out
        Bins in which only one of the two logs has lines, or that a log covers in part.
    notes
        Sentences for the reader.
    """

    frame: pl.DataFrame
    bin: timedelta
    left_out: int
    notes: tuple[str, ...] = field(default=())


def series(
    traffic: pl.DataFrame,
    client_traffic: pl.DataFrame,
    *,
    mail_server: str | Sequence[str],
    addresses: Iterable[str],
    dns_servers: Sequence[str] | None = None,
    bin: str = "10m",  # noqa: A002 - the word of the command line and the configuration
    coverage: Coverage | None = None,
    gap: timedelta = timedelta(hours=6),
) -> ModelSeries:
    """Put the DNS queries of a mail server beside its mail, bin by bin.

    Parameters
    ----------
    traffic, client_traffic
        The tables of that name; sources are summed over.
    mail_server
        Host name, or all the host names, under which the mail server logs.
    addresses
        Its addresses as a DNS client.
    dns_servers
        DNS servers whose queries count; default: those that saw one of the addresses, else all.
    bin
        Width such as ``10m``; it must divide a day.
    coverage
        What each server's logs cover; default: inferred (see the module).
    gap
        Silence after which an inferred coverage ends.

    Raises
    ------
    ValueError
        For a bad `bin`.
    """
    width = bin_width(bin)
    hosts = [mail_server] if isinstance(mail_server, str) else list(mail_server)
    counts = traffic.select(
        "bin_start",
        pl.col("server").cast(pl.String),
        pl.col("kind").cast(pl.String),
        pl.col("count").cast(pl.Int64),
    )
    queries = (
        client_traffic.lazy()
        .select(
            "bin_start",
            pl.col("server").cast(pl.String),
            pl.col("kind").cast(pl.String),
            pl.col("client").cast(pl.String),
            pl.col("count").cast(pl.Int64),
        )
        .filter(pl.col("kind") == "dns_query", pl.col("client").is_in(list(addresses)))
        .collect()
    )
    dns_counts = counts.filter(pl.col("kind").is_in(DNS_KINDS))
    if dns_servers is None:
        seen = queries["server"].unique().to_list()
        dns_servers = seen or dns_counts["server"].unique().to_list()
    dns_counts = dns_counts.filter(pl.col("server").is_in(list(dns_servers)))
    queries = queries.filter(pl.col("server").is_in(list(dns_servers)))
    mail = counts.filter(pl.col("server").is_in(hosts), ~pl.col("kind").is_in(DNS_KINDS))

    mail_cover = _union(_covered(mail, host, coverage, gap) for host in hosts)
    dns_cover = [_covered(dns_counts, server, coverage, gap) for server in sorted(set(dns_servers))]
    common = mail_cover
    for one in dns_cover:
        common = _intersection(common, one)
    if not dns_cover:
        common = []
    starts = [start for first, last in common for start in _whole_bins(first, last, width)]
    touched = {
        start for cover in (mail_cover, *dns_cover) for a, b in cover for start in _touched_bins(a, b, width)
    }

    step = f"{int(width.total_seconds())}s"
    frame = (
        pl.DataFrame({"bin_start": starts}, schema={"bin_start": pl.Datetime("us", "UTC")})
        .unique()
        .sort("bin_start")
    )
    per_kind = (
        pl.concat([mail.drop("server"), queries.select("bin_start", "kind", "count")])
        .with_columns(pl.col("bin_start").cast(pl.Datetime("us", "UTC")).dt.truncate(step))
        .group_by("bin_start", "kind")
        .agg(pl.col("count").sum())
    )
    others = sorted(set(per_kind["kind"].to_list()) - {"dns_query", *MAIL_KINDS})
    for kind in ("dns_query", *MAIL_KINDS, *others):
        column = per_kind.filter(pl.col("kind") == kind).select("bin_start", pl.col("count").alias(kind))
        frame = frame.join(column, on="bin_start", how="left", maintain_order="left")
    frame = frame.with_columns(pl.exclude("bin_start").fill_null(0))

    left_out = len(touched - set(starts))
    notes = []
    if left_out:
        notes.append(
            f"{left_out} of {len(touched)} bins are left out: the DNS log and the mail log do not both cover them wholly."
        )
    if frame.is_empty():
        notes.append("The DNS log and the mail log have no whole bin in common: nothing can be compared.")
    return ModelSeries(frame, width, left_out, tuple(notes))


Interval = tuple[datetime, datetime]


def _covered(counts: pl.DataFrame, server: str, coverage: Coverage | None, gap: timedelta) -> list[Interval]:
    """Intervals that `server` covers: as told, else from its own minutes."""
    if coverage is not None and server in coverage:
        return _union([[(_utc(first), _utc(last)) for first, last in coverage[server]]])
    minutes = counts.filter(pl.col("server") == server).select(pl.col("bin_start").unique().sort())
    if minutes.is_empty():
        return []
    cut = (pl.col("bin_start").diff() > gap).fill_null(value=False).cum_sum().alias("piece")
    pieces = (
        minutes.with_columns(cut)
        .group_by("piece", maintain_order=True)
        .agg(pl.col("bin_start").min().alias("first"), pl.col("bin_start").max().alias("last"))
    )
    return [(_utc(first), _utc(last) + timedelta(minutes=1)) for _, first, last in pieces.iter_rows()]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _union(covers: Iterable[list[Interval]]) -> list[Interval]:
    merged: list[Interval] = []
    for first, last in sorted(
        interval for cover in covers for interval in cover if interval[0] < interval[1]
    ):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _intersection(left: list[Interval], right: list[Interval]) -> list[Interval]:
    """Common part of two sorted lists of disjoint intervals."""
    common: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first < last:
            common.append((first, last))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return common


def _floor(moment: datetime, width: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // width * width


def _whole_bins(first: datetime, last: datetime, width: timedelta) -> list[datetime]:
    start = _floor(first, width)
    if start < first:
        start += width
    return [start + width * i for i in range(max(0, (last - start) // width))]


def _touched_bins(first: datetime, last: datetime, width: timedelta) -> list[datetime]:
    start = _floor(first, width)
    return [start + width * i for i in range(-((start - last) // width))]
