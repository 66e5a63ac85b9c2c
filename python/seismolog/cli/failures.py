"""Files that could not be read to their end: named on stderr, and the exit status that they call for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seismolog.pipeline import Failure

__all__ = ["report_failures"]

EXIT_INPUT = 3


def report_failures(failures: Iterable[Failure], *, keep_going: bool) -> int:
    """Name each file, byte offset and reason on stderr; 3 if there was one, 0 under ``--keep-going``."""
    from seismolog.report.text import visible

    status = 0
    for failure in failures:
        status = 0 if keep_going else EXIT_INPUT
        print(
            f"seismolog: {visible(failure.path)}: byte {failure.offset}: {visible(failure.message)}; "
            f"what stood before it was counted",
            file=sys.stderr,
        )
    return status
