"""``seismolog fit``: the traffic model of each mail server."""

from __future__ import annotations

from typing import Annotated, Literal

from seismolog.cli.options import Paths, ReadOptions, SpanOptions, bin_length


def fit(
    *paths: Annotated[str, Paths],
    store: str | None = None,
    bin: str | None = None,
    format: Literal["text", "json"] = "text",
    span: SpanOptions = SpanOptions(),  # noqa: B008 - frozen
    read: ReadOptions = ReadOptions(),  # noqa: B008
) -> int:
    """Fit the traffic model of each mail server, on the store or on logs.

    Parameters
    ----------
    paths
        Log files to read first; without any, what the store holds is fitted.
    store
        Folder or URL of the store; the one of --config, else a temporary one.
    bin
        Length of the model's bins. Default: that of the config, 10m.
    format
        text or json.
    """
    import sys

    from seismolog.cli.failures import report_failures
    from seismolog.pipeline import fit as fit_models
    from seismolog.progress import reading_progress

    since, until = span.span(read.tz)
    with reading_progress() as progress:
        analysis = fit_models(
            list(paths),
            read.reading(),
            store=store,
            bin=bin_length(bin) if bin else None,
            since=since,
            until=until,
            servers=span.server or (),
            progress=progress,
        )
    if format == "json":
        from seismolog.report.document import models_json

        print(models_json(analysis))
    else:
        from seismolog.report.terminal import print_models

        print_models(analysis, sys.stdout)
    return report_failures(analysis.failures, keep_going=read.keep_going)
