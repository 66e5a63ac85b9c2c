"""From paths to answers: one function for each command, the only place where the parts meet.

The order is that of the data: the counting core reads the files, the store keeps the counts, the model fits them,
and what comes out is an :class:`~seismolog.report.analysis.Analysis` that the views show. Nothing here parses
arguments or prints.

Every function loads what it needs when it is called. Counting by kind needs neither polars nor pydantic, which take
longer to load than a million lines take to count.

- :mod:`~.reading`    the configuration, the options of lines, the files
- :mod:`~.counts`     ``count`` without a store
- :mod:`~.lines`      ``explain``
- :mod:`~.tables`     the store that is opened, and sums over it
- :mod:`~.models`     models of mail servers, found or configured
- :mod:`~.inputs`     what was read
- :mod:`~.incidents`  detectors over a store, and their back-test
- :mod:`~.analysis`   ``analyze``, ``fit``, ``report``
- :mod:`~.planning`   ``init`` and ``plan``
"""

from __future__ import annotations

from seismolog.pipeline.analysis import analyze, fit, report
from seismolog.pipeline.counts import BY, CountResult, count, paper_counts
from seismolog.pipeline.incidents import BackTest, backtest, detect
from seismolog.pipeline.lines import explain, unmatched_shapes
from seismolog.pipeline.planning import PlannedLoad, SiteDraft, init, plan
from seismolog.pipeline.reading import Reading, configuration, line_options

__all__ = [
    "BY",
    "BackTest",
    "CountResult",
    "PlannedLoad",
    "Reading",
    "SiteDraft",
    "analyze",
    "backtest",
    "configuration",
    "count",
    "detect",
    "explain",
    "fit",
    "init",
    "line_options",
    "paper_counts",
    "plan",
    "report",
    "unmatched_shapes",
]
