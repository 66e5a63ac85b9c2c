"""The daemon's own log: one line an event on stderr, with the priority that journald reads.

Under systemd stderr is a pipe to the journal, which takes ``<4>`` at the start of a line for its priority and
adds the time itself; on a terminal or in a file the line has time and level. What a line quotes from outside
is made harmless, for a log is read on a terminal too.
"""

from __future__ import annotations

import logging
import os
import sys

from seismolog.errors import escape

__all__ = ["set_up"]

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Formatter(logging.Formatter):
    def __init__(self, journal: bool) -> None:
        super().__init__(
            "%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        lines = escape(super().format(record)).splitlines() or [""]
        if not self._journal:
            return "\n".join([lines[0], *(f"    {line}" for line in lines[1:])])
        priority = _PRIORITIES.get(record.levelno, 5)
        return "\n".join(f"<{priority}>{line}" for line in lines)


def set_up(verbose: bool = False) -> None:
    """Send the package's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("JOURNAL_STREAM" in os.environ and not sys.stderr.isatty()))
    logger = logging.getLogger("seismolog")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
