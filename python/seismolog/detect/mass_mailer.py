"""A host that is no mail server asks for the mail exchangers of many domains: a mass-mailing worm, or a spam relay.

Series
    ``dns_query`` by client and query type (``client_traffic``), bins of 10 minutes.
Statistic
    MX queries of a client that is no known mail server: at least ``minimum`` in ten minutes for at least
    ``names`` distinct names (effect), a negative binomial tail against the larger of its own mean of before
    and the campus' share of MX in its queries, corrected over clients and bins (significance), and
    ``novelty`` times its highest bin of before. Over the stretch the ratio PTR/(A + MX) tells which: below
    ``worm_ratio`` a worm with a mail engine of its own, which receives nothing; from ``relay_ratio`` a relay,
    which looks up those that connect to it.
Source
    A+MX against A+MX+PTR: Matsuba, Musashi, Sugitani, IPSJ SIG 47151 (2004). Thresholds are ours.
Look-alike
    An undeclared mail server, which has asked MX on the days before as well (novelty) and looks up its peers;
    a monitor, which asks for few names again and again (``names``).
Limits
    A mail server that begins to work in this view is raised as a relay once, until it is declared or learnt.
    Where the summaries of names are lost, the distinct names of a bin are bounded by the largest minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect.base import Cause, Raised

if TYPE_CHECKING:
    from seismolog.detect.view import Curves, View

NAME = "mass_mailer"
SUMMARY = "A host that is no mail server asks for the mail exchangers of many domains."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": (
        *("bin_start", "server", "kind", "client", "count", "a", "aaaa", "mx", "ptr"),
        *("distinct_names", "name_state"),
    ),
    "client_names": ("bin_start", "client", "mx_names"),
}


class Settings(base.Settings):
    """When MX queries are mass mailing."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "names": 1, "novelty": 1}

    minimum: int = Field(default=10, ge=2, description="MX queries in ten minutes.")
    names: int = Field(default=5, ge=2, description="Distinct names that they must be for.")
    factor: float = Field(default=5.0, gt=1, description="Multiple of the expected MX queries.")
    novelty: float = Field(
        default=2.0,
        ge=1,
        description="Multiple of the most MX queries that the client asked in ten minutes before.",
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )
    worm_ratio: float = Field(default=0.02, ge=0, description="PTR/(A+MX) below which it is a worm.")
    relay_ratio: float = Field(default=0.05, ge=0, description="PTR/(A+MX) from which it is a spam relay.")


def find(view: View, settings: Settings) -> list[Raised]:
    """Clients that mail in masses, one incident for each stretch."""
    whole = view.curves("dns_query", value="mx")
    curves = common.usable(view, whole.where_peak(settings.minimum), settings)
    if not len(curves):
        return []
    all_queries = view.curves("dns_query")
    usual = _usual_share(view, whole, all_queries)
    tests = max(len(all_queries), 1) * max(whole.bins, 1) / view.days
    stretches: list[tuple[int, int, int]] = []
    for row in range(len(curves)):
        flags = curves.values[row] >= settings.minimum * curves.scale
        for run in common.runs_of(flags, gap=3):
            first, stop = _widen(curves.values[row], run)
            if stretches and stretches[-1][0] == row and first <= stretches[-1][2] + 3:
                stretches[-1] = (row, stretches[-1][1], max(stop, stretches[-1][2]))
            else:
                stretches.append((row, first, stop))
    chosen = curves.where(np.array([row for row, _, _ in stretches], dtype=np.int64))
    earlier = _hours.curve_before(view, chosen, [first for _, first, _ in stretches], "mx")
    found = []
    for (row, first, stop), before in zip(stretches, earlier, strict=True):
        name = curves.names[row]
        values = curves.values[row, first:stop].astype(np.float64)
        peak = float(values.max())
        if before.bins < 6 or peak < settings.novelty * before.peak:
            continue
        total = float(all_queries.row(name)[first:stop].sum())
        # The MX of a mailer are its own; the others' share is of what it asks besides.
        besides = max(total - float(values.sum()), 0.0) / len(values)
        expected = max(before.mean, usual * besides, 0.02 * curves.scale)
        log_p = _hours.chance(peak, expected)
        if peak < settings.factor * expected or not residuals.significant(log_p, tests, settings.p_value):
            continue
        told = _told(view, curves, name, first, stop, settings)
        if told is not None:
            details = {**told, "expected_per_10_minutes": round(expected / curves.scale, 2)}
            details["log10_p"] = round(log_p / np.log(10), 1)
            found.append(_raised(view, curves, name, first, stop, peak, before, details, settings))
    return found


