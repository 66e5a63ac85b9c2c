"""The real daemon with the real InfluxDB: lines in over TCP, points out, whatever is killed between."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest
import yaml

from seismolog.sinks.grafana.measurements import MEASUREMENTS
from seismolog.sinks.influxdb.measurements import CLIENT_TRAFFIC, TRAFFIC
from seismolog.store import Store, combine
from seismolog.store.schema import TABLES
from tests.lab.live.lines import Line, site
from tests.lab.live.serving import Serving, serving
from tests.services.influx_world import said
from tests.services.influxd.fixtures import Bucket
from tests.services.influxd.server import Influxd
from tests.services.influxql_frames import judge

pytestmark = [pytest.mark.service, pytest.mark.slow]


def section(bucket: Bucket, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / "token"
    token.write_text(bucket.server.token)
    return (
        f'[influxdb]\nurl = "{bucket.server.url}"\norg = "{bucket.server.org}"\nbucket = "{bucket.name}"\n'
        f'token_file = "{token}"\nclients_per_hour = 5\ninstance = "lab"\nretry_longest = "1s"\ntimeout = "2s"\n'
    )


#: Columns of a row that are no fields.
BESIDE = {"time", "instance"}
RULES = {
    rule["uid"].removeprefix("seismolog-"): rule
    for group in yaml.safe_load(
        (Path(__file__).parents[2] / "grafana/provisioning/alerting/rules.yaml").read_text()
    )["groups"]
    for rule in group["rules"]
}


def answer(bucket: Bucket, query: str) -> dict[str, Any]:
    """InfluxDB's answer as Grafana's data source asks for it."""
    text = urlencode({"db": bucket.name, "q": query, "epoch": "ms"})
    return json.loads(bucket.server.request("GET", f"/query?{text}"))


def send(daemon: Serving, lines: list[Line]) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port("tcp"))) as connection:
        connection.sendall("".join(line.rfc3164() + "\n" for line in lines).encode())


def until(condition: Callable[[], bool], daemon: Serving, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, daemon.said
        time.sleep(0.3)


def counted(daemon: Serving) -> int:
    rows = daemon.rows("traffic")
    return int(rows["count"].sum()) if rows.height else 0


def stored(folder: Path, width: int, name: str, over: datetime | None = None) -> pl.DataFrame:
    """Rows of the store in bins of so many minutes; those of longer bins that ended before `over`."""
    frame = Store(folder / "store").read(name).collect()
    frame = frame.with_columns(pl.col("bin_start").dt.truncate(f"{width}m"))
    if over is not None and width > 1:
        frame = frame.filter(pl.col("bin_start") + timedelta(minutes=width) <= over)
    return combine(frame, TABLES[name])


def written(bucket: Bucket, measurement: str, width: int, over: datetime | None) -> list[dict[str, Any]]:
    """Points; those of longer bins that ended before `over`."""
    rows = said(bucket, measurement)
    if over is None or width == 1:
        return rows
    return [r for r in rows if r["time"] + 60 * width <= over.timestamp()]


def same_traffic(bucket: Bucket, folder: Path, over: datetime | None = None) -> bool:
    for suffix, width in (("", 1), ("_10m", 10), ("_1h", 60)):
        frame = stored(folder, width, "traffic", over)
        want = {
            (
                int(r["bin_start"].timestamp()),
                r["server"],
                r["kind"],
                r["query_type"] or "none",
                r["side"] or "none",
            ): [r[f] for f in TRAFFIC.fields]
            for r in frame.iter_rows(named=True)
        }
        found = {
            tuple(r[t] for t in ("time", "server", "kind", "query_type", "side")): [
                r.get(f) for f in TRAFFIC.fields
            ]
            for r in written(bucket, f"traffic{suffix}", width, over)
        }
        if found.keys() != want.keys() or any(not _close(found[k], want[k]) for k in want):
            return False
    return True


def same_clients(bucket: Bucket, folder: Path, over: datetime | None = None) -> bool:
    for suffix, width in (("", 1), ("_10m", 10), ("_1h", 60)):
        frame = stored(folder, width, "client_traffic", over)
        want = {
            (int(r["bin_start"].timestamp()), r["server"], r["kind"], r["client"]): [
                r[f] if f == "count" or r["kind"].startswith("dns_") else None for f in CLIENT_TRAFFIC.fields
            ]
            for r in frame.iter_rows(named=True)
        }
        totals: dict[tuple[Any, ...], int] = {}
        for (at, server, kind, _), fields in want.items():
            totals[at, server, kind] = totals.get((at, server, kind), 0) + fields[0]
        sums: dict[tuple[Any, ...], int] = {}
        for r in written(bucket, f"client_traffic{suffix}", width, over):
            key = (r["time"], r["server"], r["kind"])
            sums[key] = sums.get(key, 0) + r["count"]
            if r["client"] != "other" and want.get((*key, r["client"])) != [
                r[f] for f in CLIENT_TRAFFIC.fields
            ]:
                return False
        if sums != totals:
            return False
    return True


def _close(found: list[Any], want: list[Any]) -> bool:
    return all(w is None or (f is not None and abs(f - w) < 1e-9) for f, w in zip(found, want, strict=True))


def test_lines_become_points_whatever_is_killed(own_influxd: Influxd, tmp_path: Path) -> None:
    bucket = Bucket(own_influxd, own_influxd.bucket, "")
    root = tmp_path / "daemon"
    lines = site(5, minutes=70, lines=4000)
    parts = [lines[:1500], lines[1500:2500], lines[2500:3400], lines[3400:]]
    listen = {"lateness": "1s"}
    with serving(root, listen, section(bucket, root)) as daemon:
        send(daemon, parts[0])
        until(lambda: counted(daemon) > 0 and bool(said(bucket, "traffic")), daemon)
        own_influxd.stop(kill=True)
        send(daemon, parts[1])
        before = counted(daemon)
        until(lambda: counted(daemon) > before, daemon)
        daemon.kill()
        daemon.start()
        send(daemon, parts[2])
        own_influxd.start()
        send(daemon, parts[3])
        # An hour is over five minutes after its end: what waits for that is asked for below.
        until(
            lambda: daemon.metrics()["seismolog_influxdb_lag_seconds"] == 0 and counted(daemon) > before,
            daemon,
        )
        assert daemon.metrics()["seismolog_influxdb_refused_points_total"] == 0
        # Our own numbers.
        until(lambda: bool(said(bucket, "pipeline")), daemon)
        (numbers,) = said(bucket, "pipeline")[-1:]
        assert numbers["instance"] == "lab" and numbers["lines"] > 0 and numbers["wal_bytes"] > 0
        # All that the dashboards ask for.
        fields = set(MEASUREMENTS["pipeline"].fields)
        until(
            lambda: fields == {n for r in said(bucket, "pipeline") for n in r if r[n] is not None} - BESIDE,
            daemon,
        )
        # And what it does not understand.
        unknown = f"<30>{datetime.now(UTC):%b %e %H:%M:%S} host backup[7]: copied 12 files to 192.0.2.9\n"
        with socket.create_connection(("127.0.0.1", daemon.port("tcp"))) as connection:
            connection.sendall(unknown.encode() * 3)
        until(lambda: bool(said(bucket, "unmatched_shape")), daemon)
        shapes = {r["shape"] for r in said(bucket, "unmatched_shape")}
        assert "backup: copied # files to ADDR" in shapes, shapes
        assert daemon.stop() == 0
    from seismolog.config import load
    from seismolog.sinks.influxdb.backfill import export

    # The daemon drained: its last bins are in the store, and in InfluxDB, less the roll-ups that are not over.
    minutes = {(r["time"], r["server"], r["kind"]) for r in said(bucket, "traffic")}
    want = stored(root, 1, "traffic")
    keys = {(int(r["bin_start"].timestamp()), r["server"], r["kind"]) for r in want.iter_rows(named=True)}
    assert minutes == keys
    done = export(load(daemon.config), str(root / "store"), root / "state", patience=30)
    assert done.written.refused == 0
    assert same_traffic(bucket, root)
    assert same_clients(bucket, root)


def test_lines_that_come_hours_late_come_through(influx_bucket: Bucket, tmp_path: Path) -> None:
    """Their bins have been let go, so they are counted in late sets: sources of their own, which are added."""
    root = tmp_path / "daemon"
    lines = site(7, minutes=300, lines=6000)
    over = datetime.now(UTC) - timedelta(minutes=6)
    late = [line for line in lines if line.time < lines[-1].time - timedelta(minutes=100)]
    random.Random(2).shuffle(late)
    first, second = late[:800], late[800:1600]
    held = {id(line) for line in (*first, *second)}
    with serving(root, {"lateness": "1s"}, section(influx_bucket, root), revise_interval="1s") as daemon:
        *most, last = [line for line in lines if id(line) not in held]
        send(daemon, most)
        until(lambda: counted(daemon) > 3000 and same_traffic(influx_bucket, root, over), daemon)
        # Bins are let go when lines come in a later minute.
        minute = datetime.now(UTC).minute
        until(lambda: datetime.now(UTC).minute != minute, daemon)
        send(daemon, [last])
        before = counted(daemon)
        send(daemon, first)
        until(lambda: counted(daemon) >= before + 400, daemon)
        daemon.kill()
        daemon.start()
        send(daemon, second)
        until(lambda: counted(daemon) >= before + 1200, daemon)
        sources = Store(root / "store").sources()
        assert any("~" in name for name in sources), sorted(sources)

        # Nobody exports: what the daemon wrote is what the store has, in bins of every length that are over.
        def equal() -> bool:
            return same_traffic(influx_bucket, root, over) and same_clients(influx_bucket, root, over)

        until(equal, daemon, 60)
        # A daemon that was killed and came back is no reason for an alert.
        for name in ("no-lines", "unmatched-lines", "export-lag", "export-errors", "lines-shed"):
            verdict = judge(RULES[name], lambda query: answer(influx_bucket, query))
            assert verdict.state == "Normal", (name, verdict)
