"""Data are carried in the names that a client asks of one domain.

Series
    ``client_domain`` (1 hour): distinct names of a client on a registered domain, the entropy of their
    labels, and their length; ``domain`` tells how many clients ask the domain at all.
Statistic
    At least ``names`` distinct names in an hour, of a mean label entropy above ``entropy`` bits or a median
    length above ``length`` (effect); a negative binomial tail against the larger of the pair's own mean and
    the population's, corrected over the pairs of a day (significance); ``novelty`` times the pair's busiest
    hour of before; and few clients ask the domain, now and on the days before (``clients``).
Source
    100 names an hour, 3.5 bits, 52 characters: ours, from RITA (distinct subdomains) and Zeek's
    anomalous-dns. The default of ``names`` is lower, so that a tunnel that fills part of an hour is found.
Look-alike
    Content networks and antivirus look-ups carry hashes in names: of the same few domains for very many
    clients.
Limits
    Dated to the hour. A tunnel through a domain that half of the campus asks is hidden by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _domains, _hours, base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "tunnel"
SUMMARY = "Data are carried in the names that a client asks of one domain."
TABLES: Mapping[str, Sequence[str]] = {
    "client_domain": (
        *("bin_start", "client", "domain", "count", "distinct_names", "names_measured", "label_entropy_sum"),
        *("mean_label_entropy", "median_name_length"),
    ),
    "domain": ("bin_start", "domain", "distinct_clients"),
}


class Settings(base.Settings):
    """When names carry data."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"names": 1, "entropy": 1, "length": 1, "novelty": 1}

    names: int = Field(default=60, ge=2, description="Distinct names of one client on one domain in an hour.")
    entropy: float = Field(default=3.5, gt=0, description="Mean entropy of their labels, bits.")
    length: int = Field(default=52, ge=1, description="Or their median length.")
    novelty: float = Field(default=3.0, ge=1, description="Multiple of the pair's busiest hour of before.")
    clients: int = Field(
        default=5, ge=1, description="Clients that may ask the domain; one in two hundred where that is more."
    )
    exclude_domains: list[str] = Field(
        default=[], description="Registered domains that are left alone.", examples=[["antivirus.example"]]
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Tunnels, one incident for each client, domain and run of hours."""
    columns = [
        *("bin_start", "client", "domain", "count", "distinct_names", "names_measured"),
        *("label_entropy_sum", "median_name_length"),
    ]
    rows = view.table("client_domain", columns)
    if rows.is_empty():
        return []
    rows = rows.filter(pl.col("client").is_not_null())
    heavy = (
        rows.filter(pl.col("distinct_names") >= settings.names / 4)
        .group_by("client", "domain", "bin_start")
        .agg(
            pl.col("distinct_names").cast(pl.Int64).max(),
            pl.col("count").sum(),
            (pl.col("label_entropy_sum").sum() / pl.col("names_measured").sum()).alias("entropy"),
            pl.col("median_name_length").max().alias("length"),
        )
        .filter((pl.col("entropy") > settings.entropy) | (pl.col("length") > settings.length))
        .sort("client", "domain", "bin_start")
    )
    strong = heavy.filter(pl.col("distinct_names") >= settings.names).select("client", "domain").unique()
    suspects = strong.sort("client", "domain").rows()
    out = _hours.left_out(view, settings, [c for c, _ in suspects])
    excluded = {d.lower().rstrip(".") for d in settings.exclude_domains}
    suspects = [s for s, o in zip(suspects, out, strict=True) if not o and s[1] not in excluded | {"(shed)"}]
    if not suspects:
        return []
    tests = rows.height / view.days
    usual = _hours.middle(rows["distinct_names"], 1.0, median=True)
    domains = _domains.known(view, [d for _, d in suspects])
    most_clients = max(settings.clients, len(view.curves("dns_query")) // 200)
    found = []
    for client, domain in suspects:
        known_domain = domains[domain]
        if known_domain.clients > most_clients or known_domain.clients_before(client) > most_clients:
            continue
        own = heavy.filter(pl.col("client") == client, pl.col("domain") == domain)
        at, names = own["bin_start"].to_list(), own["distinct_names"].to_numpy().astype(np.float64)
        for low, high in _hours.hours_in_runs(at):
            top = low + int(np.argmax(names[low:high]))
            before = max(known_domain.names_before(client), float(names[:low].max(initial=0)))
            known = (at[low] - view.history) / _hours.HOUR
            log_p = _hours.chance(names[top], max(usual, before))
            if names[top] < max(settings.names, settings.novelty * before) or known < 1:
                continue
            if not residuals.significant(log_p, tests, settings.p_value):
                continue
            start, end = at[low], at[high - 1] + _hours.HOUR
            entropy, length = float(own["entropy"][top]), int(own["length"][top])
            total = int(names[low:high].sum())
            found.append(
                Raised(
                    detector=NAME,
                    cause="tunnel",
                    severity="critical",
                    subjects=(client, domain),
                    server=None,
                    start=start,
                    end=_hours.end_or_open(view, end),
                    score=float(names[top]),
                    threshold=max(float(settings.names), settings.novelty * before),
                    explanation=(
                        f"{client} asked {common.number(names[top])} different names of {domain} in an hour from "
                        f"{view.local(start)} on, of {length} characters and {entropy:.1f} bits a label: they seem to "
                        f"carry data; {_domains.few(known_domain.clients)}; before: {common.number(before)} an hour."
                    ),
                    evidence={
                        "domain": domain,
                        "names_in_an_hour": int(names[top]),
                        "names": total,
                        "queries": int(own["count"][low:high].sum()),
                        "mean_label_entropy": round(entropy, 2),
                        "median_name_length": length,
                        "clients_of_the_domain": known_domain.clients,
                        "most_before": before,
                        "log10_p": round(log_p / np.log(10), 1),
                    },
                )
            )
    return found
