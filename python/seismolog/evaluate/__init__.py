"""Detectors against worlds whose truth is known: precision, recall, delay, false incidents.

- :mod:`~.trial`       one world: its past, a clean day, days with incidents; what the detectors see; a result file
- :mod:`~.matching`    which incident is of which truth
- :mod:`~.intervals`   exact intervals of shares and rates
- :mod:`~.summary`     results of many worlds as one table
- :mod:`~.page`        the same as an HTML page with curves, and as the table of docs/evaluation.md
- :mod:`~.run`         many worlds, one after the other or where the last run ended
"""

from __future__ import annotations

from seismolog.evaluate.run import evaluate
from seismolog.evaluate.summary import Summary, summarize
from seismolog.evaluate.trial import Plan, trial

__all__ = ["Plan", "Summary", "evaluate", "summarize", "trial"]
