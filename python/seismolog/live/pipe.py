"""``seismolog pipe``: the daemon as a child of rsyslog (omprog) or syslog-ng (``program()``).

Lines come over standard input, counted as those of ``serve`` are, into a state folder of its own. The parent
starts, kills and restarts it as it likes: what was logged is replayed, and the next process waits a moment for the
folder's lock if the last one has not quite ended.

Standard output belongs to the protocol: with ``confirm`` the engine writes ``OK`` for every line, with
``transactions`` one for each transaction, once its lines are on disk. Nothing else may be written there.

Limits: without confirmation rsyslog takes a line for delivered when it is in the pipe; what stands there when
this process is killed is lost, as with every program that is fed so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seismolog.live.engine import EngineFactory, core_engine
from seismolog.live.serve import Daemon
from seismolog.live.settings import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from seismolog.config import Config

__all__ = ["Protocol", "pipe_daemon"]

Protocol = Literal["plain", "confirm", "transactions"]


def pipe_daemon(
    load: Callable[[], Config],
    protocol: Protocol,
    *,
    state: Path | None = None,
    metrics: str | None = None,
    factory: EngineFactory = core_engine,
) -> Daemon:
    """A daemon that reads standard input only.

    Parameters
    ----------
    protocol
        What the parent expects on standard output.
    state
        Folder of the state; by default `pipe` beside that of ``serve``, so that both can run.
    metrics
        Where to listen for /metrics; nowhere by default, since ``serve`` may be there.
    """
    if metrics is not None:
        metrics = _checked(metrics)

    def loaded() -> Config:
        config = load()
        live = config.live.model_copy(update={"metrics": metrics})
        copied = config.model_copy(update={"live": live})
        copied._file = config._file
        return copied

    folder = state or state_folder(load()).with_name("pipe")
    return Daemon(
        loaded,
        folder,
        only=({"stdin": {"protocol": protocol}},),
        metrics=metrics is not None,
        factory=factory,
    )


def _checked(listener: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from seismolog.config.values import Listener
    from seismolog.errors import UsageError

    try:
        checked: str = TypeAdapter(Listener).validate_python(listener)
    except ValidationError:
        raise UsageError(
            f"--metrics: {listener!r} cannot be used",
            expected='an address and a port, such as "127.0.0.1:9515"',
        ) from None
    return checked
