"""Fit the traffic model of one mail server: dns_query ≈ Σ coefficient · count (+ baseline).

The estimator stands in `regression`, this module is its meeting with the frames: which kinds take part, what is said
when there is too little to fit, and the numbers that a reader wants beside the coefficients.

Limits: the model is additive and memoryless. A cache whose hit rate grows with the load bends the line; a look-up that
falls into the bin after its mail weakens the slope a little (seconds against ten minutes). Coefficients of kinds whose
curves are nearly proportional cannot be told apart; their intervals then are wide, and that is the honest answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import numpy as np
import polars as pl

from seismolog.model import regression
from seismolog.model.assemble import MAIL_KINDS
from seismolog.model.paper import PAPER, remote_domains
from seismolog.model.regression import Array, Variance

TERMS: Final = ("smtp_accepted", "pop_access", "imap_access")
BASELINE: Final = "baseline"
MIN_BINS: Final = 36
"""Bins below which nothing is fitted (six hours of 10-minute bins)."""
DAY_BINS: Final = 144
"""Bins below which a fit is said to rest on less than a day of 10-minute bins."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its standard error and 95 % interval; None where the data cannot say."""

    estimate: float
    std_error: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Coefficient(Interval):
    """DNS queries caused by one event of a kind, beside what the study has for it (None: it does not name it)."""

    paper: float | None = None


@dataclass(frozen=True)
class Fit:
    """A fitted (or, with few data, taken over) traffic model.

    Attributes
    ----------
    coefficients
        By kind, in canonical order; ``baseline`` (queries a bin that no mail explains) last, where it is used.
    method
        ``fit``, or ``paper`` when the study's coefficients stand in for a fit.
    bins, rejected, down_weighted
        Bins read; of them with robustness weight 0; with weight strictly between 0 and 1.
    r_squared
        Share of the weighted variance of dns_query that is explained; None where it does not vary or nothing is fitted.
    dispersion
        Pearson dispersion: weighted mean of (observed − calculated)² / calculated; 1 would be Poisson.
    variance
        φ and κ of Var = φ μ + κ μ².
    n_one_minus_q
        n (1 − q) = (m_S − 2) / 4: all that m_S tells.
    terms_left_out
        Kind → why it takes no part.
    covariance, degrees, weights
        Of the coefficients in order; of Student's t; of each bin.
    inflation
        ≥ 1: how much more the sum of many bins varies than independent bins would.
    window
        First bin_start and last bin_start read.
    notes
        Sentences for the reader.
    """

    coefficients: Mapping[str, Coefficient]
    method: Literal["fit", "paper"]
    bins: int
    rejected: int
    down_weighted: int
    r_squared: float | None
    dispersion: float | None
    variance: Variance
    n_one_minus_q: Interval | None
    terms_left_out: Mapping[str, str]
    covariance: Array = field(repr=False, compare=False)
    degrees: int
    weights: Array = field(repr=False, compare=False)
    inflation: float
    window: tuple[datetime, datetime] | None
    notes: tuple[str, ...]

    def design(self, frame: pl.DataFrame) -> Array:
        """Columns of `frame` in the order of the coefficients, with ones for the baseline."""
        return _design(frame, self.coefficients)

    def mean(self, frame: pl.DataFrame) -> Array:
        """Calculated dns_query of each row."""
        beta = np.array([c.estimate for c in self.coefficients.values()])
        return np.asarray(self.design(frame) @ beta if len(beta) else np.zeros(len(frame)))

    def sd(self, frame: pl.DataFrame) -> Array:
        """Standard deviation of dns_query about its calculated value, of each row."""
        return np.sqrt(self.variance.at(self.mean(frame)))


def _design(frame: pl.DataFrame, terms: Mapping[str, object] | Sequence[str]) -> Array:
    columns = [np.ones(len(frame)) if term == BASELINE else _column(frame, term) for term in terms]
    return np.column_stack(columns) if columns else np.zeros((len(frame), 0))


def _column(frame: pl.DataFrame, kind: str) -> Array:
    """Counts of a kind; a kind without a column never occurred."""
    if kind not in frame.columns:
        return np.zeros(len(frame))
    return frame[kind].cast(pl.Float64).fill_null(0.0).to_numpy()


