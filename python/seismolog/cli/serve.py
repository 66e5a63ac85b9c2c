"""``seismolog serve``: the daemon."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time


def serve(*, config: Path | None = None, state: Path | None = None, verbose: bool = False) -> int:
    """Count log lines as they come in: RELP, TCP, TLS, UDP, unix sockets, followed files, the journal.

    Runs in the foreground until SIGTERM, which drains. SIGHUP reads the configuration again. `seismolog integrate`
    prints what rsyslog, syslog-ng and systemd need.

    Parameters
    ----------
    config
        The site's configuration, as `seismolog init` writes it.
    state
        Folder of the write-ahead log and open bins, in place of [live] state.
    verbose
        Tell more.
    """
    from seismolog.config import load
    from seismolog.live.messages import set_up
    from seismolog.live.serve import Daemon
    from seismolog.live.settings import state_folder

    set_up(verbose)
    folder = state or state_folder(load(config))
    return Daemon(lambda: load(config), folder.absolute()).run()
