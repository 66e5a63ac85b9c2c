"""The terminal view of a running daemon: two looks at /status.json, what happened between them, and a page.

:func:`summarize` makes the numbers (a pure function of two looks), :func:`page` draws them. The numbers are what
``seismolog top --once --format json`` prints; their names are stable.

Limits: a rate is that of the time between two looks.
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from seismolog.errors import ServiceError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["fetch", "page", "summarize", "watch"]

_LABELLED = re.compile(r'^(\w+)\{(\w+)="((?:[^"\\]|\\.)*)"')


def fetch(address: str, timeout: float = 5.0) -> dict[str, Any]:
    """/status.json of a daemon.

    Raises
    ------
    ServiceError
        Nobody answers there, or not a seismolog.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/status.json", timeout=timeout) as answer:
            found: dict[str, Any] = json.load(answer)
            if not isinstance(found, dict) or "numbers" not in found:
                raise ValueError("no status")
            return found
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ServiceError(
            f"no daemon answers on {address}: {reason}",
            mend="start it (`seismolog serve`, `systemctl start seismolog`), or name its [live] metrics with --address",
        ) from error
    except ValueError as error:
        raise ServiceError(
            f"what answers on {address} is no seismolog", mend="name its [live] metrics with --address"
        ) from error


def _labelled(numbers: Mapping[str, float], family: str) -> dict[str, float]:
    """Label value -> number, of one family."""
    found = {}
    for name, value in numbers.items():
        match = _LABELLED.match(name)
        if match and match[1] == family:
            found[match[3]] = value
    return found


def summarize(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, Any]:
    """What one look tells, and what happened since the look before (None: since the start)."""
    numbers: Mapping[str, float] = after["numbers"]
    seconds = after["time"] - (after["started"] if before is None else before["time"])
    earlier: dict[str, float] = {} if before is None else before["numbers"]

    def number(name: str) -> float:
        return float(numbers.get(name, 0))

    def rate(now: float, name: str) -> float:
        return round(float(max(0.0, now - earlier.get(name, 0)) / max(seconds, 1e-3)), 1)

    lines = number("seismolog_counted_lines_total")
    known = number("seismolog_matched_lines_total") + number("seismolog_ignored_lines_total")
    received = _labelled(numbers, "seismolog_received_lines_total")
    fills = _labelled(numbers, "seismolog_queue_bytes")
    bounds = _labelled(numbers, "seismolog_queue_bound_bytes")
    newest = number("seismolog_closed_revision")
    lost = ("seismolog_kernel_dropped_total", "seismolog_dropped_messages_total")
    return {
        "version": after["version"],
        "time": after["time"],
        "uptime_seconds": round(after["time"] - after["started"], 1),
        "healthy": after["healthy"],
        "troubles": list(after["troubles"]),
        "lines": int(lines),
        "lines_per_second": rate(lines, "seismolog_counted_lines_total"),
        "matched_share": round(number("seismolog_matched_lines_total") / lines, 4) if lines else None,
        "understood_share": round(known / lines, 4) if lines else None,
        "sources": [
            {
                "source": source,
                "lines": int(value),
                "lines_per_second": rate(value, f'seismolog_received_lines_total{{source="{source}"}}'),
            }
            for source, value in sorted(received.items())
        ],
        "lost": {
            name.removeprefix("seismolog_").removesuffix("_total"): int(
                sum(_labelled(numbers, name).values())
            )
            for name in lost
        },
        # Bounds of [limits]: every line is counted, but not in every table.
        "shed": {bound: int(n) for bound, n in sorted(_labelled(numbers, "seismolog_shed_total").items())},
        "queues": [
            {
                "queue": name,
                "bytes": int(value),
                "fill": round(value / bounds[name], 4) if bounds.get(name) else None,
            }
            for name, value in sorted(fills.items())
        ],
        "paused": bool(number("seismolog_paused")),
        "wal_bytes": int(number("seismolog_wal_bytes")),
        "open_bins": int(number("seismolog_open_bins")),
        "kept_bins": int(number("seismolog_kept_bins")),
        "closed_bins": int(number("seismolog_closed_bins_total")),
        "store_ok": bool(number("seismolog_store_ok")),
        "lag_seconds": {
            name.removeprefix("seismolog_").partition("_lag_seconds")[0]: value
            for name, value in sorted(numbers.items())
            if "_lag_seconds" in name
        },
        "behind_bytes": {
            reader: int(max(0, newest - position))
            for reader, position in sorted(_labelled(numbers, "seismolog_cursor_revision").items())
        },
        "memory_bytes": int(number("process_resident_memory_bytes")),
        "kinds": dict(after["top"].get("kinds") or {}),
        "distinct_clients": int(after["top"].get("distinct_clients") or 0),
        "clients": list(after["top"].get("clients") or []),
    }


