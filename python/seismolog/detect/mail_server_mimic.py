"""A client that is no mail server takes on the shape of a mail server's curve: it sends mail itself.

Series
    ``dns_query`` of a client against that of each mail server (its own mail, 8.6 N_S + N_P, where its addresses are
    not known), in bins of ten minutes.
Statistic
    The client is elevated (``factor`` times the expected, above its own past), and in that stretch the rank correlation
    of both curves, as they are and with the shape of the client's group taken from them, exceeds ``correlation``. The
    chance of its Fisher z with the number of bins corrected for autocorrelation, together with that of what is new in each
    bin (both whitened by their AR(1); Fisher's sum of logarithms), is below ``p_value`` over the clients looked at; that
    of what is new is below ``changes`` by itself.
Source
    IP-A of the 2003 study: nearly zero on a normal day, the normal curve of an E-mail server on the other. Numbers are ours.
Limits
    A mail server that is put to work is just that, and not known yet: declare it as ``[[mail_server]]``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import base, common
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import Curves, View

NAME = "mail_server_mimic"
SUMMARY = "A client takes on the shape of a mail server's curve."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": ("bin_start", "server", "kind", "client", "count"),
    "traffic": ("bin_start", "server", "kind", "count"),
}


class Settings(base.Settings):
    """When a curve is that of a mail server."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"correlation": 1, "factor": 1, "minimum": 1}

    minimum: float = Field(
        default=30.0, gt=0, description="Queries in ten minutes, on average of half an hour."
    )
    factor: float = Field(default=10.0, gt=1, description="Multiple of the expected.")
    novelty: float = Field(
        default=1.5, gt=0, description="Multiple of the busiest half hour of the client's past."
    )
    correlation: float = Field(
        default=0.55, gt=0, lt=1, description="Least rank correlation with a mail server."
    )
    p_value: float = Field(default=0.05, gt=0, lt=1, description="Chance of a false likeness a day.")
    changes: float = Field(
        default=0.03, gt=0, lt=1, description="Chance of the likeness of what is new in each bin, by itself."
    )
    bins: int = Field(default=24, ge=12, description="Bins of ten minutes that have to be seen.")


def find(view: View, settings: Settings) -> list[Raised]:
    """Clients that follow a mail server."""
    shown = common.busy(view, view.curves(), settings.minimum, settings)
    runs = common.elevated(
        view, shown, minimum=settings.minimum, factor=settings.factor, novelty=settings.novelty, gap=12
    )
    runs = [run for run in runs if run.bins >= settings.bins]
    servers = mail_curves(view)
    if not runs or not servers:
        return []
    groups = view.groups(shown)
    found = []
    tests = len(runs) * len(servers)
    told = view.told(shown.where(np.array([run.row for run in runs], np.int64)))
    for i, run in enumerate(runs):
        shape = groups.shapes[groups.member[shown.rows[run.row]]]
        best: tuple[float, float, float, str, float] | None = None
        for name, (curve, there) in servers.items():
            # The edges, where everything starts and stops, are no likeness, and neither is a gap of the log.
            part = run.first + np.flatnonzero((told[i] & there)[run.first : run.stop])[2:-2]
            mine, own, theirs = shown.values[run.row, part].astype(np.float64), shape[part], curve[part]
            if len(mine) < settings.bins - 4 or mine.std() == 0 or theirs.std() == 0:
                continue
            r, log_p, changes = common.alike(mine, theirs, own, own)
            # A working day has one shape for all: the small ups and downs have to agree as well.
            if changes > math.log(settings.changes):
                continue
            if best is None or log_p < best[1]:
                share = float(mine.sum() / max(float(theirs.sum()), 1.0))
                best = (r, log_p, common.effective(np.log(mine + 1), np.log(theirs + 1)), name, share)
        if best is None:
            continue
        r, log_p, n, server, share = best
        # Where addresses change hands, many rise every day, and one of many follows any curve.
        often = max(1.0, common.rises_a_day(view, shown, run) or 0.0)
        if r < settings.correlation or log_p > math.log(settings.p_value / tests / often):
            continue
        name = shown.names[run.row]
        level, usual = run.level / shown.scale, run.usual / shown.scale
        before = (
            f"before, its busiest half hour had {common.number(usual)}"
            if run.known
            else "it is no known mail server"
        )
        found.append(
            Raised(
                detector=NAME,
                cause="worm",
                severity="critical",
                subjects=(name,),
                server=None,
                start=shown.start(run.first),
                end=common.open_end(shown, run.stop),
                score=r,
                threshold=settings.correlation,
                explanation=(
                    f"{name} follows the curve of the mail server {server} (correlation {r:.2f} over {run.bins} bins, "
                    f"{share:.0%} of its volume) since {view.local(shown.start(run.first))}: "
                    f"{common.number(level)} queries in ten minutes; {before}."
                ),
                evidence={
                    "correlation": round(r, 3),
                    "mail_server": server,
                    "share_of_its_queries": round(share, 3),
                    "bins": run.bins,
                    "effective_bins": round(n, 1),
                    "log10_p": round(log_p / math.log(10), 1),
                    "per_10_minutes": round(level, 1),
                    "busiest_half_hour_before": round(usual, 1),
                },
            )
        )
    return found


def mail_curves(view: View) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]]:
    """Mail server -> its curve of queries over the view, in bins of ten minutes, and in which the log tells of it."""
    whole: Curves = view.curves()
    place = {name: i for i, name in enumerate(whole.names)}
    mail = view.server_curves(("smtp_accepted", "pop_access"))
    found: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = {}
    for host in view.mail_hosts:
        rows = [place[a] for a in host.addresses if a in place]
        curve = whole.values[rows].sum(axis=0, dtype=np.float64) if rows else np.zeros(whole.bins)
        told = np.logical_and.reduce(view.told(whole.where(np.array(rows, np.int64))), axis=0)
        if not rows:
            told = view.whole_bins(host.name)
            for kind, weight in (("smtp_accepted", 8.6), ("pop_access", 1.0)):
                curve = curve + weight * mail.get((host.name, kind), np.zeros(whole.bins))
        if curve.sum() >= 100:
            found[host.name] = curve, told
    return found
