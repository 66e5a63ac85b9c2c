"""``seismolog count``: counts, and nothing but counts."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from seismolog.cli.options import Output, Paths, ReadOptions, SpanOptions, bin_length, path_words, words
from seismolog.errors import UsageError

Format = Literal["table", "csv", "json", "parquet"]


def count(
    *paths: Annotated[str, Paths],
    by: str | None = None,
    bin: str | None = None,
    format: Format = "table",
    output: Annotated[str | None, Output] = None,
    rule: Literal["paper"] | None = None,
    span: SpanOptions = SpanOptions(),  # noqa: B008 - frozen
    read: ReadOptions = ReadOptions(),  # noqa: B008
) -> int:
    """Count only, and print the counts.

    Parameters
    ----------
    paths
        Log files, folders or globs; - is standard input. Plain, gz, zst, xz and bz2.
    by
        What to tell apart, in this order: server, kind, client, qtype. Default: server,kind.
    bin
        Length of the time bins: 1m, 10m, 1h, 1d or another that divides a day; all for none. Default: all.
    format
        How to print.
    output
        Write to this file instead of printing.
    rule
        paper: exactly what the five grep pipelines of the 2003 study give.
    """
    from seismolog.progress import reading_progress
    from seismolog.report import counts

    given = path_words(paths)
    if format == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("parquet is not for a terminal", mend="add --output FILE, or redirect")
    reading = read.reading()
    if rule == "paper":
        if by or bin or span.since or span.until or span.server:
            raise UsageError(
                "--rule paper counts whole files as grep does",
                mend="leave out --by, --bin, --since, --until and --server",
            )
        from seismolog.pipeline import paper_counts

        with reading_progress() as progress:
            table = counts.paper_table(paper_counts(given, reading, progress))
        counts.write(table, format, output)
        return 0

    from seismolog.pipeline import count as count_paths

    columns = tuple(words(by if by is not None else "server,kind"))
    length = None if bin in (None, "all") else bin_length(bin)
    since, until = span.span(read.tz)
    with reading_progress() as progress:
        result = count_paths(
            given,
            reading,
            by=columns,
            bin=length,
            since=since,
            until=until,
            servers=span.server or (),
            progress=progress,
        )
    counts.write(result.table, format, output)
    from seismolog.cli.failures import report_failures

    return report_failures(result.failures, keep_going=read.keep_going)
