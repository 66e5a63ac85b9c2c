"""``seismolog top``: what the daemon is doing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from seismolog.errors import UsageError


def top(
    *,
    address: str | None = None,
    interval: float = 2.0,
    once: bool = False,
    format: Literal["text", "json"] = "text",
    config: Path | None = None,
) -> int:
    """Show what the daemon is doing: lines a second, busiest clients, queues, sinks.

    Ctrl-C ends it.

    Parameters
    ----------
    address
        Address and port of the daemon's /metrics; by default [live] metrics.
    interval
        Seconds between two looks.
    once
        Two looks, one page, and done.
    format
        With --once: json prints the numbers as one stable document.
    config
        The site's configuration.
    """
    import json
    import time

    from seismolog.config import load
    from seismolog.live.top import fetch, page, summarize, watch

    if not 0.1 <= interval <= 3600:
        raise UsageError(f"--interval: {interval} cannot be used", expected="seconds from 0.1 to 3600")
    if format == "json" and not once:
        raise UsageError("--format json goes with --once", mend="add --once")
    where = address or load(config).live.metrics
    if where is None:
        raise UsageError(
            "the daemon has no metrics port",
            key="live.metrics",
            mend='set [live] metrics = "127.0.0.1:9514", or name it with --address',
        )
    if not once:
        try:
            watch(where, interval)
        except KeyboardInterrupt:
            return 0
        return 0
    before = fetch(where)
    time.sleep(interval)
    summary = summarize(before, fetch(where))
    if format == "json":
        print(json.dumps(summary, indent=2))
    else:
        from rich.console import Console

        Console().print(page(summary))
    return 0
