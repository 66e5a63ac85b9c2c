"""A client that always asks falls silent: a dead forwarder, a filtered host; or mail goes on and its queries stop.

Series
    ``dns_query`` of clients in bins of ten minutes. Eligible are clients that are there in at least ``regular`` of all bins
    of their days, night included (by the baseline; without one, of the stretch of the view before the silence), and
    clients that were elevated in this view: under an incident. Besides, each mail server by its model.
Statistic
    Σ log P(0) over the silent bins under a negative binomial with the expected mean, times (1 − ρ)/(1 + ρ) because
    neighbouring bins say the same, below log(p_value / (eligible clients × bins a day)). Silent is a bin with at
    most ``share`` of the expected; all of them together lie below ``novelty`` times the quietest hour of the client's own
    day, since a host that idles every night is not silent when it does so at noon. Where most eligible clients are silent at
    once, the log is: see ``log_gap``.
Source
    "The D_q curve becomes nearly zero" (a subdomain's server after 16:00, and IP-C when it was filtered) in the 2003
    study. Numbers are ours.
Limits
    PCs are not eligible: they are switched off in the evening. Bins that the log of the client's own server does not
    tell are left out: they neither make nor end a silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import Curves, View

NAME = "silence"
SUMMARY = "A client that always asks falls silent, or mail goes on and its queries stop."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": ("bin_start", "server", "kind", "client", "count"),
    "traffic": ("bin_start", "server", "kind", "count"),
}
TEN = timedelta(minutes=10)
JUMPS = 0.2
"""Rises a day that are usual here: beyond it a client that rose is under no incident (as in ``step_change``)."""


class Settings(base.Settings):
    """When silence is one."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"p_value": -1, "minimum": 1, "bins": 1}

    minimum: float = Field(
        default=10.0, gt=0, description="Queries in ten minutes that are usual of the client."
    )
    regular: float = Field(
        default=0.95, gt=0, le=1, description="Share of all bins in which a client has to ask to be eligible."
    )
    days: int = Field(
        default=3, ge=1, description="Days on which it was seen; with less, the view itself has to show it."
    )
    share: float = Field(
        default=0.03, ge=0, lt=1, description="Share of the expected up to which a bin is silent."
    )
    novelty: float = Field(
        default=0.3,
        gt=0,
        description="Share of the client's quietest hour of the day that is less than it ever asks.",
    )
    bins: int = Field(default=3, ge=1, description="Bins of ten minutes that silence has to last.")
    p_value: float = Field(default=1e-3, gt=0, lt=1, description="Chance of a false silence a day.")
    plateau: int = Field(
        default=12, ge=3, description="Bins for which a client under an incident has to have been active."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Clients that fell silent, and mail servers whose queries stopped."""
    return [*_clients(view, settings), *_mail_servers(view)]


def _clients(view: View, settings: Settings) -> list[Raised]:
    curves = view.curves()
    level = curves.values.mean(axis=1) if len(curves) else np.zeros(0)
    if view.baseline is not None and view.baseline.days(curves.kind):
        past = view.baseline.past(curves)
        level = np.maximum(level, past.mean if past is not None else 0.0)
    curves = common.usable(
        view, curves.where(level >= settings.minimum * curves.scale / 2), settings, servers=True
    )
    if not len(curves) or curves.bins < settings.bins + 6:
        return []
    eligible, since_when = _eligible(view, curves, settings)
    chosen = np.flatnonzero(eligible)
    part = curves.where(chosen)
    expected = view.expected(part)
    lowest = _lowest(view, part, int(since_when.max(initial=0)))
    mean = np.zeros(part.values.shape)
    silent = np.zeros(part.values.shape, np.bool_)
    told = np.zeros(part.values.shape, np.bool_)
    for rows, good in _by_log(view, part):
        # Bins that the client's own log does not tell are left out: they neither make nor end a silence.
        block = np.ix_(rows, good)
        values = part.values[block]
        # Both the past and the hour before have to lead one to expect something: a job of an hour is no level.
        recent = _recent(values)
        known = (expected.known[rows] > 0)[:, None]
        mean[block] = np.where(known, np.minimum(expected.mean[block], recent), recent)
        silent[block] = (values <= settings.share * mean[block]) & (
            mean[block] >= settings.minimum * part.scale / 2
        )
        told[block] = True
    quiet = silent.mean(axis=0) if len(part) else np.zeros(curves.bins)
    whole_log = (quiet > 0.5) & (len(part) >= 4)
    silent &= ~whole_log
    tests = max(len(part), 1) * round(timedelta(days=1) / curves.bin)
    limit = math.log(settings.p_value / tests)
    damp = (1 - expected.rho) / (1 + expected.rho)
    found = []
    for row in np.flatnonzero(silent.any(axis=1)).tolist():
        at = np.flatnonzero(told[row])
        values = part.values[row, at]
        for begin, end in common.runs_of(silent[row, at], gap=1, least=settings.bins):
            low, high = int(at[begin]), int(at[end - 1]) + 1
            if (
                begin == 0
                or low < since_when[chosen[row]]
                or not _steady(values, begin, float(mean[row, low]), settings)
                or float(values[begin:end].mean()) > settings.novelty * lowest[row]
            ):
                continue
            chance = residuals.log_lower(0, mean[row, at[begin:end]], expected.shape[row])
            total = float(chance.sum()) * damp
            if total > limit:
                continue
            found.append(_raised(view, part, row, low, high, mean[row], total, limit))
    found += _after_incident(view, settings)
    seen: dict[str, Raised] = {}
    for raised in sorted(found, key=lambda r: r.start):
        before = seen.get(raised.subjects[0])
        if before is None or (before.end is not None and raised.start >= before.end):
            seen[raised.subjects[0]] = raised
    return _together(view, list(seen.values()))


TOGETHER = 3
"""Clients that fall silent at once and are told as one: a switch, a building, a network."""


def _together(view: View, found: list[Raised]) -> list[Raised]:
    """Silences that begin within a bin of each other as one; those that end an incident stay alone."""
    alone = [r for r in found if r.evidence["under_incident"]]
    rest = sorted((r for r in found if not r.evidence["under_incident"]), key=lambda r: r.start)
    joined: list[Raised] = []
    while rest:
        group = [r for r in rest if r.start - rest[0].start <= timedelta(minutes=20)]
        rest = rest[len(group) :]
        if len(group) < TOGETHER:
            joined += group
            continue
        names = tuple(
            r.subjects[0] for r in sorted(group, key=lambda r: -r.evidence["expected_per_10_minutes"])
        )
        ends = [r.end for r in group]
        main = max(group, key=lambda r: r.score)
        joined.append(
            replace(
                main,
                subjects=names,
                start=min(r.start for r in group),
                end=None if None in ends else max(e for e in ends if e is not None),
                explanation=(
                    f"{len(names)} clients that always ask fell silent together at {view.local(group[0].start)} "
                    f"({', '.join(names[:3])}{'' if len(names) <= 3 else ' and others'}): a network, a switch or a "
                    f"building is cut off."
                ),
                evidence={**main.evidence, "clients": len(names)},
            )
        )
    return [*alone, *joined]


def _eligible(
    view: View, curves: Curves, settings: Settings
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which clients are always there, and from which bin on a silence of each counts."""
    first = np.zeros(len(curves), np.int64)
    if view.baseline is not None:
        share, days = view.baseline.regular(curves.kind, curves.names)
        enough = days >= settings.days
        if enough.any():
            return enough & (share >= settings.regular), first
    # Without a past: there for half a day that holds the quietest hours of its group, then silent.
    active = curves.values > 0
    half_day = round(timedelta(hours=12) / curves.bin)
    if curves.bins < half_day + settings.bins:
        return np.zeros(len(curves), np.bool_), first
    head = active[:, :half_day].mean(axis=1) >= settings.regular
    campus = view.curves().values.sum(axis=0)
    quietest = int(np.argmin(np.convolve(campus, np.ones(6), mode="valid"))) + 3
    holds_night = quietest < half_day
    return head & holds_night, first + half_day


def _by_log(view: View, curves: Curves) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Rows of the clients of each server, with the bins that its log tells: a gap of another server is none of it."""
    if not view.has("traffic"):
        return [(np.arange(len(curves)), np.flatnonzero(curves.covered))]
    owners = np.array([server or "" for server in view.servers_of(curves.names, curves.kind)])
    written = view.server_curves(None)
    found = []
    for owner in sorted(set(owners.tolist())):
        lines = [counts for (server, _), counts in written.items() if server == owner]
        told = view.whole_bins(owner) & (np.sum(lines, axis=0) > 0) if lines else curves.covered
        found.append((np.flatnonzero(owners == owner), np.flatnonzero(told)))
    return found


def _lowest(view: View, curves: Curves, first: int) -> npt.NDArray[np.float64]:
    """Counts a bin of each client's quietest hour, on the days before or in the first half day of the view."""
    known = view.baseline.quietest(curves) if view.baseline is not None else None
    if known is not None:
        return known
    width = max(1, round(timedelta(hours=1) / curves.bin))
    head = curves.values[:, : max(first, width)]
    windows = np.lib.stride_tricks.sliding_window_view(head, width, axis=1)
    lowest: npt.NDArray[np.float64] = windows.mean(axis=2).min(axis=1).astype(np.float64)
    return lowest


def _recent(values: npt.NDArray[np.float32], bins: int = 6) -> npt.NDArray[np.float64]:
    """Median of the hour before each bin; in a silence that of the hour before it, for as long as it lasts."""
    padded = np.concatenate([np.repeat(values[:, :1], bins, axis=1), values], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, bins, axis=1)[:, : values.shape[1]]
    held: npt.NDArray[np.float64] = np.median(windows, axis=2).astype(np.float64)
    for t in range(1, held.shape[1]):
        drop = held[:, t] < 0.5 * held[:, t - 1]
        held[drop, t] = held[drop, t - 1] * 0.995
    return held


def _steady(values: npt.NDArray[np.float32], low: int, mean: float, settings: Settings) -> bool:
    """Whether the client was there, at about its level, until just before the silence: a job that ends is none."""
    before = values[max(0, low - settings.plateau) : low]
    # A gap of the log in the hours before may hold some empty bins.
    return len(before) >= 6 and float((before > 0).mean()) >= 0.6 and float(before[-3:].mean()) >= 0.4 * mean


def _logged(view: View, client: str, low: int, high: int) -> bool:
    """Whether the log of the client's own server goes on in these bins."""
    server = view.server_of(client)
    return server is None or not view.has("traffic") or float(view.whole_bins(server)[low:high].mean()) >= 0.5


def _after_incident(view: View, settings: Settings) -> list[Raised]:
    """Clients that were far above the expected in this view, and then fell to nothing within a bin or two."""
    shown = common.busy(view, view.curves(), 50.0, settings)
    runs = common.elevated(
        view, shown, minimum=50.0, factor=10.0, novelty=2.5, alpha=1e-10, jumps_a_day=JUMPS, gap=3
    )
    found = []
    for run in runs:
        if run.bins < settings.plateau or run.stop + settings.bins > shown.bins:
            continue
        values = shown.values[run.row]
        tail = values[run.stop - 3 : run.stop]
        after = values[run.stop : run.stop + settings.bins]
        good = shown.covered[run.stop : run.stop + settings.bins].all()
        # Abrupt: full height until the last bin but one, and then next to nothing.
        if not good or tail.max() < 0.5 * run.level or (after > 0.1 * run.level).any():
            continue
        later = np.flatnonzero(values[run.stop :] > 0.25 * run.level)
        high = run.stop + int(later[0]) if len(later) else shown.bins
        mean = np.full(shown.bins, run.level)
        bins = high - run.stop
        log_p = float(residuals.log_lower(after, run.level, 3.0).sum())
        limit = math.log(settings.p_value / max(len(runs), 1))
        if log_p <= limit and bins >= settings.bins and _logged(view, shown.names[run.row], run.stop, high):
            found.append(_raised(view, shown, run.row, run.stop, high, mean, log_p, limit, incident=True))
    return found


def _raised(
    view: View,
    curves: Curves,
    row: int,
    low: int,
    high: int,
    mean: npt.NDArray[np.float64],
    log_p: float,
    limit: float,
    *,
    incident: bool = False,
) -> Raised:
    name = curves.names[row]
    usual = float(mean[low:high].mean()) / curves.scale
    lasted = (high - low) * curves.bin.total_seconds() / 60
    before = curves.values[row, max(0, low - 6) : low].mean() / curves.scale
    what = (
        "it was filtered or switched off, or it stopped by itself"
        if incident
        else "it asks elsewhere, cannot reach this server, or is down"
    )
    return Raised(
        detector=NAME,
        cause="unknown" if incident else "dead forwarder",
        severity="notice" if incident else "warning",
        subjects=(name,),
        server=None,
        start=curves.start(low),
        end=common.open_end(curves, high, slack=0),
        score=-log_p / math.log(10),
        threshold=-limit / math.log(10),
        explanation=(
            f"{name} fell silent at {view.local(curves.start(low))}: "
            f"{common.number(float(curves.values[row, low:high].sum()))} queries in {common.number(lasted)} minutes, where "
            f"{common.number(usual)} in every ten were to be expected ({common.number(float(before))} in the hour before); "
            f"{what}."
        ),
        evidence={
            "expected_per_10_minutes": round(usual, 1),
            "hour_before_per_10_minutes": round(float(before), 1),
            "minutes": round(lasted),
            "log10_p": round(log_p / math.log(10), 1),
            "under_incident": incident,
        },
    )


def _mail_servers(view: View) -> list[Raised]:
    """Predicted but absent: the mail of a server says there should be queries, and there are none."""
    found = []
    first, _ = view.grid(TEN)
    covered = view.covered("dns_query")
    for host in view.mail_hosts:
        model = view.model(host)
        for absence in model.absences if model is not None else ():
            if absence.end <= view.since or absence.bins < 2:
                continue
            # Where the DNS server's log has a gap, nobody's queries came.
            span = slice(max(0, (absence.start - first) // TEN), max(0, (absence.end - first) // TEN))
            if not covered[span].all():
                continue
            last = model.table["bin_start"][-1] if model is not None else None
            ended = absence.end if last is None or absence.end <= last else None
            found.append(
                Raised(
                    detector=NAME,
                    cause="dead forwarder",
                    severity="critical",
                    subjects=(host.name, *host.addresses),
                    server=host.name,
                    start=absence.start,
                    end=ended,
                    score=-absence.log_chance / math.log(10),
                    threshold=3.0,
                    explanation=(
                        f"Mail goes on at {host.name}, but of about {common.number(absence.calculated)} queries that it "
                        f"causes {common.number(absence.observed)} have come since {view.local(absence.start)}: it asks "
                        f"elsewhere or cannot reach the DNS server."
                    ),
                    evidence={
                        "calculated": round(absence.calculated),
                        "observed": round(absence.observed),
                        "bins": absence.bins,
                        "predicted_but_absent": True,
                    },
                )
            )
    return found
