"""An account sends far more mail than it ever did: its password may be in other hands.

Series
    ``account_activity`` (1 hour): messages accepted from the authenticated account.
Statistic
    At least ``sends`` in an hour and ``factor`` times the account's own mean of the hours in which it sends
    (effect); a negative binomial tail against the larger of that and the population's mean, corrected over
    accounts and hours (significance); ``novelty`` times its busiest hour of before.
Source
    Ours; asked for by mail administrators.
Look-alike
    A newsletter goes out once a week from the same account: its past has such an hour. So has that of a batch
    job.
Limits
    The first newsletter of an account is told. An account that was never seen before is judged by the
    population.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _accounts, _hours, base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "account_send_surge"
SUMMARY = "An account sends far more mail than it ever did."
TABLES: Mapping[str, Sequence[str]] = {
    "account_activity": ("bin_start", "account", "logins", "failures", "authenticated_sends"),
}


class Settings(base.Settings):
    """When sending is a surge."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"sends": 1, "factor": 1, "novelty": 1}

    sends: int = Field(default=50, ge=2, description="Authenticated sends of one account in an hour.")
    factor: float = Field(
        default=5.0, gt=1, description="Multiple of its mean of the hours in which it sends."
    )
    novelty: float = Field(default=3.0, ge=1, description="Multiple of its busiest hour of before.")
    exclude_accounts: list[str] = Field(
        default=[], description="Accounts that are left alone.", examples=[["newsletter"]]
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Accounts that send in surges, one incident for each run of hours."""
    rows = _accounts.hourly(view)
    if rows.is_empty():
        return []
    sending = rows.filter(pl.col("sends") > 0)
    names = sending.filter(pl.col("sends") >= settings.sends)["account"].unique().sort().to_list()
    names = [n for n in names if n not in set(settings.exclude_accounts)]
    if not names:
        return []
    accounts, hours = rows["account"].n_unique(), _hours.per_hours(view)
    tests = accounts * hours / view.days
    usual = _hours.middle(sending.filter(pl.col("sends") < settings.sends)["sends"], 0.5)
    past = _accounts.hourly(view, past=True).filter(pl.col("account").is_in(names), pl.col("sends") > 0)
    found = []
    for name in names:
        own = sending.filter(pl.col("account") == name)
        at, sends = own["bin_start"].to_list(), own["sends"].to_numpy().astype(np.float64)
        old = past.filter(pl.col("account") == name)["sends"].to_numpy().astype(np.float64)
        strong = [i for i, n in enumerate(sends) if n >= settings.sends / 4]
        for low, high in _hours.hours_in_runs([at[i] for i in strong]):
            places = strong[low:high]
            top = float(sends[places].max())
            before = np.concatenate([old, sends[: places[0]]])
            peak, mean = float(before.max(initial=0)), float(before.mean()) if len(before) else 0.0
            known = (at[places[0]] - view.history) / _hours.HOUR
            expected = max(mean, usual)
            log_p = _hours.chance(top, expected)
            if known < 1 or top < max(settings.sends, settings.factor * expected, settings.novelty * peak):
                continue
            if not residuals.significant(log_p, tests, settings.p_value):
                continue
            start, end = at[places[0]], at[places[-1]] + _hours.HOUR
            found.append(
                Raised(
                    detector=NAME,
                    cause="stolen account",
                    severity="critical",
                    subjects=(name,),
                    server=None,
                    start=start,
                    end=_hours.end_or_open(view, end),
                    score=top,
                    threshold=max(float(settings.sends), settings.factor * expected, settings.novelty * peak),
                    explanation=(
                        f"{name} sent {common.number(top)} messages in an hour from {view.local(start)} on, "
                        f"{common.number(sends[places].sum())} in all, where {common.number(expected)} an hour were to be "
                        f"expected; its busiest hour before had {common.number(peak)}."
                    ),
                    evidence={
                        "sends_in_an_hour": int(top),
                        "sends": int(sends[places].sum()),
                        "expected": round(expected, 2),
                        "most_before": peak,
                        "hours_known": len(before),
                        "log10_p": round(log_p / np.log(10), 1),
                    },
                )
            )
    return found
