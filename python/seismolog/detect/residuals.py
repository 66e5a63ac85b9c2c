"""Counts against their expectation: negative binomial probabilities and whitened residuals.

A client's count in a bin is taken as negative binomial with the expected mean μ and a shape k (variance μ + μ²/k). The
shape is estimated from all clients together and a client's own is drawn towards it, since a day of one client says
little. A residual is the normal quantile of the randomised probability of the count, so that it is standard normal for
counts of any size (Dunn and Smyth, 1996); neighbouring bins resemble each other, so residuals are whitened by an AR(1).

Limits: the randomisation is drawn from a fixed seed: the same counts give the same residuals. Tails are exact to about
1e-300; probabilities come as natural logarithms so that they may be smaller.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = [
    "autocorrelation",
    "inverse_shape",
    "log_lower",
    "log_upper",
    "significant",
    "standard",
    "whitened",
]

Floats = npt.NDArray[np.floating]
_LOWEST = -1e5
"""What a log probability is cut at."""


def significant(log_p: npt.ArrayLike, tests: float, alpha: float) -> npt.NDArray[np.bool_]:
    """Whether p < alpha / tests (Bonferroni); `log_p` is the natural logarithm of p."""
    return np.asarray(log_p, dtype=np.float64) < math.log(alpha) - math.log(max(tests, 1.0))


def log_upper(counts: npt.ArrayLike, mean: npt.ArrayLike, shape: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Log P(X ≥ count) for X negative binomial of this mean and shape k; 0 for a count of 0.

    Uses the identity with the incomplete beta function; where it underflows, the first term of the tail times a
    geometric bound (an upper bound of p, so never more significant than it is).
    """
    from scipy import special

    x, mu, k = np.broadcast_arrays(
        np.asarray(counts, np.float64), np.asarray(mean, np.float64), np.asarray(shape, np.float64)
    )
    mu = np.maximum(mu, 1e-9)
    x = np.ceil(x)
    share = mu / (mu + k)
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        p = special.betainc(np.maximum(x, 1e-12), k, share)
        log_p = np.log(p)
        first = (
            special.gammaln(x + k)
            - special.gammaln(k)
            - special.gammaln(x + 1)
            + x * np.log(share)
            + k * np.log1p(-share)
        )
        ratio = (x + k) / (x + 1) * share
        bound = first - np.log(np.maximum(1 - ratio, 1e-12))
    far = ~(p > 1e-290)
    log_p = np.where(far & (ratio < 1), np.minimum(bound, math.log(1e-290)), log_p)
    result: npt.NDArray[np.float64] = np.where(x <= 0, 0.0, np.maximum(log_p, _LOWEST))
    return result


def log_lower(counts: npt.ArrayLike, mean: npt.ArrayLike, shape: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Log P(X ≤ count) for X negative binomial of this mean and shape."""
    from scipy import special

    x, mu, k = np.broadcast_arrays(
        np.asarray(counts, np.float64), np.asarray(mean, np.float64), np.asarray(shape, np.float64)
    )
    mu = np.maximum(mu, 1e-9)
    with np.errstate(divide="ignore", under="ignore"):
        log_p = np.log(special.betainc(k, np.floor(x) + 1, k / (mu + k)))
        none = -k * np.log1p(mu / k)
    result: npt.NDArray[np.float64] = np.maximum(np.where(np.isfinite(log_p), log_p, none), _LOWEST)
    return result


def standard(
    counts: npt.ArrayLike, mean: npt.ArrayLike, shape: npt.ArrayLike, *, seed: int = 2003, limit: float = 12.0
) -> npt.NDArray[np.float64]:
    """Randomised quantile residuals of counts: standard normal where mean and shape are right, cut at ±`limit`."""
    from scipy import special

    x, mu, k = np.broadcast_arrays(
        np.asarray(counts, np.float64), np.asarray(mean, np.float64), np.asarray(shape, np.float64)
    )
    mu = np.maximum(mu, 1e-9)
    draw = np.random.default_rng(seed).random(x.shape)
    ratio = k / (mu + k)
    upto = special.betainc(k, np.maximum(x, 0) + 1, ratio)  # P(X <= x)
    below = np.where(x > 0, special.betainc(k, np.maximum(x, 1), ratio), 0.0)  # P(X <= x - 1)
    chance = below + draw * (upto - below)
    z = special.ndtri(np.clip(chance, 1e-33, 1 - 1e-16))
    high = chance > 0.5
    if high.any():
        # Near 1 the digits are in the upper tail: P(X >= x + 1) + (1 - u) P(X = x).
        hx, hm, hk, hd = x[high], mu[high], k[high], draw[high]
        above = special.betainc(hx + 1, hk, hm / (hm + hk))
        least = np.where(hx > 0, special.betainc(np.maximum(hx, 1e-12), hk, hm / (hm + hk)), 1.0)
        z[high] = -special.ndtri(np.clip(above + (1 - hd) * (least - above), 1e-33, 1 - 1e-16))
    result: npt.NDArray[np.float64] = np.clip(z, -limit, limit)
    return result


def whitened(z: Floats, rho: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Residuals less what their neighbour says: (z_t − ρ z_{t−1}) / √(1 − ρ²), rows are clients, columns bins."""
    rho = np.asarray(rho, np.float64)
    if rho.ndim == 1:
        rho = rho[:, None]
    white: npt.NDArray[np.float64] = np.array(z, dtype=np.float64)
    white[..., 1:] = (z[..., 1:] - rho * z[..., :-1]) / np.sqrt(1 - rho**2)
    return white


def autocorrelation(z: Floats, weight: Floats | None = None) -> float:
    """Lag-one correlation of all rows together, in [0, 0.95]; NaN bins are left out."""
    left, right = z[..., :-1], z[..., 1:]
    good = np.isfinite(left) & np.isfinite(right)
    if good.sum() < 10:
        return 0.0
    a, b = np.where(good, left, 0.0), np.where(good, right, 0.0)
    if weight is not None:
        a, b = a * np.sqrt(weight)[..., None], b * np.sqrt(weight)[..., None]
    bottom = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return min(max(float((a * b).sum()) / bottom, 0.0), 0.95) if bottom > 0 else 0.0


def inverse_shape(
    counts: Floats, mean: Floats, *, prior_bins: float = 200.0, least: float = 0.02, most: float = 4.0
) -> tuple[npt.NDArray[np.float64], float]:
    """1/k of each row by moments, drawn towards the population's, and the population's.

    Σ((x − μ)² − μ) / Σμ² estimates 1/k. The population's is the median over rows with enough counts, so that a few
    unruly clients do not make all others look calm; a row's own weighs as much as its Σμ²/(1 + μ)² bins against
    `prior_bins`.
    """
    x, mu = np.asarray(counts, np.float64), np.maximum(np.asarray(mean, np.float64), 1e-9)
    bottom = (mu * mu).sum(axis=-1)
    own = ((x - mu) ** 2 - mu).sum(axis=-1) / np.maximum(bottom, 1e-12)
    information = ((mu / (1 + mu)) ** 2).sum(axis=-1)
    enough = information >= 10
    middle = float(np.median(own[enough])) if enough.sum() >= 5 else 1 / 3
    population = min(max(middle, least), most)
    shrunk = (prior_bins * population + information * np.clip(own, 0, most)) / (prior_bins + information)
    return np.clip(shrunk, least, most), population
