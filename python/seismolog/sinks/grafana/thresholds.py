"""The numbers at which detectors raise an incident, for the lines that dashboards draw and the rules that alert.

Each is the default of a detector's setting, taken from the detector itself, so that a dashboard cannot show another
limit than the one that is applied. Where a default changes, the checked-in files drift, and a test says so.

Limits: the defaults. A site that sets other values in ``[detect.<name>]`` has its own incidents, but the lines of the
defaults. Most limits of detectors are tests of significance against a client's own past, which no line can show.
"""

from __future__ import annotations

from statistics import NormalDist

from seismolog.detect import (
    cache_collapse,
    deferral_surge,
    login_attack,
    model_residual,
    synchronized_clients,
)
from seismolog.model.cache import MIN_DENOMINATOR
from seismolog.model.health import ABSENT_SHARE

__all__ = [
    "ABSENT_SHARE",
    "AUTH_FAILURES",
    "CACHE_BINS",
    "CACHE_DENOMINATOR",
    "CACHE_LEAST",
    "CACHE_SHARE",
    "CACHE_Z",
    "CORRELATION",
    "DEFERRALS",
    "RESIDUAL",
    "RESIDUAL_BINS",
]

_residual = model_residual.Settings()
_cache = cache_collapse.Settings()

#: Deferrals of a server in 10 minutes.
DEFERRALS = round(deferral_surge.Settings().minimum)
#: Standardized residual of a bin, and how many bins in a row.
RESIDUAL = round(NormalDist().inv_cdf(1 - _residual.p_value), 2)
RESIDUAL_BINS = _residual.bins
#: Share of its usual value that the cache efficiency falls below, how many deviations, for how many bins, and the usual
#: value from which on there is a cache.
CACHE_SHARE = _cache.share
CACHE_Z = _cache.z
CACHE_BINS = _cache.bins
CACHE_LEAST = _cache.least
#: Cache efficiency is computed on bins where at least so many queries are expected.
CACHE_DENOMINATOR = round(MIN_DENOMINATOR)
#: Failed logins of one client in 10 minutes.
AUTH_FAILURES = round(login_attack.Settings().failures)
#: Rank correlation of two clients' curves.
CORRELATION = synchronized_clients.Settings().correlation