def canonical(terms: Sequence[str]) -> list[str]:
    """The terms in one order, whatever order they were named in: a fit must not depend on it."""
    rank = {kind: i for i, kind in enumerate((*TERMS, *MAIL_KINDS))}
    return sorted(dict.fromkeys(terms), key=lambda kind: (rank.get(kind, len(rank)), kind))


def fit(
    frame: pl.DataFrame,
    *,
    terms: Sequence[str] = TERMS,
    baseline: bool = True,
    min_bins: int = MIN_BINS,
    seed: int = 0,
) -> Fit:
    """Fit the model on the bins of a `ModelSeries.frame`.

    Parameters
    ----------
    frame
        bin_start, dns_query and a count column a kind, sorted by time.
    terms
        Kinds that may cause queries. Those that never occur, or that cannot be told from others, are left out.
    baseline
        Whether a constant number of queries a bin may come from elsewhere.
    min_bins
        Below it the study's coefficients are taken over, and the notes say so.
    seed
        Of the robust start; results do not depend on it except in contrived data.

    Raises
    ------
    ValueError
        When dns_query is named as a term, or dns_query is no column of `frame`.
    """
    if "dns_query" not in frame.columns:
        raise ValueError("the frame has no column dns_query")
    if "dns_query" in terms or BASELINE in terms:
        raise ValueError("dns_query and baseline cannot be terms of the model")
    frame = frame.sort("bin_start")
    y = _column(frame, "dns_query")
    n = len(frame)
    notes: list[str] = []

    ordered = canonical(terms)
    left_out: dict[str, str] = {}
    occurring = []
    for kind in ordered:
        if float(_column(frame, kind).sum()) > 0:
            occurring.append(kind)
        else:
            left_out[kind] = "never occurs"

    if n < min_bins:
        notes.append(
            f"Cold start: {n} bins are too few to fit (at least {min_bins}); the study's coefficients are used."
        )
        return _taken_over(frame, y, occurring, left_out, notes)
    if not y.any():
        notes.append(
            "Not one DNS query came from this server's addresses: the addresses may be wrong, or the server asks a "
            "resolver of its own. The study's coefficients are used."
        )
        return _taken_over(frame, y, occurring, left_out, notes)

    # Ones come first, so that a kind that never changes is left out rather than the baseline that explains it as well.
    candidates = ([BASELINE] if baseline else []) + occurring
    design = _design(frame, candidates)
    kept = [candidates[j] for j in regression.independent_columns(design)]
    for kind in occurring:
        if kind not in kept:
            left_out[kind] = "cannot be told apart from " + (", ".join(k for k in kept) or "nothing")
            notes.append(f"{kind} is left out: it {left_out[kind]}.")
    kept = [k for k in kept if k != BASELINE] + [k for k in kept if k == BASELINE]
    x = _design(frame, kept)

    estimate = regression.robust(x, y, seed=seed)
    covariance, degrees = regression.jackknife(x, y, estimate)
    quantile = regression.student_quantile(degrees)
    coefficients = {}
    for j, kind in enumerate(kept):
        error = float(np.sqrt(max(covariance[j, j], 0.0)))
        value = float(estimate.beta[j])
        # A coefficient held at 0 has its interval about the unbounded estimate, so that it still can cover 0.
        centre = value if value > 0 else min(float(estimate.free[j]), 0.0)
        coefficients[kind] = Coefficient(
            value,
            error,
            max(0.0, centre - quantile * error),
            max(value, centre + quantile * error, 0.0) if value > 0 else max(0.0, centre + quantile * error),
            PAPER.get(kind),
        )

    mu = x @ estimate.beta
    weights = estimate.weights
    rejected = int(np.count_nonzero(weights <= 0))
    down = int(np.count_nonzero((weights > 0) & (weights < 1)))
    if n < DAY_BINS:
        notes.append(
            f"Few data: {n} bins, less than a day of 10-minute bins; the shape of the day is not covered."
        )
    if rejected:
        notes.append(f"{rejected} of {n} bins ({rejected / n:.1%}) are outlying and do not pull the fit.")

    n_one_minus_q = None
    if "smtp_accepted" in coefficients:
        c = coefficients["smtp_accepted"]
        n_one_minus_q = Interval(
            remote_domains(c.estimate),
            None if c.std_error is None else c.std_error / 4,
            None if c.low is None else remote_domains(c.low),
            None if c.high is None else remote_domains(c.high),
        )
        if c.estimate < 2:
            notes.append(
                f"m_S = {c.estimate:.2f} is below 2, the queries that every message causes in the study: a cache answers "
                "part of them, or they go to another DNS server."
            )
    return Fit(
        coefficients,
        "fit",
        n,
        rejected,
        down,
        _r_squared(y, mu, weights),
        _dispersion(y, mu, weights, x.shape[1]),
        estimate.variance,
        n_one_minus_q,
        left_out,
        covariance,
        degrees,
        weights,
        _inflation((y - mu) / np.sqrt(estimate.variance.at(mu)), weights),
        _window(frame),
        tuple(notes),
    )


