"""No line from a server that always writes: the logging itself is broken.

Series
    Events of a server over all kinds (``traffic``), by the minute.
Statistic
    A server that wrote in at least ``regular`` of the ten-minute bins of the view and the days before, and a run of empty
    minutes with Σ log P(0) below log(p_value / (servers × minutes a day)) under a negative binomial whose mean is that of
    the hour around, or of the same time of the days before where that is less.
Source
    Ours.
Limits
    A gap of less than ``minutes`` is not told. At the end of an archive a log may just end; only a view that is closing
    now (the daemon) tells a server that has stopped.
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

NAME = "log_gap"
SUMMARY = "A server that always writes has written nothing."
TABLES: Mapping[str, Sequence[str]] = {"traffic": ("bin_start", "server", "kind", "count")}
MINUTE = timedelta(minutes=1)


class Settings(base.Settings):
    """When a pause is a gap."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minutes": 1, "p_value": -1}

    regular: float = Field(
        default=0.9, gt=0, le=1, description="Share of ten minutes in which the server has to write."
    )
    minutes: int = Field(default=8, ge=2, description="Empty minutes.")
    p_value: float = Field(default=1e-4, gt=0, lt=1, description="Chance of a false gap a day.")
    shape: float = Field(
        default=1.5,
        gt=0,
        description="Shape k of the negative binomial that a server's lines are taken to follow.",
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Gaps of each server."""
    lines = _lines(view, "1m")
    if not lines:
        return []
    earlier = _lines(view.earlier, "10m") if view.earlier is not None else {}
    first, count = view.grid(MINUTE)
    limit = math.log(settings.p_value / (max(len(lines), 1) * 1440))
    found = []
    for server, counts in sorted(lines.items()):
        past = earlier.get(server, np.zeros(0))
        past = past[np.flatnonzero(past)[0] :] if past.any() else past[:0]
        seen = np.flatnonzero(counts)
        if not len(seen):
            continue
        start = 0 if len(past) else int(seen[0])
        stop = count if view.closing else int(seen[-1]) + 1
        for low, high in common.runs_of(counts[start:stop] == 0, least=settings.minutes):
            low, high = low + start, high + start
            rest = np.concatenate([past, _tens(np.concatenate([counts[start:low], counts[high:stop]]))])
            if len(rest) < 12 or (rest > 0).mean() < settings.regular:
                continue
            around = np.concatenate([counts[max(start, low - 60) : low], counts[high : min(high + 60, stop)]])
            mean = float(around.mean()) if len(around) >= 10 else float(rest.mean()) / 10
            same = _same_hours(past, low // 10, -(-high // 10))
            if len(same):
                mean = min(mean, float(np.median(same)) / 10)
            # As if the minutes of half an hour moved as one: a server that rests for ten minutes is none that ended.
            halves = max(1.0, (high - low) / 30)
            log_p = halves * float(
                residuals.log_lower(0, max(mean, 1e-6) * (high - low) / halves, settings.shape * 4)[()]
            )
            if mean <= 0 or log_p > limit:
                continue
            still = high >= count and view.closing
            begin, end = first + low * MINUTE, first + high * MINUTE
            others = any(c[low:high].any() for s, c in lines.items() if s != server)
            found.append(
                Raised(
                    detector=NAME,
                    cause="logging broken",
                    severity="critical",
                    subjects=(server,),
                    server=server,
                    start=begin,
                    end=None if still else end,
                    score=-log_p / math.log(10),
                    threshold=-limit / math.log(10),
                    explanation=(
                        f"{server} has written no line from {view.local(begin)} on for {high - low} minutes, "
                        f"where {common.number(10 * mean)} in every ten are usual"
                        + (
                            "; other servers went on writing."
                            if others
                            else "; no other server wrote either."
                        )
                    ),
                    evidence={
                        "minutes": high - low,
                        "usual_per_10_minutes": round(10 * mean, 1),
                        "log10_p": round(log_p / math.log(10), 1),
                        "others_wrote": others,
                    },
                )
            )
    return found


def _lines(view: View, length: str) -> dict[str, npt.NDArray[np.float64]]:
    """Server -> events of every kind by bin."""
    lines: dict[str, npt.NDArray[np.float64]] = {}
    for (server, _), counts in view.server_curves(None, bin=length).items():
        lines[server] = lines.get(server, np.zeros(len(counts))) + counts
    return lines


def _tens(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    whole = len(counts) // 10 * 10
    summed: npt.NDArray[np.float64] = counts[:whole].reshape(-1, 10).sum(axis=1)
    return summed


def _same_hours(past: npt.NDArray[np.float64], low: int, high: int) -> npt.NDArray[np.float64]:
    """The bins of the days before at the same time of the day."""
    places = np.arange(low, high)
    found = []
    for day in range(1, 8):
        back = len(past) + places - 144 * day
        found.append(past[back[(back >= 0) & (back < len(past))]])
    return np.concatenate(found) if found else past[:0]
