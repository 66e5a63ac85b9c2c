"""The mixture of who asks for what changes at once: an attack, a search, a botnet.

Series
    Shannon entropies in bits of the sources, H_s, and of the names, H_q, of ``traffic``, by kind, query type and side; each
    minute's own, averaged over ten minutes by the number of queries. For ``firewall_drop`` only H_s.
Statistic
    Each entropy is held against what the volume lets expect (a robust line in log n) and the time of the day, where two
    days of the same kind are known. With at least ``minimum`` queries in the bin, more than in the hours around, |z| >
    ``z`` for one and three fifths of it for the other, and a shift of ``shift`` bits of one, for ``bins`` bins. Where the
    log has no names, H_s alone with half as much again.
Signs
    H_s↓ H_q↓ a targeted attack or one host that asks one thing; H_s↑ H_q↓ a distributed attack, bots; H_s↓ H_q↑ a host
    search; H_s↑ H_q↑ many hosts ask for many names (Musashi et al., IEICE 2009).
Subjects
    The part of the server's traffic; and, where the sources fall, the clients whose own growth against the hours around
    makes up half of the whole growth, at most :data:`FEW`: a rise of one client is told once, whichever detector sees it
    first.
Limits
    Holidays and small counts change the mixture as well: hence the line in log n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import base, common
from seismolog.detect.base import Cause, Raised
from seismolog.store.schema import QTYPES

if TYPE_CHECKING:
    from datetime import datetime

    from seismolog.detect.view import View

NAME = "entropy_shift"
SUMMARY = "The mixture of who asks for what changes at once."
TABLES: Mapping[str, Sequence[str]] = {
    "traffic": (
        *("bin_start", "server", "kind", "query_type", "side", "count"),
        *("client_entropy", "name_entropy", "distinct_clients", "top_name_share"),
    ),
    "client_traffic": ("bin_start", "server", "kind", "client", "count", *QTYPES),
}
FEW = 5
"""Clients that are named at most: where more of them make up the growth, it has no few sources."""
TEN = timedelta(minutes=10)
KINDS = ("dns_query", "firewall_drop")
Floats = npt.NDArray[np.float64]
_MEANING: dict[tuple[int, int], tuple[Cause, str]] = {
    (-1, -1): ("attack from outside", "few sources ask for few names, as in a targeted attack"),
    (1, -1): ("attack from outside", "many sources ask for few names, as in a distributed attack"),
    (-1, 1): ("host search", "few sources ask for many names, as in a search"),
    (1, 1): ("attack from outside", "many sources ask for many names"),
    (-1, 0): ("attack from outside", "few sources cause most of it"),
    (1, 0): ("attack from outside", "many sources cause it"),
}


class Settings(base.Settings):
    """When a mixture has shifted."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"z": 1, "shift": 1, "minimum": 1}

    minimum: float = Field(default=500.0, gt=0, description="Queries in ten minutes.")
    z: float = Field(
        default=5.0, gt=0, description="Robust deviations of one entropy; three fifths of it of the other."
    )
    shift: float = Field(default=0.5, gt=0, description="Bits by which one of them has to differ.")
    growth: float = Field(
        default=1.15,
        gt=0,
        description="Multiple of the queries of the hours around: who attacks adds to them.",
    )
    bins: int = Field(default=2, ge=1, description="Bins of ten minutes in a row.")


def find(view: View, settings: Settings) -> list[Raised]:
    """Shifts of every mixture."""
    series = _series(view)
    before = _series(view.earlier) if view.earlier is not None else {}
    found = []
    for key, (first, counts, sources, names) in sorted(series.items()):
        if counts.max(initial=0) < settings.minimum:
            continue
        found += _shifts(view, key, first, (counts, sources, names), before.get(key), settings)
    return found


Series = tuple["datetime", Floats, Floats, Floats]


