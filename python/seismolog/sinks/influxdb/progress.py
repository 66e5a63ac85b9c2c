"""Progress of an export, on a terminal and nowhere else: hours, points a second, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["export_progress"]


@contextmanager
def export_progress() -> Iterator[Callable[[int, int, int], None] | None]:
    """A call-back for :func:`seismolog.sinks.influxdb.backfill.export`, or None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from seismolog.report.text import integer

    began = time.monotonic()
    with Progress(
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("hours  {task.fields[points]} points  {task.fields[rate]} points/s"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None, points="0", rate="0")

        def tell(done: int, total: int, points: int) -> None:
            rate = points / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, total=total, points=integer(points), rate=integer(rate))

        yield tell
