"""Progress of long reading, on a terminal and nowhere else.

:func:`reading_progress` gives the call-back that the counting core takes (bytes read, bytes in all, lines), or
``None`` where stderr is no terminal, so that a pipe or a cron job stays silent and the core does not even call.
The display shows bytes, lines a second and the time left; it appears after half a second, because most work is
over by then and drawing libraries take a while to load.

Limits: bytes are those of the files as they lie on disk (compressed); where their number is not known
(standard input), there is no time left to show.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress, TaskID

    ReadProgress = Callable[[int, int, int], None]

__all__ = ["reading_progress"]

QUIET_SECONDS = 0.5


class _Display:
    """The bar, made when it is first needed."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __call__(self, done: int, total: int, lines: int) -> None:
        elapsed = time.monotonic() - self.began
        if self.bar is None:
            if elapsed < QUIET_SECONDS:
                return
            self._open(total)
        assert self.bar is not None and self.task is not None
        self.bar.update(
            self.task, completed=done, total=total or None, rate=lines / max(elapsed, 1e-9), lines=lines
        )

    def _open(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            ProgressColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        from seismolog.report.text import integer

        class LinesColumn(ProgressColumn):
            """Lines a second since the start."""

            def render(self, task: Any) -> Text:
                return Text(f"{integer(task.fields['rate'])} lines/s")

        self.bar = Progress(
            BarColumn(bar_width=None),
            DownloadColumn(),
            LinesColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self.bar.start()
        self.task = self.bar.add_task("", total=total or None, rate=0.0, lines=0)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


@contextmanager
def reading_progress() -> Iterator[ReadProgress | None]:
    """A call-back for ``seismolog._core.scan(progress=…)``, or ``None`` where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    display = _Display()
    try:
        yield display
    finally:
        display.close()