def _series(view: View) -> dict[tuple[str, str, str, str], Series]:
    """(server, kind, query type, side) -> first bin, counts, H_s and H_q (NaN where unknown) by ten minutes."""
    first, count = view.grid(TEN)
    if count == 0 or not view.has("traffic"):
        return {}
    columns = ["bin_start", "server", "kind", "query_type", "side", "count", "client_entropy", "name_entropy"]
    where = pl.col("kind").cast(pl.String).is_in(list(KINDS))
    weight = pl.col("count").cast(pl.Float64)
    keys = [pl.col(k).cast(pl.String).fill_null("") for k in ("server", "kind", "query_type", "side")]
    start = round(first.timestamp())

    def mean(column: str) -> pl.Expr:
        known = pl.col(column).is_not_null()
        return ((pl.col(column) * weight).filter(known).sum() / weight.filter(known).sum()).alias(column)

    rows = (
        view.lazy("traffic", columns, since=first, until=first + count * TEN, where=where)
        .with_columns(((pl.col("bin_start").dt.epoch("s") - start) // 600).alias("place"))
        .group_by(*keys, "place")
        .agg(weight.sum().alias("count"), mean("client_entropy"), mean("name_entropy"))
        .collect()
    )
    found: dict[tuple[str, str, str, str], Series] = {}
    for (server, kind, qtype, side), part in rows.group_by("server", "kind", "query_type", "side"):
        place = part["place"].to_numpy()
        arrays = [np.zeros(count), np.full(count, np.nan), np.full(count, np.nan)]
        for array, column in zip(arrays, ("count", "client_entropy", "name_entropy"), strict=True):
            array[place] = part[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        found[str(server), str(kind), str(qtype), str(side)] = (first, arrays[0], arrays[1], arrays[2])
    return found


def _standardized(
    view: View, first: datetime, counts: Floats, values: Floats, past: tuple[Floats, Floats] | None
) -> tuple[Floats, Floats]:
    """(z, difference in bits) of an entropy against what volume and time of the day let expect.

    The line in log n is that of all bins known. Where two days of the same kind (working or free) are known, the
    time of the day has an offset of its own, the median of an hour around it on those days; until then the
    difference of night and day is part of the spread.
    """
    nothing = np.zeros(len(values)), np.zeros(len(values))
    good = np.isfinite(values) & (counts >= 30)
    old_counts, old = past if past is not None else (np.zeros(0), np.zeros(0))
    known = np.isfinite(old) & (old_counts >= 30)
    x = np.log(np.concatenate([old_counts[known], counts[good]]))
    y = np.concatenate([old[known], values[good]])
    if len(x) < 24:
        return nothing
    # A flood is the only one with so many queries and would say itself what so many are to be like: the line is that of
    # ordinary volumes, and beyond them it goes on level.
    before = np.log(old_counts[known])
    most = float(np.quantile(before, 0.99)) if len(before) >= 144 else float(np.quantile(x, 0.9))
    least = float(np.quantile(x, 0.02))
    slope, level = _robust_line(x[x <= most], y[x <= most])

    def line(amount: Floats) -> Floats:
        result: Floats = level + slope * np.clip(np.log(np.maximum(amount, 1)), least, most)
        return result

    spread = _spread(y - line(np.exp(x)))
    difference = np.where(good, values - line(counts), np.nan)
    earlier = np.where(known, old - line(old_counts), np.nan)
    days = _like_days(view, first, len(values), len(old))
    offset, have = np.zeros(len(values)), np.zeros(len(values), np.bool_)
    left = []
    for t, backs in enumerate(days):
        near = [earlier[max(0, p - 3) : p + 4] for p in backs]
        near = [part for part in near if np.isfinite(part).sum() >= 3]
        if len(near) >= 2:
            middles = np.array([float(np.nanmedian(part)) for part in near])
            offset[t], have[t] = float(np.median(middles)), True
            left.append(np.concatenate(near) - offset[t])
    if have.any():
        held = np.concatenate(left)
        within = _spread(held[np.isfinite(held)])
        spread_at = np.where(have, within, spread)
    else:
        spread_at = np.full(len(values), spread)
    difference = np.where(good, difference - offset, 0.0)
    return difference / spread_at, difference


def _spread(rest: Floats) -> float:
    """Robust standard deviation, at least that of the tails: mixtures wander further than their middle tells."""
    middle = float(np.median(rest))
    tail = float(np.quantile(np.abs(rest - middle), 0.9)) / 1.645
    return max(1.4826 * float(np.median(np.abs(rest - middle))), tail, 0.03)


def _like_days(view: View, first: datetime, size: int, known: int) -> list[list[int]]:
    """For each bin the places in the days before of the same time on days of the same kind, working or free."""
    zone, holidays = view.zone, view.site.holidays

    def free(moment: datetime) -> bool:
        local = moment.astimezone(zone)
        return local.weekday() >= 5 or local.date() in holidays

    found = []
    for t in range(size):
        now = free(first + t * TEN)
        backs = []
        for day in range(1, 15):
            place = known + t - 144 * day
            if 0 <= place < known and free(first + t * TEN - timedelta(days=day)) == now:
                backs.append(place)
        found.append(backs)
    return found


def _robust_line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and level of a line that a few odd bins do not bend: least squares, twice without what lies far off."""
    keep = np.ones(len(x), np.bool_)
    slope = level = 0.0
    for _ in range(3):
        if x[keep].std() < 1e-6:
            return 0.0, float(np.median(y))
        slope, level = (float(v) for v in np.polyfit(x[keep], y[keep], 1))
        rest = np.abs(y - level - slope * x)
        keep = rest <= 3 * max(1.4826 * float(np.median(rest)), 0.02)
    return slope, level


def _shifts(
    view: View,
    key: tuple[str, str, str, str],
    first: datetime,
    now: tuple[Floats, Floats, Floats],
    before: Series | None,
    settings: Settings,
) -> list[Raised]:
    server, kind, qtype, side = key
    counts, sources, names = now
    z_s, d_s = _standardized(view, first, counts, sources, (before[1], before[2]) if before else None)
    z_q, d_q = _standardized(view, first, counts, names, (before[1], before[3]) if before else None)
    # Where all always ask for the same, or no name is logged, the sources alone tell.
    named = kind != "firewall_drop" and bool(np.isfinite(names).any()) and float(np.nanstd(names)) > 0.05
    big = counts >= settings.minimum
    if named:
        least, most = np.minimum(np.abs(z_s), np.abs(z_q)), np.maximum(np.abs(z_s), np.abs(z_q))
        flags = big & (least > 0.6 * settings.z) & (most > settings.z)
        flags &= np.maximum(np.abs(d_s), np.abs(d_q)) >= settings.shift
    else:
        flags = big & (np.abs(z_s) > 1.5 * settings.z) & (np.abs(d_s) >= settings.shift)
    # A part of a log that is missing, and the bins at its edges, are no mixture of it.
    whole = view.whole_bins(server)
    flags &= whole
    found = []
    for sign, (low, high) in _by_sign(flags, d_s, d_q if named else np.zeros(len(d_q)), settings.bins):
        around = np.concatenate([counts[max(0, low - 12) : low], counts[high : high + 12]])
        if len(around) and np.median(counts[low:high]) < settings.growth * np.median(around):
            continue
        span = slice(low, high)
        cause, meaning = _MEANING.get(sign, ("unknown", "the mixture is another"))
        last = np.flatnonzero(counts)
        stop = None if len(last) and high >= int(last[-1]) else first + high * TEN
        what = (
            f"{qtype.upper() + ' ' if qtype else ''}{'queries' if kind == 'dns_query' else 'dropped packets'}"
        )
        where = f" from {side}" if side else ""
        change = f"{_change(float(np.median(d_s[span])))} bits of who asks"
        if named:
            change += f" and {_change(float(np.median(d_q[span])))} bits of what is asked"
        score = float(np.median(np.minimum(np.abs(z_s), np.abs(z_q))[span] if named else np.abs(z_s)[span]))
        subject = "/".join(x for x in (server, qtype.upper() if qtype else kind, side) if x)
        few = _sources(view, key, first, low, high) if sign[0] < 0 else []
        if few:
            meaning += f": {', '.join(few)}"
        found.append(
            Raised(
                detector=NAME,
                cause=cause,
                severity="warning",
                subjects=(subject, *few),
                server=server,
                start=first + low * TEN,
                end=stop,
                score=score,
                threshold=settings.z if named else 1.5 * settings.z,
                explanation=(
                    f"The mixture of {what}{where} at {server} changed at {view.local(first + low * TEN)}: {change} "
                    f"against what {common.number(float(np.median(counts[span])))} in ten minutes usually have; {meaning}."
                ),
                evidence={
                    "kind": kind,
                    "query_type": qtype or None,
                    "side": side or None,
                    "per_10_minutes": round(float(np.median(counts[span]))),
                    "source_entropy_shift_bits": round(float(np.median(d_s[span])), 2),
                    "name_entropy_shift_bits": round(float(np.median(d_q[span])), 2) if named else None,
                    "z_sources": round(float(np.median(z_s[span])), 1),
                    "z_names": round(float(np.median(z_q[span])), 1) if named else None,
                    "log_counts": round(math.log(max(float(np.median(counts[span])), 1.0)), 2),
                },
            )
        )
    return found


def _by_sign(
    flags: npt.NDArray[np.bool_], d_s: Floats, d_q: Floats, bins: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Runs of each class of change by itself: a flood in the middle of a search of many hours is no part of it."""
    pairs = np.stack([np.sign(d_s), np.sign(d_q)], axis=1).astype(np.int64)
    for a, b in sorted({(int(a), int(b)) for a, b in pairs[flags] if a}):
        of_class = flags & (pairs[:, 0] == a) & (pairs[:, 1] == b)
        for run in common.runs_of(of_class, gap=2, least=bins):
            yield (a, b), run


def _sources(view: View, key: tuple[str, str, str, str], first: datetime, low: int, high: int) -> list[str]:
    """The few clients whose growth makes up half of the growth of a mixture in these bins; none where they are many."""
    server, kind, qtype, side = key
    value = qtype if qtype in QTYPES else "count"
    since, until = first + max(0, low - 12) * TEN, min(first + (high + 12) * TEN, view.until)
    begin, end = first + low * TEN, first + high * TEN
    where = (pl.col("kind").cast(pl.String) == kind) & (pl.col("server").cast(pl.String) == server)
    inside = (pl.col("bin_start") >= begin) & (pl.col("bin_start") < end)
    amount = pl.col(value).cast(pl.Int64)
    # As much as the hours around lets expect of these bins.
    share = (end - begin) / max((until - since) - (end - begin), TEN)
    rows = (
        view.lazy(
            "client_traffic",
            ["bin_start", "server", "kind", "client", value],
            since=since,
            until=until,
            where=where,
        )
        .filter(pl.col("client").is_not_null())
        .group_by(pl.col("client").cast(pl.String))
        .agg((amount.filter(inside).sum() - amount.filter(~inside).sum() * share).alias("grown"))
        .sort(["grown", "client"], descending=[True, False])
        .collect()
    )
    if view.site.inside and side:
        rows = rows.filter(pl.Series(view.site.is_inside(rows["client"].to_list())) == (side == "inside"))
    grown = rows["grown"].to_numpy()
    total = float(grown.sum())
    if not len(grown) or total <= 0:
        return []
    enough = int(np.searchsorted(np.cumsum(grown), 0.5 * total)) + 1
    return rows["client"][:enough].to_list() if enough <= FEW else []


def _change(bits: float) -> str:
    return f"{bits:+.1f}".replace("-", "−")
