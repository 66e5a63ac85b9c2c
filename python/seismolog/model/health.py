"""What is wrong with the model or with its data, in words: predicted but absent, few data, bins left out.

*Predicted but absent*: mail goes on and the queries stop. A run of bins in which at most 2 % of the calculated queries
arrive is reported when so little would be seen by chance less than once in a thousand such series: the sum over the run of
log P(0) lies below log(0.001 / bins), with P(0) that of a negative binomial with the model's mean and variance.

Limits: the DNS server's own log must go on, or the bins are not covered and no verdict is given. Bins are taken as
independent, which the demand for 2 % makes harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from seismolog.model.estimate import Fit
from seismolog.model.regression import Array

ABSENT_SHARE: Final = 0.02
CHANCE: Final = 1e-3


@dataclass(frozen=True)
class Absence:
    """Queries that mail should have caused and that did not come.

    Attributes
    ----------
    start, end
        First bin_start, and end of the last bin.
    bins
        Bins of the run.
    calculated, observed
        Queries over the run.
    log_chance
        Natural logarithm of the chance of a run without a query.
    """

    start: datetime
    end: datetime
    bins: int
    calculated: float
    observed: float
    log_chance: float

    @property
    def sentence(self) -> str:
        """For the operator."""
        return (
            f"From {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC mail went on, but of about "
            f"{self.calculated:,.0f} queries that it causes {self.observed:,.0f} arrived: the server asks elsewhere, or "
            "cannot reach this DNS server."
        )


def log_chance_of_none(mu: Array, variance: Array) -> Array:
    """Logarithm of P(0) of a count with mean μ and variance V: negative binomial for V > μ, Poisson otherwise."""
    excess = np.maximum(variance - mu, 0.0)
    over = excess > 1e-9 * np.maximum(mu, 1e-12)
    safe = np.where(over, excess, 1.0)
    ratio = np.where(over, variance, 1.0) / np.where(mu > 0, mu, 1.0)
    return np.where(over & (mu > 0), -(mu**2) / safe * np.log(np.maximum(ratio, 1.0)), -mu)


def absences(frame: pl.DataFrame, model: Fit) -> list[Absence]:
    """Runs of bins that are predicted but absent (see the module), in order of time."""
    frame = frame.sort("bin_start")
    n = len(frame)
    if n == 0:
        return []
    mu = model.mean(frame)
    observed = frame["dns_query"].cast(pl.Float64).to_numpy()
    times = frame["bin_start"].to_list()
    width = min((b - a for a, b in pairwise(times)), default=timedelta(0))
    chance = log_chance_of_none(mu, model.variance.at(mu))
    missing = (observed <= ABSENT_SHARE * mu) & (mu > 0)
    threshold = float(np.log(CHANCE / n))
    found = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(np.int8), [0]])))
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        total = float(chance[first:stop].sum())
        if total < threshold:
            found.append(
                Absence(
                    times[first],
                    times[stop - 1] + width,
                    int(stop - first),
                    float(mu[first:stop].sum()),
                    float(observed[first:stop].sum()),
                    total,
                )
            )
    return found
