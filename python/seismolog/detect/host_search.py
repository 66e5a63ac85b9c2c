"""A client looks up address after address in reverse: it searches for hosts through the DNS.

Series
    ``ptr_target`` (1 hour) by client: distinct addresses looked up, and the Euclidean distances of
    consecutive ones with the octets as a vector; ``client_traffic`` (PTR by 10 minutes) dates it.
Statistic
    At least ``targets`` distinct addresses in an hour, most of them asked once (effect); a negative binomial
    tail against the larger of the client's own and the population's level, corrected over clients and hours
    (significance); ``novelty`` times the busiest hour of before. The distances say of which kind:
    *sequential* where at least ``sequential_share`` of them are 1.0 to 2.0, otherwise *random*; the share in
    the random band (150.2 to 210.4) is told as evidence and decides nothing.
Source
    The bands: Musashi et al. (2010 to 2012). That targets are counted and asked once is ours, since 27 % of
    the pairs of any random addresses lie in the random band.
Look-alike
    Analysers of logs and mail servers look up who came to them: the busy ones again and again, and on every
    day.
Limits
    A search that is slower than ``targets`` an hour is not seen, nor one by many clients that take turns; the
    /24 of clients is looked at for that (``network_targets``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "host_search"
SUMMARY = "A client looks up address after address in reverse."
TABLES: Mapping[str, Sequence[str]] = {
    "ptr_target": ("bin_start", "server", "origin", "count", "distinct_targets", "distance_histogram"),
    "client_traffic": ("bin_start", "kind", "client", "ptr"),
}
SEQUENTIAL, RANDOM = 1, 5
"""Places of the bands in ``distance_histogram``."""


class Settings(base.Settings):
    """When reverse look-ups are a search."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"targets": 1, "fresh_share": 1, "novelty": 1}

    targets: int = Field(default=128, ge=10, description="Distinct addresses looked up in an hour.")
    network_targets: int = Field(
        default=1024, ge=10, description="The same for a /24 of clients none of which is raised by itself."
    )
    fresh_share: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Share of the look-ups of an hour that are of an address not yet asked for.",
    )
    sequential_share: float = Field(default=0.5, gt=0, le=1, description="Share of distances of 1.0 to 2.0.")
    novelty: float = Field(default=3.0, ge=1, description="Multiple of the client's busiest hour of before.")
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Searches, one incident for each client and run of hours."""
    rows = view.table("ptr_target", list(TABLES["ptr_target"]))
    if rows.is_empty():
        return []
    rows = rows.filter(pl.col("origin").is_not_null())
    single = rows.filter(~pl.col("origin").str.ends_with("/24"))
    found = _search(view, single, settings.targets, settings)
    networks = rows.filter(pl.col("origin").str.ends_with("/24"))
    raised = {_network(name) for r in found for name in r.subjects}
    networks = networks.filter(~pl.col("origin").is_in(sorted(raised)))
    return found + _search(view, networks, settings.network_targets, settings)


def _network(name: str) -> str:
    return ".".join(name.split(".")[:3]) + ".0/24"


def _search(view: View, rows: pl.DataFrame, targets: int, settings: Settings) -> list[Raised]:
    hourly = rows.group_by("origin", "bin_start").agg(
        pl.col("count").sum(), pl.col("distinct_targets").cast(pl.Int64).sum().alias("distinct")
    )
    strong = hourly.filter(
        pl.col("distinct") >= targets, pl.col("distinct") >= settings.fresh_share * pl.col("count")
    )
    names = strong["origin"].unique().sort().to_list()
    out = _hours.left_out(view, settings, [n.removesuffix("/24") for n in names])
    names = [name for name, o in zip(names, out, strict=True) if not o]
    if not names:
        return []
    origins, hours = hourly["origin"].n_unique(), _hours.per_hours(view)
    clients = max(len(view.curves("dns_query")), origins)
    usual = float(hourly.filter(pl.col("distinct") < targets)["distinct"].sum()) / (clients * hours)
    tests = clients * hours / view.days
    past = _past(view, names)
    found = []
    for name in names:
        own = hourly.filter(pl.col("origin") == name).sort("bin_start")
        at = own["bin_start"].to_list()
        distinct = own["distinct"].to_numpy().astype(np.float64)
        level = [i for i, d in enumerate(distinct) if d >= targets / 4]
        for low, high in _hours.hours_in_runs([at[i] for i in level]):
            places = level[low:high]
            top = max(places, key=lambda i: distinct[i])
            before = max(past.get(name, 0.0), float(distinct[: places[0]].max(initial=0)))
            known = (at[places[0]] - view.history) / _hours.HOUR
            log_p = _hours.chance(distinct[top], max(usual, before / 2))
            if distinct[top] < targets or known < 1 or distinct[top] < settings.novelty * before:
                continue
            if not residuals.significant(log_p, tests, settings.p_value):
                continue
            count = float(own["count"][places].sum())
            fresh = float(distinct[places].sum()) / max(count, 1.0)
            bands = _bands(rows, name, at[places[0]], at[places[-1]])
            steps = max(sum(bands), 1)
            sequential = bands[SEQUENTIAL] / steps >= settings.sequential_share
            if fresh < settings.fresh_share:
                continue
            start, end = _dated(view, name, at[places[0]], at[places[-1]] + _hours.HOUR)
            found.append(
                _raised(
                    view,
                    name,
                    start,
                    end,
                    targets=int(distinct[top]),
                    count=int(count),
                    fresh=fresh,
                    shares=(bands[SEQUENTIAL] / steps, bands[RANDOM] / steps),
                    sequential=sequential,
                    before=before,
                    log_p=log_p,
                    threshold=max(float(targets), settings.novelty * before),
                )
            )
    return found


def _past(view: View, names: list[str]) -> dict[str, float]:
    rows = _hours.past_of(
        view, "ptr_target", ["bin_start", "origin", "distinct_targets"], pl.col("origin").is_in(names)
    )
    hourly = rows.group_by("origin", "bin_start").agg(pl.col("distinct_targets").cast(pl.Int64).sum())
    return {n: float(t) for n, t in hourly.group_by("origin").agg(pl.col("distinct_targets").max()).rows()}


def _bands(rows: pl.DataFrame, name: str, first: datetime, last: datetime) -> list[int]:
    lists = rows.filter(pl.col("origin") == name, pl.col("bin_start") >= first, pl.col("bin_start") <= last)[
        "distance_histogram"
    ].drop_nulls()
    total = [0] * 8
    for histogram in lists.to_list():
        for i, n in enumerate(histogram[:8]):
            total[i] += int(n)
    return total


def _dated(view: View, name: str, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The bins of ten minutes with PTR queries far above those around, within these hours."""
    curves = view.curves("dns_query", value="ptr")
    if name not in curves.names or not curves.bins:
        return start, end
    low, high = max(0, curves.place(start)), min(curves.bins, curves.place(end))
    values = curves.row(name)[low:high]
    if not len(values) or values.max() <= 0:
        return start, end
    busy = np.flatnonzero(values >= 0.25 * values.max())
    return curves.start(low + int(busy[0])), curves.end(low + int(busy[-1]))


def _raised(view: View, name: str, start: datetime, end: datetime, **told: Any) -> Raised:
    sequential, random = told["shares"]
    how = (
        f"{sequential:.0%} of them the address next to the one before (a search in sequence)"
        if told["sequential"]
        else f"{told['fresh']:.0%} of them not asked for before (a search at random)"
    )
    return Raised(
        detector=NAME,
        cause="host search",
        severity="warning",
        subjects=(name,),
        server=None,
        start=start,
        end=_hours.end_or_open(view, end),
        score=float(told["targets"]),
        threshold=told["threshold"],
        explanation=(
            f"{name} looked up {told['targets']:,} addresses in reverse in an hour from {view.local(start)} on, {how}; "
            f"its busiest hour before had {common.number(told['before'])}."
        ),
        evidence={
            "targets_in_an_hour": told["targets"],
            "look_ups": told["count"],
            "fresh_share": round(told["fresh"], 3),
            "sequential_share": round(sequential, 3),
            "random_share": round(random, 3),
            "kind": "sequential" if told["sequential"] else "random",
            "most_before": told["before"],
            "log10_p": round(told["log_p"] / np.log(10), 1),
        },
    )
