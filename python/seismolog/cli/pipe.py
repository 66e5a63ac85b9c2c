"""``seismolog pipe``: the daemon as a child of rsyslog or syslog-ng."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import Literal


def pipe(
    *,
    confirm: Literal["none", "lines", "transactions"] = "none",
    config: Path | None = None,
    state: Path | None = None,
    metrics: str | None = None,
    verbose: bool = False,
) -> int:
    """Count log lines from standard input: rsyslog's omprog, syslog-ng's program().

    Parameters
    ----------
    confirm
        What the parent waits for on standard output. none: nothing. lines: omprog with confirmMessages="on".
        transactions: with useTransactions="on" as well.
    config
        The site's configuration.
    state
        Folder of the write-ahead log and open bins; by default `pipe` beside that of `serve`.
    metrics
        Address and port for /metrics, such as 127.0.0.1:9515; none by default.
    verbose
        Tell more, on standard error.
    """
    from seismolog.config import load
    from seismolog.live.messages import set_up
    from seismolog.live.pipe import Protocol, pipe_daemon

    set_up(verbose)
    protocols: dict[str, Protocol] = {"none": "plain", "lines": "confirm", "transactions": "transactions"}
    folder = None if state is None else state.absolute()
    return pipe_daemon(lambda: load(config), protocols[confirm], state=folder, metrics=metrics).run()
