"""No line from a server that always writes: the logging itself is broken.

Series
    Events of a server over all kinds (``traffic``), in bins of ten minutes; the edges by the minute.
Statistic
    A server that wrote in at least ``regular`` of the bins of the view and the days before, and an empty bin or more with
    Σ log P(0) below log(p_value / (servers × bins a day)) under a negative binomial with the mean of the hours around.
Source
    Ours.
Limits
    A gap of less than a whole bin is not seen. At the end of an archive a log may just end; only a view that is closing
    now (the daemon) tells a server that has stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "log_gap"
SUMMARY = "A server that always writes has written nothing."
TABLES: Mapping[str, Sequence[str]] = {"traffic": ("bin_start", "server", "kind", "count")}
TEN = timedelta(minutes=10)


class Settings(base.Settings):
    """When a pause is a gap."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"bins": 1, "p_value": -1}

    regular: float = Field(
        default=0.9, gt=0, le=1, description="Share of bins in which the server has to write."
    )
    bins: int = Field(default=1, ge=1, description="Whole empty bins of ten minutes.")
    p_value: float = Field(default=1e-4, gt=0, lt=1, description="Chance of a false gap a day.")
    shape: float = Field(
        default=1.5,
        gt=0,
        description="Shape k of the negative binomial that a server's lines are taken to follow.",
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Gaps of each server."""
    lines: dict[str, npt.NDArray[np.float64]] = {}
    for (server, _), counts in view.server_curves(None).items():
        lines[server] = lines.get(server, np.zeros(len(counts))) + counts
    if not lines:
        return []
    earlier: dict[str, npt.NDArray[np.float64]] = {}
    if view.earlier is not None:
        for (server, _), counts in view.earlier.server_curves(None).items():
            earlier[server] = earlier.get(server, np.zeros(len(counts))) + counts
    first, count = view.grid(TEN)
    limit = math.log(settings.p_value / (max(len(lines), 1) * 144))
    found = []
    for server, counts in sorted(lines.items()):
        past = earlier.get(server, np.zeros(0))
        past = past[np.flatnonzero(past)[0] :] if past.any() else past[:0]
        seen = np.flatnonzero(counts)
        if not len(seen):
            continue
        start = 0 if len(past) else int(seen[0])
        stop = count if view.closing else int(seen[-1]) + 1
        known = np.concatenate([past, counts[start:stop]])
        for low, high in common.runs_of(counts[start:stop] == 0, least=settings.bins):
            low, high = low + start, high + start
            rest = np.concatenate([past, counts[start:low], counts[high:stop]])
            if len(known) < 12 or (rest > 0).mean() < settings.regular:
                continue
            around = np.concatenate([counts[max(start, low - 12) : low], counts[high : min(high + 12, stop)]])
            mean = float(np.median(around)) if len(around) >= 3 else float(np.median(rest))
            if len(past) >= 144:
                same = _same_hours(past, low - start, high - start)
                mean = min(mean, float(np.median(same))) if len(same) else mean
            log_p = (high - low) * float(residuals.log_lower(0, max(mean, 1e-6), settings.shape)[()])
            if mean <= 0 or log_p > limit:
                continue
            begin, end = _minutes(view, server, first + low * TEN, first + high * TEN)
            still = high >= count and view.closing
            minutes = (end - begin) / timedelta(minutes=1)
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
                        f"{server} has written no line from {view.local(begin)} on for {common.number(minutes)} minutes, "
                        f"where {common.number(mean)} in every ten are usual"
                        + (
                            "; other servers went on writing."
                            if others
                            else "; no other server wrote either."
                        )
                    ),
                    evidence={
                        "minutes": round(minutes),
                        "usual_per_10_minutes": round(mean, 1),
                        "log10_p": round(log_p / math.log(10), 1),
                        "others_wrote": others,
                    },
                )
            )
    return found


def _same_hours(past: npt.NDArray[np.float64], low: int, high: int) -> npt.NDArray[np.float64]:
    """The bins of the days before at the same time of the day."""
    places = np.arange(low, high)
    found = []
    for day in range(1, 8):
        back = len(past) + places - 144 * day
        found.append(past[back[(back >= 0) & (back < len(past))]])
    return np.concatenate(found)


def _minutes(view: View, server: str, begin: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The gap to the minute: from the end of the last minute with a line to the start of the next."""
    rows = (
        view.lazy("traffic", ["bin_start", "server", "count"], since=begin - TEN, until=end + TEN)
        .filter(pl.col("server").cast(pl.String) == server, pl.col("count") > 0)
        .select("bin_start")
        .collect()
    )
    times = rows["bin_start"]
    before, after = times.filter(times < begin), times.filter(times >= end)
    last, following = before.max(), after.min()
    if isinstance(last, datetime):
        begin = last + timedelta(minutes=1)
    if isinstance(following, datetime):
        end = following
    return begin, end
