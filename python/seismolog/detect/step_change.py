"""A curve leaves its level and stays off it: hijack, outage, new service, or packets dropped at the firewall.

Series
    Any curve by client: ``dns_query`` in bins of 10 minutes, and ``firewall_drop``.
Statistic
    The mean of three bins is at least ``factor`` times the expected and ``minimum`` counts in ten minutes (effect);
    its negative binomial tail is below ``p_value`` over all clients and bins (significance), it exceeds the busiest half
    hour of the client's own past (novelty); and the CUSUM of the whitened residuals, S_t = max(0, S_{t−1} + z_t − k), k =
    ``reference``, exceeds ``cusum``. Rises like it, by what the baseline remembers of the client's network, are no more than
    ``jumps_a_day``. The change is dated by the split of the bins before with the greatest likelihood (two Poisson levels).
Source
    The 2003 study's IP-B (a straight rise from 10:30 to 11:00) and W32/Slammer. CUSUM: Page, 1954. Numbers are ours.
Limits
    A client that has no past is judged by the population. A slow rise over hours is not dated sharply;
    one that begins in a gap of the log is dated to the middle of the gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import base, baseline, common
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from datetime import datetime

    from seismolog.detect.common import Run
    from seismolog.detect.view import Curves, View

NAME = "step_change"
SUMMARY = "A curve leaves its level and stays off it."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": ("bin_start", "server", "kind", "client", "count"),
    "traffic": ("bin_start", "server", "kind", "count"),
}
KINDS = ("dns_query", "firewall_drop")
SMALLER_EFFECT, SMALLER_NOVELTY = 0.4, 0.6
"""Shares of the effect and of the novelty from which a rise is remembered."""
_WORDS = {"dns_query": "DNS queries", "firewall_drop": "dropped packets"}


class Settings(base.Settings):
    """When a step is a step."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"factor": 1, "minimum": 1, "cusum": 1}

    factor: float = Field(
        default=10.0, gt=1, description="Multiple of the expected that three bins must reach."
    )
    minimum: float = Field(default=50.0, gt=0, description="Counts in ten minutes that they must reach.")
    novelty: float = Field(
        default=2.5, gt=0, description="Multiple of the busiest half hour of the client's own past."
    )
    p_value: float = Field(
        default=1e-10, gt=0, lt=1, description="Chance of a false step a day, before the other gates."
    )
    cusum: float = Field(
        default=10.0, gt=0, description="What the cumulative sum of the residuals must exceed."
    )
    reference: float = Field(default=0.5, ge=0, description="k: what each bin takes away from the sum.")
    jumps_a_day: float = Field(
        default=0.2,
        gt=0,
        description="Rises of this height that are usual here: with more a day, one is no news.",
    )
    bins: int = Field(default=3, ge=1, description="Bins that a step has to last at least.")


def find(view: View, settings: Settings) -> list[Raised]:
    """Steps upwards of DNS queries and of dropped packets."""
    found: list[Raised] = []
    for kind in KINDS:
        curves = common.busy(view, view.curves(kind), settings.minimum, settings, servers=True)
        mail = np.array([name in view.site.mail_addresses for name in curves.names], dtype=np.bool_)
        if mail.any():  # the model speaks for mail servers
            curves = curves.where(~mail)
        raised = [_raised(view, curves, run, settings) for run in steps(view, curves, settings)]
        found += [one for one in raised if one.score > settings.cusum]
    return found


