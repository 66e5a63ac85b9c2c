"""Peers refuse or put off a server's mail while more of it is sent: an outbreak goes through it.

Series
    N_from (``smtp_accepted``), N_SS (``smtp_sent``) and N_SD (``smtp_deferred``) of each mail server, N_to = N_SS + N_SD,
    in bins of ten minutes.
Statistic
    Over ``bins`` bins running: N_SD is at least ``minimum`` a bin and ``factor`` times what the usual share of deferrals
    gives for this N_to; the negative binomial tail of their sum, with as many independent bins as the autocorrelation
    leaves, is below ``p_value`` over the bins and servers of a day; and at least the share ``newcomers`` of the mail is new
    of ``hosts`` clients or more that sent little before. Where the log tells no clients, N_from is ``climb`` times the
    expected instead and log((N_to + 1)/(N_from + 1)) lies above its usual value; where it does, the ratio does not count:
    a worm's messages have one recipient each, and where a server's own have more the ratio falls. It is dated by their
    mail, which comes first.
Source
    The evening of Frethem.K in the 2003 study: normally N_SS ≫ N_SD and N_to ≈ N_from; after 18:00 N_to > N_from, and
    deferrals and queries climb together. Numbers are ours.
Looks like it but is not
    One large remote domain is down: deferrals pile up, but the mail is that of the usual clients (``newcomers``).
Limits
    Without days before, what is usual is taken from the calmer half of the view.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from datetime import datetime

    from seismolog.detect.view import View

NAME = "deferral_surge"
SUMMARY = "A mail server's deferrals climb, and N_to leaves N_from behind."
TABLES: Mapping[str, Sequence[str]] = {
    "traffic": ("bin_start", "server", "kind", "count"),
    "client_traffic": ("bin_start", "server", "kind", "client", "count"),
}
KINDS = ("smtp_accepted", "smtp_sent", "smtp_deferred")
TEN = timedelta(minutes=10)
EARLIER_BINS = 9
"""Bins by which their mail may come before the deferrals."""
LEAST_MAIL = 200
"""Messages before a surge that are needed to say who sends how much."""
RISEN_MESSAGES, RISEN_FACTOR = 10, 5
"""A client that is new, or hands over so many times the share that it had."""
Floats = npt.NDArray[np.float64]


class Settings(base.Settings):
    """When deferrals are a surge."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "factor": 1, "newcomers": 1, "climb": 1}

    minimum: float = Field(default=15.0, gt=0, description="N_SD in ten minutes.")
    factor: float = Field(
        default=3.0, gt=1, description="Multiple of the deferrals that are usual for this N_to."
    )
    newcomers: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Share of the mail that clients hand over which sent little before.",
    )
    hosts: int = Field(
        default=3, ge=1, description="Clients that these are at least: one alone is no outbreak."
    )
    climb: float = Field(
        default=1.35,
        gt=0,
        description="Multiple of the expected N_from instead, where the log tells no clients.",
    )
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
    usual_of = _usual(accepted, attempted, deferred, past)
    share, ratio = usual_of.share, usual_of.ratio
    mean = np.maximum(share * attempted, 0.5)
    limit = math.log(settings.p_value / (servers * 144))
    now = np.log((attempted + 1) / (accepted + 1))
    expected = expected_mail(accepted, past[0] if len(past) else np.zeros(0))
    weak = deferred >= 1.6 * mean + 2
    log_p = np.zeros(len(deferred))
    strong = np.zeros(len(deferred), np.bool_)
    for at, chance in _windows(deferred, mean, usual_of, settings):
        if chance < limit:
            part = slice(at, at + settings.bins)
            strong[part] = True
            log_p[part] = np.minimum(log_p[part], chance)
    found = []
    for low, high in common.runs_of(strong & weak, gap=3, least=settings.bins):
        begin, stop = low, high
        while begin > 0 and weak[begin - 1]:
            begin -= 1
        while stop < len(weak) and weak[stop]:
            stop += 1
        # One domain that is down fills the queue without more mail; an outbreak is more mail, of clients that sent little.
        if expected is None:
            before = accepted[max(0, low - 18) : max(0, low - 1)]
            should = np.full(len(accepted), max(float(before.mean()) if len(before) else 0.0, 0.5))
        else:
            should = expected
        new = _newcomers(view, server, first, len(accepted), begin, stop)
        climbed = bool(
            accepted[low:high].sum() >= settings.climb * should[low:high].sum()
            and np.median(now[low:high]) > ratio
        )
        if not (climbed if new is None else new[0] >= settings.hosts and new[1] >= settings.newcomers):
            continue
        if new is not None:
            # Their mail comes first: what is put off is a share of it.
            least = max(0.1 * float(np.median(new[2][low:high])), 1.0)
            while begin > max(0, low - EARLIER_BINS) and new[2][begin - 1] >= least:
                begin -= 1
        span = slice(begin, stop)
        n_from, n_to, n_sd = (float(a[span].sum()) for a in (accepted, attempted, deferred))
        z = float(((now[span] - ratio) / usual_of.spread).max())
        usual = float(mean[span].mean())
        who = "" if new is None else f", {new[1]:.0%} of it new of {new[0]} clients"
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
                    f"{common.number(n_from / max(float(should[span].sum()), 1.0))} times the usual mail{who}: peers refuse "
                    f"what it sends."
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
                    **({} if new is None else {"clients_risen": new[0], "share_of_them": round(new[1], 3)}),
                },
            )
        )
    return found


