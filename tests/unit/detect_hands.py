"""Small made-up campuses as tables of the store, and what can be injected into them, for tests of detectors.

Clients have Zipf levels, the shape of a day and negative binomial counts in bins of ten minutes; the other tables are
drawn beside them, with the columns and orders of magnitude of counted ones. :mod:`seismolog.simulate` has the large worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from seismolog.detect._states import address_hash
from seismolog.detect.base import Raised
from seismolog.detect.site import MailHost, Site
from seismolog.detect.view import View
from seismolog.store.schema import TABLES

T0 = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TEN = timedelta(minutes=10)
HOUR = timedelta(hours=1)
MAIL = "133.95.10.2"


def at(hour: float, day: int = 0) -> datetime:
    return T0 + day * DAY + timedelta(hours=hour)


def address(number: int) -> str:
    return f"133.95.{20 + number // 200}.{20 + number % 200}"


def packed(counts: Mapping[int, int], *, with_counts: bool = True) -> bytes:
    """A summary in stored form."""
    out = bytearray([0 if with_counts else 0x80])
    for key in sorted(counts):
        out += key.to_bytes(4, "little")
        n = counts[key]
        while with_counts and n >= 0x80:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        if with_counts:
            out.append(n)
    return bytes(out)


def clients_state(counts: Mapping[str, int]) -> bytes:
    return packed({address_hash(a) or 0: n for a, n in counts.items()})


def frame(table: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of a table; what is not given is 0 for sums and null otherwise."""
    declared = TABLES[table]
    schema = {c.name: c.dtype for c in declared.columns}
    zeros = {c.name: 0 for c in declared.columns if c.role == "sum"}
    return pl.DataFrame([{**zeros, **row} for row in rows], schema=schema)


def of_columns(table: str, **columns: Any) -> pl.DataFrame:
    """The same from whole columns."""
    declared = TABLES[table]
    given = pl.DataFrame(columns)
    return given.select(
        (pl.col(c.name) if c.name in given.columns else pl.lit(0 if c.role == "sum" else None))
        .cast(c.dtype)
        .alias(c.name)
        for c in declared.columns
    )


@dataclass
class World:
    """Tables that grow by injections."""

    site: Site
    days: int
    rng: np.random.Generator
    clients: list[str]
    parts: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def add(self, table: str, rows: pl.DataFrame | Sequence[Mapping[str, Any]]) -> None:
        made = rows if isinstance(rows, pl.DataFrame) else frame(table, rows)
        self.parts.setdefault(table, []).append(made)

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        return {name: pl.concat(parts) for name, parts in self.parts.items()}

    def view(self, day: int | None = None, **more: Any) -> View:
        """The last day (or that one), with the days before as history."""
        day = self.days - 1 if day is None else day
        return View(
            self.tables,
            since=T0 + day * DAY,
            until=T0 + (day + 1) * DAY,
            site=self.site,
            history=T0 if day else None,
            **more,
        )

    # -- injections

    def queries(
        self,
        client: str,
        start: datetime,
        hours: float,
        kind: str = "dns_query",
        names: int | None = None,
        **per_ten: float,
    ) -> None:
        """Poisson counts in bins of ten minutes by query type (``count`` for other kinds)."""
        rows = []
        for i in range(round(hours * 6)):
            counts = {q: int(self.rng.poisson(n)) for q, n in per_ten.items()}
            total = sum(counts.values())
            if total:
                distinct = total if names is None else min(names, total)
                rows.append(
                    {
                        "bin_start": start + i * TEN,
                        "server": "1dns",
                        "kind": kind,
                        "client": client,
                        "distinct_names": distinct if kind == "dns_query" else None,
                        **counts,
                        "count": total,
                    }
                )
        self.add("client_traffic", rows)

    def pair(
        self,
        client: str,
        domain: str,
        start: datetime,
        hours: int,
        per_hour: float,
        **more: Any,
    ) -> None:
        """Rows of ``client_domain`` for whole hours."""
        for i in range(hours):
            count = int(self.rng.poisson(per_hour))
            if not count:
                continue
            row = {
                "bin_start": start + i * HOUR,
                "server": "1dns",
                "client": client,
                "domain": domain,
                "count": count,
                "distinct_names": 1,
                "names_measured": 1,
                "label_entropy_sum": 2.0,
                "median_name_length": 16,
                "mail_label_bits": 0,
                "mail_labels": 0,
            }
            row |= more
            if more.get("distinct_names") == "all":
                row["distinct_names"] = count
            self.add("client_domain", [row])


