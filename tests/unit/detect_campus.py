"""A small campus of curves for tests of detectors: PCs with office hours, servers around the clock, and what is added.

Counts are negative binomial (k = 3) in bins of ten minutes with an autocorrelated intensity; minutes are drawn within
them. One DNS server and one mail server write logs. ``Campus.view`` gives the last day, its baseline the days before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from seismolog.detect import run
from seismolog.detect.baseline import Baseline
from seismolog.detect.registry import settings_of
from seismolog.detect.site import MailHost, Site
from seismolog.detect.view import View

T0 = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
MAIL = "10.9.0.2"
SITE = Site(inside=("10.0.0.0/8",), mail_servers=(MailHost("1mx", (MAIL,), 2.0, 0.175),))
Array = np.ndarray[Any, Any]


def pc(number: int) -> str:
    return f"10.1.{number // 200}.{number % 200 + 1}"


def server(number: int) -> str:
    return f"10.2.0.{number + 1}"


def office(hours: Array) -> Array:
    return np.interp(hours, [0, 7.5, 9, 12, 13, 17, 19, 24], [0.02, 0.05, 1, 0.9, 0.9, 1, 0.1, 0.02])


@dataclass
class Campus:
    """`days` days from :data:`T0` on; the last one is looked at."""

    seed: int = 1
    pcs: int = 300
    servers: int = 20
    days: int = 6
    minutes: dict[str, Array] = field(default_factory=dict)
    mail: dict[str, Array] = field(default_factory=dict)
    senders: dict[str, Array] = field(default_factory=dict)
    """Messages accepted by minute and client, where the mail log is to tell clients."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 6])
        size = self.days * 1440
        hours = np.arange(size) / 60 % 24
        weekday = np.arange(size) // 1440 % 7 < 5
        level = 40 / np.arange(1, self.pcs + 1) ** 0.7
        shape = office(hours) * np.where(weekday, 1, 0.1)
        for i in range(self.pcs):
            self.minutes[pc(i)] = self._drawn(rng, level[i] * np.roll(shape, int(rng.normal(0, 20))))
        for i in range(self.servers):
            self.minutes[server(i)] = self._drawn(rng, np.full(size, 12.0 + 3 * i), k=20.0)
        rate = 140 * (0.2 + office(hours)) * self._wander(rng, size, 0.25)
        accepted = rng.poisson(rate / 10)
        self.mail["smtp_accepted"] = accepted
        self.mail["pop_access"] = rng.poisson(rate / 10)
        self.mail["smtp_deferred"] = rng.binomial(accepted, 0.015)
        self.mail["smtp_sent"] = accepted - self.mail["smtp_deferred"]
        self.minutes[MAIL] = rng.poisson(8.6 * accepted * 0.5 + self.mail["pop_access"])
        self.rng = rng

    def _wander(self, rng: np.random.Generator, size: int, sd: float) -> Array:
        steps = size // 10 + 1
        walk = np.empty(steps)
        walk[0] = 0
        noise = rng.normal(0, sd * np.sqrt(1 - 0.81), steps)
        for t in range(1, steps):
            walk[t] = 0.9 * walk[t - 1] + noise[t]
        return np.repeat(np.exp(walk), 10)[:size]

    def _drawn(self, rng: np.random.Generator, per_ten: Array, k: float = 3.0) -> Array:
        gamma = np.repeat(rng.gamma(k, 1 / k, len(per_ten) // 10), 10)
        return rng.poisson(per_ten / 10 * gamma * self._wander(rng, len(per_ten), 0.2))

    # -- what is added

    def span(self, begin: float, end: float, day: int | None = None) -> slice:
        """Minutes from hour to hour of a day, the last one by default."""
        base = (self.days - 1 if day is None else day) * 1440
        return slice(base + round(begin * 60), base + round(end * 60))

    def add(
        self, client: str, per_ten: Array | float, begin: float, end: float, day: int | None = None
    ) -> None:
        """Queries of a client at a rate."""
        where = self.span(begin, end, day)
        known = self.minutes.setdefault(client, np.zeros(self.days * 1440, int))
        rate = np.broadcast_to(np.asarray(per_ten, float) / 10, (where.stop - where.start,))
        known[where] = known[where] + self.rng.poisson(rate)

    def silence(self, client: str, begin: float, end: float = 24) -> None:
        self.minutes[client][self.span(begin, end)] = 0

    def blocks(self, begin: float, end: float, sd: float) -> Array:
        """A log-normal factor by minute that keeps its value for ten minutes."""
        n = round((end - begin) * 6)
        return np.repeat(np.exp(self.rng.normal(-sd * sd / 2, sd, n)), 10)

    # -- as tables

    def tables(self) -> dict[str, pl.DataFrame]:
        clients = pl.concat(
            [
                *(rows("1dns", "dns_query", counts, client) for client, counts in self.minutes.items()),
                *(rows("1mx", "smtp_accepted", counts, client) for client, counts in self.senders.items()),
            ]
        ).cast({"count": pl.Int32})
        queries = (
            clients.filter(pl.col("kind") == "dns_query")
            .group_by("bin_start", "server", "kind")
            .agg(pl.col("count").cast(pl.Int64).sum())
        )
        mails = [rows("1mx", kind, counts).drop("client") for kind, counts in self.mail.items()]
        return {"client_traffic": clients, "traffic": pl.concat([queries, *mails])}

    def view(self, **changes: Any) -> View:
        """The last day (with half a day of context), with a baseline of the days before."""
        tables = self.tables()
        baseline, settings, rules = Baseline(), settings_of({}), run.Rules()
        for day in range(self.days - 1):
            since = T0 + day * DAY
            before = View(tables, since=since, until=since + DAY, site=SITE, history=T0, baseline=baseline)
            run.learn(before, baseline, (), since, rules, settings)
        start = T0 + (self.days - 1) * DAY
        given: dict[str, Any] = {
            "since": max(T0, start - timedelta(hours=12)),
            "until": start + DAY,
            "site": SITE,
            "history": T0,
            "baseline": baseline,
        }
        return View(tables, **{**given, **changes})

    def at(self, hour: float) -> datetime:
        return T0 + (self.days - 1) * DAY + timedelta(hours=hour)


def rows(server: str, kind: str, counts: Array, client: str | None = None) -> pl.DataFrame:
    """Counts by minute as rows of a table, those of empty minutes left out."""
    at = np.flatnonzero(counts)
    return pl.DataFrame({"minute": at, "count": counts[at]}).select(
        (pl.lit(T0) + pl.duration(minutes=pl.col("minute")))
        .cast(pl.Datetime("us", "UTC"))
        .alias("bin_start"),
        pl.lit(server).alias("server"),
        pl.lit(kind).alias("kind"),
        pl.lit(client, dtype=pl.String).alias("client"),
        pl.col("count").cast(pl.Int64),
    )
