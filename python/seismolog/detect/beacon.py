"""A client asks one domain at regular times: it may be asking for orders (command and control).

Series
    ``client_domain`` (1 hour) by client and registered domain: the histogram of the intervals between its
    queries, in minutes, added up over the hours. Intervals within a minute (A and AAAA together) are one
    query.
Statistic
    RITA's scores, thirds, as there are no sizes of packets: *times*, the mean of 1 − |Bowley skewness| and 1
    − MAD/median of the intervals; *histogram*, 1 − the coefficient of variation of the counts by hour;
    *duration*, the longest run of hours with a query against ``full_hours``. Prevalence adds 0.15 where
    hardly a client asks the domain, and takes 0.15 where half of them do. The score must reach ``score``
    (effect). Significance: the share of intervals within a fifth of their median, against that of a Poisson
    process (binomial tail, corrected over the pairs of a day). Novelty: neither this client nor more than
    ``clients`` others asked the domain before.
Source
    activecm/rita for the scores and levels (0.5, 0.7, 0.9, 1.0); the test against a Poisson process and
    novelty are ours.
Look-alike
    Updates and telemetry are as regular: of domains that many clients ask, and that were asked before.
Limits
    Resolution is a minute, and a resolver's cache hides what comes more often than the time to live. Rows of
    ``client_domain`` are the heaviest of an hour: on a busy campus a pair with few queries an hour may not be
    among them. A pair that already is there at the start of all that is known is not new, and not raised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from seismolog.detect import _domains, _hours, base, common, residuals
from seismolog.detect.base import Raised, Severity
from seismolog.store.schema import INTERVAL_MINUTES

if TYPE_CHECKING:
    from seismolog.detect.view import View

NAME = "beacon"
SUMMARY = "A client asks one domain at regular times."
TABLES: Mapping[str, Sequence[str]] = {
    "client_domain": ("bin_start", "client", "domain", "count", "distinct_names", "interval_histogram"),
    "domain": ("bin_start", "domain", "distinct_clients"),
}


class Settings(base.Settings):
    """When a client is regular."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"score": 1, "intervals": 1}

    score: float = Field(default=0.8, gt=0, le=1, description="Score from which a pair is told.")
    high: float = Field(
        default=0.9, gt=0, le=1, description="Score from which it is a warning instead of a notice."
    )
    intervals: int = Field(default=10, ge=4, description="Intervals that are needed.")
    hours: int = Field(default=3, ge=1, description="Hours with a query that are needed.")
    full_hours: float = Field(
        default=6.0, gt=0, description="Hours running that give the full score of duration."
    )
    clients: int = Field(
        default=5, ge=1, description="Clients that may ask the domain; one in a thousand where that is more."
    )
    clients_before: int = Field(
        default=0, ge=0, description="Clients that may have asked the domain on the days before."
    )
    exclude_domains: list[str] = Field(
        default=[], description="Registered domains that are left alone.", examples=[["update.example"]]
    )
    p_value: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance of a false alarm a day by significance alone."
    )


