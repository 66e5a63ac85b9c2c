"""A resolver cache loses its effect: the queries that reach the DNS server climb to what the mail causes without one.

Series
    Cache efficiency 1 − D_q/(m_S N_S + N_P) of each mail server, with m_S of the configured n and q (8.6 without), in bins
    where the denominator is at least 200.
Statistic
    For ``bins`` bins: the efficiency lies below ``share`` of its usual value (which is at least ``least``) and more than
    ``z`` robust deviations below it; the usual is the median of the days before, by hour where there are three.
Source
    The 2003 study: normally clearly above 0 (March 2002); "the DNS query cache system virtually crashes". Numbers are ours.
Looks like it but is not
    A restart of named: the cache fills again within the hour.
Limits
    Where no cache works, there is none to lose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from seismolog.detect import base, common
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.site import MailHost
    from seismolog.detect.view import View
    from seismolog.model import ServerModel

NAME = "cache_collapse"
SUMMARY = "A resolver cache no longer spares the DNS server queries."
TABLES: Mapping[str, Sequence[str]] = {
    "traffic": ("bin_start", "server", "kind", "count"),
    "client_traffic": ("bin_start", "server", "kind", "client", "count"),
}


class Settings(base.Settings):
    """When a cache has lost its effect."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"z": 1, "share": -1, "bins": 1}

    share: float = Field(
        default=0.85, gt=0, lt=1, description="Share of the usual efficiency that it falls below."
    )
    z: float = Field(default=4.0, gt=0, description="Robust deviations below the usual.")
    least: float = Field(
        default=0.1, gt=0, lt=1, description="Usual efficiency from which there is a cache to lose."
    )
    bins: int = Field(
        default=6, ge=2, description="Bins of ten minutes in a row: longer than a restart of named."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Collapses at each mail server."""
    found = []
    for host in view.mail_hosts:
        model = view.model(host)
        if model is not None:
            found += _collapses(view, host, model, settings)
    return found


def _collapses(view: View, host: MailHost, model: ServerModel, settings: Settings) -> list[Raised]:
    table = model.table
    values = table["cache_efficiency"].fill_null(float("nan")).to_numpy().astype(np.float64)
    known = np.isfinite(values)
    times = table["bin_start"]
    now = (times >= view.since).to_numpy()
    base_bins = known & ~now if (known & ~now).sum() >= 36 else known
    if base_bins.sum() < 12:
        return []
    usual = float(np.median(values[base_bins]))
    if usual < settings.least:
        return []
    hours = times.dt.convert_time_zone(view.site.timezone).dt.hour().to_numpy()
    expected = np.full(len(values), usual)
    if (base_bins & ~now).sum() >= 3 * 72:
        for hour in range(24):
            same = base_bins & (hours == hour)
            if same.sum() >= 9:
                expected[hours == hour] = float(np.median(values[same]))
    rest = values - expected
    spread = max(1.4826 * float(np.median(np.abs(rest[base_bins]))), 0.02)
    limit = np.minimum(settings.share * expected, expected - settings.z * spread)
    flags = known & now & (np.where(known, values, 1.0) < limit)
    found = []
    starts = times.to_list()
    for low, high in common.runs_of(flags, gap=1, least=settings.bins):
        weak = known & now & (np.where(known, values, 1.0) < expected - 2 * spread)
        begin, stop = low, high
        while begin > 0 and weak[begin - 1]:
            begin -= 1
        while stop < len(weak) and weak[stop]:
            stop += 1
        during = float(np.nanmean(values[begin:stop]))
        score = float(np.nanmedian((expected - values)[low:high] / spread))
        observed = float(table["observed"][begin:stop].sum())
        end = None if stop >= len(values) else starts[stop - 1] + model.bins.bin
        found.append(
            Raised(
                detector=NAME,
                cause="cache lost",
                severity="warning",
                subjects=(host.name, *host.addresses),
                server=host.name,
                start=starts[begin],
                end=end,
                score=score,
                threshold=settings.z,
                explanation=(
                    f"The resolver cache of {host.name} saved {during:.0%} of its look-ups since "
                    f"{view.local(starts[begin])}, where {float(np.mean(expected[begin:stop])):.0%} are usual: "
                    f"{common.number(observed)} queries reached the DNS server."
                ),
                evidence={
                    "cache_efficiency": round(during, 3),
                    "usual": round(float(np.mean(expected[begin:stop])), 3),
                    "observed": round(observed),
                    "bins": stop - begin,
                    "m_S": round(model.cache.m_s, 2),
                },
            )
        )
    return found
