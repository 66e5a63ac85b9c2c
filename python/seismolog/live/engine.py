"""The engine as Python sees it: reception, write-ahead log, counting and the log of closed bins, all in Rust.

:class:`Engine` is what is asked of ``seismolog._core.Live``, as a protocol, so that a test can put another in
its place. Its threads run without the interpreter lock; Python only wakes in :meth:`Engine.wait`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

__all__ = ["Closed", "Engine", "EngineFactory", "core_engine"]


class Closed(Protocol):
    """Bins that closed, or that late lines changed, as absolute rows under one revision."""

    @property
    def revision(self) -> int:
        """Position in the write-ahead log up to which their lines were counted."""

    @property
    def servers(self) -> list[str]:
        """Server names; the column ``server`` holds positions in this list."""

    def tables(self) -> list[str]:
        """The tables that have rows."""

    def table(self, name: str, /) -> Any:
        """A table as an Arrow stream, laid out as those of a scan."""


class Engine(Protocol):
    """See ``seismolog._core.Live``."""

    def start(self) -> dict[str, Any]:
        """Replay the log, bind the listeners, begin; returns ``replayed_lines`` and ``seconds``."""

    def wait(self, timeout: float, /) -> list[int]:
        """Revisions newly in the log of closed bins, [] after `timeout` seconds."""

    def closed_after(self, revision: int, limit: int = 64) -> Sequence[Closed]:
        """Entries of the log of closed bins above a revision, rising."""

    def release(self, revision: int, /) -> None:
        """Entries up to this revision are not needed any more."""

    def metrics(self) -> dict[str, Any]:
        """Every counter and gauge by its name, labels included."""

    def unmatched_shapes(self) -> list[tuple[str, int]]:
        """The most frequent shapes of lines that no dialect knows, with how many there were."""

    def top(self, n: int, /) -> dict[str, Any]:
        """The busiest clients of the newest minutes."""

    def reload(self, intake: dict[str, Any], counting: dict[str, Any]) -> None:
        """Take new settings without losing a line; UsageError leaves the old ones."""

    def drain(self, timeout: float, /) -> Any:
        """Stop receiving, count what was received, close what is complete."""

    def ended(self) -> bool:
        """Whether every source has ended (standard input only)."""

    def stop(self) -> None:
        """End all threads."""

    def addresses(self) -> dict[str, str]:
        """Where the listeners are bound."""


EngineFactory = Callable[..., Engine]


def core_engine(directory: str, *, intake: dict[str, Any], counting: dict[str, Any]) -> Engine:
    """The engine of the core, loaded when it is first needed."""
    from seismolog import _core

    return _core.Live(directory, intake=intake, counting=counting)
