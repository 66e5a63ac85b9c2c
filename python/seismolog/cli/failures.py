"""What could not be read: named on stderr, and the exit status that it calls for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from seismolog.report.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seismolog.errors import SeismologError

__all__ = ["report_failures"]


def report_failures(failures: Iterable[SeismologError], *, keep_going: bool) -> int:
    """Name each file, byte offset and reason on stderr; the gravest status, or 0 under ``--keep-going``."""
    status = 0
    for failure in failures:
        status = max(status, failure.exit_code)
        print(
            "seismolog: " + "\n".join(visible(line) for line in failure.render().splitlines()),
            file=sys.stderr,
        )
    return 0 if keep_going else status
