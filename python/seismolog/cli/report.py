"""``seismolog report``: the report again, from what the store holds."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import Annotated, Literal

from seismolog.cli.options import Output, SpanOptions, bin_length


def report(
    *,
    store: str | None = None,
    output: Annotated[str, Output] = "report.html",
    format: Literal["text", "json"] = "text",
    bin: str | None = None,
    tz: str | None = None,
    config: Path | None = None,
    fail_on: Literal["info", "warning", "critical"] | None = None,
    span: SpanOptions = SpanOptions(),  # noqa: B008 - frozen
) -> int:
    """Make the report again from the store, without reading a log.

    Parameters
    ----------
    store
        Folder or URL of the store; the one of --config without it.
    output
        Where the report goes; - for none.
    format
        text: a summary. json: the whole analysis as one stable document on standard output.
    bin
        Length of the model's bins. Default: that of the config, 10m.
    tz
        Time zone in which times are given and shown.
    config
        The site's configuration.
    fail_on
        Exit 1 if anything of at least this severity is found.
    """
    from seismolog.cli.show import conclude
    from seismolog.pipeline import Reading
    from seismolog.pipeline import report as report_store

    since, until = span.span(tz)
    analysis = report_store(
        Reading(timezone=tz, config=config),
        store=store,
        bin=bin_length(bin) if bin else None,
        since=since,
        until=until,
        servers=span.server or (),
    )
    return conclude(analysis, output=output, format=format, fail_on=fail_on, keep_going=False)
