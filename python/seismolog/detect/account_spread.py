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
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _accounts, _hours, base, common, residuals
from seismolog.detect._states import items
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
        default=0.05, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
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
    past = _hours.past_of(
        view,
        "account_activity",
        ["account", "bin_start", distinct, state],
        used & (pl.col("account") != "(shed)"),
    )
    excluded = set(settings.exclude_accounts)
    most = _united_by_account(rows, distinct, state)
    usual = max(float(np.mean([n for n in most.values() if n < limit] or [1])), 1.0)
    accounts = max(len(most), 1)
    yesterday = view.since - _accounts.DAY
    both = pl.concat([past.filter(pl.col("bin_start") > yesterday), rows.select(past.columns)])
    # Summaries are read one by one of those accounts alone that reach the limit together with the day before.
    reach = {
        name for name, networks in _united_by_account(both, distinct, state).items() if networks >= limit
    }
    names = sorted((reach & most.keys()) - excluded)
    now = _uses(rows.filter(pl.col("account").is_in(names)), distinct, state)
    old = _uses(past.filter(pl.col("account").is_in(names)), distinct, state)
    found = []
    for name in names:
        before = _most_of_days(old.get(name, []))
        together = _since(old.get(name, []), yesterday) + now[name]
        seen = _crossing(together, max(limit, settings.novelty * before), view.since)
        if seen is None:
            continue
        start, last, most_networks = seen
        # Days of the same account differ about as counts do.
        log_p = _hours.chance(most_networks, _mean_of_days(old.get(name, []), usual), shape=50.0)
        if not residuals.significant(log_p, accounts / view.days, settings.p_value):
            continue
        # With nothing before it, an account that is spread from the first hour on is not new.
        if (start - view.history) / _hours.HOUR < 1 and name not in old:
            continue
        own = rows.filter(pl.col("account") == name)
        sends = int(own["authenticated_sends"].sum())
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
                score=float(most_networks),
                threshold=max(float(limit), settings.novelty * before),
                explanation=(
                    f"{name} was used from {most_networks:,} {what} within 24 hours up to {view.local(last)}, where "
                    f"{common.number(max(usual, before))} were to be expected; before: {common.number(before)} in a day at "
                    f"most; it sent {sends:,} messages."
                ),
                evidence={
                    what.replace(" ", "_"): most_networks,
                    "usual_of_accounts": round(usual, 2),
                    "most_of_a_day_before": before,
                    "logins": int(own["logins"].sum()),
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


Use = tuple[datetime, frozenset[int] | int]
"""An hour in which an account was used, and the networks: their hashes, or their number where no summary is stored."""


def _uses(rows: pl.DataFrame, distinct: str, state: str) -> dict[str, list[Use]]:
    """Account -> its hours, in order."""
    found: dict[str, list[Use]] = {}
    ordered = rows.sort("account", "bin_start").select("account", "bin_start", distinct, state)
    for account, hour, number, stored in ordered.iter_rows():
        if number:
            networks = frozenset(items(stored)[0]) if stored else int(number)
            found.setdefault(account, []).append((hour, networks))
    return found


def _united_by_account(rows: pl.DataFrame, distinct: str, state: str) -> dict[str, int]:
    """Account -> distinct networks over its hours, as :func:`_united`, for all accounts at once."""
    from seismolog.store.merge import core_merger

    rows = rows.filter(pl.col(distinct) > 0).with_columns(
        pl.col("account").rank("dense").sub(1).cast(pl.UInt32).alias("group")
    )
    stored = pl.col(state).bin.size().fill_null(0) > 0
    told = rows.filter(stored)
    merged = pl.DataFrame(core_merger(told["group"], told[state])).select(
        "group", pl.col("distinct").alias("known")
    )
    by = (
        rows.group_by("group")
        .agg(
            pl.col("account").first(),
            pl.col(distinct).filter(~stored).max().fill_null(0).cast(pl.Int64).alias("most"),
        )
        .join(merged, on="group", how="left")
        .select("account", pl.max_horizontal("most", pl.col("known").fill_null(0).cast(pl.Int64)))
    )
    return dict(by.iter_rows())


def _since(uses: list[Use], when: datetime) -> list[Use]:
    return [use for use in uses if use[0] > when]


def _united(uses: list[Use]) -> int:
    """Distinct networks over hours; of hours without a summary those of the largest count."""
    known = [n for _, n in uses if isinstance(n, frozenset)]
    numbers = [n for _, n in uses if isinstance(n, int)]
    return max(len(frozenset().union(*known)), max(numbers, default=0))


def _mean_of_days(uses: list[Use], otherwise: float) -> float:
    """Mean networks of the UTC days before on which it was used, at least 1; of an account without any `otherwise`."""
    days: dict[Any, list[Use]] = {}
    for use in uses:
        days.setdefault(use[0].date(), []).append(use)
    return max(sum(_united(day) for day in days.values()) / len(days), 1.0) if days else otherwise


def _most_of_days(uses: list[Use]) -> float:
    """Most networks of a UTC day before."""
    days: dict[Any, list[Use]] = {}
    for use in uses:
        days.setdefault(use[0].date(), []).append(use)
    return float(max((_united(day) for day in days.values()), default=0))


def _crossing(uses: list[Use], limit: float, since: datetime) -> tuple[datetime, datetime, int] | None:
    """Start of the 24 hours that first reach the limit, end of the last hour that does, and the most; None if none does."""
    start = last = None
    most = 0
    for i, (hour, _) in enumerate(uses):
        if hour < since:
            continue
        window = [use for use in uses[: i + 1] if use[0] > hour - _accounts.DAY]
        number = _united(window)
        if number < limit:
            continue
        last, most = hour + _hours.HOUR, max(most, number)
        if start is None:
            # It began where a quarter of the limit was there.
            reached = (
                use[0] for j, use in enumerate(window) if _united(window[: j + 1]) >= max(limit / 4, 2)
            )
            start = max(next(reached, window[0][0]), since)
    return (start, last, most) if start is not None and last is not None else None
