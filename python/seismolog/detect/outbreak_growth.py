"""More and more clients behave like a worm: the number infected doubles, and there is still time.

Series
    The clients that :mod:`mass_mailer`, :mod:`mail_name_probe` and :mod:`host_search` (of inside clients)
    find with settings half as strict, by the hour in which each began.
Statistic
    At least ``clients`` of them from at least ``networks`` /24 (effect), none of these hours usual for the
    days before; the number of infected clients up to each hour, from the first to the newest, is fitted as
    log-linear growth (Poisson regression of the new ones on time), and the slope is above zero with p below
    ``p_value`` (significance). Reported are the doubling time with its interval and the number that the next
    two doublings lead to.
Source
    Ours: the 2003 study's "to predict the next incident".
Look-alike
    The roll-out of software in one subnet: one network holds more than ``one_network`` of the clients.
Limits
    Growth that ended more than ``stale_hours`` ago is history and not raised. A worm that neither mails nor
    searches by DNS is not counted here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import _hours, base, common, host_search, mail_name_probe, mass_mailer
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "outbreak_growth"
SUMMARY = "The number of clients that behave like a worm grows."
TABLES: Mapping[str, Sequence[str]] = {
    table: tuple(
        dict.fromkeys(c for m in (mass_mailer, mail_name_probe, host_search) for c in m.TABLES.get(table, ()))
    )
    for table in ("client_traffic", "client_names", "client_domain", "ptr_target")
}


class Settings(base.Settings):
    """When infections grow."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"clients": 1, "networks": 1}

    clients: int = Field(default=5, ge=3, description="Clients that behave like a worm.")
    networks: int = Field(default=3, ge=1, description="Networks (/24, or /64 of IPv6) that they are in.")
    one_network: float = Field(
        default=0.6, gt=0, le=1, description="Share of them that one network may hold."
    )
    stale_hours: float = Field(
        default=6.0, gt=0, description="Hours without a new client after which it is over."
    )
    p_value: float = Field(
        default=0.05, gt=0, lt=1, description="Chance that the growth of a steady number looks like this."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """The growth that is going on in this view, at most one incident."""
    began = _infected(view, settings)
    if len(began) < settings.clients:
        return []
    networks = Counter(_network(name) for name in began)
    if len(networks) < settings.networks or networks.most_common(1)[0][1] > settings.one_network * len(began):
        return []
    times = sorted((when, name) for name, when in began.items())
    found: list[Raised] = []
    while True:
        window = _window(times, settings)
        if window is None:
            return found
        low, high = window
        raised = _judged(view, times[low:high], settings)
        if raised is not None:
            found.append(raised)
        del times[low:high]


def _window(times: list[tuple[datetime, str]], settings: Settings) -> tuple[int, int] | None:
    """The run of beginnings that grows most clearly, None where none does: other infections before it and after hide it.

    Each beginning is tried as the first one. p is corrected for these.
    """
    best: tuple[float, int, int] | None = None
    hours = np.array([(when - times[0][0]) / _hours.HOUR for when, _ in times]) if times else np.zeros(0)
    for low in range(len(hours)):
        for high in range(low + settings.clients, len(hours) + 1):
            part = hours[low:high]
            if part[-1] - part[-2] > settings.stale_hours:
                break
            span = float(part[-1] - part[0]) + 1 / 6
            if span < 0.5:
                continue
            p = _score(part[1:] - part[0], span) * len(hours)
            if p <= settings.p_value and (best is None or p < best[0]):
                best = (p, low, high)
    return (best[1], best[2]) if best is not None else None


def _infected(view: View, settings: Settings) -> dict[str, datetime]:
    """Client -> when it began to behave like a worm."""
    mailer = mass_mailer.Settings()
    mailer = mailer.model_copy(update={"minimum": max(5, mailer.minimum // 2), "exclude": settings.exclude})
    probe = mail_name_probe.Settings()
    probe = probe.model_copy(update={"domains": max(5, probe.domains // 2), "exclude": settings.exclude})
    search = host_search.Settings()
    search = search.model_copy(update={"targets": max(10, search.targets // 2), "exclude": settings.exclude})
    began: dict[str, datetime] = {}
    raised = [
        *(r for r in mass_mailer.find(view, mailer) if r.cause == "worm"),
        *mail_name_probe.find(view, probe),
        *(r for r in host_search.find(view, search) if bool(view.site.is_inside([r.subjects[0]])[0])),
    ]
    for one in raised:
        name = one.subjects[0]
        began[name] = min(began.get(name, one.start), one.start)
    return began


def _network(name: str) -> str:
    return ":".join(name.split(":")[:4]) if ":" in name else ".".join(name.split(".")[:3])


def _score(offsets: npt.NDArray[np.float64], span: float) -> float:
    """One-sided p of the score test of no growth: beginnings spread evenly have a mean in the middle."""
    n = len(offsets)
    z = (float(offsets.sum()) - n * span / 2) / max(span * math.sqrt(n / 12), 1e-9)
    return 0.5 * math.erfc(z / math.sqrt(2))


def growth(offsets: npt.NDArray[np.float64], span: float) -> tuple[float, float, float]:
    """Rate of exponential growth per hour of events at these times within [0, span], its standard error, and p of no growth.

    The times of an inhomogeneous Poisson process with rate ∝ exp(r t) given their number: the likelihood of r is
    Σ r tᵢ − n log((e^{r span} − 1)/r); r = 0 is a steady number. p is one-sided, by the score test, whose mean and
    variance under r = 0 are those of a uniform variable.
    """
    n = len(offsets)
    total = float(offsets.sum())
    p = _score(offsets, span)

    def slope_and_curvature(r: float) -> tuple[float, float]:
        x = r * span
        if abs(x) < 1e-4:
            mean, variance = span / 2 + r * span * span / 12, span * span / 12
        else:
            mean = span / (1 - math.exp(-x)) - 1 / r if x > -500 else -1 / r
            variance = 1 / (r * r) - (
                span * span * math.exp(-x) / (1 - math.exp(-x)) ** 2 if abs(x) < 500 else 0.0
            )
        return total - n * mean, -n * max(variance, 1e-12)

    low, high = -50 / max(span, 1e-9), 50 / max(span, 1e-9)
    for _ in range(80):
        middle = (low + high) / 2
        if slope_and_curvature(middle)[0] > 0:
            low = middle
        else:
            high = middle
    rate = (low + high) / 2
    return rate, 1 / math.sqrt(max(-slope_and_curvature(rate)[1], 1e-12)), p


def _judged(view: View, group: list[tuple[datetime, str]], settings: Settings) -> Raised | None:
    if len(group) < settings.clients:
        return None
    names = tuple(dict.fromkeys(name for _, name in group))
    networks = Counter(_network(name) for name in names)
    if len(networks) < settings.networks or networks.most_common(1)[0][1] > settings.one_network * len(names):
        return None
    # The first one opens the clock; those after it are the process.
    first, last = group[0][0], group[-1][0]
    span = max((last - first) / _hours.HOUR, 0.0) + 1 / 6
    offsets = np.array([(when - first) / _hours.HOUR for when, _ in group[1:]])
    if span < 0.5:
        return None  # all at once: a roll-out, or one command
    rate, error, p = growth(offsets, span)
    if rate <= 0 or p > settings.p_value:
        return None
    doubling = math.log(2) / rate
    shortest = math.log(2) / (rate + 1.96 * error)
    longest = math.log(2) / (rate - 1.96 * error) if rate > 1.96 * error else math.inf
    going_on = view.until - last <= settings.stale_hours * _hours.HOUR
    long_text = f"{longest:.1f}" if math.isfinite(longest) else "∞"
    then = round(4 * len(names))
    return Raised(
        detector=NAME,
        cause="worm",
        severity="critical",
        subjects=names,
        server=None,
        start=first,
        end=None if going_on else last,
        score=-math.log10(max(p, 1e-300)),
        threshold=-math.log10(settings.p_value),
        explanation=(
            f"{len(names):,} clients in {len(networks):,} networks behave like a worm since {view.local(first)}, and their "
            f"number doubles every {common.number(doubling)} hours ({shortest:.1f} to {long_text}): some {then:,} in "
            f"{common.number(2 * doubling)} hours if nothing is done."
        ),
        evidence={
            "clients": len(names),
            "networks": len(networks),
            "rate_per_hour": round(rate, 4),
            "rate_std_error": round(error, 4),
            "doubling_hours": round(doubling, 2),
            "doubling_hours_low": round(shortest, 2),
            "doubling_hours_high": round(longest, 2) if math.isfinite(longest) else None,
            "p_value": p,
        },
    )
