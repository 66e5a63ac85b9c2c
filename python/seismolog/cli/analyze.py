"""``seismolog analyze``: archived logs in, answers out."""

from __future__ import annotations

from typing import Annotated, Literal

from seismolog.cli.options import Output, Paths, ReadOptions, SpanOptions, bin_length, path_words


def analyze(
    *paths: Annotated[str, Paths],
    store: str | None = None,
    output: Annotated[str, Output] = "report.html",
    format: Literal["text", "json"] = "text",
    bin: str | None = None,
    fail_on: Literal["info", "warning", "critical"] | None = None,
    span: SpanOptions = SpanOptions(),  # noqa: B008 - frozen
    read: ReadOptions = ReadOptions(),  # noqa: B008
) -> int:
    """Read archived logs: series, model and report.html.

    Parameters
    ----------
    paths
        Log files, folders or globs; - is standard input. Plain, gz, zst, xz and bz2.
    store
        Folder or URL of the store that keeps what was counted; the one of --config, else a temporary one.
    output
        Where the report goes; - for none.
    format
        text: a summary. json: the whole analysis as one stable document on standard output.
    bin
        Length of the model's bins. Default: that of the config, 10m.
    fail_on
        Exit 1 if anything of at least this severity is found.
    """
    from seismolog.cli.show import conclude
    from seismolog.pipeline import analyze as analyze_paths
    from seismolog.progress import reading_progress

    given = path_words(paths)
    since, until = span.span(read.tz)
    length = bin_length(bin) if bin else None
    with reading_progress() as progress:
        analysis = analyze_paths(
            given,
            read.reading(),
            store=store,
            bin=length,
            since=since,
            until=until,
            servers=span.server or (),
            progress=progress,
        )
    return conclude(analysis, output=output, format=format, fail_on=fail_on, keep_going=read.keep_going)
