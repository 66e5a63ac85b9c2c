"""How much of the queries a resolver cache spares: 1 − observed / (m_S N_S + N_P).

The study draws this for a week of March 2002. m_S comes from the configured n and q (eq. 7) or is the study's 8.6, never
from a fit: fitted coefficients have absorbed the cache, and would show an efficiency near 0 whatever the cache does.

Limits: a bin with few expected queries says little, so a bin counts only from `MIN_DENOMINATOR` expected queries on. The
figure is as good as n and q are; below 0 it means more queries than they allow for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from seismolog.model import regression
from seismolog.model.paper import PAPER, configured_message_coefficient

MIN_DENOMINATOR: Final = 200
"""Expected queries of a bin below which its efficiency is not defined."""


@dataclass(frozen=True)
class CacheEfficiency:
    """Share of the expected queries that did not arrive, over all bins where it is defined.

    Attributes
    ----------
    estimate, low, high
        1 − Σ observed / Σ expected and its 95 % interval by the delete-a-block jackknife; None without such a bin (an
        interval needs at least four blocks).
    m_s, source
        The coefficient of a message, and a phrase that says where it comes from.
    bins
        Bins where the efficiency is defined.
    """

    estimate: float | None
    low: float | None
    high: float | None
    m_s: float
    source: str
    bins: int


def expected(m_s: float) -> pl.Expr:
    """m_S N_S + N_P of each row."""
    return m_s * pl.col("smtp_accepted").cast(pl.Float64) + PAPER["pop_access"] * pl.col("pop_access").cast(
        pl.Float64
    )


def efficiency(m_s: float, *, min_denominator: float = MIN_DENOMINATOR) -> pl.Expr:
    """Efficiency of each row, null where fewer than `min_denominator` queries are expected."""
    return (
        pl.when(expected(m_s) >= min_denominator)
        .then(1 - pl.col("dns_query").cast(pl.Float64) / expected(m_s))
        .otherwise(None)
        .alias("cache_efficiency")
    )


def cache_efficiency(
    frame: pl.DataFrame,
    *,
    domains_per_message: float | None = None,
    receive_rate: float | None = None,
    min_denominator: float = MIN_DENOMINATOR,
) -> CacheEfficiency:
    """Cache efficiency over a `ModelSeries.frame`."""
    m_s, source = configured_message_coefficient(domains_per_message, receive_rate)
    bins = frame.sort("bin_start").select("dns_query", expected(m_s).alias("expected"))
    bins = bins.filter(pl.col("expected") >= min_denominator)
    if bins.is_empty():
        return CacheEfficiency(None, None, None, m_s, source, 0)
    observed = bins["dns_query"].cast(pl.Float64).to_numpy()
    denominator = bins["expected"].to_numpy()
    estimate = 1 - float(observed.sum() / denominator.sum())
    number = regression.blocks(len(bins))
    if number < 4:
        return CacheEfficiency(estimate, None, None, m_s, source, len(bins))
    first = np.arange(number) * len(bins) // number
    left_o = observed.sum() - np.add.reduceat(observed, first)
    left_d = denominator.sum() - np.add.reduceat(denominator, first)
    spread = (1 - left_o / left_d) - estimate
    error = float(np.sqrt((number - 1) / number * (spread @ spread)))
    half = regression.student_quantile(number - 1) * error
    return CacheEfficiency(estimate, estimate - half, estimate + half, m_s, source, len(bins))