def _widen(values: npt.NDArray[np.float32], run: tuple[int, int]) -> tuple[int, int]:
    """A run with the bins beside it that have a quarter of its level."""
    first, stop = run
    least = max(0.25 * float(values[first:stop].mean()), 1.0)
    while first > 0 and values[first - 1] >= least:
        first -= 1
    while stop < len(values) and values[stop] >= least:
        stop += 1
    return first, stop


def _usual_share(view: View, mx: Curves, all_queries: Curves) -> float:
    """MX as a share of the queries of clients that are no known servers, the busiest askers of MX left out."""
    by_client = mx.values.sum(axis=1, dtype=np.float64)
    known = view.site.is_known_server(mx.names)
    ordinary = np.sort(by_client[~known])
    total = float(all_queries.values.sum(dtype=np.float64))
    # One in two hundred clients may be a mailer.
    held = ordinary[: max(0, len(ordinary) - max(3, len(all_queries) // 200))]
    return float(held.sum()) / total if total > 0 else 0.0


def _told(
    view: View, curves: Curves, name: str, first: int, stop: int, settings: Settings
) -> dict[str, float] | None:
    """Numbers of a stretch, None where it is for too few names."""
    rows = (
        view.lazy(
            "client_traffic",
            [
                "bin_start",
                "kind",
                "client",
                "count",
                "a",
                "aaaa",
                "mx",
                "ptr",
                "distinct_names",
                "name_state",
            ],
            since=curves.start(first),
            until=curves.end(stop - 1),
            where=pl.col("client") == name,
        )
        .filter(pl.col("kind").cast(pl.String) == curves.kind)
        .collect()
    )
    sums = {c: float(rows[c].cast(pl.Int64).sum()) for c in ("a", "aaaa", "mx", "ptr")}
    names = _names(view, rows, name, curves.start(first), curves.end(stop - 1))
    if names < settings.names:
        return None
    ratio = sums["ptr"] / max(sums["a"] + sums["aaaa"] + sums["mx"], 1.0)
    return {**sums, "distinct_names": float(names), "ptr_ratio": round(ratio, 4)}


def _names(view: View, rows: pl.DataFrame, name: str, start: datetime, end: datetime) -> int:
    """Distinct names that MX were asked for, or as near to it as the tables tell."""
    told = view.lazy(
        "client_names",
        ["bin_start", "client", "mx_names"],
        since=start - _hours.HOUR,
        until=end,
        where=pl.col("client") == name,
    ).collect()
    if told.height and (most := int(_hours.most(told["mx_names"]))):
        return most
    asked = rows.filter(pl.col("mx") > 0)
    sizes = asked["distinct_names"].drop_nulls()
    states = asked["name_state"].drop_nulls()
    if len(states) == asked.height and asked.height:
        from seismolog.detect._states import items

        together: set[int] = set()
        for state in states:
            together |= items(state)[0].keys()
        return len(together)
    return int(_hours.most(sizes)) if len(sizes) else 0


def _raised(
    view: View,
    curves: Curves,
    name: str,
    first: int,
    stop: int,
    peak: float,
    before: _hours.Earlier,
    told: Mapping[str, float],
    settings: Settings,
) -> Raised:
    ratio = told["ptr_ratio"]
    worm = ratio < (settings.worm_ratio + settings.relay_ratio) / 2
    cause: Cause = "worm" if worm else "spam relay"
    if ratio < settings.worm_ratio:
        which = "and hardly a PTR, as a worm with a mail engine of its own does"
    elif ratio >= settings.relay_ratio:
        which = f"and {told['ptr']:,.0f} PTR beside them, as a host does that relays mail for others"
    else:
        which = f"and {told['ptr']:,.0f} PTR beside them, which tells neither a worm nor a relay for certain"
    per_ten = peak / curves.scale
    return Raised(
        detector=NAME,
        cause=cause,
        severity="critical",
        subjects=(name,),
        server=None,
        start=curves.start(first),
        end=common.open_end(curves, stop),
        score=per_ten,
        threshold=float(max(settings.minimum, settings.novelty * before.peak / curves.scale)),
        explanation=(
            f"{name} asked up to {common.number(per_ten)} MX in ten minutes from {view.local(curves.start(first))} on, "
            f"{told['mx']:,.0f} in all for {told['distinct_names']:,.0f} names or more, {which}; it is no known mail "
            f"server; before: {common.number(before.peak / curves.scale)} at most."
        ),
        evidence={
            "mx_per_10_minutes": round(per_ten, 1),
            "mx": int(told["mx"]),
            "a": int(told["a"] + told["aaaa"]),
            "ptr": int(told["ptr"]),
            "ptr_ratio": ratio,
            "distinct_names": int(told["distinct_names"]),
            "expected_per_10_minutes": told["expected_per_10_minutes"],
            "most_before": round(before.peak / curves.scale, 1),
            "days_known": round(before.days, 2),
            "log10_p": told["log10_p"],
        },
    )