def campus(seed: int, clients: int = 400, days: int = 2, per_day: float = 120_000 / 400) -> World:
    """A campus of PCs with some servers, and a mail server that is known; `per_day` queries a client."""
    rng = np.random.default_rng(seed)
    names = [address(i) for i in range(clients)]
    site = Site(
        timezone="UTC",
        inside=("133.95.0.0/16",),
        mail_servers=(MailHost("1mx", (MAIL,)),),
        resolvers=("133.95.1.1/32",),
    )
    world = World(site, days, rng, names)
    bins = 144 * days
    hour = (np.arange(bins) % 144) / 6
    office = np.where((hour > 8) & (hour < 19), 1.0, 0.06) + 0.02
    office /= office.mean()
    level = (1 / np.arange(1, clients + 1) ** 0.9)[rng.permutation(clients)]
    level *= per_day * clients / 144 / level.sum()
    flat = rng.random(clients) < 0.05
    mean = level[:, None] * np.where(flat[:, None], 1.0, office[None, :])
    shape = 3.0
    counts = rng.poisson(mean * rng.gamma(shape, 1 / shape, mean.shape))
    _traffic(world, counts)
    _domains(world, counts)
    _reverse(world, counts)
    _accounts(world)
    return world


@cache
def _campus(seed: int, clients: int, days: int) -> World:
    return campus(seed, clients, days)


def world_of(seed: int = 1, clients: int = 300, days: int = 2) -> World:
    """A campus that may be added to; the clean one is made once."""
    made = _campus(seed, clients, days)
    return replace(
        made, parts={n: list(p) for n, p in made.parts.items()}, rng=np.random.default_rng(seed + 1000)
    )


def _times(bins: np.ndarray, step: timedelta = TEN) -> pl.Series:
    start = np.datetime64(T0.replace(tzinfo=None), "us")
    values = start + bins.astype(np.int64) * np.timedelta64(round(step.total_seconds()), "s")
    return pl.Series(values).dt.replace_time_zone("UTC")


def _traffic(world: World, counts: np.ndarray) -> None:
    rng = world.rng
    row, place = np.nonzero(counts)
    n = counts[row, place]
    shares = [("ptr", 0.02), ("mx", 0.0005), ("aaaa", 0.2), ("txt", 0.005), ("any", 0.0002), ("ns", 0.0005)]
    columns: dict[str, Any] = {}
    left = n.copy()
    for name, share in shares:
        columns[name] = rng.binomial(left, share)
        left = left - columns[name]
    columns["a"] = left
    world.add(
        "client_traffic",
        of_columns(
            "client_traffic",
            bin_start=_times(place),
            server=["1dns"] * len(row),
            kind=["dns_query"] * len(row),
            client=np.array(world.clients)[row],
            count=n,
            distinct_names=np.ceil(n**0.8).astype(int),
            **columns,
        ),
    )
    mail = rng.poisson(120, counts.shape[1])
    world.add(
        "client_traffic",
        of_columns(
            "client_traffic",
            bin_start=_times(np.arange(counts.shape[1])),
            server=["1dns"] * counts.shape[1],
            kind=["dns_query"] * counts.shape[1],
            client=[MAIL] * counts.shape[1],
            count=mail * 3,
            a=mail,
            mx=mail,
            ptr=mail,
            distinct_names=mail * 2,
        ),
    )
    by_bin = counts.sum(axis=0)
    for query_type, share, top in (("a", 0.77, 0.02), ("any", 0.0002, 0.3), ("ns", 0.0005, 0.3)):
        drawn = rng.poisson(by_bin * share)
        some = np.flatnonzero(drawn)
        world.add(
            "traffic",
            of_columns(
                "traffic",
                bin_start=_times(some),
                server=["1dns"] * len(some),
                kind=["dns_query"] * len(some),
                query_type=[query_type] * len(some),
                side=["inside"] * len(some),
                count=drawn[some],
                top_name_share=np.maximum(top, 1 / drawn[some]),
            ),
        )


