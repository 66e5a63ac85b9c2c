"""The model laid over the bins that it describes: calculated, residual, and what they are worth.

Limits: a standardized residual divides by √(φ μ + κ μ²); it is close to normal where μ is some tens of queries and
skewed below. It is not corrected for autocorrelation.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from seismolog.model.cache import efficiency
from seismolog.model.estimate import Fit
from seismolog.model.paper import configured_message_coefficient


def calculated(
    frame: pl.DataFrame,
    model: Fit,
    *,
    domains_per_message: float | None = None,
    receive_rate: float | None = None,
) -> pl.DataFrame:
    """Observed against calculated, one row a bin.

    Returns
    -------
    polars.DataFrame
        bin_start; observed, calculated, residual = observed − calculated; standardized (residual in standard deviations);
        cache_efficiency (null where undefined); all Float64.
    """
    frame = frame.sort("bin_start")
    m_s, _ = configured_message_coefficient(domains_per_message, receive_rate)
    mu = model.mean(frame)
    observed = frame["dns_query"].cast(pl.Float64)
    residual = observed.to_numpy() - mu
    return frame.select("bin_start", observed.alias("observed")).with_columns(
        pl.Series("calculated", mu, dtype=pl.Float64),
        pl.Series("residual", residual, dtype=pl.Float64),
        pl.Series("standardized", residual / np.sqrt(model.variance.at(mu)), dtype=pl.Float64),
        frame.select(efficiency(m_s)).to_series(),
    )
