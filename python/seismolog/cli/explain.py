"""``seismolog explain``: how each line parses, or why it does not."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from seismolog.cli.options import Paths, ReadOptions


def explain(
    *files: Annotated[str, Paths],
    unmatched: Annotated[bool, Parameter(negative=())] = False,
    format: Literal["text", "json"] = "text",
    read: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
) -> int:
    """Show how each line parses: dialect, kind, client, server and time, or why not.

    Parameters
    ----------
    files
        Log files, folders or globs; - or nothing is standard input.
    unmatched
        Show only the lines that no dialect knows, grouped by shape, with counts and an example.
    format
        text for people, json for one object a line.
    """
    from seismolog.pipeline import explain as explain_lines
    from seismolog.pipeline import unmatched_shapes
    from seismolog.report import lines

    given = files or ("-",)
    if unmatched:
        lines.write_shapes(unmatched_shapes(given, read.reading()), format)
    else:
        lines.write_lines(explain_lines(given, read.reading()), format)
    return 0
