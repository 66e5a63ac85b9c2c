"""What DNS load do so many mails bring? The model read forwards.

The expected queries of a period are m_S N_S + m_P N_P + … + baseline. Their 95 % prediction interval holds the errors of
the coefficients (jackknife covariance), the noise of the bins (φ μ + κ μ², times the inflation that the fit's
autocorrelation calls for) and, for the busiest bin, the chance arrival of the mail.

The busiest bin needs the shape of the day. It comes from the frame: the slots of the busiest weekday from two weeks on,
else the slots of the day from one day on, else other servers' shape (`population`), else a flat day; the plan says which.
Without a fit the study's coefficients are used; the study gives no errors for them, and the interval says chance only.

Limits: the plan assumes mail like that which was fitted; a newsletter to ten thousand domains is not. A cache hit rate
that grows with the load makes the plan too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import numpy as np
import polars as pl

from seismolog.model import regression
from seismolog.model.assemble import bin_width
from seismolog.model.estimate import BASELINE, Fit, fixed
from seismolog.model.regression import Array

Per = Literal["day", "hour", "bin"]
_KINDS: Final = ("smtp_accepted", "pop_access", "imap_access")


@dataclass(frozen=True)
class Load:
    """Queries with their 95 % prediction interval."""

    queries: float
    low: float
    high: float


@dataclass(frozen=True)
class Plan:
    """Answer of `plan`.

    Attributes
    ----------
    total
        Queries of the period.
    peak
        Queries of the busiest bin; None unless the period is a day.
    peak_start
        Local time of day at which it begins, ``HH:MM``; None for a flat day.
    slots
        slot (minutes after local midnight), share of the day's mail, queries, low, high; empty unless the period is a day.
    sentences
        For the reader.
    """

    total: Load
    peak: Load | None
    peak_start: str | None
    slots: pl.DataFrame
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class DayShape:
    """Share of a day's events in each slot of the day, and how it was found.

    ``dispersion`` is the variance over the mean of a slot's count about its share of that day; 1 for Poisson arrivals.
    """

    shares: Array
    dispersion: float
    level: str


def day_shape(
    frame: pl.DataFrame | None,
    kind: str,
    *,
    timezone: str = "UTC",
    bin: str = "10m",  # noqa: A002 - the word of the command line
    population: Sequence[pl.DataFrame] = (),
) -> DayShape:
    """Shape of the day of a kind (see the module for the levels)."""
    width = int(bin_width(bin).total_seconds()) // 60
    slots = 1440 // width
    levels: list[tuple[pl.DataFrame, str]] = [] if frame is None else [(frame, "")]
    if population:
        levels.append((pl.concat(population, how="diagonal_relaxed"), "other servers' days"))
    for candidate, label in levels:
        if candidate.is_empty() or kind not in candidate.columns:
            continue
        local = candidate.select(
            pl.col("bin_start").dt.convert_time_zone(timezone).dt.replace_time_zone(None).alias("local"),
            pl.col(kind).cast(pl.Float64).alias("count"),
        ).with_columns(
            pl.col("local").dt.date().alias("date"),
            pl.col("local").dt.weekday().alias("weekday"),
            ((pl.col("local").dt.hour().cast(pl.Int32) * 60 + pl.col("local").dt.minute()) // width).alias(
                "slot"
            ),
        )
        # Only days of which nearly every slot is covered: half a day would shift the shape.
        whole = (
            local.group_by("date")
            .agg(pl.col("slot").n_unique().alias("n"))
            .filter(pl.col("n") >= 0.95 * slots)
        )
        local = local.join(whole, on="date", how="semi")
        days = local["date"].n_unique()
        if days == 0 or local["count"].sum() <= 0:
            continue
        source = label or f"{days} day{'s' if days > 1 else ''} of its own"
        if days >= 14 and not label:
            busiest = (
                local.group_by("weekday").agg(pl.col("count").sum()).sort("count", "weekday")["weekday"][-1]
            )
            local = local.filter(pl.col("weekday") == busiest)
            source = f"its own {local['date'].n_unique()} busiest weekdays ({_WEEKDAYS[busiest - 1]})"
        table = np.zeros((local["date"].n_unique(), slots))
        row = local["date"].rank("dense").to_numpy() - 1
        np.add.at(table, (row.astype(np.int64), local["slot"].to_numpy()), local["count"].to_numpy())
        totals = table.sum(axis=1, keepdims=True)
        shares = table.sum(axis=0) / float(totals.sum())
        expected = totals * shares
        some = expected > 0.5
        freedom = (table.shape[0] - 1) / max(table.shape[0], 1) * np.count_nonzero(some)
        dispersion = (
            float(((table - expected) ** 2 / np.where(some, expected, 1.0))[some].sum() / freedom)
            if freedom
            else 1.0
        )
        return DayShape(shares, max(dispersion, 1.0), source)
    return DayShape(np.full(slots, 1 / slots), 1.0, "flat")


_A: Final = {"day": "a day", "hour": "an hour", "bin": "a bin"}
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def plan(
    model: Fit | None = None,
    *,
    mails: float,
    pops: float = 0.0,
    imaps: float = 0.0,
    per: Per = "day",
    frame: pl.DataFrame | None = None,
    timezone: str = "UTC",
    bin: str = "10m",  # noqa: A002 - the word of the command line
    population: Sequence[pl.DataFrame] = (),
) -> Plan:
    """Predict the DNS queries that mail will bring.

    Parameters
    ----------
    model
        A `Fit` made on bins of width `bin`, or None for the study's 8.6 and 1.
    mails, pops, imaps
        Messages accepted, POP and IMAP sessions in the period.
    per
        The period that they are counted over.
    frame
        A `ModelSeries.frame`, for the shape of the day.
    timezone
        In which a day begins.
    population
        Frames of other mail servers, for the shape of the day where this one has not a day of its own.

    Raises
    ------
    ValueError
        For a negative or infinite number of events.
    """
    events = dict(zip(_KINDS, (mails, pops, imaps), strict=True))
    for kind, number in events.items():
        if not (np.isfinite(number) and number >= 0):
            raise ValueError(f"{kind}: {number} is no number of events")
    width = bin_width(bin)
    fitted = (
        model
        if model is not None
        else fixed(pl.DataFrame({"bin_start": []}, schema={"bin_start": pl.Datetime("us", "UTC")}))
    )
    bins = {"day": timedelta(days=1) / width, "hour": timedelta(hours=1) / width, "bin": 1.0}[per]
    sentences = []
    unknown = [kind for kind, number in events.items() if number > 0 and kind not in fitted.coefficients]
    if unknown:
        sentences.append(
            f"Nothing is known of the queries that {', '.join(unknown)} cause: they count as none here."
        )

    total = _load(fitted, events, bins, {})
    sentences.insert(
        0,
        f"{_amount(mails)} messages, {_amount(pops)} POP and {_amount(imaps)} IMAP sessions {_A[per]} bring about "
        f"{_amount(total.queries)} DNS queries (95 % of {per}s between {_amount(total.low)} and {_amount(total.high)}).",
    )
    if fitted.method == "paper":
        sentences.append(
            "The coefficients are the study's (8.6 a message, 1 a POP session), which states no error for them: "
            "the interval holds chance only."
        )
    empty = pl.DataFrame(
        schema={
            "slot": pl.Int64,
            "share": pl.Float64,
            "queries": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
        }
    )
    if per != "day":
        return Plan(total, None, None, empty, tuple(sentences))

    shapes = {
        kind: day_shape(frame, kind, timezone=timezone, bin=bin, population=population) for kind in _KINDS
    }
    spread = {kind: shape.dispersion for kind, shape in shapes.items()}
    slots = len(shapes["smtp_accepted"].shares)
    loads = [
        _load(
            fitted, {kind: number * shapes[kind].shares[slot] for kind, number in events.items()}, 1.0, spread
        )
        for slot in range(slots)
    ]
    all_events = sum(events.values())
    share = [
        sum(number * float(shapes[kind].shares[slot]) for kind, number in events.items()) / all_events
        if all_events
        else 1 / slots
        for slot in range(slots)
    ]
    minutes = 1440 // slots
    table = pl.DataFrame(
        [(slot * minutes, share[slot], load.queries, load.low, load.high) for slot, load in enumerate(loads)],
        schema=empty.schema,
        orient="row",
    )
    busiest = max(range(slots), key=lambda slot: loads[slot].queries)
    peak = loads[busiest]
    level = shapes["smtp_accepted"].level if mails or not pops else shapes["pop_access"].level
    when = None
    if level == "flat":
        sentences.append(
            f"Without a whole day of data the shape of the day is unknown; spread evenly, {_minutes(width)} bring "
            f"{_amount(peak.queries)} queries ({_amount(peak.low)} to {_amount(peak.high)}). The busiest will bring more."
        )
    else:
        when = f"{busiest * minutes // 60:02d}:{busiest * minutes % 60:02d}"
        sentences.append(
            f"The busiest {_minutes(width)}, from {when} {timezone}, bring about {_amount(peak.queries)} queries "
            f"({_amount(peak.low)} to {_amount(peak.high)}), {peak.queries / width.total_seconds():.2g} a second; the shape "
            f"of the day is that of {level}."
        )
    return Plan(total, peak, when, table, tuple(sentences))


def _load(fitted: Fit, events: dict[str, float], bins: float, arrivals: dict[str, float]) -> Load:
    """Queries of `events` spread over `bins` bins; `arrivals`: dispersion of each kind that arrives by chance."""
    terms = list(fitted.coefficients)
    beta = np.array([fitted.coefficients[term].estimate for term in terms])
    x = np.array([bins if term == BASELINE else events.get(term, 0.0) for term in terms])
    mean = float(x @ beta) if terms else 0.0
    noise = float(fitted.variance.at(np.array([mean / bins]))[0]) * bins
    # The bins of a longer period do not vary independently.
    noise *= fitted.inflation if bins > 1 else 1.0
    noise *= mean > 0
    chance = sum(
        fitted.coefficients[k].estimate ** 2 * events[k] * f
        for k, f in arrivals.items()
        if k in fitted.coefficients
    )
    variance = (float(x @ fitted.covariance @ x) if terms else 0.0) + noise + chance
    half = regression.student_quantile(fitted.degrees if fitted.method == "fit" else np.inf) * float(
        np.sqrt(max(variance, 0.0))
    )
    return Load(mean, max(0.0, mean - half), mean + half)


def _minutes(width: timedelta) -> str:
    minutes = int(width.total_seconds()) // 60
    return "minute" if minutes == 1 else f"{minutes} minutes"


def _amount(value: float) -> str:
    """Rounded to three figures, with thousands marked: the model knows no more."""
    if value >= 1000:
        digits = len(str(int(value))) - 3
        value = round(value / 10**digits) * 10**digits
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
