"""A curve that rises and falls at one period: a host that asks for orders, or works through them, by the clock.

Series
    ``dns_query`` of a client in bins of one minute, over the stretch in which it is above what it used to ask.
Statistic
    The periodogram of the counts over their own slow trend (a running mean of twice the longest period), for periods
    of 4 to 120 minutes. Each ordinate is divided by the middle of its neighbourhood, so that the red noise of users makes
    no peak; the largest has the chance 1 − (1 − e^−x)^m (Walker), corrected for the clients looked at. Besides, the
    autocorrelation at that lag exceeds ``autocorrelation``, the waves keep
    one beat over the whole stretch, and the period is none that the client had on the days
    before.
Source
    The rippled curve of the 2003 study's IP-B. Walker, 1914; Fisher, 1929. Numbers are ours.
Limits
    Six whole periods have to be seen. A monitoring program that is put to work anew looks the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import base, common
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from datetime import datetime

    from seismolog.detect.view import View

NAME = "ripple"
SUMMARY = "A client's curve rises and falls at one period."
TABLES: Mapping[str, Sequence[str]] = {
    "client_traffic": ("bin_start", "server", "kind", "client", "count"),
    "traffic": ("bin_start", "kind"),
}
PAST_DAYS = 2


class Settings(base.Settings):
    """When a ripple is one."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"minimum": 1, "factor": 1, "autocorrelation": 1, "p_value": -1}

    minimum: float = Field(
        default=50.0, gt=0, description="Queries in ten minutes, on average of half an hour."
    )
    factor: float = Field(default=3.0, gt=1, description="Multiple of the expected.")
    novelty: float = Field(
        default=1.5, gt=0, description="Multiple of the busiest half hour of the client's past."
    )
    p_value: float = Field(
        default=1e-8, gt=0, lt=1, description="Chance of the period by the neighbouring ones."
    )
    coherence: float = Field(
        default=0.9, ge=0, lt=1, description="How far the waves of all parts of the stretch keep one beat."
    )
    swing: float = Field(default=0.2, gt=0, description="Height of the waves over the mean.")
    autocorrelation: float = Field(
        default=0.3, gt=0, lt=1, description="Least autocorrelation of the curve at the period."
    )
    shortest: int = Field(default=4, ge=3, description="Shortest period, in minutes.")
    longest: int = Field(default=120, ge=10, description="Longest period, in minutes.")
    bins: int = Field(default=15, ge=6, description="Bins of ten minutes that have to be seen.")
    cycles: float = Field(default=6.0, ge=3, description="Periods that have to be seen.")


@dataclass(frozen=True, slots=True)
class Period:
    """A period: its length in bins, chance (natural logarithm), autocorrelation, swing over the mean, coherence."""

    length: float
    log_p: float
    correlation: float
    swing: float
    coherence: float


