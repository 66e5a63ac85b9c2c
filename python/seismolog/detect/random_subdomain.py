"""Ever new names of one domain are asked for: water torture of its servers, or an attempt at poisoning a cache.

Series
    ``domain`` (10 minutes): queries and distinct names of each registered domain, and from how many clients.
Statistic
    At least ``minimum`` A and AAAA queries in ten minutes over half an hour of which at least
    ``distinct_share`` are for a name of their own (effect); a negative binomial tail against the larger of
    the domain's own mean and the population's, corrected over domains and bins (significance); ``novelty``
    times the domain's highest bin of before.
Source
    The pattern: Musashi et al.; distinct heavy hitters: arXiv 1612.02636. The study's restricted
    Damerau–Levenshtein distance of 1 to 40 to the name before holds for nearly any two names and is left out.
    0.7 and the counts are ours.
Look-alike
    Content networks, block lists of mail servers (DNSBL) and antivirus look-ups ask for ever new names too:
    on every day, and, block lists, from mail servers only.
Limits
    Queries that a resolver of the site asks are those of its clients. Distinct names are estimates past
    1,024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect._states import address_hash, items
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "random_subdomain"
SUMMARY = "Ever new names of one domain are asked for."
TABLES: Mapping[str, Sequence[str]] = {
    "domain": (
        *("bin_start", "server", "domain", "count", "a", "aaaa", "distinct_names", "distinct_clients"),
        "client_state",
    ),
    "client_domain": ("bin_start", "client", "domain", "count", "distinct_names"),
}
TEN = timedelta(minutes=10)


class Settings(base.Settings):
    """When names of one domain are random."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "distinct_share": 1, "novelty": 1}

    minimum: float = Field(
        default=130.0, gt=0, description="A and AAAA queries in ten minutes, over half an hour."
    )
    distinct_share: float = Field(
        default=0.7, gt=0, le=1, description="Share of them with a name of its own."
    )
    factor: float = Field(default=10.0, gt=1, description="Multiple of the expected distinct names.")
    novelty: float = Field(
        default=3.0,
        ge=1,
        description="Multiple of the most distinct names of the domain in ten minutes before.",
    )
    per_client: float = Field(
        default=2.0,
        ge=0,
        description="Queries of a client in ten minutes, on average: many clients with one each are a popular site.",
    )
    exclude_domains: list[str] = Field(
        default=[],
        description="Registered domains that are left alone.",
        examples=[["spamhaus.org"]],
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Domains under random names, one incident for each stretch."""
    least = settings.minimum / 4
    address = (pl.col("a") + pl.col("aaaa")).cast(pl.Int64)
    rows = view.table("domain", ["bin_start", "domain", "a", "aaaa", "distinct_names"])
    if rows.is_empty():
        return []
    strong = (
        rows.filter(address >= least, pl.col("distinct_names") >= settings.distinct_share * least)
        .group_by("domain", "bin_start")
        .agg(address.sum().alias("asked"), pl.col("distinct_names").cast(pl.Int64).sum().alias("distinct"))
        .filter(pl.col("distinct") >= settings.distinct_share * pl.col("asked"))
    )
    suspects = (
        strong.group_by("domain")
        .agg(pl.col("asked").max())
        .filter(pl.col("asked") >= settings.minimum)["domain"]
        .sort()
        .to_list()
    )
    excluded = {d.lower().rstrip(".") for d in settings.exclude_domains}
    suspects = [d for d in suspects if d not in excluded and d not in ("(shed)", "in-addr.arpa", "ip6.arpa")]
    if not suspects:
        return []
    bins = max(1, round((view.until - view.since) / TEN))
    tests = max(rows["domain"].n_unique(), 1) * bins / view.days
    all_rows = rows.filter(pl.col("domain").is_in(suspects))
    past = _past(view, suspects)
    found = []
    for domain in suspects:
        own = (
            all_rows.filter(pl.col("domain") == domain)
            .group_by("bin_start")
            .agg(
                address.sum().alias("asked"), pl.col("distinct_names").cast(pl.Int64).sum().alias("distinct")
            )
            .sort("bin_start")
        )
        place = (
            (own["bin_start"].dt.epoch("us") - round(view.since.timestamp() * 1e6)) // 600_000_000
        ).to_numpy()
        asked, distinct = np.zeros(bins + 1), np.zeros(bins + 1)
        inside = (place >= 0) & (place <= bins)
        asked[place[inside]], distinct[place[inside]] = (
            own["asked"].to_numpy()[inside],
            own["distinct"].to_numpy()[inside],
        )
        flags = (asked >= least) & (distinct >= settings.distinct_share * asked)
        for first, stop in common.runs_of(flags, gap=2):
            level, names = float(asked[first:stop].mean()), float(distinct[first:stop].mean())
            window = np.convolve(
                asked[first:stop], np.ones(min(3, stop - first)) / min(3, stop - first), mode="valid"
            )
            if float(window.max()) < settings.minimum:
                continue
            quiet = distinct[: max(0, first - 1)]
            known = len(quiet) + (view.since - view.history) / TEN
            total, peak = past.get(domain, (0.0, 0.0))
            peak = max(peak, float(quiet.max(initial=0)))
            mean = (total + float(quiet.sum())) / max(known, 1.0)
            log_p = _hours.chance(names, max(mean, 0.1))
            if known < 6 or names < settings.novelty * peak or names < settings.factor * mean:
                continue
            if not residuals.significant(log_p, tests, settings.p_value):
                continue
            start = view.since + first * TEN
            clients, who, mailing = _clients(view, domain, start, view.since + stop * TEN)
            if mailing >= 0.8 or level < settings.per_client * clients:  # a block list, or a popular site
                continue
            found.append(
                _raised(
                    view,
                    domain,
                    start,
                    view.since + stop * TEN,
                    settings,
                    level,
                    names,
                    peak,
                    mean,
                    log_p,
                    clients,
                    who,
                )
            )
    return found


def _past(view: View, domains: list[str]) -> dict[str, tuple[float, float]]:
    """Sum of the distinct names by bin, and the most in one, in the days before."""
    rows = _hours.past_of(
        view, "domain", ["bin_start", "domain", "distinct_names"], pl.col("domain").is_in(domains)
    )
    by_bin = rows.group_by("domain", "bin_start").agg(pl.col("distinct_names").cast(pl.Int64).sum())
    return {
        d: (float(t), float(m))
        for d, t, m in by_bin.group_by("domain")
        .agg(pl.col("distinct_names").sum().alias("t"), pl.col("distinct_names").max().alias("m"))
        .rows()
    }


def _clients(view: View, domain: str, start: datetime, end: datetime) -> tuple[int, list[str], float]:
    """Most clients in ten minutes, the heaviest of them by name, and the share of known mail servers' queries."""
    rows = view.lazy(
        "domain",
        ["bin_start", "domain", "count", "distinct_clients", "client_state"],
        since=start,
        until=end,
        where=pl.col("domain") == domain,
    ).collect()
    together: dict[int, int] = {}
    for state in rows["client_state"].drop_nulls():
        for key, count in items(state)[0].items():
            together[key] = together.get(key, 0) + count
    mail = {address_hash(a) for a in view.site.mail_addresses}
    asked = float(sum(together.values()))
    mailing = sum(c for k, c in together.items() if k in mail) / asked if asked else 0.0
    pairs = (
        view.lazy(
            "client_domain",
            ["bin_start", "client", "domain", "count"],
            since=start - timedelta(minutes=start.minute),
            until=end,
            where=(pl.col("domain") == domain) & pl.col("client").is_not_null(),
        )
        .group_by("client")
        .agg(pl.col("count").sum())
        .sort("count", "client", descending=[True, False])
        .head(10)
        .collect()
    )
    top = pairs["client"].to_list()
    if not mailing and pairs.height:
        known = pairs.filter(pl.col("client").is_in(list(view.site.mail_addresses)))
        mailing = float(known["count"].sum()) / max(float(pairs["count"].sum()), 1.0)
    return int(_hours.most(rows["distinct_clients"])) or len(top), top, mailing


def _raised(
    view: View,
    domain: str,
    start: datetime,
    end: datetime,
    settings: Settings,
    level: float,
    names: float,
    peak: float,
    mean: float,
    log_p: float,
    clients: int,
    who: list[str],
) -> Raised:
    by = f"by {who[0]}" if clients == 1 and who else f"by {clients:,} clients"
    if clients > 1 and who:
        by += f", {who[0]} first"
    return Raised(
        detector=NAME,
        cause="attack from outside",
        severity="warning",
        subjects=(domain, *who[:5]),
        server=None,
        start=start,
        end=_hours.end_or_open(view, end),
        score=names,
        threshold=max(settings.minimum * settings.distinct_share, settings.novelty * peak),
        explanation=(
            f"{common.number(names)} different names of {domain} were asked for in ten minutes from {view.local(start)} "
            f"on, {names / max(level, 1):.0%} of {common.number(level)} queries, {by}; before: "
            f"{common.number(peak)} at most."
        ),
        evidence={
            "names_per_10_minutes": round(names, 1),
            "queries_per_10_minutes": round(level, 1),
            "distinct_share": round(names / max(level, 1.0), 3),
            "clients": clients,
            "heaviest_clients": who,
            "most_before": peak,
            "expected_per_10_minutes": round(mean, 2),
            "log10_p": round(log_p / np.log(10), 1),
        },
    )
