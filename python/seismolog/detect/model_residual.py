"""A mail server asks for more than its mail explains: spam goes through it, or something else runs on it.

Series
    ``dns_query`` of a mail server against m_S N_S + m_P N_P (+ IMAP) of the fitted model, in bins of ten minutes.
Statistic
    For ``bins`` bins running: the upper tail of a negative binomial with the model's mean and variance is below
    ``p_value``, the queries exceed ``factor`` times the calculated, and the standardized residual lies as far above
    those of the days before (or of the rest of the view), whose spread includes what the model does not know. Less of it,
    ``lasting_factor`` times the calculated, has to last: the mean of log(queries / calculated) over ``lasting`` bins,
    without the four highest, lies ``lasting_deviations`` of what such stretches of the days before have above theirs.
Source
    D_q = m_S N_S + m_P N_P of the 2003 study; 8.6 means n(1 − q) = 1.65. Numbers are ours.
Looks like it but is not
    A newsletter (many recipients of few domains), a flushed cache or a queue run: an hour at most.
Limits
    A model is needed: the mail server's addresses must be known, and half a day of both logs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import base, common, residuals
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from datetime import datetime

    from seismolog.detect.site import MailHost
    from seismolog.detect.view import View
    from seismolog.model import ServerModel

NAME = "model_residual"
SUMMARY = "A mail server asks for more than its mail explains."
TABLES: Mapping[str, Sequence[str]] = {
    "traffic": ("bin_start", "server", "kind", "count"),
    "client_traffic": ("bin_start", "server", "kind", "client", "count"),
}

BRIEF = 4
"""Bins that a newsletter or a queue run fills at most."""


class Settings(base.Settings):
    """When queries are unexplained."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"p_value": -1, "factor": 1, "bins": 1}

    p_value: float = Field(default=1e-3, gt=0, lt=1, description="Upper tail of each bin.")
    factor: float = Field(default=1.3, gt=1, description="Multiple of the calculated queries.")
    minimum: float = Field(
        default=50.0,
        gt=0,
        description="Queries in ten minutes beyond the calculated; half of them where they last.",
    )
    bins: int = Field(default=5, ge=1, description="Bins of ten minutes in a row.")
    deviations: float = Field(
        default=4.0, gt=0, description="Robust deviations of the standardized residuals of other times."
    )
    lasting: int = Field(
        default=9,
        ge=6,
        description="Bins of ten minutes that a smaller excess has to last: longer than a queue run.",
    )
    lasting_factor: float = Field(
        default=1.13, gt=1, description="Multiple of the calculated queries over these."
    )
    lasting_deviations: float = Field(
        default=2.5, gt=0, description="Robust deviations of such stretches of the days before."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Unexplained queries of each mail server."""
    found = []
    for host in view.mail_hosts:
        model = view.model(host)
        if model is not None and model.fit.method == "fit" and model.table.height >= 36:
            found += _excess(view, host, model, settings)
    return found


def _excess(view: View, host: MailHost, model: ServerModel, settings: Settings) -> list[Raised]:
    table = model.table
    observed = table["observed"].to_numpy().astype(np.float64)
    calculated = np.maximum(table["calculated"].to_numpy().astype(np.float64), 1e-6)
    standardized = table["standardized"].to_numpy().astype(np.float64)
    variance = np.maximum(model.fit.variance.at(calculated), calculated * 1.0001)
    shape = calculated**2 / (variance - calculated)
    log_p = residuals.log_upper(observed, calculated, np.clip(shape, 0.05, 1e6))
    now = (table["bin_start"] >= view.since).to_numpy()
    others = standardized[~now] if (~now).sum() >= 72 else standardized
    middle = float(np.median(others))
    spread = max(1.4826 * float(np.median(np.abs(others - middle))), 1.0)
    flags = (
        now
        & (log_p < math.log(settings.p_value))
        & (observed >= settings.factor * calculated)
        & (observed - calculated >= settings.minimum * (model.bins.bin.total_seconds() / 600))
        & (standardized > middle + settings.deviations * spread)
    )
    starts = table["bin_start"].to_list()
    found = []
    weak = (
        now
        & (observed >= (1 + 0.5 * (settings.factor - 1)) * calculated)
        & (standardized > middle + 2 * spread)
    )
    sharp = common.runs_of(flags, gap=1, least=settings.bins)
    held = _lasting(observed, calculated, now, starts, settings)
    lasting = [(low, high, z) for low, high, z in held if not any(a < high and low < b for a, b in sharp)]
    for low, high, z in [*((low, high, None) for low, high in sharp), *lasting]:
        begin, stop = low, high
        while begin > 0 and weak[begin - 1]:
            begin -= 1
        while stop < len(weak) and weak[stop]:
            stop += 1
        seen, should = float(observed[begin:stop].sum()), float(calculated[begin:stop].sum())
        end = None if stop >= len(starts) else starts[stop - 1] + model.bins.bin
        terms = {k: round(c.estimate, 2) for k, c in model.fit.coefficients.items()}
        found.append(
            Raised(
                detector=NAME,
                cause="spam wave",
                severity="warning",
                subjects=(host.name, *host.addresses),
                server=host.name,
                start=starts[begin],
                end=end,
                score=float(np.median(standardized[low:high])) if z is None else z,
                threshold=settings.deviations if z is None else settings.lasting_deviations,
                explanation=(
                    f"{host.name} asked {common.number(seen)} queries since {view.local(starts[begin])}, where its mail "
                    f"explains {common.number(should)} ({seen / max(should, 1.0):.1f} times as many): mail to many domains, "
                    f"or something else than mail, runs on it."
                ),
                evidence={
                    "observed": round(seen),
                    "calculated": round(should),
                    "coefficients": terms,
                    "log10_p": round(float(log_p[begin:stop].min()) / math.log(10), 1),
                    "bins": stop - begin,
                },
            )
        )
    return found


def _lasting(
    observed: npt.NDArray[np.float64],
    calculated: npt.NDArray[np.float64],
    now: npt.NDArray[np.bool_],
    starts: Sequence[datetime],
    settings: Settings,
) -> list[tuple[int, int, float]]:
    """First bin, end and deviations of stretches in which a small excess lasts; two days have to be known before."""
    bins = settings.lasting
    if (~now).sum() < 2 * 144 or now.sum() < bins:
        return []
    log_ratio = np.log(np.maximum(observed, 1) / calculated)
    stretches = np.lib.stride_tricks.sliding_window_view(log_ratio, bins)
    beyond = np.lib.stride_tricks.sliding_window_view(observed - calculated, bins).mean(axis=1)
    # Without its highest bins, half an hour of much is not an hour and a half of a little.
    level = np.sort(stretches, axis=1)[:, : bins - BRIEF].mean(axis=1)
    before = level[: (~now).sum() - bins + 1]
    middle = float(np.median(before))
    rest = np.abs(before - middle)
    # Mixtures of mail wander further than their middle tells: the tail counts as well.
    spread = max(1.4826 * float(np.median(rest)), float(np.quantile(rest, 0.9)) / 1.645, 0.01)
    least = math.log(settings.lasting_factor)
    width = starts[1] - starts[0]
    z = (level - middle) / spread
    whole = np.array([starts[i + bins - 1] - starts[i] <= (bins + 1) * width for i in range(len(level))])
    good = now[: len(level)] & whole & (z > settings.lasting_deviations) & (level - middle > least)
    good &= beyond >= 0.5 * settings.minimum * (width.total_seconds() / 600)
    usual = float(np.median(log_ratio[~now]))
    found = []
    for low, high in common.runs_of(good, gap=1):
        first, stop = low, high - 1 + bins
        inside = np.flatnonzero(log_ratio[first:stop] - usual > 0.5 * least)
        if len(inside):
            found.append((first + int(inside[0]), first + int(inside[-1]) + 1, float(z[low:high].max())))
    return found
