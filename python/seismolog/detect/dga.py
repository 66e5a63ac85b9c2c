"""A client asks for many domains whose names look made up by a program (domain generation algorithm).

Series
    ``client_names`` (1 hour): registered domains with an unlikely name, by client; ``client_traffic`` for how
    much it asked.
Statistic
    The counting core judges each registered domain by the bigram log likelihood of its label against ordinary
    names, with a limit that one in a hundred of those falls below. Of a client and hour at least ``domains``
    such domains (effect); a binomial tail with the campus' own rate of them, at least ``rate``, over its
    queries, corrected over clients and hours (significance); ``novelty`` times the busiest hour of before.
Source
    Bigram likelihood of generated names is usual in the field; limits are ours.
Look-alike
    The probes of a Chrome browser are names without a dot, which are not judged; internationalized names
    (``xn--``) are not either. Both are decided in the core.
Limits
    Names made of words look like words. Labels below eight characters are not judged. Dated to the hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "dga"
SUMMARY = "A client asks for many domains whose names look made up by a program."
TABLES: Mapping[str, Sequence[str]] = {
    "client_names": ("bin_start", "client", "unlikely_domains"),
    "client_traffic": ("bin_start", "kind", "client", "count"),
}


class Settings(base.Settings):
    """When names look made up."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"domains": 1, "novelty": 1}

    domains: int = Field(default=10, ge=2, description="Registered domains with an unlikely name in an hour.")
    rate: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="Share of unlikely names among the queries of ordinary clients, at least.",
    )
    novelty: float = Field(default=3.0, ge=1, description="Multiple of the client's busiest hour of before.")
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Clients that ask for generated names, one incident for each run of hours."""
    from scipy import stats

    rows = view.table("client_names", ["bin_start", "client", "unlikely_domains"])
    if rows.is_empty():
        return []
    hourly = (
        rows.filter(pl.col("client").is_not_null(), pl.col("unlikely_domains") > 0)
        .group_by("client", "bin_start")
        .agg(pl.col("unlikely_domains").cast(pl.Int64).sum().alias("unlikely"))
        .sort("client", "bin_start")
    )
    names = hourly.filter(pl.col("unlikely") >= settings.domains)["client"].unique().sort().to_list()
    names = [n for n, o in zip(names, _hours.left_out(view, settings, names), strict=True) if not o]
    if not names:
        return []
    curves = view.curves("dns_query", bin="1h")
    clients = max(len(curves), 1)
    tests = clients * max(curves.bins, 1) / view.days
    asked = float(curves.values.sum(dtype=np.float64))
    ordinary = float(hourly.filter(pl.col("unlikely") < settings.domains)["unlikely"].sum())
    rate = min(max(settings.rate, ordinary / asked if asked else 0.0), 0.5)
    past = _hours.past_of(
        view, "client_names", ["bin_start", "client", "unlikely_domains"], pl.col("client").is_in(names)
    )
    by_hour = past.group_by("client", "bin_start").agg(pl.col("unlikely_domains").cast(pl.Int64).sum())
    before_of = {
        n: float(m) for n, m in by_hour.group_by("client").agg(pl.col("unlikely_domains").max()).rows()
    }
    found = []
    for name in names:
        own = hourly.filter(pl.col("client") == name, pl.col("unlikely") >= max(settings.domains / 4, 2))
        at, counts = own["bin_start"].to_list(), own["unlikely"].to_numpy().astype(np.float64)
        values = curves.row(name) if name in curves.names else np.zeros(curves.bins)
        for low, high in _hours.hours_in_runs(at):
            top = low + int(np.argmax(counts[low:high]))
            place = curves.place(at[top])
            queries = float(values[place]) if 0 <= place < curves.bins else 0.0
            queries = max(queries, counts[top])
            before = max(before_of.get(name, 0.0), float(counts[:low].max(initial=0)))
            known = (at[low] - view.history) / _hours.HOUR
            log_p = float(stats.binom.logsf(counts[top] - 1, round(queries), rate))
            if counts[top] < max(settings.domains, settings.novelty * before) or known < 1:
                continue
            if not residuals.significant(log_p, tests, settings.p_value):
                continue
            start, end = at[low], at[high - 1] + _hours.HOUR
            total = int(counts[low:high].sum())
            found.append(
                Raised(
                    detector=NAME,
                    cause="remote-controlled",
                    severity="warning",
                    subjects=(name,),
                    server=None,
                    start=start,
                    end=_hours.end_or_open(view, end),
                    score=float(counts[top]),
                    threshold=max(float(settings.domains), settings.novelty * before),
                    explanation=(
                        f"{name} asked for {common.number(counts[top])} domains in an hour from {view.local(start)} on "
                        f"whose names look made up by a program, where its {common.number(queries)} queries let expect "
                        f"{common.number(rate * queries)} at most; before: {common.number(before)}."
                    ),
                    evidence={
                        "unlikely_domains_in_an_hour": int(counts[top]),
                        "unlikely_domains": total,
                        "queries_in_that_hour": int(queries),
                        "expected": round(rate * queries, 2),
                        "most_before": before,
                        "log10_p": round(log_p / np.log(10), 1),
                    },
                )
            )
    return found
