"""Robust additive regression of counts with coefficients that cannot be negative: arrays in, arrays out.

    E[y] = X β, β ≥ 0 (identity link)          Var[y] = φ μ + κ μ²

The variance grows with the mean: φ μ is the quasi-Poisson part (a message causes a random number of queries), κ μ² the
negative binomial part (1/k; the load of all messages in a bin moves together). The fit goes in four steps:

1. *Start* that outlying bins cannot pull: non-negative least squares (Lawson and Hanson) on the whole, on each eighth
   of the time and on random subsets, each refined by the concentration steps of least trimmed squares (Rousseeuw and
   Van Driessen 2006) on the best three quarters of the bins; the smallest trimmed sum of squares wins.
2. *Variance*: bins are grouped by their fitted mean; φ and κ are fitted to the groups' robust second moments.
3. *Weights* from Anscombe residuals (the 2/3 power, which makes the skewed upper tail of a count nearly as long as the
   lower one, so that an honest large count is not taken for an outlier): 1 up to 3 standard deviations, 0 from 6 on, a
   smooth descent between. The same on running means over 3 and 12 bins, each scaled by its own spread, finds long
   stretches of moderate excess (an outbreak) that no single bin would show.
4. *Solve* weighted non-negative least squares, and repeat 2–4 until the fitted means stand still.

Limits: up to about a quarter of the bins may be outlying; beyond that "outlying" has no meaning. The flat middle of
the weight costs almost no efficiency on clean bins, but moderate outliers (below 3 standard deviations) keep weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FULL: Final = 3.0
"""Standardized residual up to which a bin has full weight."""
NONE: Final = 6.0
"""Standardized residual from which a bin has no weight."""
RUNS: Final = (3, 12)
"""Lengths (bins) of the running means that are tested as well."""
MEAN_FLOOR: Final = 0.5
"""Mean (count a bin) below which the variance no longer falls."""
_KEPT: Final = 0.75
_GROUPS: Final = 12


@dataclass(frozen=True)
class Variance:
    """Var[y] = phi · μ + kappa · μ²."""

    phi: float
    kappa: float

    def at(self, mu: Array) -> Array:
        """Variance at the means `mu`, never 0: a model without noise weighs as Poisson."""
        floored = np.maximum(mu, MEAN_FLOOR)
        if self.phi <= 0 and self.kappa <= 0:
            return floored
        return np.asarray(self.phi * floored + self.kappa * floored**2, dtype=np.float64)


@dataclass(frozen=True)
class Estimate:
    """What `robust` returns.

    Attributes
    ----------
    beta
        Coefficients, ≥ 0.
    free
        The same weighted fit without the bound at 0: the centre of an interval.
    weights
        Robustness weight of each bin, 0…1.
    slope
        Mean derivative of the weighted residual over the mean weight (1 when no bin is down-weighted).
    variance
        Of a bin about its mean; zero-noise when ``exact``.
    exact
        The fit leaves no residual (to rounding).
    """

    beta: Array
    free: Array
    weights: Array
    slope: float
    variance: Variance
    exact: bool


def nonnegative(x: Array, y: Array, weights: Array | None = None) -> Array:
    """Weighted least squares with β ≥ 0, by QR reduction and `scipy.optimize.nnls` on the small triangle."""
    from scipy.optimize import nnls

    triangle, target, scale = _reduced(x, y, weights)
    solution: Array = nnls(triangle, target)[0]
    return solution / scale


def unbounded(x: Array, y: Array, weights: Array | None = None) -> Array:
    """Weighted least squares without bounds (minimum norm where columns depend on each other)."""
    triangle, target, scale = _reduced(x, y, weights)
    return np.asarray(np.linalg.lstsq(triangle, target, rcond=None)[0] / scale, dtype=np.float64)


def _reduced(x: Array, y: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    if weights is not None:
        root = np.sqrt(weights)
        x, y = x * root[:, None], y * root
    scale = np.sqrt((x * x).sum(axis=0))
    scale[scale == 0] = 1.0
    q, triangle = np.linalg.qr(x / scale)
    return triangle, q.T @ y, scale


def independent_columns(x: Array) -> list[int]:
    """Columns, from the left, that are not (to 1e-7) a linear combination of those before them."""
    basis: list[Array] = []
    kept = []
    for j in range(x.shape[1]):
        column = x[:, j]
        norm = float(np.linalg.norm(column))
        if norm == 0:
            continue
        rest = column / norm
        for _ in range(2):
            for b in basis:
                rest = rest - b * float(b @ rest)
        left = float(np.linalg.norm(rest))
        if left > 1e-7:
            basis.append(rest / left)
            kept.append(j)
    return kept


def mad(values: Array) -> float:
    """Median absolute deviation about the median, times 1.4826: the standard deviation of a normal sample."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def robust(x: Array, y: Array, *, seed: int = 0) -> Estimate:
    """Fit y ≈ X β (see the module).

    Parameters
    ----------
    x
        n × p, non-negative counts (and a column of ones for a baseline), columns independent.
    y
        n counts in order of time.
    seed
        Of the random subsets of the start.
    """
    n, p = x.shape
    if n <= p + 1:
        beta = nonnegative(x, y)
        exact = bool(np.abs(y - x @ beta).max(initial=0.0) <= 1e-9 * max(1.0, float(y.max(initial=0.0))))
        return Estimate(beta, unbounded(x, y), np.ones(n), 1.0, Variance(0.0, 0.0), exact)

    beta = _start(x, y, seed)
    tiny = 1e-9 * max(1.0, float(np.abs(y).max()))
    weights = np.ones(n)
    variance = Variance(0.0, 0.0)
    mu = x @ beta
    for _ in range(60):
        residual = y - mu
        variance = variance_about(mu, residual)
        if (
            float(np.quantile(np.abs(residual), 0.5)) <= tiny
            and variance.phi <= 1e-12
            and variance.kappa <= 1e-12
        ):
            # At least half of the bins fit exactly and the rest is not noise about them.
            weights = (np.abs(residual) <= np.maximum(tiny, 1e-7 * mu)).astype(np.float64)
            beta = nonnegative(x, y, weights / np.maximum(mu, MEAN_FLOOR))
            return Estimate(beta, beta.copy(), weights, 1.0, Variance(0.0, 0.0), exact=True)
        weights = _weights(mu, y, variance)
        beta = nonnegative(x, y, weights / variance.at(mu))
        moved = x @ beta
        done = float(np.abs(moved - mu).max()) <= 1e-9 * max(1.0, float(moved.max()))
        # Halfway steps keep a bin at the edge of a weight from flipping for ever.
        mu = moved if done else 0.5 * (mu + moved)
        if done:
            break
    mu = x @ beta
    v = variance.at(mu)
    z = anscombe(y, mu, v)
    slope = float(np.mean(_taper_slope(z) * (weights > 0))) / max(float(np.mean(weights)), 1e-12)
    return Estimate(
        beta, unbounded(x, y, weights / v), weights, min(max(slope, 0.5), 1.0), variance, exact=False
    )


