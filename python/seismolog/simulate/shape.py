"""Shapes of a day and a week, and smooth random intensity, shared by all scenarios.

A shape is a positive function of local time with mean 1 over a day, so that a rate times a shape keeps
its daily total. The curves are drawn by hand after what a campus shows: little at night, a steep
rise at nine, a dip at noon, an afternoon, an evening that fades. They are not fitted to any data.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["ar1", "day_shape", "office_shape"]

Floats = npt.NDArray[np.float64]

# Level at each full hour, 0 to 24; between them the curve is linear.
_MAIL = np.array(
    [5, 4, 3, 3, 3, 3, 4, 6, 10, 17, 20, 19, 16, 18, 19, 19, 18, 16, 13, 11, 10, 9, 8, 6, 5], float
)
_OFFICE = np.array(
    [2, 1, 0.6, 0.5, 0.5, 0.6, 1, 3, 10, 22, 25, 24, 18, 24, 25, 24, 22, 17, 11, 8, 6, 5, 4, 3, 2], float
)


def _curve(levels: Floats, seconds: npt.ArrayLike) -> Floats:
    mean = float(((levels[:-1] + levels[1:]) / 2).mean())
    hours = np.asarray(seconds, float) / 3600
    curve: Floats = np.interp(hours, np.arange(25.0), levels) / mean
    return curve


def day_shape(seconds: npt.ArrayLike) -> Floats:
    """Relative intensity of a mail server, ``seconds`` after local midnight (0 to 86400); its mean is 1."""
    return _curve(_MAIL, seconds)


def office_shape(seconds: npt.ArrayLike) -> Floats:
    """Relative intensity of office and laboratory PCs, likewise."""
    return _curve(_OFFICE, seconds)


def ar1(rng: np.random.Generator, length: int, rho: float, sd: float) -> Floats:
    """A stationary AR(1) series of mean 0, lag-one correlation ``rho`` and standard deviation ``sd``."""
    from scipy.signal import lfilter  # late: scipy takes a tenth of a second to import

    noise = rng.standard_normal(length) * sd
    if length == 0 or rho == 0:
        return noise
    noise[1:] *= np.sqrt(1 - rho * rho)
    series: Floats = np.asarray(lfilter([1.0], [1.0, -rho], noise), float)
    return series