def find(view: View, settings: Settings) -> list[Raised]:
    """Ripples of clients that ask for more than they used to."""
    shown = common.busy(view, view.curves(), settings.minimum, settings)
    runs = common.elevated(
        view, shown, minimum=settings.minimum, factor=settings.factor, novelty=settings.novelty, gap=6
    )
    runs = [run for run in runs if run.bins >= settings.bins and run.level >= settings.minimum * shown.scale]
    runs = [run for run in runs if common.beyond_pool(view, shown, run)]
    if not runs:
        return []
    fine = view.curves(bin="1m", clients={shown.names[run.row] for run in runs})
    place = {name: i for i, name in enumerate(fine.names)}
    told = view.told(fine)
    found = []
    for run in runs:
        name = shown.names[run.row]
        if name not in place:
            continue
        low = max(0, fine.place(shown.start(run.first)))
        high = min(fine.bins, fine.place(shown.end(run.stop - 1)))
        values = fine.values[place[name], low:high].astype(np.float64)
        covered = told[place[name], low:high]
        period = strongest(values, covered, settings)
        tests = max(len(runs), 1)
        if period is None or period.log_p > math.log(settings.p_value / tests):
            continue
        if period.correlation < settings.autocorrelation or period.swing < settings.swing:
            continue
        if period.coherence < settings.coherence or _had(
            view, name, period, run.level / shown.scale, settings
        ):
            continue
        level, usual = run.level / shown.scale, run.usual / shown.scale
        found.append(
            Raised(
                detector=NAME,
                cause="remote-controlled",
                severity="warning",
                subjects=(name,),
                server=None,
                start=shown.start(run.first),
                end=common.open_end(shown, run.stop),
                score=-period.log_p / math.log(10),
                threshold=-math.log10(settings.p_value / tests),
                explanation=(
                    f"{name} asks in waves of {common.number(period.length)} minutes, {period.swing:.0%} up and down about "
                    f"{common.number(level)} queries in ten minutes, since {view.local(shown.start(run.first))}; no user "
                    f"works by the clock, and it had at most {common.number(usual)} before."
                    if run.known
                    else f"{name} asks in waves of {common.number(period.length)} minutes, {period.swing:.0%} up and down "
                    f"about {common.number(level)} queries in ten minutes, since {view.local(shown.start(run.first))}; no "
                    f"user works by the clock."
                ),
                evidence={
                    "period_minutes": round(period.length, 1),
                    "swing": round(period.swing, 3),
                    "autocorrelation": round(period.correlation, 3),
                    "coherence": round(period.coherence, 3),
                    "log10_p": round(period.log_p / math.log(10), 1),
                    "per_10_minutes": round(level, 1),
                    "busiest_half_hour_before": round(usual, 1),
                },
            )
        )
    return found