def rises(
    view: View, settings: Settings, kind: str = "dns_query"
) -> list[tuple[str, datetime, float, float, float]]:
    """Client, start, height (in ten minutes), minutes and excess of every rise, usual or not: for the baseline."""
    shown = common.busy(view, view.curves(kind), settings.minimum, settings, servers=True)
    # Smaller ones as well: by them it is known how much rarer those are that count.
    runs = common.elevated(
        view,
        shown,
        minimum=settings.minimum,
        factor=SMALLER_EFFECT * settings.factor,
        novelty=SMALLER_NOVELTY * settings.novelty,
    )
    runs = [run for run in runs if run.known >= baseline.LEAST_KNOWN]
    minutes = shown.bin.total_seconds() / 60
    return [
        (
            shown.names[run.row],
            shown.start(run.first),
            run.level / shown.scale,
            run.bins * minutes,
            run.level / max(run.usual, 1.0),
        )
        for run in runs
    ]


def steps(view: View, curves: Curves, settings: Settings) -> list[Run]:
    """Runs of curves that are steps; rows are those of ``common.busy``."""
    runs = common.elevated(
        view,
        curves,
        minimum=settings.minimum,
        factor=settings.factor,
        novelty=settings.novelty,
        alpha=settings.p_value,
        jumps_a_day=settings.jumps_a_day,
    )
    # All of it, and not only its top, has to be new.
    return [
        run for run in runs if run.bins >= settings.bins and run.level >= 0.8 * settings.novelty * run.usual
    ]


def _raised(view: View, curves: Curves, run: Run, settings: Settings) -> Raised:
    part = curves.where(np.array([run.row]))
    name = curves.names[run.row]
    z = view.residuals(part)[0]
    sums = _cusum(z, settings.reference)
    score = float(sums[run.first : run.stop].max())
    first = common.begun(view.told(part)[0], _dated(curves.values[run.row], run.first))
    level, expected = run.level / curves.scale, run.expected / curves.scale
    outside = not bool(view.site.is_inside([name])[0])
    usual = run.usual / curves.scale
    before = (
        f"on the {run.known:.0f} days before, its busiest half hour had {common.number(usual)} in ten minutes"
        if run.known
        else "nothing is known of it before, and no other client here asks so much"
    )
    what = _WORDS[curves.kind]
    return Raised(
        detector=NAME,
        cause="attack from outside" if curves.kind == "firewall_drop" and outside else "new activity",
        severity="warning",
        subjects=(name,),
        server=None,
        start=curves.start(first),
        end=common.open_end(curves, run.stop),
        score=score,
        threshold=settings.cusum,
        explanation=(
            f"{name} rose to {common.number(level)} {what} in ten minutes at {view.local(curves.start(first))}, where "
            f"{common.number(expected)} were to be expected; {before}."
        ),
        evidence={
            "kind": curves.kind,
            "per_10_minutes": round(level, 1),
            "expected_per_10_minutes": round(expected, 2),
            "busiest_half_hour_before": round(usual, 1),
            "days_known": run.known,
            "log10_p": round(run.log_p / np.log(10), 1),
            "total": int(curves.values[run.row, run.first : run.stop].sum()),
        },
    )


def _cusum(z: npt.NDArray[np.float64], reference: float) -> npt.NDArray[np.float64]:
    """S_t = max(0, S_{t-1} + z_t - k)."""
    walk = np.cumsum(z - reference)
    lowest = np.minimum.accumulate(np.concatenate([[0.0], walk]))[:-1]
    sums: npt.NDArray[np.float64] = walk - np.minimum(lowest, 0)
    return sums


def _dated(values: npt.NDArray[Any], first: int, reach: int = 6) -> int:
    """The bin near `first` at which two Poisson levels fit best."""
    low, high = max(0, first - reach), min(len(values), first + reach)
    part = values[low:high].astype(np.float64)
    if len(part) < 4:
        return first
    best, place = -np.inf, first
    for cut in range(1, len(part)):
        a, b = part[:cut], part[cut:]
        ma, mb = float(a.mean()), float(b.mean())
        if mb <= ma:
            continue
        fit = sum(float(p.sum()) * np.log(max(m, 1e-9)) - len(p) * m for p, m in ((a, ma), (b, mb)))
        if fit > best:
            best, place = fit, low + cut
    return int(place) if abs(place - first) <= 3 else first
