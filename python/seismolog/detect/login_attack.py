"""Passwords are tried: many failures from one client, or failures of one account from many clients.

Series
    ``auth_failure`` and ``smtp_rejected`` by client (``client_traffic``), bins of 10 minutes;
    ``account_activity`` (1 hour) for the failures of an account and the clients that they come from.
Statistic
    *One client*: at least ``failures`` (``rejects``) in ten minutes (effect), a negative binomial tail
    against its own mean and the population's, corrected over clients and bins (significance), ``novelty``
    times its highest bin of before. *One account*: failures from at least ``clients`` clients in an hour,
    more than ``novelty`` times its busiest hour of before, and more failures than logins.
Source
    Ours: 30 failures in ten minutes, ten clients.
Look-alike
    A telephone with an old password fails all day at its own pace, for one account only that also succeeds
    elsewhere: a client whose failures are of one account needs ``one_account`` times as many.
Limits
    Which accounts a client failed at is read from the summaries of ``account_activity``; where the log tells
    no account, a client counts as one that tries many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from seismolog.detect import _hours, base, common, residuals
from seismolog.detect._states import address_hash, items
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "login_attack"
SUMMARY = "Passwords are tried: many failures from one client, or of one account from many clients."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": ("bin_start", "kind", "client", "count"),
    "account_activity": ("bin_start", "account", "logins", "failures", "distinct_clients", "client_state"),
}
_WORDS = {"auth_failure": "failed logins", "smtp_rejected": "refusals at SMTP time"}


class Settings(base.Settings):
    """When failures are an attack."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"failures": 1, "rejects": 1, "clients": 1, "novelty": 1}

    failures: float = Field(default=30.0, gt=0, description="Failed logins of one client in ten minutes.")
    rejects: float = Field(
        default=100.0, gt=0, description="Refusals at SMTP time of one client in ten minutes."
    )
    clients: int = Field(default=10, ge=2, description="Clients from which one account fails in an hour.")
    one_account: float = Field(
        default=4.0, ge=1, description="Multiple of `failures` for a client that fails at one account only."
    )
    novelty: float = Field(default=3.0, ge=1, description="Multiple of the highest bin of before.")
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Clients that try passwords, and accounts whose passwords are tried."""
    found: list[Raised] = []
    for kind, minimum in (("auth_failure", settings.failures), ("smtp_rejected", settings.rejects)):
        found += _by_client(view, kind, minimum, settings)
    return found + _by_account(view, settings)


def _by_client(view: View, kind: str, minimum: float, settings: Settings) -> list[Raised]:
    whole = view.curves(kind)
    curves = whole.where_peak(minimum)
    if not len(curves):
        return []
    left = ~_hours.left_out(view, settings, curves.names, servers=False)
    curves = curves.where(left & ~view.site.is_scanner(curves.names))
    tests = max(len(whole), 1) * whole.bins / view.days
    usual = float(np.median(whole.values.mean(axis=1)))
    stretches = [
        (row, *run)
        for row in range(len(curves))
        for run in common.runs_of(curves.values[row] >= 0.5 * minimum * curves.scale, gap=2)
    ]
    chosen = curves.where(np.array([row for row, _, _ in stretches], dtype=np.int64))
    earlier = _hours.curve_before(view, chosen, [first for _, first, _ in stretches], "count")
    found = []
    for (row, first, stop), before in zip(stretches, earlier, strict=True):
        values = curves.values[row, first:stop].astype(np.float64)
        top = float(values.max())
        if top < max(minimum * curves.scale, settings.novelty * before.peak) or before.bins < 6:
            continue
        log_p = _hours.chance(top, max(before.mean, usual, 0.05 * curves.scale))
        if not residuals.significant(log_p, tests, settings.p_value):
            continue
        name = curves.names[row]
        start, end = curves.start(first), curves.end(stop - 1)
        accounts = _accounts(view, name, start, end, float(values.sum())) if kind == "auth_failure" else []
        if len(accounts) == 1 and top < settings.one_account * minimum * curves.scale:
            continue
        of = (
            f" at {len(accounts):,} accounts"
            if len(accounts) > 1
            else f" at {accounts[0]}"
            if accounts
            else ""
        )
        found.append(
            Raised(
                detector=NAME,
                cause="brute force",
                severity="warning" if kind == "auth_failure" else "notice",
                subjects=(name,),
                server=None,
                start=start,
                end=common.open_end(curves, stop),
                score=top / curves.scale,
                threshold=max(minimum, settings.novelty * before.peak / curves.scale),
                explanation=(
                    f"{name} had {common.number(top / curves.scale)} {_WORDS[kind]} in ten minutes from {view.local(start)} "
                    f"on, {common.number(values.sum())} in all{of}; before: "
                    f"{common.number(before.peak / curves.scale)} at most."
                ),
                evidence={
                    "kind": kind,
                    "per_10_minutes": round(top / curves.scale, 1),
                    "total": int(values.sum()),
                    "accounts": len(accounts),
                    "examples": accounts[:5],
                    "most_before": round(before.peak / curves.scale, 1),
                    "log10_p": round(log_p / np.log(10), 1),
                },
            )
        )
    return found


def _accounts(view: View, client: str, start: datetime, end: datetime, failures: float) -> list[str]:
    """Accounts with failures whose summaries hold this client, sorted.

    Where no summary holds it, the account that has about as many failures as the client, if there is one.
    """
    key = address_hash(client)
    rows = view.lazy(
        "account_activity",
        ["bin_start", "account", "failures", "client_state"],
        since=start - timedelta(minutes=start.minute, seconds=start.second),
        until=end,
        where=pl.col("failures") > 0,
    ).collect()
    found = {
        str(account)
        for account, state in rows.select("account", "client_state").rows()
        if key is not None and key in items(state)[0]
    }
    if not found and rows.height:
        by_account = rows.group_by("account").agg(pl.col("failures").sum())
        alike = by_account.filter(pl.col("failures").is_between(0.8 * failures, 3 * failures))
        if alike.height == 1:
            found = {str(alike["account"][0])}
    return sorted(found)


def _by_account(view: View, settings: Settings) -> list[Raised]:
    columns = ["bin_start", "account", "logins", "failures", "distinct_clients"]
    rows = view.table("account_activity", columns)
    hourly = (
        rows.filter(pl.col("account") != "(shed)")
        .group_by("account", "bin_start")
        .agg(
            pl.col("logins").sum(),
            pl.col("failures").sum(),
            pl.col("distinct_clients").cast(pl.Int64).max().alias("clients"),
        )
        .filter(pl.col("failures") > 0)
        .sort("account", "bin_start")
    )
    strong = hourly.filter(
        pl.col("clients") >= settings.clients,
        pl.col("failures") >= settings.clients,
        pl.col("failures") > pl.col("logins"),
    )
    names = strong["account"].unique().sort().to_list()
    if not names:
        return []
    past = _hours.past_of(view, "account_activity", columns, pl.col("account").is_in(names))
    past_hours = past.group_by("account", "bin_start").agg(pl.col("failures").sum())
    before_of = {n: float(m) for n, m in past_hours.group_by("account").agg(pl.col("failures").max()).rows()}
    accounts = max(rows["account"].n_unique(), 1)
    tests = accounts * _hours.per_hours(view) / view.days
    usual = float(hourly.filter(pl.col("clients") < settings.clients)["failures"].sum()) / (
        accounts * _hours.per_hours(view)
    )
    found = []
    for name in names:
        own = strong.filter(pl.col("account") == name)
        at = own["bin_start"].to_list()
        for low, high in _hours.hours_in_runs(at):
            part = own[low:high]
            top = _hours.most(part["failures"])
            earlier = hourly.filter(pl.col("account") == name, pl.col("bin_start") < at[low])["failures"]
            before = max(before_of.get(name, 0.0), _hours.most(earlier))
            log_p = _hours.chance(top, max(usual, before))
            if top < settings.novelty * before or not residuals.significant(log_p, tests, settings.p_value):
                continue
            clients = int(_hours.most(part["clients"]))
            start, end = at[low], at[high - 1] + _hours.HOUR
            found.append(
                Raised(
                    detector=NAME,
                    cause="brute force",
                    severity="warning",
                    subjects=(name,),
                    server=None,
                    start=start,
                    end=_hours.end_or_open(view, end),
                    score=float(clients),
                    threshold=float(settings.clients),
                    explanation=(
                        f"{common.number(top)} logins of {name} failed in an hour from {view.local(start)} on, from "
                        f"{clients:,} clients: its password is tried from many places; before: "
                        f"{common.number(before)} an hour at most."
                    ),
                    evidence={
                        "failures_in_an_hour": int(top),
                        "failures": int(part["failures"].sum()),
                        "logins": int(part["logins"].sum()),
                        "clients": clients,
                        "most_before": before,
                        "log10_p": round(log_p / np.log(10), 1),
                    },
                )
            )
    return found