def _domains(world: World, counts: np.ndarray) -> None:
    rng = world.rng
    hours = counts.reshape(counts.shape[0], -1, 6).sum(axis=2)
    row, place = np.nonzero(hours)
    n = hours[row, place]
    pairs = np.minimum(np.ceil(n**0.6).astype(int), 40)
    client, when = np.repeat(row, pairs), np.repeat(place, pairs)
    each = np.repeat(n / pairs, pairs)
    domain = np.minimum(rng.zipf(1.5, len(client)), 5000)
    asked = np.maximum(rng.poisson(each), 1)
    made = pl.DataFrame({"client": client, "place": when, "domain": domain, "count": asked}).group_by(
        "client", "place", "domain"
    )
    made = made.agg(pl.col("count").sum()).sort("client", "place", "domain")
    size = made.height
    count = made["count"].to_numpy()
    names = np.minimum(np.ceil(count**0.5), 12).astype(int)
    popular = made["domain"].to_numpy() == 2  # a content network: hashes in names
    names = np.where(popular, np.minimum(count, 80), names)
    entropy = np.where(popular, 3.8, rng.normal(2.3, 0.3, size))
    text = [f"d{d}.example" for d in made["domain"].to_list()]
    intervals = _intervals(rng, count)
    world.add(
        "client_domain",
        of_columns(
            "client_domain",
            bin_start=_times(made["place"].to_numpy(), HOUR),
            server=["1dns"] * size,
            client=np.array(world.clients)[made["client"].to_numpy()],
            domain=text,
            count=count,
            distinct_names=names,
            names_measured=names,
            label_entropy_sum=names * entropy,
            median_name_length=np.where(popular, 40, 16),
            interval_histogram=intervals,
        ).with_columns((pl.col("label_entropy_sum") / pl.col("names_measured")).alias("mean_label_entropy")),
    )
    by_domain = (
        made.with_columns(pl.Series("domain", text))
        .group_by("place", "domain")
        .agg(pl.col("count").sum(), pl.len().alias("clients"))
        .sort("place", "domain")
    )
    # An hour's queries are told in its first ten minutes: that is enough for what is asked of them here.
    world.add(
        "domain",
        of_columns(
            "domain",
            bin_start=_times(by_domain["place"].to_numpy(), HOUR),
            server=["1dns"] * by_domain.height,
            domain=by_domain["domain"],
            count=by_domain["count"],
            a=by_domain["count"],
            distinct_names=np.minimum(by_domain["count"].to_numpy(), 30),
            distinct_clients=by_domain["clients"],
        ),
    )
    mail = rng.binomial(1, 0.02, len(row))
    unlikely = rng.binomial(n, 0.004)
    some = (mail > 0) | (unlikely > 0)
    world.add(
        "client_names",
        of_columns(
            "client_names",
            bin_start=_times(place[some], HOUR),
            server=["1dns"] * int(some.sum()),
            client=np.array(world.clients)[row[some]],
            mail_domains=mail[some],
            unlikely_domains=unlikely[some],
        ),
    )


def _intervals(rng: np.random.Generator, count: np.ndarray) -> list[list[int]]:
    """Histograms as a Poisson process has them."""
    from seismolog.store.schema import INTERVAL_MINUTES

    edges = np.array([*INTERVAL_MINUTES, 1e9])
    made = []
    for n in count.tolist():
        drawn = rng.exponential(60 / max(n, 1), max(n - 1, 0))
        histogram = np.histogram(drawn, edges)[0]
        made.append(np.trim_zeros(histogram, "b").astype(int).tolist())
    return made


def _reverse(world: World, counts: np.ndarray) -> None:
    rng = world.rng
    hours = rng.binomial(counts.reshape(counts.shape[0], -1, 6).sum(axis=2), 0.02)
    row, place = np.nonzero(hours)
    n = hours[row, place]
    distances = [
        np.trim_zeros(
            rng.multinomial(max(c - 1, 0), [0.3, 0.05, 0.05, 0.05, 0.25, 0.15, 0.1, 0.05]), "b"
        ).tolist()
        for c in n.tolist()
    ]
    world.add(
        "ptr_target",
        of_columns(
            "ptr_target",
            bin_start=_times(place, HOUR),
            server=["1dns"] * len(row),
            origin=np.array(world.clients)[row],
            count=n,
            distinct_targets=np.ceil(n**0.7).astype(int),
            distance_histogram=distances,
        ),
    )


def _accounts(world: World) -> None:
    rng = world.rng
    accounts = len(world.clients) // 2
    hours = 24 * world.days
    hour = np.arange(hours) % 24
    shape = np.where((hour >= 8) & (hour < 19), 1.0, 0.05)
    logins = rng.poisson(2.0 * shape[None, :], (accounts, hours))
    sends = rng.poisson(rng.gamma(1.0, 0.8, accounts)[:, None] * shape[None, :])
    row, place = np.nonzero(logins + sends)
    rows = []
    for r, p in zip(row.tolist(), place.tolist(), strict=True):
        home = world.clients[r]
        seen = {home: int(logins[r, p] + sends[r, p])}
        if rng.random() < 0.1:
            seen[f"198.18.{rng.integers(4)}.{rng.integers(1, 250)}"] = 1
        rows.append(
            {
                "bin_start": T0 + p * HOUR,
                "server": "1mx",
                "account": f"user{r}",
                "logins": int(logins[r, p]),
                "failures": int(rng.poisson(0.03)),
                "authenticated_sends": int(sends[r, p]),
                "distinct_clients": len(seen),
                "client_state": clients_state(seen),
            }
        )
    world.add("account_activity", rows)


def subjects(found: Sequence[Raised]) -> set[str]:
    return {one.subjects[0] for one in found}