def find(view: View, settings: Settings) -> list[Raised]:
    """Regular pairs of client and domain."""
    rows = view.table("client_domain", ["bin_start", "client", "domain", "count", "interval_histogram"])
    if rows.is_empty():
        return []
    pairs = (
        rows.lazy()
        .filter(pl.col("client").is_not_null(), pl.col("domain") != "(shed)")
        .group_by("client", "domain")
        .agg(
            pl.col("bin_start").n_unique().alias("hours"),
            pl.col("count").sum().alias("count"),
            pl.col("bin_start").min().alias("first"),
        )
        .collect()
    )
    tests = pairs.height / view.days
    long = pairs.filter(
        pl.col("hours") >= settings.hours,
        pl.col("count") > settings.intervals,
        # There at the start of all that is known: not new.
        pl.col("first") >= view.history + _hours.HOUR,
    )
    if long.is_empty():
        return []
    names = long["client"].unique().to_list()
    out = {n for n, o in zip(names, _hours.left_out(view, settings, names), strict=True) if o}
    excluded = {d.lower().rstrip(".") for d in settings.exclude_domains}
    long = long.filter(~pl.col("client").is_in(out), ~pl.col("domain").is_in(excluded))
    crowd = pairs.group_by("domain").agg(pl.len().alias("clients"))
    clients = max(len(view.curves("dns_query")), 1)
    most_clients = max(settings.clients, clients // 1000)
    long = long.join(crowd.filter(pl.col("clients") <= most_clients), on="domain").sort("client", "domain")
    if long.is_empty():
        return []
    long = long.with_row_index("pair")
    matrix = _histograms(
        rows.join(long.select("client", "domain", "pair"), on=["client", "domain"]), long.height
    )
    times, log_p, median = regularity(matrix)
    counted = matrix[:, 1:].sum(axis=1)
    regular = (counted >= settings.intervals) & residuals.significant(log_p, tests, settings.p_value)
    # The other two thirds and the bonus are at most 1 + 1 + 0.15 of 3: what cannot reach the score is dropped here.
    regular &= (times + 2) / 3 + 0.15 >= settings.score
    places = np.flatnonzero(regular)
    domains = _domains.known(view, [long["domain"][int(i)] for i in places])
    found = []
    for place in places.tolist():
        client, domain = long["client"][place], long["domain"][place]
        known = domains[domain]
        if (
            known.clients > most_clients
            or client in known.past
            or known.clients_before(client) > settings.clients_before
        ):
            continue
        own = rows.filter(pl.col("client") == client, pl.col("domain") == domain)
        by_hour = own.group_by("bin_start").agg(pl.col("count").sum()).sort("bin_start")
        at = by_hour["bin_start"].to_list()
        steady, lasting = (
            _histogram_score(at, by_hour["count"].to_numpy()),
            _lasting(at, settings.full_hours),
        )
        share = known.clients / clients
        score = min(max((times[place] + steady + lasting) / 3 + _prevalence(share), 0.0), 1.0)
        if score < settings.score:
            continue
        severity: Severity = "warning" if score >= settings.high else "notice"
        start, end = at[0], at[-1] + _hours.HOUR
        found.append(
            Raised(
                detector=NAME,
                cause="remote-controlled",
                severity=severity,
                subjects=(client, domain),
                server=None,
                start=start,
                end=_hours.end_or_open(view, end, _hours.HOUR),
                score=score,
                threshold=settings.score,
                explanation=(
                    f"{client} asks {domain} every {_minutes(float(median[place]))} since {view.local(start)}, "
                    f"{int(counted[place]) + 1:,} times, as a program does that asks for orders (score {score:.2f}); "
                    f"{_domains.few(known.clients)}, and it did not before."
                ),
                evidence={
                    "domain": domain,
                    "queries": int(long["count"][place]),
                    "median_minutes": round(float(median[place]), 1),
                    "times_score": round(float(times[place]), 3),
                    "histogram_score": round(steady, 3),
                    "duration_score": round(lasting, 3),
                    "clients_of_the_domain": known.clients,
                    "clients_before": known.clients_before(client),
                    "interval_histogram": {
                        str(INTERVAL_MINUTES[i]): int(n) for i, n in enumerate(matrix[place]) if n > 0
                    },
                    "log10_p": round(float(log_p[place]) / math.log(10), 1),
                },
            )
        )
    return found


_LOW = np.array(INTERVAL_MINUTES, dtype=np.float64)
_HIGH = np.append(_LOW[1:], 2880.0)
# An interval between two minutes m apart is m ± 1 minutes long: a bucket of whole minutes is centred on them.
_MIDDLE = (_LOW + _HIGH - 1) / 2


def _histograms(rows: pl.DataFrame, pairs: int) -> npt.NDArray[np.float64]:
    """(pairs, buckets) intervals of each pair, added up."""
    matrix = np.zeros((pairs, len(INTERVAL_MINUTES)))
    held = (
        rows.select("pair", "interval_histogram")
        .drop_nulls()
        .with_columns(pl.int_ranges(0, pl.col("interval_histogram").list.len()).alias("bucket"))
        .explode("interval_histogram", "bucket")
        .drop_nulls()
        .group_by("pair", "bucket")
        .agg(pl.col("interval_histogram").cast(pl.Int64).sum())
    )
    inside = held.filter(pl.col("bucket") < len(INTERVAL_MINUTES))
    matrix[inside["pair"].to_numpy(), inside["bucket"].to_numpy()] = inside["interval_histogram"].to_numpy()
    return matrix


def regularity(
    matrix: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """RITA's score of times, the log chance under a Poisson process, and the median interval in minutes, by row."""
    from scipy import stats

    held = matrix.copy()
    held[:, 0] = 0  # within a minute: one query
    total = held.sum(axis=1)
    safe = np.maximum(total, 1)
    cumulative = np.cumsum(held, axis=1) / safe[:, None]
    quartiles = np.stack([_quantile(held, cumulative, q) for q in (0.25, 0.5, 0.75)], axis=1)
    low, middle, high = quartiles.T
    spread = high - low
    skew = np.where(
        (spread >= 1) & (middle > low) & (middle < high),
        (low + high - 2 * middle) / np.maximum(spread, 1e-9),
        0.0,
    )
    deviation = np.abs(_MIDDLE[None, :] - middle[:, None])
    order = np.argsort(deviation, axis=1)
    share = np.cumsum(np.take_along_axis(held, order, axis=1), axis=1) / safe[:, None]
    at = np.minimum((share < 0.5).sum(axis=1), held.shape[1] - 1)
    mad = np.take_along_axis(np.take_along_axis(deviation, order, axis=1), at[:, None], axis=1)[:, 0]
    mad = np.where(mad < 0.5, 0.0, mad)
    times = (1 - np.abs(skew) + np.clip(1 - mad / np.maximum(middle, 1), 0, 1)) / 2
    # Buckets that overlap a fifth around the median; a Poisson process puts there what its exponential intervals do.
    near = (_LOW[None, :] <= 1.2 * middle[:, None]) & (_HIGH[None, :] > 0.8 * middle[:, None])
    near[:, 0] = False  # it holds none: else a period of a minute would have the chance 1
    inside = (held * near).sum(axis=1)
    minutes = (held * _MIDDLE[None, :]).sum(axis=1)
    # A busy client's queries are a minute apart at most however they fall: those within a minute are part of its rate.
    rate = matrix.sum(axis=1) / np.maximum(minutes, 1)
    mean = np.minimum(minutes / safe, middle / math.log(2))
    mean = np.maximum(np.minimum(mean, 1 / np.maximum(rate, 1e-9)), 0.05)
    edge_low = np.where(near, _LOW[None, :], np.inf).min(axis=1)
    edge_high = np.where(near, _HIGH[None, :], 0).max(axis=1)
    # Given that it is not within the first minute.
    chance = (np.exp(-edge_low / mean) - np.exp(-edge_high / mean)) / np.exp(-1 / mean)
    chance = np.clip(chance, 1e-6, 1 - 1e-9)
    log_p = stats.binom.logsf(inside - 1, total, chance)
    return times, np.where(total > 0, log_p, 0.0), middle


def _quantile(
    held: npt.NDArray[np.float64], cumulative: npt.NDArray[np.float64], q: float
) -> npt.NDArray[np.float64]:
    """Quantile of each row; buckets of one minute are points, wider ones are evenly filled."""
    at = np.minimum((cumulative < q - 1e-12).sum(axis=1), held.shape[1] - 1)
    rows = np.arange(len(held))
    inside = held[rows, at] / np.maximum(held.sum(axis=1), 1)
    below = cumulative[rows, at] - inside
    part = np.clip((q - below) / np.maximum(inside, 1e-9), 0, 1)
    width = _HIGH[at] - _LOW[at]
    result: npt.NDArray[np.float64] = np.where(width <= 1, _LOW[at], _LOW[at] + part * (width - 1))
    return result


def _histogram_score(at: list[datetime], counts: npt.NDArray[np.int64]) -> float:
    """1 − the coefficient of variation of the counts by hour, without the hours in which it began and ended."""
    hours = round((at[-1] - at[0]) / _hours.HOUR) + 1
    by_hour = np.zeros(hours)
    for when, n in zip(at, counts.tolist(), strict=True):
        by_hour[round((when - at[0]) / _hours.HOUR)] += n
    inner = by_hour[1:-1] if hours > 3 else by_hour
    mean = float(inner.mean())
    if mean <= 0:
        return 0.0
    # A period of hours leaves hours empty: such are put together until each has two queries.
    step = max(1, math.ceil(2 / mean)) if mean < 2 else 1
    if step > 1 and len(inner) >= 2 * step:
        inner = inner[: len(inner) // step * step].reshape(-1, step).sum(axis=1)
        mean = float(inner.mean())
    return float(np.clip(1 - inner.std() / mean, 0, 1))


def _lasting(at: list[datetime], full: float) -> float:
    runs = _hours.hours_in_runs(at)
    longest = max((at[high - 1] - at[low]) / _hours.HOUR + 1 for low, high in runs)
    return min(longest / full, 1.0)


def _prevalence(share: float) -> float:
    """What prevalence adds: 0.15 up to 2 % of the clients, −0.15 from half of them."""
    return 0.15 if share <= 0.02 else (-0.15 if share >= 0.5 else 0.0)


def _minutes(value: float) -> str:
    return f"{common.number(value)} minutes" if value != 1 else "minute"