def strongest(
    values: npt.NDArray[np.float64], covered: npt.NDArray[np.bool_], settings: Settings
) -> Period | None:
    """The strongest period of a stretch of counts by minute; None where it is too short to have one."""
    n = len(values)
    if n < settings.cycles * settings.shortest * 2 or covered.mean() < 0.8:
        return None
    filled = np.where(covered, values, values[covered].mean())
    trend = _running_mean(filled, min(2 * settings.longest, max(31, n // 3)))
    rest = filled - trend
    # Each minute counts by its own noise: high stretches would drown low ones.
    rest = rest / np.sqrt(np.maximum(trend, 0.5))
    rest -= rest.mean()
    window = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 0.5
    power = np.abs(np.fft.rfft(rest * window)) ** 2
    frequency = np.fft.rfftfreq(n)
    least = max(1.0 / settings.longest, settings.cycles / n)
    band = (frequency >= least) & (frequency <= 1.0 / settings.shortest)
    places = np.flatnonzero(band)
    if len(places) < 8:
        return None
    noise = _neighbourhood(power, places)
    ratio = power[places] / np.maximum(noise, 1e-12)
    best = int(np.argmax(ratio))
    x = float(ratio[best])
    log_p = (
        min(0.0, math.log(len(places)) - x)
        if x > 20
        else math.log(-math.expm1(len(places) * math.log1p(-math.exp(-x))))
    )
    lag = 1.0 / float(frequency[places[best]])
    lag, correlation = _autocorrelation(rest, lag)
    swing = 2 * math.sqrt(max(float(power[places[best]] - noise[best]), 0.0)) / float((window).sum())
    middle = float(np.sqrt(np.maximum(trend, 0.5)).mean())
    beat = _coherence(rest, float(frequency[places[best]]))
    return Period(lag, log_p, correlation, swing * middle / max(float(filled.mean()), 1e-9), beat)


def _coherence(rest: npt.NDArray[np.float64], frequency: float) -> float:
    """|Σ a| / Σ |a| over the complex amplitudes a of parts of two periods: 1 where all keep one beat.

    The frequency is refined within half a step of the periodogram, since a small error turns the phase over the stretch.
    """
    n = len(rest)
    at = np.arange(n)
    parts = np.array_split(at, max(2, min(8, int(n * frequency / 2))))
    best = 0.0
    for shift in np.linspace(-0.6, 0.6, 13):
        wave = rest * np.exp(-2j * np.pi * (frequency + shift / n) * at)
        amplitudes = np.array([wave[p].sum() for p in parts])
        best = max(best, float(abs(amplitudes.sum()) / max(float(np.abs(amplitudes).sum()), 1e-9)))
    return best


def _running_mean(values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    kernel = np.ones(width)
    result: npt.NDArray[np.float64] = np.convolve(values, kernel, mode="same") / np.convolve(
        np.ones(len(values)), kernel, mode="same"
    )
    return result


def _neighbourhood(power: npt.NDArray[np.float64], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Mean of exponential noise about each ordinate, from the medians of some ordinates on either side, the larger one.

    Users' noise falls with the frequency: the side of the longer periods keeps a slope from looking like a peak.
    """
    noise = np.empty(len(places))
    for i, place in enumerate(places.tolist()):
        reach = max(6, place // 2)
        left = power[max(1, place - reach) : max(1, place - 1)]
        right = power[place + 2 : min(len(power), place + reach + 1)]
        sides = [float(np.median(side)) for side in (left, right) if len(side) >= 3]
        noise[i] = max(sides) / math.log(2) if sides else np.inf
    return noise


def _autocorrelation(rest: npt.NDArray[np.float64], lag: float) -> tuple[float, float]:
    """The whole lag near `lag` with the highest autocorrelation, and that."""
    best, at = -1.0, lag
    bottom = float(rest @ rest)
    for whole in range(max(2, math.floor(lag * 0.93)), math.ceil(lag * 1.07) + 1):
        if whole >= len(rest) - 2:
            break
        value = float(rest[whole:] @ rest[:-whole]) / max(bottom, 1e-9) * len(rest) / (len(rest) - whole)
        if value > best:
            best, at = value, float(whole)
    return at, best


def _had(view: View, name: str, period: Period, level: float, settings: Settings) -> bool:
    """Whether the client's days before already had this period, at a level (in ten minutes) that compares."""
    first = max(view.history, view.since - timedelta(days=PAST_DAYS))
    if first >= view.since:
        return False
    rows = view.lazy(
        "client_traffic",
        ["bin_start", "count"],
        since=first,
        until=view.since,
        where=(pl.col("client") == name) & (pl.col("kind").cast(pl.String) == "dns_query"),
    ).collect()
    minutes = (view.since - first) // timedelta(minutes=1)
    values = np.zeros(minutes)
    at = (rows["bin_start"].dt.epoch("s").to_numpy() - int(first.timestamp())) // 60
    np.add.at(values, at, rows["count"].to_numpy())
    # Hours of the past that are kept in longer bins only have a period of their own making.
    fine = _by_minute(view, first, values)
    if not fine.any():
        return False
    values = values[np.repeat(fine, 60)[: len(values)]]
    # Programs ask by the clock on every host; a few look-ups of theirs are no waves.
    hours = np.convolve(values, np.ones(60), mode="valid")
    if hours.max(initial=0.0) < 6 * level / 3:
        return False
    if values.sum() < 60 or len(values) < 3 * period.length:
        return False
    rest = values - _running_mean(values, 2 * settings.longest)
    lag, correlation = _autocorrelation(rest, period.length)
    # A client that was busy for hours resembles itself at every lag: a period stands out of the lags around it.
    around = range(math.ceil(lag / 2), min(math.floor(1.5 * lag) + 1, len(rest) - 2))
    bottom = max(float(rest @ rest), 1e-9)
    level = float(np.median([float(rest[n:] @ rest[:-n]) / bottom for n in around])) if len(around) else 0.0
    return correlation >= settings.autocorrelation and correlation - level >= settings.autocorrelation / 2


def _by_minute(view: View, first: datetime, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """For each hour from `first` to the view whether counts are kept by the minute: some stand off the tens.

    The servers' counts of look-ups tell it; without them the client's own.
    """
    at = np.flatnonzero(values)
    if view.has("traffic"):
        times = (
            view.lazy("traffic", ["bin_start", "kind"], since=first, until=view.since)
            .filter(pl.col("kind").cast(pl.String) == "dns_query")
            .select((pl.col("bin_start").dt.epoch("s") - int(first.timestamp())) // 60)
            .unique()
            .collect()["bin_start"]
        )
        at = times.to_numpy() if len(times) else at
    fine = np.zeros(-(-len(values) // 60), np.bool_)
    fine[at[(int(first.timestamp()) // 60 + at) % 10 != 0] // 60] = True
    return fine
