"""The numbers at which detectors raise an incident, for the lines that dashboards draw and the rules that alert.

Each is the default of a detector's setting, taken from the detector where it stands there, so that a dashboard cannot
show another limit than the one that is applied.

Limits: the defaults. A site that sets other values in ``[detect.<name>]`` sees its own incidents, but the lines of
the checked-in dashboards; ``seismolog grafana render --config site.toml`` does not move them either, since most limits
are tests of significance that no line can show.
"""

from __future__ import annotations

__all__ = [
    "ABSENT_SHARE",
    "AUTH_FAILURES",
    "CACHE_DENOMINATOR",
    "CACHE_SHARE_OF_USUAL",
    "CORRELATION",
    "DEFERRALS",
    "RESIDUAL",
]

#: `deferral_surge`: deferrals of a server in 10 minutes.
DEFERRALS = 50
#: `model_residual`: one-sided p = 0.001 of a standardized residual.
RESIDUAL = 3.09
#: `cache_collapse`: the efficiency falls below this share of its usual value …
CACHE_SHARE_OF_USUAL = 0.5
#: … on bins where at least so many queries are expected.
CACHE_DENOMINATOR = 200
#: The model's "predicted but absent": at most this share of the calculated queries arrives.
ABSENT_SHARE = 0.02
#: `login_attack`: failed logins in 10 minutes.
AUTH_FAILURES = 30
#: `synchronized_clients`: rank correlation of two clients' curves.
CORRELATION = 0.9
