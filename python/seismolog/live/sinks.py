"""What else is done with closed bins while they come in: exporters and detectors.

A :class:`Sink` runs in threads of its own and reads through its own cursor
(:class:`~seismolog.live.closed.Cursor`), so a slow or dead one holds nobody up; the main loop only nudges it.
:data:`SINKS` names the makers: ``module:function``, called with the configuration, giving a sink or None where
the configuration does not want it. Adding one touches that list only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from seismolog.config import Config
    from seismolog.live.closed import ClosedBins
    from seismolog.store import Store

__all__ = ["SINKS", "Running", "Sink", "make_sinks"]

#: ``module:function`` of each maker.
SINKS: tuple[str, ...] = ("seismolog.sinks.influxdb.live:make", "seismolog.live.watch:make")


@dataclass(frozen=True)
class Running:
    """What a sink is given."""

    bins: ClosedBins
    #: A store of the sink's own (same folder): a store object is for one thread.
    store: Callable[[], Store]
    state: Path
    #: All numbers of the daemon, as /metrics shows them.
    metrics: Callable[[], Mapping[str, float]]
    #: The most frequent shapes of lines that no dialect knows, with how many there were since the start.
    shapes: Callable[[], Sequence[tuple[str, int]]] = tuple
    #: Waits, so many seconds at most, until what has closed is in the store.
    flush: Callable[[float], bool] = lambda _timeout: True


class Sink(Protocol):
    """Something that is done with closed bins."""

    @property
    def name(self) -> str:
        """A short word: the name of its cursor and of its metrics."""

    def start(self, running: Running) -> None:
        """Begin, in a thread of one's own; what is not reachable yet is no error."""

    def nudge(self, revisions: Sequence[int]) -> None:
        """Bins have closed (they are in the log), or, with [], were committed to the store. Returns at once."""

    def reload(self, config: Config) -> None:
        """Take new settings."""

    def metrics(self) -> Mapping[str, float]:
        """Numbers by their full name, labels included."""

    def stop(self, timeout: float) -> None:
        """Finish within that time, or leave it to the next start."""


def make_sinks(config: Config) -> list[Sink]:
    """The sinks that a configuration wants."""
    made = []
    for place in SINKS:
        module, _, function = place.partition(":")
        sink: Sink | None = getattr(import_module(module), function)(config)
        if sink is not None:
            made.append(sink)
    return made
