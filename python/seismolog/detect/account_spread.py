"""An account is used from many networks within a day: its password may be in other hands.

Series
    ``account_activity`` (1 hour): summaries of the networks (a /24, or a /48 of IPv6) that an account was
    used from, united over the 24 hours up to each hour; where those are missing, of its client addresses.
Statistic
    At least ``networks`` distinct networks within 24 hours (``clients`` addresses where networks are not
    known) in which it logged in or sent (effect); a negative binomial tail against the larger of the
    account's own days and the population's, corrected over accounts (significance); ``novelty`` times the
    most of any day before.
Source
    Ours; asked for by mail administrators.
Look-alike
    Mobile users change addresses all day, mostly within a network or two of their provider, and on every day.
Limits
    Failures are not told apart from logins in the summaries: hours in which an account only failed do not
    count. Where a day is only partly in the view, its hours before are read from the past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _accounts, _hours, base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "account_spread"
SUMMARY = "An account is used from many networks within a day."
TABLES: Mapping[str, Sequence[str]] = {
    "account_activity": (
        *("bin_start", "account", "logins", "failures", "authenticated_sends"),
        *("distinct_clients", "client_state", "distinct_networks", "network_state"),
    ),
}
_COLUMNS = list(TABLES["account_activity"])


class Settings(base.Settings):
    """When an account is spread."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"networks": 1, "clients": 1, "novelty": 1}

    networks: int = Field(
        default=8, ge=2, description="Networks that an account is used from within 24 hours."
    )
    clients: int = Field(
        default=24, ge=2, description="Client addresses instead, in rows that were counted without networks."
    )
    novelty: float = Field(default=2.0, ge=1, description="Multiple of the most of any day before.")
    exclude_accounts: list[str] = Field(
        default=[], description="Accounts that are left alone.", examples=[["shared-mailbox"]]
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Accounts that are spread, one incident each."""
    columns = _readable(view)
    rows = view.table("account_activity", columns)
    if rows.is_empty():
        return []
    used = (pl.col("logins") + pl.col("authenticated_sends")) > 0
    rows = rows.filter(used, pl.col("account") != "(shed)")
    with_networks = "distinct_networks" in columns and rows["distinct_networks"].null_count() < rows.height
    distinct, state = (
        ("distinct_networks", "network_state") if with_networks else ("distinct_clients", "client_state")
    )
    limit = settings.networks if with_networks else settings.clients
    # The sum over hours is no less than the number over the day.
    sums = rows.group_by("account").agg(pl.col(distinct).cast(pl.Int64).sum())
    names = sums.filter(pl.col(distinct) >= limit)["account"].sort().to_list()
    names = [n for n in names if n not in set(settings.exclude_accounts)]
    if not names:
        return []
    past = _hours.past_of(view, "account_activity", columns, used & pl.col("account").is_in(names))
    accounts = max(rows["account"].n_unique(), 1)
    by_hour = rows.group_by("account", "bin_start").agg(pl.col(distinct).cast(pl.Int64).max())
    ordinary = by_hour.filter(~pl.col("account").is_in(names)).group_by("account").agg(pl.col(distinct).max())
    usual = max(_hours.middle(ordinary[distinct], 1.0), 1.0)
    parts = {
        str(key[0]): part for key, part in rows.filter(pl.col("account").is_in(names)).group_by("account")
    }
    old = {str(key[0]): part for key, part in past.group_by("account")}
    found = []
    for name in names:
        before = _most_of_days(old.get(name), distinct, state)
        together = pl.concat([old[name], parts[name]]) if name in old else parts[name]
        seen = _crossing(together, distinct, state, max(limit, settings.novelty * before), view)
        if seen is None:
            continue
        start, last, most = seen
        # Two days of the same account differ as counts do; its own busiest day is what was to be expected.
        log_p = _hours.chance(most, max(usual, before), shape=5.0)
        if not residuals.significant(log_p, accounts / view.days, settings.p_value):
            continue
        # With nothing before it, an account that is spread from the first hour on is not new.
        if (start - view.history) / _hours.HOUR < 1 and name not in old:
            continue
        sends = int(parts[name]["authenticated_sends"].sum())
        what = "networks" if with_networks else "client addresses"
        found.append(
            Raised(
                detector=NAME,
                cause="stolen account",
                severity="warning",
                subjects=(name,),
                server=None,
                start=start,
                end=_hours.end_or_open(view, last, _hours.HOUR * 2),
                score=float(most),
                threshold=max(float(limit), settings.novelty * before),
                explanation=(
                    f"{name} was used from {most:,} {what} within 24 hours up to {view.local(last)}, where "
                    f"{common.number(max(usual, before))} were to be expected; before: {common.number(before)} in a day at "
                    f"most; it sent {sends:,} messages."
                ),
                evidence={
                    what.replace(" ", "_"): most,
                    "usual_of_accounts": round(usual, 2),
                    "most_of_a_day_before": before,
                    "logins": int(parts[name]["logins"].sum()),
                    "authenticated_sends": sends,
                    "log10_p": round(log_p / np.log(10), 1),
                },
            )
        )
    return found


def _readable(view: View) -> list[str]:
    """The columns to read; tables given as frames may have been made before networks were counted."""
    try:
        have = view.lazy("account_activity").collect_schema().names()
    except ValueError:
        return _COLUMNS
    return [c for c in _COLUMNS if c in have]


def _most_of_days(rows: pl.DataFrame | None, distinct: str, state: str) -> float:
    """Most networks of a UTC day before."""
    if rows is None or rows.is_empty():
        return 0.0
    days = rows.with_columns(pl.col("bin_start").dt.date().alias("day")).group_by("day")
    return float(max(_accounts.united(part, distinct, state)[0] for _, part in days))


def _crossing(
    rows: pl.DataFrame, distinct: str, state: str, limit: float, view: View
) -> tuple[datetime, datetime, int] | None:
    """Start of the 24 hours that first reach the limit, end of the last hour that does, and the most; None if none does."""
    hours = rows["bin_start"].unique().sort().to_list()
    start = last = None
    most = 0
    for hour in hours:
        if hour < view.since:
            continue
        window = rows.filter(pl.col("bin_start") > hour - _accounts.DAY, pl.col("bin_start") <= hour)
        number, _ = _accounts.united(window, distinct, state)
        if number >= limit:
            last = hour + _hours.HOUR
            if start is None:
                # It began where half of the networks of that window were still to come.
                begun = window["bin_start"].unique().sort().to_list()
                start = next(
                    (
                        h
                        for h in begun
                        if _accounts.united(window.filter(pl.col("bin_start") <= h), distinct, state)[0]
                        >= max(0.25 * limit, 2)
                    ),
                    begun[0],
                )
                start = max(start, view.since)
        most = max(most, number if number >= limit else 0)
    return (start, last, most) if start is not None and last is not None else None
