"""How an analysis leaves the command line: report file, summary or JSON, and the exit status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from seismolog.errors import UsageError

if TYPE_CHECKING:
    from seismolog.report.analysis import Analysis, Severity

__all__ = ["conclude"]

EXIT_FOUND = 1


def conclude(
    analysis: Analysis, *, output: str, format: str, fail_on: Severity | None, keep_going: bool
) -> int:
    """Write the report, print the summary or the JSON document, and give the exit status.

    Input that could not be read (3) weighs more than something found (1).
    """
    from seismolog.cli.failures import report_failures

    target = None if output == "-" else Path(output)
    if target is not None:
        _write_report(analysis, target)
    if format == "json":
        from seismolog.report.document import analysis_json

        print(analysis_json(analysis))
    else:
        from seismolog.report.terminal import print_summary

        print_summary(analysis, target, sys.stdout)
    unread = report_failures(analysis.failures, keep_going=keep_going)
    if unread:
        return unread
    return EXIT_FOUND if fail_on and _found(analysis, fail_on) else 0


def _write_report(analysis: Analysis, target: Path) -> None:
    """The report beside its place first and then into it, so that a full disk leaves the old one."""
    from seismolog.report import build

    page = build(analysis)
    part = target.with_name(target.name + ".part")
    try:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(
            f"the report cannot be written: {error.strerror}",
            file=target,
            mend="name another place with --output",
        ) from error


def _found(analysis: Analysis, fail_on: Severity) -> bool:
    from seismolog.report.analysis import SEVERITIES

    least = SEVERITIES.index(fail_on)
    levels = [f.severity for f in analysis.findings] + [
        i.severity for i in analysis.incidents if i.suppressed is None
    ]
    return any(SEVERITIES.index(level) >= least for level in levels)
