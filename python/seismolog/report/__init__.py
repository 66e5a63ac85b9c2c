"""The report: one analysis, seen as a web page, on a terminal, or as JSON.

- :func:`build` gives the web page: one HTML file that needs neither network nor server
- :mod:`seismolog.report.terminal` prints the summary
- :mod:`seismolog.report.document` gives the JSON documents and the schemas they keep to
- :mod:`seismolog.report.findings` works out what stands out

Views read an :class:`~seismolog.report.analysis.Analysis` and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seismolog.report.analysis import Analysis

__all__ = ["build"]


def build(analysis: Analysis) -> str:
    """The report as one self-contained HTML document.

    Text that came out of logs, paths and errors is escaped everywhere; the page forbids itself every
    connection and every script but its own by a content security policy, so that an escape that was missed
    still could not run.
    """
    from seismolog.report.page import page

    return page(analysis)
