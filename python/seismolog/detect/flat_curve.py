"""A curve that is flatter than any user's: an automated sender.

Series
    ``dns_query`` of a client, 36 bins of ten minutes.
Statistic
    The mean is at least ``minimum`` and ``factor`` times what the client did before, and the squared coefficient of
    variation, less what Poisson counts have of themselves, s²/m² − 1/m, is below ``excess``. (A test for *less* than
    Poisson variance has no power against a plateau of Poisson counts; users have an excess of about 1/k = 0.3.)
Source
    The flat curve of the 2003 study's IP-C (Trojan.IrcBounce). Numbers are ours.
Limits
    Six hours have to be seen, without those that are missing in the log of its server. A client that asks at a fixed rate
    day and night and did so before is no news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import base, common
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import Curves, View

NAME = "flat_curve"
SUMMARY = "A client asks at a rate that is steadier than any user's."
TABLES: Mapping[str, Sequence[str]] = {"client_traffic": ("bin_start", "server", "kind", "client", "count")}


class Settings(base.Settings):
    """When a plateau is flat."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "factor": 1, "excess": -1, "bins": 1}

    minimum: float = Field(default=50.0, gt=0, description="Queries in ten minutes, on average.")
    factor: float = Field(default=5.0, gt=1, description="Multiple of the client's own level before.")
    excess: float = Field(
        default=0.02, gt=0, description="Excess variance s²/m² − 1/m below which a curve is flat."
    )
    bins: int = Field(default=36, ge=6, description="Bins of ten minutes that are looked at together.")


def find(view: View, settings: Settings) -> list[Raised]:
    """Plateaus of clients that are no known servers."""
    curves = common.usable(view, view.curves().where_peak(settings.minimum), settings)
    if not len(curves) or curves.bins < settings.bins:
        return []
    found = []
    # A plateau is of the bins that the log tells of.
    for rows, whole in view.logs(curves):
        places = np.flatnonzero(whole)
        if len(places) < settings.bins:
            continue
        flat, mean = flatness(curves.values[np.ix_(rows, places)].astype(np.float64), settings.bins)
        chosen = (flat < settings.excess) & (mean >= settings.minimum * curves.scale)
        for i in np.flatnonzero(chosen.any(axis=1)).tolist():
            for low, high in common.runs_of(chosen[i], gap=6):
                first, stop = int(places[low]), int(places[high - 2 + settings.bins]) + 1
                raised = _plateau(view, curves, int(rows[i]), first, stop, flat[i, low:high], settings)
                if raised is not None:
                    found.append(raised)
    return found


def flatness(
    values: npt.NDArray[np.float64], bins: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Excess variance s²/m² − 1/m and mean m of each window of `bins` bins; rows are curves."""
    one = np.zeros((len(values), 1))
    first = np.cumsum(np.concatenate([one, values], axis=1), axis=1)
    second = np.cumsum(np.concatenate([one, values * values], axis=1), axis=1)
    mean = (first[:, bins:] - first[:, :-bins]) / bins
    square = (second[:, bins:] - second[:, :-bins]) / bins
    variance = np.maximum(square - mean * mean, 0) * bins / (bins - 1)
    safe = np.maximum(mean, 1e-9)
    return variance / safe**2 - 1 / safe, mean


def _plateau(
    view: View,
    curves: Curves,
    row: int,
    low: int,
    high: int,
    flat: npt.NDArray[np.float64],
    settings: Settings,
) -> Raised | None:
    values = curves.values[row].astype(np.float64)
    level = float(np.median(values[low:high]))
    # The plateau reaches as far as single bins stay near its level.
    spread = 4 * np.sqrt(level + 0.02 * level**2)
    near = np.abs(values - level) <= spread
    first, stop = low, high
    while first < stop and not near[first]:
        first += 1
    while first > 0 and near[first - 1]:
        first -= 1
    while stop > first and not near[stop - 1]:
        stop -= 1
    while stop < len(values) and near[stop]:
        stop += 1
    name = curves.names[row]
    part = curves.where(np.array([row]))
    before = view.before(part, np.array([first]))
    known = view.expected(part).known[0]
    # Day and night the same, with no start in sight and no past: a server that was always there.
    if before.bins[0] < 6 or level < settings.factor * before.mean[0]:
        return None
    if known and level < 2 * before.peak[0] and before.peak[0] > settings.minimum * curves.scale:
        return None
    score = float(settings.excess / max(float(flat.min()), 1e-4))
    rate, usual = level / curves.scale, float(before.mean[0]) / curves.scale
    cv = float(values[first:stop].std() / max(values[first:stop].mean(), 1e-9))
    hours = (stop - first) * curves.bin.total_seconds() / 3600
    return Raised(
        detector=NAME,
        cause="remote-controlled",
        severity="warning",
        subjects=(name,),
        server=None,
        start=curves.start(first),
        end=common.open_end(curves, stop),
        score=score,
        threshold=1.0,
        explanation=(
            f"{name} asked {common.number(rate)} queries every ten minutes for {common.number(hours)} hours from "
            f"{view.local(curves.start(first))} on, within {cv:.0%} of each other, steadier than any user; before that "
            f"{common.number(usual)}."
        ),
        evidence={
            "per_10_minutes": round(rate, 1),
            "before_per_10_minutes": round(usual, 2),
            "excess_variance": round(float(flat.min()), 4),
            "poisson_variance": round(1 / level, 4),
            "hours": round(hours, 1),
        },
    )
