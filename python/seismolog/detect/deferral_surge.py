"""Peers refuse or put off a server's mail while more of it is sent: an outbreak goes through it.

Series
    N_from (``smtp_accepted``), N_SS (``smtp_sent``) and N_SD (``smtp_deferred``) of each mail server, N_to = N_SS + N_SD,
    in bins of ten minutes.
Statistic
    For ``bins`` bins: N_SD is at least ``minimum`` and ``factor`` times what the usual share of deferrals gives for this
    N_to; its negative binomial tail is below ``p_value`` over the bins and servers of a day; log((N_to + 1)/(N_from + 1))
    lies above its usual value; and N_from is at least ``climb`` times what the days
    before and the hours before let expect. It is dated by the mail, which climbs first.
Source
    The evening of Frethem.K in the 2003 study: normally N_SS ≫ N_SD and N_to ≈ N_from; after 18:00 N_to > N_from, and
    deferrals and queries climb together. Numbers are ours.
Looks like it but is not
    One large remote domain is down: deferrals pile up, but no more mail than usual is accepted (``climb``).
Limits
    Without days before, what is usual is taken from the calmer half of the view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "deferral_surge"
SUMMARY = "A mail server's deferrals climb, and N_to leaves N_from behind."
TABLES: Mapping[str, Sequence[str]] = {"traffic": ("bin_start", "server", "kind", "count")}
KINDS = ("smtp_accepted", "smtp_sent", "smtp_deferred")
TEN = timedelta(minutes=10)
Floats = npt.NDArray[np.float64]


class Settings(base.Settings):
    """When deferrals are a surge."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "factor": 1, "climb": 1}

    minimum: float = Field(default=15.0, gt=0, description="N_SD in ten minutes.")
    factor: float = Field(
        default=3.0, gt=1, description="Multiple of the deferrals that are usual for this N_to."
    )
    climb: float = Field(default=1.35, gt=0, description="Multiple of the N_from that was to be expected.")
    p_value: float = Field(default=1e-3, gt=0, lt=1, description="Chance of a false surge a day.")
    bins: int = Field(default=4, ge=1, description="Bins of ten minutes in a row.")


def find(view: View, settings: Settings) -> list[Raised]:
    """Surges of each mail server."""
    now = view.server_curves(KINDS)
    then = view.earlier.server_curves(KINDS) if view.earlier is not None else {}
    servers = sorted({server for server, kind in now if kind == "smtp_deferred"})
    found = []
    for server in servers:
        size = len(next(iter(now.values())))
        accepted, sent, deferred = (now.get((server, k), np.zeros(size)) for k in KINDS)
        old_size = len(next(iter(then.values()))) if then else 0
        past = tuple(then.get((server, k), np.zeros(old_size)) for k in KINDS)
        found += _surges(view, server, accepted, sent, deferred, past, settings, len(servers))
    return found


