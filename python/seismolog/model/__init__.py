"""The traffic model: a mail server's DNS queries explained by its mail.

Pure functions of polars frames, in the order in which they are used:

- `series` puts the queries of a server's addresses beside its mail, bin by bin, where both logs cover;
- `fit` estimates what each kind of event costs in queries, with honest errors; `fixed` takes given coefficients;
- `calculated`, `cache_efficiency`, `deferral_test`, `drift`, `absences` say what follows from a fit;
- `plan` reads it forwards: what DNS load will so many mails bring?
- `server_model` does all of this for one mail server and shapes it for the store and for JSON.

Every formula and its source stands in docs/model.md. Nothing here imports scipy before it computes.
"""

from seismolog.model.applied import calculated
from seismolog.model.assemble import Coverage, ModelSeries, series
from seismolog.model.cache import CacheEfficiency, cache_efficiency
from seismolog.model.deferral import DeferralTest, deferral_test
from seismolog.model.drift import Drift, drift, rolling
from seismolog.model.estimate import BASELINE, TERMS, Coefficient, Fit, Interval, fit, fixed
from seismolog.model.health import Absence, absences
from seismolog.model.paper import PAPER, message_coefficient, remote_domains
from seismolog.model.planning import Load, Plan, day_shape, plan
from seismolog.model.result import ServerModel, server_model

__all__ = [
    "BASELINE",
    "PAPER",
    "TERMS",
    "Absence",
    "CacheEfficiency",
    "Coefficient",
    "Coverage",
    "DeferralTest",
    "Drift",
    "Fit",
    "Interval",
    "Load",
    "ModelSeries",
    "Plan",
    "ServerModel",
    "absences",
    "cache_efficiency",
    "calculated",
    "day_shape",
    "deferral_test",
    "drift",
    "fit",
    "fixed",
    "message_coefficient",
    "plan",
    "remote_domains",
    "rolling",
    "series",
    "server_model",
]
