"""Do deferred deliveries cause DNS queries of their own? The study's R_SD = m_SD N_SD (eq. 10–12), as a test.

The study compares D_q − D_calc with N_SD by eye and finds no correlation. Four things make that comparison treacherous,
and the test meets each:

- *Confounding.* Deferrals follow the mail that they come from. The correlation is the partial one: from both the
  residual and N_SD the part that the model's own terms (and a baseline) explain is taken out, so a coefficient m_S that
  is a little off does not look like an effect of deferrals, and an effect of deferrals that the fit has half absorbed
  into m_S comes back.
- *Variance that grows with the mean.* Everything is divided by the standard deviation of its bin first.
- *Outlying bins and rare bursts.* N_SD comes in bursts, and an interval from a few bins is worth nothing. Standardized
  residuals are clipped at ±4 robust standard deviations; bins that the fit rejects are not dropped, since a burst of
  deferrals is exactly what may have made them outlying.

- *Autocorrelation.* The residual of one bin resembles that of the next, and so do deferrals, which come back at every
  retry. Both (and the terms) are differenced by the residual's lag-one correlation (Cochrane and Orcutt 1949), which
  also sharpens the test; what is left is met by the block bootstrap.

The 95 % interval is the wider, on each side, of two moving-block bootstraps (Künsch 1989; circular blocks: Politis and
Romano 1992) with blocks of max(6, 1.5 n^⅓) bins, 15 for a week: of *pairs*, which allows for any heteroscedasticity but
hardly knows a burst that occurs once, and of the *residual alone* about the fixed deferrals, which knows the noise of
such a burst from all the other bins but trusts the variance model. On simulated weeks with an outbreak either alone
excluded 0 in up to 13 % of the worlds without an effect, the two together in 4–8 %.

Limits: correlation is no cause; a queue run that falls together with anything else that asks the DNS looks the same.
Without a burst of deferrals the test has little power, and its interval shows that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seismolog.model import regression
from seismolog.model.estimate import BASELINE, Fit, _column, _design, fixed
from seismolog.model.regression import Array

Draws = NDArray[np.int32]

CLIP: Final = 4.0
DRAWS: Final = 1000
MIN_BINS: Final = 48


@dataclass(frozen=True)
class DeferralTest:
    """Correlation of the residual with N_SD.

    Attributes
    ----------
    r, low, high
        Partial correlation (standardized, autocorrelation removed) and its 95 % block-bootstrap interval; None
        when there is nothing to correlate.
    coefficient
        The m_SD that the correlation amounts to, queries a deferral; not added to the model.
    verdict
        One sentence.
    """

    r: float | None
    low: float | None
    high: float | None
    coefficient: float | None
    verdict: str

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def deferral_test(
    frame: pl.DataFrame, model: Fit | Mapping[str, float] | None = None, *, draws: int = DRAWS, seed: int = 0
) -> DeferralTest:
    """Test whether what the model leaves unexplained goes with the deferrals.

    Parameters
    ----------
    frame
        bin_start, dns_query, the model's kinds, smtp_deferred.
    model
        A `Fit`, fixed coefficients by kind, or None for the study's 8.6 and 1.
    draws, seed
        Of the bootstrap.
    """
    frame = frame.sort("bin_start")
    fitted = model if isinstance(model, Fit) else fixed(frame, model)
    deferred = _column(frame, "smtp_deferred")
    n = len(frame)
    if n < MIN_BINS:
        return _nothing(
            f"{n} bins are too few to compare the residual with the deferrals (at least {MIN_BINS})."
        )
    if not deferred.any():
        return _nothing("No delivery was deferred, so there is nothing to compare the residual with.")
    mu = fitted.mean(frame)
    sd = np.sqrt(fitted.variance.at(mu))
    names = [*(kind for kind in fitted.coefficients if kind != BASELINE), BASELINE]
    nuisance = _design(frame, names) / sd[:, None]
    nuisance = nuisance[:, regression.independent_columns(nuisance)]
    load = deferred / sd
    rest = _without(nuisance, (_column(frame, "dns_query") - mu) / sd)
    scale = regression.mad(rest)
    if scale > 0:
        rest = np.clip(rest, -CLIP * scale, CLIP * scale)
    memory = _memory(rest)
    nuisance = nuisance[1:] - memory * nuisance[:-1]
    effect = _without(nuisance, load[1:] - memory * load[:-1])
    rest = _without(nuisance, rest[1:] - memory * rest[:-1])
    square = float(effect @ effect)
    if square <= 1e-12 * float((deferred / sd) @ (deferred / sd)) or float(rest @ rest) <= 1e-18 * n:
        return _nothing(
            "The residual or the deferrals do not vary beyond what the model explains: no correlation."
        )
    r = _correlation(effect, rest)
    coefficient = float(effect @ rest) / square
    low, high = _interval(effect, rest, r, draws, seed)
    if low > 0:
        verdict = (
            f"The residual rises with the deferrals (r = {r:.2f}, 95 % interval {low:.2f} to {high:.2f}): "
            f"about {coefficient:.1f} queries a deferral beyond the model."
        )
    elif high < 0:
        verdict = (
            f"The residual falls as deferrals rise (r = {r:.2f}, 95 % interval {low:.2f} to {high:.2f}); "
            "deferred deliveries do not cause the queries."
        )
    else:
        verdict = (
            f"No correlation of the residual with the deferrals (r = {r:.2f}, 95 % interval {low:.2f} to {high:.2f}), "
            "as in the study."
        )
    return DeferralTest(r, low, high, coefficient, verdict)


def _nothing(verdict: str) -> DeferralTest:
    return DeferralTest(None, None, None, None, verdict)


def _without(nuisance: Array, values: Array) -> Array:
    """`values` less their projection on the columns of `nuisance`."""
    q, _ = np.linalg.qr(nuisance)
    return np.asarray(values - q @ (q.T @ values))


def _memory(rest: Array) -> float:
    """Lag-one autocorrelation, between 0 and 0.95."""
    square = float(rest[:-1] @ rest[:-1])
    return min(max(float(rest[1:] @ rest[:-1]) / square, 0.0), 0.95) if square > 0 else 0.0


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _interval(a: Array, b: Array, r: float, draws: int, seed: int) -> tuple[float, float]:
    n = len(a)
    length = min(n, max(6, int(np.ceil(1.5 * n ** (1 / 3)))))
    number = -(-n // length)
    generator = np.random.default_rng(seed)
    begin = generator.integers(0, n, (draws, number), dtype=np.int32)
    pairs = _pair_bootstrap(a, b, length, begin)
    alone = _residual_bootstrap(a, b, length, begin)
    bounds = np.array([np.quantile(drawn, [0.025, 0.975]) for drawn in (pairs, alone)])
    return float(min(bounds[:, 0].min(), r)), float(max(bounds[:, 1].max(), r))


def _pair_bootstrap(a: Array, b: Array, length: int, begin: Draws) -> Array:
    """Correlations of blocks of pairs drawn with replacement."""
    # Sums of every circular block from a running total: a draw is then a gather of n/length numbers, not of n.
    total = [
        _block_sums(values, length)[begin].mean(axis=1) / length for values in (a, b, a * a, b * b, a * b)
    ]
    mean_a, mean_b, square_a, square_b, product = total
    spread = np.sqrt(np.maximum(square_a - mean_a**2, 0) * np.maximum(square_b - mean_b**2, 0))
    return np.asarray(
        np.divide(product - mean_a * mean_b, spread, out=np.zeros_like(spread), where=spread > 0)
    )


def _residual_bootstrap(a: Array, b: Array, length: int, begin: Draws) -> Array:
    """Correlations of the deferrals where they stand with blocks of the rest of the residual drawn onto them."""
    n, number = len(a), begin.shape[1]
    a = a - a.mean()
    b = b - b.mean()
    square = float(a @ a)
    slope = float(a @ b) / square
    rest = b - slope * a
    places = np.concatenate([a, np.zeros(number * length - n)]).reshape(number, length)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([rest, rest[: length - 1]]), length)
    # cross[j, s]: the deferrals at block j times the rest of the residual from bin s on.
    cross = (places @ windows.T)[np.arange(number), begin].sum(axis=1)
    share = n / (number * length)
    mean = _block_sums(rest, length)[begin].sum(axis=1) * share / n
    squares = _block_sums(rest**2, length)[begin].sum(axis=1) * share
    spread = np.sqrt(square * np.maximum(slope**2 * square + 2 * slope * cross + squares - n * mean**2, 0))
    return np.asarray(np.divide(slope * square + cross, spread, out=np.zeros_like(spread), where=spread > 0))


def _block_sums(values: Array, length: int) -> Array:
    """Sum of the circular block of `length` values that begins at each."""
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: length - 1]]))])
    return np.asarray(total[length:] - total[:-length])