def _surges(
    view: View,
    server: str,
    accepted: Floats,
    sent: Floats,
    deferred: Floats,
    past: tuple[Floats, ...],
    settings: Settings,
    servers: int,
) -> list[Raised]:
    attempted = sent + deferred
    first, _ = view.grid(TEN)
    share, inverse, ratio, spread = _usual(accepted, attempted, deferred, past)
    mean = np.maximum(share * attempted, 0.5)
    limit = math.log(settings.p_value / (servers * 144))
    log_p = residuals.log_upper(deferred, mean, 1 / inverse)
    now = np.log((attempted + 1) / (accepted + 1))
    expected = expected_mail(accepted, past[0] if len(past) else np.zeros(0))
    strong = (
        (deferred >= max(settings.minimum, 0))
        & (deferred >= settings.factor * mean)
        & (log_p < limit)
        & (now > ratio)
    )
    found = []
    for low, high in common.runs_of(strong, gap=3, least=settings.bins):
        weak = (deferred >= 1.6 * mean + 2) & (now > ratio)
        if expected is not None:
            # The mail climbs first: what is put off is a share of it.
            weak |= (accepted >= 1.25 * expected * _level(accepted, expected, low - 6)) & (deferred > mean)
        begin, stop = low, high
        while begin > 0 and weak[begin - 1]:
            begin -= 1
        while stop < len(weak) and weak[stop]:
            stop += 1
        # One domain that is down fills the queue without more mail; an outbreak is more mail.
        if expected is None:
            before = accepted[max(0, low - 18) : max(0, low - 1)]
            should = np.full(len(accepted), max(float(before.mean()) if len(before) else 0.0, 0.5))
        else:
            # A day has a level of its own, above or below those before it.
            should = expected * _level(accepted, expected, begin)
        if accepted[low:high].sum() < settings.climb * should[low:high].sum():
            continue
        span = slice(begin, stop)
        n_from, n_to, n_sd = (float(a[span].sum()) for a in (accepted, attempted, deferred))
        z = float(((now[span] - ratio) / spread).max())
        usual = float(mean[span].mean())
        peak = float(deferred[span].max())
        last = np.flatnonzero(attempted)
        end = None if len(last) and stop >= int(last[-1]) else first + stop * TEN
        found.append(
            Raised(
                detector=NAME,
                cause="spam wave",
                severity="critical" if n_sd > 0.2 * n_to else "warning",
                subjects=(server,),
                server=server,
                start=first + begin * TEN,
                end=end,
                score=-float(log_p[span].min()) / math.log(10),
                threshold=-limit / math.log(10),
                explanation=(
                    f"{server} put off {n_sd / max(n_to, 1):.0%} of {common.number(n_to)} deliveries since "
                    f"{view.local(first + begin * TEN)} (usually {share:.1%}), up to {common.number(peak)} in ten minutes "
                    f"where {common.number(usual)} were to be expected, and accepted "
                    f"{common.number(n_from / max(float(should[span].sum()), 1.0))} times the usual mail: peers refuse what "
                    f"it sends."
                ),
                evidence={
                    "N_from": round(n_from),
                    "N_to": round(n_to),
                    "N_SD": round(n_sd),
                    "N_to_over_N_from": round(n_to / max(n_from, 1), 2),
                    "usual_N_to_over_N_from": round(math.exp(ratio), 2),
                    "usual_share_deferred": round(share, 4),
                    "peak_N_SD_per_10_minutes": round(peak),
                    "z_of_log_ratio": round(z, 1),
                    "mail_over_expected": round(n_from / max(float(should[span].sum()), 1.0), 2),
                },
            )
        )
    return found


def _level(accepted: Floats, expected: Floats, begin: int) -> float:
    """How much more mail the four hours before a bin brought than was expected, between a half and twice as much."""
    before = slice(max(0, begin - 24), max(0, begin - 2))
    due = float(expected[before].sum())
    # A few bins, or some dozens of messages, say little.
    if before.stop - before.start < 12 or due < 100:
        return 1.0
    return min(max(float(accepted[before].sum()) / due, 0.5), 2.0)


def _usual(
    accepted: Floats, attempted: Floats, deferred: Floats, past: tuple[Floats, ...]
) -> tuple[float, float, float, float]:
    """Usual share of deferrals, their 1/k, usual log N_to/N_from, and its spread, of the past or the calmer half."""
    if len(past) == 3 and (past[0] > 0).sum() >= 72:
        a, t, d = past[0], past[1] + past[2], past[2]
    else:
        a, t, d = accepted, attempted, deferred
    good = t >= 5
    if good.sum() < 6:
        return 0.02, 1.0, 0.0, 0.2
    part = d[good] / t[good]
    calm = good & (d / np.maximum(t, 1) <= np.quantile(part, 0.6))
    share = max(float(d[calm].sum() / max(t[calm].sum(), 1.0)) * 1.25, 0.002)
    mean = share * t[calm]
    excess = float((((d[calm] - mean) ** 2 - mean).sum()) / max(float((mean * mean).sum()), 1e-9))
    inverse = min(max(excess, 0.3), 2.0)
    ratio = np.log((t[calm] + 1) / (a[calm] + 1))
    middle = float(np.median(ratio))
    spread = max(1.4826 * float(np.median(np.abs(ratio - middle))), 0.02)
    return share, inverse, middle, spread


def expected_mail(accepted: Floats, past: Floats) -> Floats | None:
    """Messages that were to be expected at the same time of the days before; None without a day before.

    Days with less than half of the mail of the busiest one do not count, so that a Monday is not held against a Sunday.
    """
    size = len(accepted)
    days = []
    for day in range(1, 8):
        begin = len(past) - 144 * day
        if begin < 0:
            break
        same = (
            np.concatenate([past[begin:], accepted])[:size]
            if size > 144 * day
            else past[begin : begin + size]
        )
        if size <= 144 * day and same.sum() > 0:
            days.append(same)
    if not days:
        return None
    stack = np.array(days)
    total = stack.sum(axis=1)
    stack = stack[total >= 0.5 * total.max()]
    mean = stack.mean(axis=0)
    smooth = np.convolve(np.pad(mean, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    result: Floats = np.maximum(smooth, 0.5)
    return result