def _newcomers(
    view: View, server: str, first: datetime, bins: int, begin: int, stop: int
) -> tuple[int, float, Floats] | None:
    """Clients that hand over far more of the mail than before, the share of it that is new of them, and their curve.

    None where the log before tells no clients, or hardly any mail.
    """
    place = ((pl.col("bin_start").dt.epoch("s") - round(first.timestamp())) // 600).alias("place")
    rows = (
        view.lazy(
            "client_traffic",
            ["bin_start", "server", "kind", "client", "count"],
            since=first,
            until=first + stop * TEN,
            where=(pl.col("kind").cast(pl.String) == "smtp_accepted")
            & (pl.col("server").cast(pl.String) == server)
            & pl.col("client").is_not_null(),
        )
        .group_by(pl.col("client").cast(pl.String), place)
        .agg(pl.col("count").cast(pl.Float64).sum())
        .collect()
    )
    names, row = np.unique(rows["client"].to_numpy(), return_inverse=True)
    counts = np.zeros((len(names), bins))
    counts[row, rows["place"].to_numpy()] = rows["count"].to_numpy()
    now, before = counts[:, begin:stop].sum(axis=1), counts[:, :begin].sum(axis=1)
    if before.sum() < LEAST_MAIL or now.sum() <= 0:
        return None
    should = now.sum() * before / before.sum()
    risen = (now >= RISEN_MESSAGES) & (now >= RISEN_FACTOR * should)
    return int(risen.sum()), float((now - should)[risen].sum() / now.sum()), counts[risen].sum(axis=0)


class _Usual(NamedTuple):
    """What is usual of a server's deferrals."""

    share: float
    """Of what it sends that is put off."""
    inverse: float
    """1/k of their number."""
    rho: float
    """Autocorrelation of it from bin to bin."""
    ratio: float
    """log N_to/N_from, and its spread."""
    spread: float


def _windows(
    deferred: Floats, mean: Floats, usual: _Usual, settings: Settings
) -> Iterator[tuple[int, float]]:
    """First bin and log chance of every ``bins`` bins running with as many deferrals as the effect wants."""
    width = settings.bins
    if len(deferred) < width:
        return
    kernel = np.ones(width)
    seen, should = np.convolve(deferred, kernel, "valid"), np.convolve(mean, kernel, "valid")
    independent = max(1.0, width * (1 - usual.rho) / (1 + usual.rho))
    enough = (seen >= settings.minimum * width) & (seen >= settings.factor * should)
    places = np.flatnonzero(enough)
    chances = residuals.log_upper(seen[places], should[places], independent / usual.inverse)
    yield from zip(places.tolist(), chances.tolist(), strict=True)


def _usual(accepted: Floats, attempted: Floats, deferred: Floats, past: tuple[Floats, ...]) -> _Usual:
    """What is usual by the past, or by the calmer half of the view."""
    if len(past) == 3 and (past[0] > 0).sum() >= 72:
        a, t, d = past[0], past[1] + past[2], past[2]
    else:
        a, t, d = accepted, attempted, deferred
    good = t >= 5
    if good.sum() < 6:
        return _Usual(0.02, 1.0, 0.5, 0.0, 0.2)
    part = d[good] / t[good]
    calm = good & (d / np.maximum(t, 1) <= np.quantile(part, 0.6))
    share = max(float(d[calm].sum() / max(t[calm].sum(), 1.0)) * 1.25, 0.002)
    mean = share * t[calm]
    excess = float((((d[calm] - mean) ** 2 - mean).sum()) / max(float((mean * mean).sum()), 1e-9))
    inverse = min(max(excess, 0.3), 2.0)
    # All bins, and not the calm ones alone, say how long a bad hour lasts.
    should = share * np.maximum(t, 1)
    z = np.where(good, np.clip((d - should) / np.sqrt(should + inverse * should**2), -4, 4), np.nan)
    rho = residuals.autocorrelation(z[None, :])
    ratio = np.log((t[calm] + 1) / (a[calm] + 1))
    middle = float(np.median(ratio))
    spread = max(1.4826 * float(np.median(np.abs(ratio - middle))), 0.02)
    return _Usual(share, inverse, rho, middle, spread)


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