def fixed(
    frame: pl.DataFrame, coefficients: Mapping[str, float] | None = None, *, notes: Sequence[str] = ()
) -> Fit:
    """The model with given coefficients (default: the study's), and the variance that the data have about it.

    A coefficient has no standard error here; ``r_squared`` and ``dispersion`` are those of the data about the given line.
    """
    values = dict(PAPER if coefficients is None else coefficients)
    frame = frame.sort("bin_start")
    y = _column(frame, "dns_query") if "dns_query" in frame.columns else np.zeros(len(frame))
    x = _design(frame, values)
    mu = x @ np.array(list(values.values())) if values else np.zeros(len(frame))
    weights = np.ones(len(frame))
    some = len(frame) > 1
    variance = regression.variance_about(mu, y - mu) if some else Variance(1.0, 0.0)
    return Fit(
        {kind: Coefficient(value, None, None, None, PAPER.get(kind)) for kind, value in values.items()},
        "paper",
        len(frame),
        0,
        0,
        _r_squared(y, mu, weights) if some else None,
        _dispersion(y, mu, weights, 0) if some else None,
        variance,
        None,
        {},
        np.zeros((len(values), len(values))),
        1,
        weights,
        1.0,
        _window(frame),
        tuple(notes),
    )


def _taken_over(
    frame: pl.DataFrame, y: Array, occurring: Sequence[str], left_out: dict[str, str], notes: list[str]
) -> Fit:
    for kind in occurring:
        if kind not in PAPER:
            left_out[kind] = "the study has no coefficient for it"
    values = {kind: PAPER[kind] for kind in occurring if kind in PAPER}
    base = fixed(frame, values, notes=notes)
    return Fit(
        base.coefficients,
        "paper",
        base.bins,
        0,
        0,
        None,
        base.dispersion if y.any() else None,
        # Too few bins to measure the variance: Poisson is the least that a count can have.
        base.variance if len(frame) >= MIN_BINS else Variance(max(base.dispersion or 1.0, 1.0), 0.0),
        None,
        left_out,
        base.covariance,
        1,
        base.weights,
        base.inflation,
        base.window,
        tuple(notes),
    )


def _window(frame: pl.DataFrame) -> tuple[datetime, datetime] | None:
    if frame.is_empty():
        return None
    first, last = frame["bin_start"][0], frame["bin_start"][-1]
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return first, last


def _r_squared(y: Array, mu: Array, weights: Array) -> float | None:
    total = float(weights.sum())
    if total <= 0:
        return None
    about_mean = float((weights * (y - (weights @ y) / total) ** 2).sum())
    if about_mean <= 0:
        return None
    return 1 - float((weights * (y - mu) ** 2).sum()) / about_mean


def _dispersion(y: Array, mu: Array, weights: Array, parameters: int) -> float | None:
    degrees = float(weights.sum()) - parameters
    if degrees <= 0:
        return None
    return float((weights * (y - mu) ** 2 / np.maximum(mu, regression.MEAN_FLOOR)).sum()) / degrees


def _inflation(z: Array, weights: Array) -> float:
    """Variance of block sums of the standardized residuals over that of as many independent bins."""
    z = z[weights > 0]
    number = regression.blocks(len(z)) if len(z) else 0
    square = float(z @ z)
    if number < 2 or square <= 0:
        return 1.0
    first = np.arange(number) * len(z) // number
    sums = np.add.reduceat(z, first)
    return max(1.0, float(sums @ sums) / square)
