"""How long the queries of each dashboard take on ninety days of data, against a real InfluxDB on this machine.

    .venv/bin/python -m bench.grafana                      all panels; prints a table in Markdown
    .venv/bin/python -m bench.grafana --days 90 --runs 11 --minutes 7
    .venv/bin/python -m bench.grafana --pictures docs/images

The bucket holds what the exporter wrote of a simulated campus (`tests/services/campus_store.py`): roll-ups of 10 minutes
and an hour for all the days, single minutes for the newest ones (before that a minute in ten), the daemon's numbers
every ten seconds. The queries are those of the
checked-in dashboards, their macros filled as Grafana fills them for a range of all the days, one after the other, over
HTTP.

What is compared with the limit is the processor time that influxd spends on a panel, from /proc: an upper bound of what
the panel takes where the machine does nothing else, and the same figure where it is busy. The time on the clock stands
beside it.

Limits: Linux. InfluxDB alone; Grafana's own time and the drawing are not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.services.campus_store import Campus, export_campus
from tests.services.influxd import build
from tests.services.influxd.server import Influxd
from tests.services.influxql_frames import View, frames

ROOT = Path(__file__).resolve().parents[1]
#: Clients that are compared.
PAIR = ["192.0.2.20", "198.51.100.4"]
LIMIT = 1.0
"""Seconds of processor time that the 95th percentile of a panel may take."""


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Panels with queries."""
    for row in board["panels"]:
        for panel in (row, *row.get("panels", ())):
            if panel.get("targets"):
                yield panel


def ask(server: Influxd, query: str) -> dict[str, Any]:
    """One InfluxQL query as the data source sends it."""
    text = urlencode({"db": server.bucket, "q": query, "epoch": "ms"})
    answer: dict[str, Any] = json.loads(server.request("GET", f"/query?{text}"))
    return answer


def spent(server: Influxd) -> float:
    """Seconds of processor time that influxd has used."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(server: Influxd, view: View, panel: dict[str, Any], runs: int) -> tuple[float, float, int]:
    """95th percentiles of processor time and of time on the clock, and rows of the answer."""
    worked, took, rows = [], [], 0
    for _ in range(runs):
        rows, before, begun = 0, spent(server), time.perf_counter()
        for target in panel["targets"]:
            answer = ask(server, view.fill(target["query"], panel))
            rows += sum(len(next(iter(f.columns.values()))) for f in frames(answer, target))
        took.append(time.perf_counter() - begun)
        worked.append(spent(server) - before)
    return p95(worked), p95(took), rows


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def boards() -> dict[str, dict[str, Any]]:
    """The checked-in dashboards."""
    return {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "grafana/dashboards").glob("*.json"))}


def table(server: Influxd, end: datetime, days: float, runs: int) -> list[str]:
    """The table, and a line that says which panels are slower than they may be."""
    stop = int(end.timestamp() * 1000)
    lines = [
        "| dashboard | panel | bins of 1 h: processor, clock | rows | bins of 10 min: processor, clock | rows |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    slow = []
    for name, board in boards().items():
        for panel in panels(board):
            cells = []
            for bin_ in ("traffic_1h", "traffic_10m"):
                chosen = {"bin": bin_, "client": PAIR}
                view = View(board, stop - int(days * 86_400_000), stop, chosen)
                worked, took, rows = measure(server, view, panel, runs)
                cells += [f"{worked:.2f} s, {took:.2f} s", f"{rows:,}"]
                if worked > LIMIT:
                    slow.append(f"{name}: {panel['title']} ({bin_}): {worked:.2f} s")
            lines.append(
                f"| {name} | {panel['title'].replace('${bin:text}', 'a bin')} | {' | '.join(cells)} |"
            )
    lines += ["", f"Slower than {LIMIT:g} s: {'; '.join(slow) or 'none'}."]
    return lines


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--days", type=float, default=90)
    parser.add_argument("--minutes", type=float, default=7, help="days that single minutes are held for")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument(
        "--pictures", type=Path, help="draw a picture of each dashboard into this folder instead"
    )
    arguments = parser.parse_args()
    binary = build.binary()
    if binary is None:
        print(build.HOW_TO_GET, file=sys.stderr)
        return 2
    end = datetime.now(UTC)
    campus = Campus(end, arguments.minutes, arguments.days, timedelta(seconds=10))
    if arguments.pictures:
        campus = Campus(end, 1.0, 9.0, timedelta(minutes=1), "trouble")
    with tempfile.TemporaryDirectory() as folder:
        server = Influxd(binary, Path(folder) / "influxd")
        server.start()
        try:
            if arguments.pictures:
                from bench.grafana_pictures import draw

                export_campus(server, server.bucket, campus, Path(folder))
                draw(boards(), lambda query: ask(server, query), end, arguments.pictures)
                return 0
            begun = time.perf_counter()
            _, done = export_campus(server, server.bucket, campus, Path(folder))
            print(
                f"{done.points:,} points and the daemon's numbers written in {time.perf_counter() - begun:.0f} s",
                file=sys.stderr,
            )
            print("\n".join(table(server, end, arguments.days, arguments.runs)))
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
