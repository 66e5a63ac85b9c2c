"""``seismolog integrate``: what rsyslog, syslog-ng or systemd need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from seismolog.cli.options import Output
from seismolog.errors import UsageError


def integrate(
    target: Literal["rsyslog", "syslog-ng", "systemd"],
    *,
    via: Literal["relp", "tcp", "omprog", "unix", "program"] | None = None,
    queue: Literal["memory", "disk", "none"] | None = None,
    config: Path | None = None,
    program: Annotated[str | None, Parameter(name="--program")] = None,
    output: Annotated[str, Output] = "-",
) -> int:
    """Print a ready file for this machine; its head says where it goes and how to check it.

    Parameters
    ----------
    target
        What the file is for.
    via
        How lines reach seismolog. rsyslog: relp (confirmed, the default), tcp, omprog (confirmed). syslog-ng: tcp
        (the default), unix, program.
    queue
        Where rsyslog keeps lines until seismolog has them: memory (the default; on disk while seismolog is away), disk
        (survives `kill -9` of rsyslog; a thousand lines a second), none (with --via omprog: senders wait until a line is
        on disk here).
    config
        The site's configuration: its [listen] says where to send.
    program
        Path of the program seismolog, if not the one that runs.
    output
        Where the file goes; - is standard output.
    """
    from seismolog.config import load
    from seismolog.integrate import Machine, render
    from seismolog.integrate.machine import closed_to_others

    machine = Machine.here(load(config), program=program)
    if target == "systemd" and (closed := closed_to_others(machine.program)) is not None:
        raise UsageError(
            f"the user that systemd runs it as may not enter {closed}, and so not start {machine.program}",
            mend="in the checkout: `make install` (as root) puts it into /opt/seismolog, with a link in /usr/local/bin; "
            "then run this again with that one (or name it with --program)",
        )
    text = render(target, machine, via, queue)
    if output == "-":
        print(text, end="")
        return 0
    path = Path(output)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the file cannot be written: {error.strerror}",
            file=path,
            mend="write it to standard output, or run as a user that may write there",
        ) from error
    return 0
