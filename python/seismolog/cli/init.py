"""``seismolog init``: look at logs and write a site.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seismolog.cli.options import Output, Paths, ReadOptions, path_words
from seismolog.errors import UsageError


def init(
    *paths: Annotated[str, Paths],
    output: Annotated[str, Output] = "-",
    force: Annotated[bool, Parameter(negative=())] = False,
    read: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
) -> int:
    """Look at logs and write a site.toml: servers, roles, and which DNS client is which mail server.

    Parameters
    ----------
    paths
        Log files, folders or globs. Name DNS and mail logs of the same days together.
    output
        Where the configuration goes; - prints it.
    force
        Replace a file that is there already.
    """
    from seismolog.pipeline import init as init_site
    from seismolog.progress import reading_progress

    given = path_words(paths)
    target = None if output == "-" else Path(output)
    if target is not None and target.exists() and not force:
        raise UsageError("the file is there already", file=target, mend="name another, or add --force")
    with reading_progress() as progress:
        found = init_site(given, read.reading(), progress=progress)
    if target is None:
        sys.stdout.write(found.toml)
    else:
        try:
            target.write_text(found.toml, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", file=target) from error
        print(f"wrote {target}")
    from seismolog.cli.failures import report_failures
    from seismolog.report.text import visible

    for note in found.notes:
        print(f"# {visible(note)}", file=sys.stderr)
    return report_failures(found.failures, keep_going=read.keep_going)
