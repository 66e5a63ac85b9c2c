"""Passwords are tried on a host: it looks up the address of its attacker in reverse, again and again.

Series
    PTR queries by client (``client_traffic``), bins of 10 minutes, and what they were for (``ptr_target``, 1
    hour). The client is the host under attack: its login service asks who connects.
Statistic
    PTR queries of at least ``minimum`` in ten minutes, over half an hour (effect); a negative binomial tail
    against the larger of the client's own mean and the campus' median, or a binomial tail of the share of the
    two most frequent targets against one half, corrected over clients and bins (significance); ``novelty``
    times its highest bin of before; and the two most frequent targets hold more than ``top_share`` of the
    look-ups of those hours.
Source
    Musashi et al.: more than 1000 an hour of one server. That two names hold most of it, and the lower limit,
    are ours.
Look-alike
    A web server with HostnameLookups on asks for as many, of many visitors: no two of them hold most.
Limits
    The share is known by the hour: of an attack that fills little of a busy hour the share is that of the
    hour, less what the client asked in it before the attack began. Attackers by the hundreds, each with a few
    tries, hide from the share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect._states import items
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import Curves, View

NAME = "dictionary_attack"
SUMMARY = "A host looks up one or two addresses in reverse again and again: passwords are tried on it."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": ("bin_start", "kind", "client", "count", "ptr"),
    "ptr_target": ("bin_start", "origin", "count", "distinct_targets", "target_state"),
}
WINDOW = 3


class Settings(base.Settings):
    """When PTR queries are an attack on passwords."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "top_share": 1, "novelty": 1}

    minimum: float = Field(default=30.0, gt=0, description="PTR queries in ten minutes, over half an hour.")
    top_share: float = Field(
        default=0.8, gt=0, lt=1, description="Share that the two most frequent targets must exceed."
    )
    factor: float = Field(default=5.0, gt=1, description="Multiple of the expected PTR queries.")
    novelty: float = Field(
        default=2.0, ge=1, description="Multiple of the most PTR that the client asked in ten minutes before."
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Hosts on which passwords seem to be tried, one incident for each stretch."""
    from scipy import stats

    whole = view.curves("dns_query", value="ptr")
    if whole.bins < WINDOW:
        return []
    curves = common.usable(view, whole.where_peak(settings.minimum, WINDOW), settings)
    if not len(curves):
        return []
    tests = max(len(view.curves("dns_query")), 1) * whole.bins / view.days
    usual = float(np.median(whole.values.mean(axis=1))) if len(whole) else 0.0
    stretches = []
    for row in range(len(curves)):
        values = curves.values[row]
        level = np.convolve(values, np.ones(WINDOW) / WINDOW, mode="same") >= settings.minimum * curves.scale
        for low, high in common.runs_of(level, gap=3):
            run = _trimmed(values, low, high)
            if run is not None:
                stretches.append((row, *run))
    chosen = curves.where(np.array([row for row, _, _ in stretches], dtype=np.int64))
    earlier = _hours.curve_before(view, chosen, [first for _, first, _ in stretches], "ptr")
    found = []
    for (row, first, stop), before in zip(stretches, earlier, strict=True):
        values = curves.values[row, first:stop].astype(np.float64)
        level_in = float(values.mean())
        expected = max(before.mean, usual, 0.02 * curves.scale)
        log_p = _hours.chance(level_in, expected)
        if (
            before.bins < 6
            or level_in < settings.factor * expected
            or level_in < settings.novelty * before.peak
        ):
            continue
        share, distinct = _share(view, curves, row, first, stop)
        if share is None or share <= settings.top_share:
            continue
        # Either that there are so many, or that so many are for two, where half of them would be much.
        many = float(values.sum())
        log_p = min(log_p, float(stats.binom.logsf(math.ceil(share * many) - 1, round(many), 0.5)))
        if not residuals.significant(log_p, tests, settings.p_value):
            continue
        name, per_ten = curves.names[row], level_in / curves.scale
        found.append(
            Raised(
                detector=NAME,
                cause="brute force",
                severity="warning",
                subjects=(name,),
                server=None,
                start=curves.start(first),
                end=common.open_end(curves, stop),
                score=per_ten,
                threshold=max(settings.minimum, settings.novelty * before.peak / curves.scale),
                explanation=(
                    f"{name} asked {common.number(per_ten)} PTR in ten minutes from "
                    f"{view.local(curves.start(first))} on, {share:.0%} of them for one or two addresses: passwords seem "
                    f"to be tried on it; before: {common.number(before.peak / curves.scale)} at most."
                ),
                evidence={
                    "ptr_per_10_minutes": round(per_ten, 1),
                    "ptr": int(values.sum()),
                    "top_two_share": round(share, 3),
                    "distinct_targets": distinct,
                    "expected_per_10_minutes": round(expected / curves.scale, 2),
                    "most_before": round(before.peak / curves.scale, 1),
                    "days_known": round(before.days, 2),
                    "log10_p": round(log_p / np.log(10), 1),
                },
            )
        )
    return found


def _trimmed(values: np.ndarray, low: int, high: int) -> tuple[int, int] | None:
    """The run less its quiet ends, with the bins beside it that have a quarter of its level."""
    if high <= low:
        return None
    least = max(0.25 * float(values[low:high].mean()), 1.0)
    while low < high and values[low] < least:
        low += 1
    while high > low and values[high - 1] < least:
        high -= 1
    if high <= low:
        return None
    while low > 0 and values[low - 1] >= least:
        low -= 1
    while high < len(values) and values[high] >= least:
        high += 1
    return low, high


def _share(view: View, curves: Curves, row: int, first: int, stop: int) -> tuple[float | None, int]:
    """Share of the two most frequent targets over the hours of a stretch, and how many targets there were."""
    start, end = curves.start(first), curves.end(stop - 1)
    rows = view.lazy(
        "ptr_target",
        ["bin_start", "origin", "count", "distinct_targets", "target_state"],
        since=start - timedelta(minutes=start.minute, seconds=start.second),
        until=end,
        where=pl.col("origin") == curves.names[row],
    ).collect()
    if rows.is_empty():
        return None, 0
    # In the first and the last hour the client asked for others before and after; that is not the attack's.
    inside = float(curves.values[row, first:stop].sum())
    total = min(float(rows["count"].sum()), inside) if inside > 0 else float(rows["count"].sum())
    together: dict[int, int] = {}
    for state in rows["target_state"].drop_nulls():
        for key, count in items(state)[0].items():
            together[key] = together.get(key, 0) + count
    if together:
        top = sum(sorted(together.values(), reverse=True)[:2])
        return min(top / max(total, 1.0), 1.0), len(together)
    # Without summaries: two targets are all there is, or each was asked for often.
    distinct = int(_hours.most(rows["distinct_targets"]))
    if distinct <= 2:
        return 1.0, distinct
    return max(0.0, 1 - (distinct - 2) / max(total, 1.0)) if distinct <= 0.1 * total else 0.0, distinct
