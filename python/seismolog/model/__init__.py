"""The traffic model: a mail server's DNS queries explained by its mail.

Pure functions of polars frames, in the order in which they are used:

- `series` puts the queries of a server's addresses beside its mail, bin by bin, where both logs cover;
- `fit` estimates what each kind of event costs in queries, with honest errors; `fixed` takes given coefficients;
- `deferral_test` asks whether deferred deliveries cause queries of their own.

Every formula and its source stands in docs/model.md. Nothing here imports scipy before it computes.
"""

from seismolog.model.assemble import ModelSeries, series
from seismolog.model.deferral import DeferralTest, deferral_test
from seismolog.model.estimate import Coefficient, Fit, Interval, fit, fixed
from seismolog.model.paper import PAPER, message_coefficient, remote_domains

__all__ = [
    "PAPER",
    "Coefficient",
    "DeferralTest",
    "Fit",
    "Interval",
    "ModelSeries",
    "deferral_test",
    "fit",
    "fixed",
    "message_coefficient",
    "remote_domains",
    "series",
]