def _size(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def page(summary: Mapping[str, Any], clients: int = 15) -> RenderableType:
    """The view, for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from seismolog.report.text import integer, visible

    state = Text("all is well", style="green") if summary["healthy"] else Text("trouble", style="bold red")
    head = Text.assemble(
        ("seismolog ", "bold"),
        f"{summary['version']}   up {_span(summary['uptime_seconds'])}   {_size(summary['memory_bytes'])}   ",
        state,
    )
    figures = Table.grid(padding=(0, 3))
    left = [
        ("lines/s", integer(summary["lines_per_second"])),
        ("lines", integer(summary["lines"])),
        ("matched", _share(summary["matched_share"])),
        ("understood", _share(summary["understood_share"])),
    ]
    middle = [
        ("open bins", integer(summary["open_bins"])),
        ("kept for late lines", integer(summary["kept_bins"])),
        ("closed", integer(summary["closed_bins"])),
        (
            "write-ahead log",
            _size(summary["wal_bytes"]) + (" (full: senders wait)" if summary["paused"] else ""),
        ),
    ]
    right = [(f"{q['queue']} queue", _share(q["fill"])) for q in summary["queues"]]
    right += [(f"{name} behind", f"{lag:.1f} s") for name, lag in summary["lag_seconds"].items()]
    right += [(name.replace("_", " "), integer(n)) for name, n in summary["lost"].items() if n]
    right += [(f"past limits.{bound}", integer(n)) for bound, n in summary["shed"].items() if n]
    for i in range(max(len(left), len(middle), len(right))):
        cells: list[Text] = []
        for column in (left, middle, right):
            name, value = column[i] if i < len(column) else ("", "")
            cells += [Text(visible(name), style="dim"), Text(visible(value), justify="right")]
        figures.add_row(*cells)
    parts: list[RenderableType] = [head, Text(), figures]
    parts += [Text(visible(t), style="red") for t in summary["troubles"]]
    if summary["sources"]:
        sources = Table(box=None, pad_edge=False, header_style="dim")
        sources.add_column("source")
        sources.add_column("lines/s", justify="right")
        sources.add_column("lines", justify="right")
        for one in summary["sources"]:
            sources.add_row(
                Text(visible(one["source"])), integer(one["lines_per_second"]), integer(one["lines"])
            )
        parts += [Text(), sources]
    busiest = Table(box=None, pad_edge=False, header_style="dim")
    busiest.add_column(f"clients now ({integer(summary['distinct_clients'])})")
    busiest.add_column("events", justify="right")
    busiest.add_column("of which")
    for client in summary["clients"][:clients]:
        kinds = sorted(client["kinds"].items(), key=lambda k: -k[1])
        busiest.add_row(
            Text(visible(client["client"] or "(no address)")),
            integer(client["total"]),
            Text(visible(", ".join(f"{k} {integer(n)}" for k, n in kinds[:3])), style="dim"),
        )
    return Group(*parts, Text(), busiest)


def _span(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} d"
    if minutes >= 120:
        return f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


def watch(address: str, interval: float, stopped: Callable[[], bool] = lambda: False) -> None:
    """Draw the view again and again, until Ctrl-C."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    before: dict[str, Any] | None = None
    console = Console()
    rows = max(3, console.height - 18)
    after = fetch(address)
    shown = page(summarize(None, after), rows)
    with Live(shown, console=console, screen=console.is_terminal, auto_refresh=False) as live:
        live.update(shown, refresh=True)
        while not stopped():
            time.sleep(interval)
            try:
                before, after = after, fetch(address)
                if before["started"] != after["started"]:
                    before = None
                shown = page(summarize(before, after), rows)
                live.update(shown, refresh=True)
            except ServiceError as error:
                # It is being restarted, perhaps: the last numbers stay, and it is tried again.
                live.update(Group(Text(error.message, style="bold red"), shown), refresh=True)
