"""A client guesses the mail servers of many domains by name: mail., smtp., mx., ns., gate., relay. (Mytob-like worm).

Series
    ``client_names`` (1 hour): registered domains asked with a mail-like leftmost label, and those asked with
    three or more of them; where that table is empty, the same counted from the rows of ``client_domain``.
Statistic
    In an hour at least ``domains`` registered domains with such a label and on at least ``probed`` of them
    three labels or more (effect); a negative binomial tail against the larger of the client's own mean and
    the population's, corrected over clients and hours (significance); ``novelty`` times the busiest hour of
    before. The client asks for addresses only: its MX queries are fewer than half of those domains.
Source
    The labels: Ludeña Romaña, Musashi et al. on Mytob. The counts are ours: the probed domains are what
    ordinary clients do not have, so few of them do.
Look-alike
    Mail clients ask such names too, of the few domains that their user has accounts with.
Limits
    Dated to the hour. ``client_domain`` keeps the heaviest rows only, so without ``client_names`` a busy
    campus hides most of the probing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "mail_name_probe"
SUMMARY = "A client guesses the mail servers of many domains by name."
TABLES: Mapping[str, Sequence[str]] = {
    "client_names": ("bin_start", "client", "mail_domains", "probed_domains"),
    "client_domain": ("bin_start", "client", "domain", "mail_label_bits"),
    "client_traffic": ("bin_start", "kind", "client", "count", "mx"),
}
LABELS = 3
"""Mail-like labels on one domain that make it a probed one."""


class Settings(base.Settings):
    """When asking for mail-like names is probing."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"domains": 1, "probed": 1, "novelty": 1}

    domains: int = Field(
        default=10, ge=2, description="Registered domains with a mail-like label in an hour."
    )
    probed: int = Field(default=8, ge=1, description="Of them with three or more such labels.")
    novelty: float = Field(default=3.0, ge=1, description="Multiple of the client's busiest hour of before.")
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Clients that probe for mail servers, one incident for each run of hours."""
    rows = counted(view)
    if rows.is_empty():
        return []
    suspects = rows.filter(pl.col("mail") >= settings.domains)["client"].unique().sort().to_list()
    if not suspects:
        return []
    out = _hours.left_out(view, settings, suspects)
    suspects = [name for name, o in zip(suspects, out, strict=True) if not o]
    clients = max(len(view.curves("dns_query")), rows["client"].n_unique())
    hours = _hours.per_hours(view)
    # What the hours below the limit have, spread over all clients and hours, is what is usual.
    calm = float(rows.filter(pl.col("probed") < settings.probed)["probed"].sum()) / max(clients * hours, 1)
    tests = clients * hours / view.days
    before = _before(view, suspects)
    found = []
    for name in suspects:
        own = rows.filter(pl.col("client") == name).sort("bin_start")
        at = own["bin_start"].to_list()
        mail = own["mail"].to_numpy().astype(np.float64)
        counts = own["probed"].to_numpy().astype(np.float64)
        strong = [i for i, c in enumerate(counts) if c >= settings.probed / 4]
        for low, high in _hours.hours_in_runs([at[i] for i in strong]):
            places = strong[low:high]
            top = max(places, key=lambda i: counts[i])
            if mail[top] < settings.domains or counts[top] < settings.probed:
                continue
            earlier = float(counts[: places[0]].max(initial=0))
            usual = max(before.get(name, 0.0), earlier)
            known = (at[places[0]] - view.history) / _hours.HOUR
            log_p = _hours.chance(counts[top], max(calm, usual))
            if known < 1 or counts[top] < settings.novelty * usual:
                continue
            if not residuals.significant(log_p, tests, settings.p_value):
                continue
            start, end = at[places[0]], at[places[-1]] + _hours.HOUR
            mx, asked = _mx(view, name, start, end)
            if mx > 0.5 * mail[places].sum():
                continue
            found.append(
                _raised(view, name, own[places], start, end, counts[top], usual, mx, asked, log_p, settings)
            )
    return found


def counted(view: View) -> pl.DataFrame:
    """``client``, ``bin_start``, ``mail`` and ``probed`` of each hour in which a client asked such a name."""

    def make() -> pl.DataFrame:
        return _counted(view, view.since, view.until, None)

    result: pl.DataFrame = view.kept((NAME, "counted"), make)
    return result


def _counted(view: View, since: datetime, until: datetime, names: list[str] | None) -> pl.DataFrame:
    who = pl.col("client").is_in(names) if names is not None else pl.col("client").is_not_null()
    key = ["client", "bin_start"]
    told = view.lazy(
        "client_names",
        [*key, "mail_domains", "probed_domains"],
        since=since,
        until=until,
        where=who & (pl.col("mail_domains") > 0),
    )
    pairs = view.lazy(
        "client_domain",
        [*key, "domain", "mail_label_bits"],
        since=since,
        until=until,
        where=who & (pl.col("mail_label_bits") > 0),
    )
    by_domain = pairs.group_by(*key, "domain").agg(pl.col("mail_label_bits").bitwise_or())
    of_pairs = by_domain.group_by(key).agg(
        pl.len().cast(pl.Int64).alias("mail"),
        (pl.col("mail_label_bits").bitwise_count_ones() >= LABELS).sum().cast(pl.Int64).alias("probed"),
    )
    of_names = told.group_by(key).agg(
        pl.col("mail_domains").cast(pl.Int64).sum().alias("mail"),
        pl.col("probed_domains").cast(pl.Int64).sum().alias("probed"),
    )
    # Both count the same queries: the larger is nearer, since each only loses some.
    return (
        pl.concat([of_names, of_pairs])
        .group_by(key)
        .agg(pl.col("mail").max(), pl.col("probed").max())
        .collect()
    )


def _before(view: View, names: list[str]) -> dict[str, float]:
    """Busiest hour of these clients in the days before."""
    since = max(view.history, view.since - _hours.PAST)
    if since >= view.since:
        return {}
    rows = _counted(view, since, view.since, names)
    return {name: float(top) for name, top in rows.group_by("client").agg(pl.col("probed").max()).rows()}


def _mx(view: View, name: str, start: datetime, end: datetime) -> tuple[int, int]:
    """MX queries and all queries of a client."""
    sums = (
        view.lazy(
            "client_traffic",
            ["bin_start", "kind", "client", "count", "mx"],
            since=start,
            until=end,
            where=pl.col("client") == name,
        )
        .filter(pl.col("kind").cast(pl.String) == "dns_query")
        .select(pl.col("mx").cast(pl.Int64).sum(), pl.col("count").cast(pl.Int64).sum())
        .collect()
    )
    return int(sums["mx"][0] or 0), int(sums["count"][0] or 0)


def _raised(
    view: View,
    name: str,
    rows: pl.DataFrame,
    start: datetime,
    end: datetime,
    most: float,
    usual: float,
    mx: int,
    asked: int,
    log_p: float,
    settings: Settings,
) -> Raised:
    probed, domains = int(rows["probed"].sum()), int(_hours.most(rows["mail"]))
    return Raised(
        detector=NAME,
        cause="worm",
        severity="critical",
        subjects=(name,),
        server=None,
        start=start,
        end=_hours.end_or_open(view, end),
        score=most,
        threshold=max(float(settings.probed), settings.novelty * usual),
        explanation=(
            f"{name} asked for names such as mail., smtp. or mx. of {domains:,} domains in an hour from "
            f"{view.local(start)} on, for three or more such names of {common.number(most)}, and for {mx:,} MX: it guesses "
            f"mail servers, as worms do; its busiest hour before had {common.number(usual)} such domains."
        ),
        evidence={
            "domains_in_an_hour": domains,
            "probed_in_an_hour": int(most),
            "domains": int(rows["mail"].sum()),
            "probed_domains": probed,
            "mx": mx,
            "queries": asked,
            "most_before": usual,
            "log10_p": round(log_p / np.log(10), 1),
        },
    )
