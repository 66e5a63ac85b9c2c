"""A client's hour exceeds limits that ordinary clients do not come near.

Series
    ``client_traffic`` by client and hour (queries, query types, distinct names, minutes), ``client_domain``
    for the queries of one domain.
Statistic
    BotDAD's limits, each a setting: queries, distinct names, queries for one domain, queries of the busiest
    minute against those of the quietest, PTR, MX. A value over its limit (effect) must also be ``novelty``
    times that of the client's own hours before, with a negative binomial tail against its own mean and the
    population's level, corrected over clients and hours (significance). Known servers, resolvers and scanners
    are left out.
Source
    BotDAD, Hindawi 4612474, for queries > 10,000, distinct names > 1,500, busiest against quietest minute >
    1,000 and PTR > 500. Its limit of 10,000 for one domain is 2,500 here, since novelty holds back what is
    usual; the limit of MX, significance and novelty are ours.
Look-alike
    A resolver or a scanner is over these limits every hour; declare it, or its past excuses it.
Limits
    An hour that has just begun is judged by what there is of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect._states import hashes
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import Curves, View

NAME = "client_profile"
SUMMARY = "A client's hour exceeds limits that ordinary clients do not come near."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": ("bin_start", "kind", "client", "count", "ptr", "mx", "distinct_names", "name_state"),
    "client_domain": ("bin_start", "client", "domain", "count"),
}


class Settings(base.Settings):
    """The limits of a client's hour."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {
        "queries": 1,
        "names": 1,
        "one_domain": 1,
        "peak_ratio": 1,
        "ptr": 1,
        "mx": 1,
        "novelty": 1,
    }

    queries: int = Field(default=10_000, ge=1, description="Queries in an hour.")
    names: int = Field(default=1_500, ge=1, description="Distinct names in an hour.")
    one_domain: int = Field(default=2_500, ge=1, description="Queries for one registered domain in an hour.")
    peak_ratio: float = Field(
        default=1_000.0, gt=1, description="Queries of the busiest minute against those of the quietest one."
    )
    ptr: int = Field(default=500, ge=1, description="PTR queries in an hour.")
    mx: int = Field(default=500, ge=1, description="MX queries in an hour.")
    novelty: float = Field(
        default=3.0, ge=1, description="Multiple of the client's own busiest hour of before."
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


_WORDS = {
    "queries": "queries",
    "names": "distinct names",
    "one_domain": "queries for one domain",
    "peak_ratio": "times as many queries in its busiest minute as in its quietest",
    "ptr": "PTR queries",
    "mx": "MX queries",
}


def find(view: View, settings: Settings) -> list[Raised]:
    """Clients over a limit, one incident for each run of hours with all limits that it exceeds."""
    over: dict[str, dict[str, list[_Over]]] = {}
    whole = view.curves("dns_query", bin="1h")
    if not whole.bins:
        return []
    clients = max(len(whole), 1)
    for feature, value, limit in (
        ("queries", "count", settings.queries),
        ("ptr", "ptr", settings.ptr),
        ("mx", "mx", settings.mx),
    ):
        curves = whole if value == "count" else view.curves("dns_query", bin="1h", value=value)
        _add(over, view, curves, feature, value, limit, clients, settings)
    # Each distinct name is a query at least, and so is each of the busiest minute.
    least = int(min(settings.names, settings.peak_ratio, settings.one_domain))
    heavy = common.usable(view, whole.where(whole.values.max(axis=1, initial=0) > least), settings)
    if len(heavy):
        _add(over, view, _names(view, heavy, settings), "names", "", settings.names, clients, settings)
        _add(
            over,
            view,
            _ratios(view, heavy, settings),
            "peak_ratio",
            "",
            settings.peak_ratio,
            clients,
            settings,
        )
        _add(over, view, _one_domain(view, heavy), "one_domain", "", settings.one_domain, clients, settings)
    return [raised for name in sorted(over) for raised in _raised(view, whole, name, over[name])]


class _Over:
    """A stretch of hours in which a client is over one limit."""

    __slots__ = ("before", "first", "limit", "log_p", "stop", "value")

    def __init__(
        self, first: int, stop: int, value: float, limit: float, before: float, log_p: float
    ) -> None:
        self.first, self.stop, self.value, self.limit = first, stop, value, limit
        self.before, self.log_p = before, log_p


def _add(
    over: dict[str, dict[str, list[_Over]]],
    view: View,
    curves: Curves,
    feature: str,
    value: str,
    limit: float,
    clients: int,
    settings: Settings,
) -> None:
    tests = clients * max(curves.bins, 1) / view.days
    usual = float(curves.values.sum(dtype=np.float64)) / max(clients * curves.bins, 1)
    curves = common.usable(view, curves.where(curves.values.max(axis=1, initial=0) > limit), settings)
    stretches = [
        (row, first, stop)
        for row in range(len(curves))
        for first, stop in common.runs_of(curves.values[row] > limit, gap=1)
    ]
    chosen = curves.where(np.array([row for row, _, _ in stretches], dtype=np.int64))
    firsts = [first for _, first, _ in stretches]
    earlier = _hours.curve_before(view, chosen, firsts, value or "count", gap=1)
    peaks = {} if value else _peaks_before(view, feature, sorted(set(chosen.names)))
    for (row, first, stop), before in zip(stretches, earlier, strict=True):
        top = float(curves.values[row, first:stop].max())
        peak = before.peak
        if not value:
            here = float(curves.values[row, : max(0, first - 1)].max(initial=0))
            peak = max(here, peaks.get(curves.names[row], 0.0))
        log_p = _hours.chance(top, max(before.mean if value else usual, usual))
        if before.bins < 2 or top < settings.novelty * peak:
            continue
        if not residuals.significant(log_p, tests, settings.p_value):
            continue
        over.setdefault(curves.names[row], {}).setdefault(feature, []).append(
            _Over(first, stop, top, limit, peak, log_p)
        )


def _peaks_before(view: View, feature: str, names: list[str]) -> dict[str, float]:
    """The highest hour of a feature in the days before, by client; names are bounded by the sum over minutes."""
    who, hour = pl.col("client").is_in(names), pl.col("bin_start").dt.truncate("1h").alias("hour")
    if feature == "one_domain":
        rows = _hours.past_of(view, "client_domain", ["bin_start", "client", "domain", "count"], who)
        value, keys = pl.col("count").cast(pl.Int64).sum(), ["client", "domain"]
    else:
        columns = ["bin_start", "kind", "client", "count", "distinct_names"]
        rows = _hours.past_of(view, "client_traffic", columns, who)
        rows = rows.filter(pl.col("kind").cast(pl.String) == "dns_query")
        # Rows that were counted without names say how much was asked, which is no less.
        value, keys = pl.col("distinct_names").fill_null(pl.col("count")).cast(pl.Int64).sum(), ["client"]
        if feature == "peak_ratio":
            value = pl.col("count").max() / pl.col("count").min()
    by_hour = rows.group_by(*keys, hour).agg(value.alias("value"))
    return {n: float(m) for n, m in by_hour.group_by("client").agg(pl.col("value").max()).rows()}


def _rows(view: View, heavy: Curves, columns: list[str]) -> pl.DataFrame:
    micros = round(heavy.bin.total_seconds() * 1e6)
    start = round(heavy.first.timestamp() * 1e6)
    return (
        view.lazy(
            "client_traffic",
            ["bin_start", "kind", "client", *columns],
            since=heavy.first,
            until=heavy.end(heavy.bins - 1),
            where=pl.col("client").is_in(list(heavy.names)),
        )
        .filter(pl.col("kind").cast(pl.String) == heavy.kind)
        .with_columns(((pl.col("bin_start").dt.epoch("us") - start) // micros).alias("place"))
        .collect()
    )


def _like(heavy: Curves, values: npt.NDArray[np.float32]) -> Curves:
    from dataclasses import replace

    return replace(heavy, values=values, key=())


def _names(view: View, heavy: Curves, settings: Settings) -> Curves:
    """Distinct names by client and hour: united where the summaries are there, else those of the busiest minute."""
    rows = _rows(view, heavy, ["count", "distinct_names", "name_state"])
    values = np.zeros(heavy.values.shape, np.float32)
    at = {name: i for i, name in enumerate(heavy.names)}
    busy = rows.group_by("client", "place").agg(
        pl.col("count").cast(pl.Int64).sum(), pl.col("distinct_names").cast(pl.Int64).sum().alias("most")
    )
    candidates = busy.filter(pl.col("most") > settings.names).select("client", "place")
    for (client, place), part in rows.join(candidates, on=["client", "place"]).group_by("client", "place"):
        states = part["name_state"].drop_nulls()
        if len(states) == part.height:
            held = [hashes(state) for state in states]
            level = max(sampled for _, sampled in held)
            together = np.unique(np.concatenate([of_minute for of_minute, _ in held]))
            if level:
                together = together[together >> np.uint32(32 - level) == 0]
            number = len(together) << level
        else:
            number = int(_hours.most(part["distinct_names"]))
        values[at[str(client)], int(place)] = number
    return _like(heavy, values)


def _ratios(view: View, heavy: Curves, settings: Settings) -> Curves:
    """Busiest minute of an hour against its quietest one that has a query."""
    rows = _rows(view, heavy, ["count"])
    by_minute = rows.group_by("client", "place", "bin_start").agg(pl.col("count").cast(pl.Int64).sum())
    ratio = (
        by_minute.group_by("client", "place")
        .agg((pl.col("count").max() / pl.col("count").min()).alias("ratio"))
        .filter(pl.col("ratio") > settings.peak_ratio)
    )
    return _filled(heavy, ratio, "ratio")


def _one_domain(view: View, heavy: Curves) -> Curves:
    """Queries for the domain that a client asks most in an hour."""
    micros, start = round(heavy.bin.total_seconds() * 1e6), round(heavy.first.timestamp() * 1e6)
    rows = (
        view.lazy(
            "client_domain",
            ["bin_start", "client", "domain", "count"],
            since=heavy.first,
            until=heavy.end(heavy.bins - 1),
            where=pl.col("client").is_in(list(heavy.names)),
        )
        .with_columns(((pl.col("bin_start").dt.epoch("us") - start) // micros).alias("place"))
        .group_by("client", "place", "domain")
        .agg(pl.col("count").sum())
        .group_by("client", "place")
        .agg(pl.col("count").max())
        .collect()
    )
    return _filled(heavy, rows, "count")


def _filled(heavy: Curves, rows: pl.DataFrame, column: str) -> Curves:
    values = np.zeros(heavy.values.shape, np.float32)
    at = {name: i for i, name in enumerate(heavy.names)}
    for client, place, value in rows.select("client", "place", column).rows():
        if 0 <= place < heavy.bins:
            values[at[client], place] = value
    return _like(heavy, values)


def _raised(view: View, whole: Curves, name: str, by_feature: dict[str, list[_Over]]) -> list[Raised]:
    flags = np.zeros(whole.bins, np.bool_)
    for stretches in by_feature.values():
        for one in stretches:
            flags[one.first : one.stop] = True
    found = []
    for first, stop in common.runs_of(flags, gap=1):
        held: dict[str, _Over] = {}
        for feature, stretches in by_feature.items():
            inside = [s for s in stretches if s.first < stop and s.stop > first]
            if inside:
                held[feature] = max(inside, key=lambda s: s.value / s.limit)
        worst = max(held, key=lambda f: held[f].value / held[f].limit)
        found.append(_one(view, name, whole.start(first), whole.end(stop - 1), worst, held))
    return found


def _one(view: View, name: str, start: datetime, end: datetime, worst: str, held: dict[str, _Over]) -> Raised:
    top = held[worst]
    more = [
        f"{common.number(one.value)} {_WORDS[feature]} (limit {common.number(one.limit)})"
        for feature, one in sorted(held.items(), key=lambda h: -h[1].value / h[1].limit)
        if feature != worst
    ]
    evidence: dict[str, Any] = {
        feature: {"value": round(one.value, 1), "limit": one.limit, "before": round(one.before, 1)}
        for feature, one in held.items()
    }
    evidence["log10_p"] = round(top.log_p / np.log(10), 1)
    return Raised(
        detector=NAME,
        cause="new activity",
        severity="warning" if len(held) > 1 else "notice",
        subjects=(name,),
        server=None,
        start=start,
        end=_hours.end_or_open(view, end),
        score=top.value / top.limit,
        threshold=1.0,
        explanation=(
            f"{name} had {common.number(top.value)} {_WORDS[worst]} in an hour from {view.local(start)} on, over the limit "
            f"of {common.number(top.limit)}{' and ' + ', '.join(more) if more else ''}; its busiest hour before had "
            f"{common.number(top.before)}."
        ),
        evidence=evidence,
    )
