"""Queries with small questions and large answers: the server is made to flood somebody else.

Series
    ``traffic`` of query type ANY, and of NS, in bins of 10 minutes, with the share of the most frequent name; NS of the root
    alone from ``domain``, since NS is asked for all day and the root is not; ``client_traffic`` says who seems to ask. That
    address is forged: it is the victim's.
Statistic
    The count exceeds ``factor`` times its median over view and past and ``minimum`` (effect), with a negative
    binomial tail corrected over bins (significance), ``novelty`` times the highest bin of before; and one
    name holds more than ``top_share`` of the queries.
Source
    The surge of ANY queries of 2011-11-28: Musashi et al. Share and factor are ours.
Look-alike
    Research scanners ask once, or for many names; known scanners are not counted.
Limits
    Where the log tells no query names the share is unknown, and nothing is raised. NS queries of other names than the root
    are not told apart but for the most frequent one of the table ``domain``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from datetime import datetime

    from seismolog.detect.view import Curves, View

NAME = "amplification"
SUMMARY = "Queries with large answers for one name: the server is made to flood somebody else."
TABLES: Mapping[str, Sequence[str]] = {
    "traffic": ("bin_start", "server", "kind", "query_type", "count", "top_name_share"),
    "client_traffic": ("bin_start", "kind", "client", "any", "ns"),
    "domain": ("bin_start", "domain", "any", "ns"),
}
TYPES = ("any", "ns")
ROOT = "."


class Settings(base.Settings):
    """When ANY and NS queries are amplification."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "factor": 1, "top_share": 1, "novelty": 1}

    minimum: float = Field(default=100.0, gt=0, description="Queries in ten minutes.")
    factor: float = Field(default=10.0, gt=1, description="Multiple of the median of ten minutes.")
    top_share: float = Field(
        default=0.9, gt=0, lt=1, description="Share that the most frequent name must exceed."
    )
    novelty: float = Field(default=3.0, ge=1, description="Multiple of the highest ten minutes of before.")
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Stretches of amplification, one incident for each query type and stretch."""
    found: list[Raised] = []
    for query_type in TYPES:
        curves = common.usable(view, view.curves("dns_query", value=query_type), settings)
        if not len(curves) or not curves.bins:
            continue
        total = curves.values.sum(axis=0, dtype=np.float64)
        if total.max() < settings.minimum * curves.scale:
            continue
        past = _past(view, curves, query_type, settings)
        raised = _stretches(view, curves, query_type, total, past, settings)
        if query_type == "ns":
            root = np.minimum(_root(view, curves, curves.first, curves.bins), total)
            before = np.minimum(_root(view, curves, curves.first - len(past) * curves.bin, len(past)), past)
            of_root = _stretches(view, curves, query_type, root, before, settings, ROOT)
            # What all names together have told is not told again.
            raised += [one for one in of_root if not any(_overlap(one, other) for other in raised)]
        found += raised
    return found


def _overlap(one: Raised, other: Raised) -> bool:
    return (one.end is None or other.start < one.end) and (other.end is None or one.start < other.end)


def _stretches(
    view: View,
    curves: Curves,
    query_type: str,
    total: npt.NDArray[np.float64],
    past: npt.NDArray[np.float64],
    settings: Settings,
    name: str | None = None,
) -> list[Raised]:
    """Stretches of one series that are amplification; with a `name` it is that of one name."""
    median = float(np.median(np.concatenate([total[curves.covered], past])))
    flags = (total >= settings.minimum * curves.scale) & (total > settings.factor * median)
    quiet = np.ones(len(total), np.bool_)  # bins that later ones are held against
    found = []
    for low, high in common.runs_of(flags, gap=3):
        raised = _judged(view, curves, query_type, total, quiet, past, median, (low, high), settings, name)
        if raised is not None:
            found.append(raised)
            quiet[max(0, low - 1) : high + 1] = False
    return found


def _root(view: View, curves: Curves, since: datetime, bins: int) -> npt.NDArray[np.float64]:
    """(bins,) NS queries of the root from a moment on; zeros where no names are counted."""
    counts = np.zeros(bins)
    if bins <= 0 or not view.has("domain"):
        return counts
    micros = round(curves.bin.total_seconds() * 1e6)
    rows = (
        view.lazy(
            "domain",
            ["bin_start", "domain", "ns"],
            since=since,
            until=since + bins * curves.bin,
            where=(pl.col("domain") == ROOT) & (pl.col("ns") > 0),
        )
        .group_by(
            ((pl.col("bin_start").dt.epoch("us") - round(since.timestamp() * 1e6)) // micros).alias("place")
        )
        .agg(pl.col("ns").cast(pl.Int64).sum())
        .collect()
    )
    counts[rows["place"].to_numpy()] = rows["ns"].to_numpy()
    return counts


def _past(view: View, curves: Curves, query_type: str, settings: Settings) -> npt.NDArray[np.float64]:
    """Queries of that type by bin in the days before, zeros included."""
    if view.history >= view.since:
        return np.zeros(0)
    micros = round(curves.bin.total_seconds() * 1e6)

    def by_bin(rows: pl.LazyFrame) -> pl.LazyFrame:
        return (
            rows.filter(pl.col("client").is_not_null())
            .group_by("client", (pl.col("bin_start").dt.epoch("us") // micros * micros).alias("micros"))
            .agg(pl.col(query_type).cast(pl.Int64).sum())
            .select("client", query_type, pl.col("micros").cast(pl.Datetime("us", "UTC")).alias("bin_start"))
        )

    since = max(view.history, view.since - _hours.PAST)
    rows = view.by_hour(
        ("past", query_type, curves.kind, curves.bin),
        "client_traffic",
        ["bin_start", "kind", "client", query_type],
        by_bin,
        since=since,
        until=view.since,
        where=(pl.col("kind").cast(pl.String) == curves.kind) & (pl.col(query_type) > 0),
    ).filter(pl.col("bin_start") >= since)
    bins = round(min(view.since - view.history, _hours.PAST) / curves.bin)
    counts = np.zeros(bins)
    if rows.is_empty():
        return counts
    names = rows["client"].unique().to_list()
    out = [n for n, o in zip(names, _hours.left_out(view, settings, names), strict=True) if o]
    totals = (
        rows.filter(~pl.col("client").is_in(out))
        .group_by((pl.col("bin_start").dt.epoch("us") // micros).alias("place"))
        .agg(pl.col(query_type).cast(pl.Int64).sum())
    )
    place = totals["place"].to_numpy() - round(view.since.timestamp() * 1e6) // micros + bins
    inside = (place >= 0) & (place < bins)
    counts[place[inside]] = totals[query_type].to_numpy()[inside]
    return counts


def _judged(
    view: View,
    curves: Curves,
    query_type: str,
    total: npt.NDArray[np.float64],
    quiet: npt.NDArray[np.bool_],
    past: npt.NDArray[np.float64],
    median: float,
    run: tuple[int, int],
    settings: Settings,
    name: str | None,
) -> Raised | None:
    first, stop = run
    level = float(total[first:stop].mean())
    while first > 0 and total[first - 1] >= 0.25 * level:
        first -= 1
    while stop < len(total) and total[stop] >= 0.25 * level:
        stop += 1
    stop_before = max(0, first - 1)
    before = np.concatenate([past, total[:stop_before][quiet[:stop_before]]])
    if len(before) < 6:
        return None
    top, peak, mean = float(total[first:stop].max()), float(before.max()), float(before.mean())
    log_p = _hours.chance(top, max(mean, 0.1))
    tests = len(TYPES) * curves.bins / view.days
    if top < settings.novelty * peak or not residuals.significant(log_p, tests, settings.p_value):
        return None
    share = 1.0 if name is not None else _share(view, query_type, curves, first, stop)
    if share is None or share <= settings.top_share:
        return None
    by_client = curves.values[:, first:stop].sum(axis=1)
    order = np.argsort(-by_client, kind="stable")[:5]
    who = [curves.names[int(i)] for i in order if by_client[int(i)] >= 0.05 * by_client.sum()]
    name = name or _domain(view, query_type, curves, first, stop)
    start = curves.start(first)
    of = "of the root " if name == ROOT else f"of {name} " if name else ""
    rise = f"{common.number(top / median)} times the median" if median > 0 else "where there usually are none"
    return Raised(
        detector=NAME,
        cause="attack from outside",
        severity="warning",
        subjects=tuple(who) if who else (query_type,),
        server=None,
        start=start,
        end=common.open_end(curves, stop),
        score=top / curves.scale,
        threshold=max(settings.minimum, settings.factor * median, settings.novelty * peak),
        explanation=(
            f"{common.number(top / curves.scale)} {query_type.upper()} queries {of}in ten minutes from "
            f"{view.local(start)} on, {rise}, {share:.0%} of them for one name and seemingly by "
            f"{who[0] if who else 'many clients'}: the server is made to flood that address; before: "
            f"{common.number(peak / curves.scale)} at most."
        ),
        evidence={
            "query_type": query_type,
            "per_10_minutes": round(top / curves.scale, 1),
            "median": round(median / curves.scale, 1),
            "top_name_share": round(share, 3),
            "domain": name,
            "clients": int((by_client > 0).sum()),
            "heaviest_clients": {
                curves.names[int(i)]: int(by_client[int(i)]) for i in order if by_client[int(i)] > 0
            },
            "most_before": round(peak / curves.scale, 1),
            "log10_p": round(log_p / np.log(10), 1),
        },
    )


def _share(view: View, query_type: str, curves: Curves, first: int, stop: int) -> float | None:
    """Share of the most frequent name over the minutes of a stretch, by count."""
    rows = (
        view.lazy(
            "traffic",
            ["bin_start", "kind", "query_type", "count", "top_name_share"],
            since=curves.start(first),
            until=curves.end(stop - 1),
            where=pl.col("query_type").cast(pl.String) == query_type,
        )
        .filter(pl.col("kind").cast(pl.String) == curves.kind)
        .drop_nulls("top_name_share")
        .collect()
    )
    total = float(rows["count"].sum())
    if total <= 0:
        return None
    return float((rows["count"] * rows["top_name_share"]).sum()) / total


def _domain(view: View, query_type: str, curves: Curves, first: int, stop: int) -> str | None:
    """The domain with most queries of that type."""
    rows = (
        view.lazy(
            "domain",
            ["bin_start", "domain", query_type],
            since=curves.start(first),
            until=curves.end(stop - 1),
            where=pl.col(query_type) > 0,
        )
        .group_by("domain")
        .agg(pl.col(query_type).cast(pl.Int64).sum())
        .sort(query_type, "domain", descending=[True, False])
        .head(1)
        .collect()
    )
    if rows.is_empty():
        return None
    return str(rows["domain"][0])