def anscombe(y: Array, mu: Array, variance: Array) -> Array:
    """Standardized residual on the 2/3-power scale: 1.5 (y^⅔ − μ^⅔) μ^⅓ / √Var."""
    floored = np.maximum(mu, MEAN_FLOOR)
    return np.asarray(
        1.5
        * (np.cbrt(np.maximum(y, 0.0)) ** 2 - np.cbrt(floored) ** 2)
        * np.cbrt(floored)
        / np.sqrt(variance)
    )


def _taper(z: Array) -> Array:
    t = np.clip((np.abs(z) - FULL) / (NONE - FULL), 0.0, 1.0)
    return np.asarray((1 - t * t) ** 2)


def _taper_slope(z: Array) -> Array:
    """d(z · taper(z)) / dz."""
    t = np.clip((np.abs(z) - FULL) / (NONE - FULL), 0.0, 1.0)
    return np.asarray((1 - t * t) ** 2 - np.abs(z) * 4 * t * (1 - t * t) / (NONE - FULL))


def _weights(mu: Array, y: Array, variance: Variance) -> Array:
    z = anscombe(y, mu, variance.at(mu))
    weights = _taper(z)
    for length in RUNS:
        if len(z) < 8 * length:
            continue
        total = np.concatenate(([0.0], np.cumsum(np.clip(z, -NONE, NONE))))
        mean = (total[length:] - total[:-length]) / length
        spread = mad(mean)
        if spread <= 0:
            continue
        run = _taper((mean - np.median(mean)) / spread)
        # A bin has the weight of the worst run that it belongs to.
        worst = np.ones(len(z))
        for k in range(length):
            stop = k + len(run)
            worst[k:stop] = np.minimum(worst[k:stop], run)
        weights = np.minimum(weights, worst)
    if np.count_nonzero(weights > 0) < max(len(y) // 2, 2):
        # More than half outlying: the scale is wrong, not the bins.
        return np.maximum(weights, _taper(z / 4))
    return weights


def variance_about(mu: Array, residual: Array) -> Variance:
    """Fit φ and κ to the robust second moments of bins grouped by mean."""
    number = max(1, min(_GROUPS, len(mu) // 15))
    size = len(mu) // number
    # Groups of one size (the few smallest means are left out) make this a handful of array operations.
    order = np.argsort(mu, kind="stable")[len(mu) - number * size :].reshape(number, size)
    level = np.maximum(mu[order], MEAN_FLOOR)
    m = level.mean(axis=1)
    # About the group's own median, so that an outbreak that fills a group does not pass for noise. The bound has a
    # Poisson floor: among small counts more than half of the residuals may be equal.
    centred = residual[order] - np.median(residual[order], axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(centred), axis=1)
    bound = 3.5 * np.maximum(spread, np.sqrt(m))[:, None]
    v = (np.clip(centred, -bound, bound) ** 2).sum(axis=1) / max(size - 1, 1)
    design = np.column_stack([m, m**2])
    weight = 1 / m**2
    beta = nonnegative(design, v, weight)
    for _ in range(3):
        fitted = np.maximum(design @ beta, 1e-6 * m)
        beta = nonnegative(design, v, 1 / fitted**2)
    return Variance(float(beta[0]), float(beta[1]))


def _start(x: Array, y: Array, seed: int) -> Array:
    """Least trimmed squares by concentration steps from several beginnings."""
    n, p = x.shape
    # A stand-in for the mean that does not look at y: each kind counts by its own average.
    mean = x.mean(axis=0)
    proxy = (x[:, mean > 0] / mean[mean > 0]).mean(axis=1)
    proxy *= float(y.mean()) / max(float(proxy.mean()), 1e-12)
    root = np.sqrt(np.maximum(proxy, MEAN_FLOOR))
    xs, ys = x / root[:, None], y / root
    whole = nonnegative(xs, ys)
    if n < 10 * p:
        return whole
    generator = np.random.default_rng(seed)
    beginnings = [whole]
    beginnings += [nonnegative(xs[rows], ys[rows]) for rows in np.array_split(np.arange(n), 8)]
    size = max(3 * p, n // 20)
    for _ in range(8):
        rows = generator.choice(n, size, replace=False)
        beginnings.append(nonnegative(xs[rows], ys[rows]))
    h = max(p + 1, int(np.ceil(_KEPT * n)))
    best, best_sum = whole, np.inf
    for beta in beginnings:
        for _ in range(2):
            beta, total = _concentrate(xs, ys, beta, h)  # noqa: PLW2901 - each step starts from the last
        if total < best_sum:
            best, best_sum = beta, total
    for _ in range(15):
        beta, total = _concentrate(xs, ys, best, h)
        if total >= best_sum * (1 - 1e-9):
            break
        best, best_sum = beta, total
    return best


def _concentrate(x: Array, y: Array, beta: Array, h: int) -> tuple[Array, float]:
    squares = (y - x @ beta) ** 2
    rows = np.argpartition(squares, h - 1)[:h]
    refined = nonnegative(x[rows], y[rows])
    after = np.partition((y - x @ refined) ** 2, h - 1)[:h]
    return refined, float(after.sum())


def student_quantile(degrees: float, level: float = 0.95) -> float:
    """Two-sided critical value of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + level / 2))


def blocks(n: int) -> int:
    """Number of contiguous blocks that n autocorrelated bins are cut into: n^⅔ / 4, between 4 and n.

    A week of 10-minute bins gives 26 blocks of six and a half hours. The rate n^⅔ is the textbook one; the factor was
    chosen on simulated worlds, where it gave 93–97 % coverage for 95 % intervals from 144 bins on.
    """
    return max(1, min(n, max(4, int(np.ceil(n ** (2 / 3) / 4)))))


def jackknife(x: Array, y: Array, estimate: Estimate) -> tuple[Array, int]:
    """Covariance of the coefficients under overdispersion and autocorrelation, and its degrees of freedom.

    The delete-a-block jackknife (Künsch 1989, Ann. Statist. 17, 1217; the cluster jackknife CV3 of MacKinnon, Nielsen
    and Webb 2023): each contiguous block of bins is left out in turn, the weights being held, and the spread of the
    coefficients is their error. It needs no model of the variance or of the autocorrelation within blocks, and a block
    with much leverage (one evening that decides a coefficient) shows as a wide interval. Compared on simulated worlds
    with the equal-weighted cosine estimator of Lazarus et al. (2018), which fell to 91 % on a day of bins, it kept 95 %.
    Intervals use Student's t with (blocks − 1) degrees of freedom. The bound at 0 is ignored, which is conservative.
    """
    n, p = x.shape
    if estimate.exact:
        return np.zeros((p, p)), max(1, n - p)
    weight = estimate.weights / estimate.variance.at(np.maximum(x @ estimate.beta, 0.0))
    scale = np.sqrt((x * x * weight[:, None]).sum(axis=0))
    scale[scale == 0] = 1.0
    xs = x / scale
    number = blocks(n)
    first = np.arange(number) * n // number
    weighted = xs * weight[:, None]
    moments = np.add.reduceat(weighted[:, :, None] * xs[:, None, :], first, axis=0)
    targets = np.add.reduceat(weighted * y[:, None], first, axis=0)
    without = np.linalg.pinv(moments.sum(axis=0) - moments, hermitian=True)
    left = np.einsum("gij,gj->gi", without, targets.sum(axis=0) - targets)
    deviation = (left - np.linalg.pinv(moments.sum(axis=0), hermitian=True) @ targets.sum(axis=0)) / scale
    covariance = (number - 1) / number * deviation.T @ deviation / estimate.slope**2
    return np.asarray(covariance), max(1, number - 1)
