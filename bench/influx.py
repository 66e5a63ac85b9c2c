"""Measure the exporter to InfluxDB against the real one: `python -m bench.influx` prints four rows.

    python -m bench.influx                     two hours of a campus of 20,000 clients (10 million queries a day)
    python -m bench.influx --hours 24          the whole day
    python -m bench.influx --campus 5          five days of the simulated campus of 20,000 clients: queries, mail, firewall

- *line protocol*   points a second from Arrow to bytes, on one core
- *end to end*      `seismolog export`'s writer through `influxdb-client`, as a share of a plain HTTP connection that
                    sends the same bytes in the same run (alternating, medians)
- *backfill*        the whole way from the store, and what a year of this site would take by it: on the clock, and by the
                    processor time of both, which says it also where the machine has other work
- *live*            processor time of the exporter a minute of the site, and how long after a bin closed it can be read

The server runs on the same machine and shares its cores, as the figures of the issue were taken.

Limits: needs `make influxd`. The year is an estimate from the slice: hours of the same load, 8,760 of them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import resource
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from seismolog.archive import ScanOptions, analyze_into_store
from seismolog.config import Config
from seismolog.sinks.influxdb.backfill import export
from seismolog.sinks.influxdb.changes import covered_hours
from seismolog.sinks.influxdb.current import StoreHours
from seismolog.sinks.influxdb.hours import HourWriter, bins_of
from seismolog.sinks.influxdb.ledger import Ledger
from seismolog.sinks.influxdb.measurements import CLIENT_TRAFFIC, TRAFFIC, render
from seismolog.sinks.influxdb.refused import Aside
from seismolog.sinks.influxdb.target import Target, target_of
from seismolog.sinks.influxdb.writer import Writer
from seismolog.store import SourceEntry, Store
from tests.services.influxd import build
from tests.services.influxd.server import Influxd

from .grafana import spent
from .inputs import FULL_DNS, Inputs, build_programs, default_folder
from .measure import machine, middle

CLIENTS_PER_HOUR = 50


@dataclass
class Figure:
    """One row."""

    work: str
    value: str
    target: str
    met: bool | None


def say(text: str) -> None:
    """What is going on, on stderr."""
    print(text, file=sys.stderr, flush=True)


def made_store(folder: Path, log: Path) -> Store:
    """The store of one log, made once."""
    store = Store(folder / f"store-{log.name}-{log.stat().st_size}")
    if not store.sources():
        say("counting the log into a store")
        analyze_into_store([str(log)], ScanOptions(default_server="1dns", inside=["10.0.0.0/8"]), store)
    return store


def campus_store(folder: Path, days: int) -> Store:
    """The store of days of the simulated campus, made once."""
    from seismolog.simulate import campus

    store = Store(folder / f"store-campus-{days}")
    if not store.sources():
        world = campus.World(seed=1, clients=20_000)
        for day in range(days):
            say(f"counting day {day + 1} of the campus into a store")
            tables = campus.count(world.day(day))
            entry = SourceEntry(source=f"day{day}", generation=0, head_hash=f"{day}", full_hash=f"{day}")
            with store.writer() as writer:
                source = pl.lit(0, dtype=pl.UInt32).alias("source")
                wanted = ("traffic", "client_traffic")
                writer.add({name: tables[name].with_columns(source) for name in wanted}, [entry])
                writer.commit()
    return store


def config_of(server: Influxd, folder: Path, bucket: str) -> Config:
    """A configuration that names the server."""
    token = folder / "token"
    token.write_text(server.token)
    section = {
        "url": server.url,
        "org": server.org,
        "bucket": bucket,
        "token_file": str(token),
        "clients_per_hour": CLIENTS_PER_HOUR,
    }
    return Config.model_validate({"influxdb": section})


def line_protocol(store: Store) -> Figure:
    """Points a second, both tables, rendered as they are sent."""
    best: dict[str, float] = {}
    for measurement, table in ((CLIENT_TRAFFIC, "client_traffic"), (TRAFFIC, "traffic")):
        frame = (
            store.read(table)
            .select("bin_start", *measurement.tags, *measurement.fields)
            .head(300_000)
            .collect()
        )
        frame = frame.with_columns(pl.col(n).cast(t) for n, t in measurement.fields.items()).rechunk()
        times = []
        for _ in range(5):
            # Processor time: what others do on this machine meanwhile costs no points.
            start = time.process_time()
            render(frame, measurement, 10_000)
            times.append(time.process_time() - start)
        best[table] = frame.height / min(times) / 1e6
    text = ", ".join(f"{n} {v:.1f}" for n, v in best.items())
    return Figure("line protocol, M points/s on one core", text, "≥ 5", min(best.values()) >= 5)


def texts_of(store: Store, folder: Path) -> list[bytes]:
    """What an hour of the store is sent as."""
    ledger = Ledger(folder / "texts.sqlite")
    making = HourWriter(ledger, per_hour=5_000)
    hour = sorted(covered_hours(store.sources().values()))[:1]
    made = making.prepare_hours(StoreHours(store.snapshot(["traffic", "client_traffic"])), hour)
    ledger.close()
    return made.texts


def raw(server: Influxd, bucket: str, texts: list[bytes]) -> float:
    """Seconds that a plain connection takes to send these."""
    query = urllib.parse.urlencode({"org": server.org, "bucket": bucket, "precision": "s"})
    headers = {"Authorization": f"Token {server.token}", "Content-Type": "text/plain; charset=utf-8"}
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for text in texts:
        connection.request("POST", f"/api/v2/write?{query}", text, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 204:
            raise RuntimeError(f"status {answer.status}")
    connection.close()
    return time.perf_counter() - start


def end_to_end(store: Store, server: Influxd, folder: Path, rounds: int) -> Figure:
    """Through the client, against a plain connection, the same bytes by turns."""
    texts = texts_of(store, folder)
    points = sum(t.count(b"\n") for t in texts)
    ours: list[float] = []
    theirs: list[float] = []
    for at in range(rounds):
        # Fresh buckets: neither finds the other's series there.
        for name, found in ((f"raw{at}", theirs), (f"ours{at}", ours)):
            server.make_bucket(name)
            if found is theirs:
                found.append(raw(server, name, texts))
                continue
            target = Target(server.url, server.org, name, server.token)
            writer = Writer(target, Aside(folder / "refused.lp", 1 << 20))
            start = time.perf_counter()
            writer.write(texts)
            found.append(time.perf_counter() - start)
            writer.close()
    share = middle(theirs) / middle(ours)
    text = f"{share:.2f} × ({points / middle(ours):,.0f} and {points / middle(theirs):,.0f} points/s)"
    return Figure("end to end, share of raw HTTP", text, "≥ 0.95", share >= 0.95)


def backfill(store: Store, server: Influxd, folder: Path) -> Figure:
    """The whole way out of the store."""
    server.make_bucket("backfill")
    hours = len(covered_hours(store.sources().values()))
    before, theirs = resource.getrusage(resource.RUSAGE_SELF), spent(server)
    done = export(config_of(server, folder, "backfill"), store.url, folder / "state", patience=60)
    after = resource.getrusage(resource.RUSAGE_SELF)
    ours = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    theirs = spent(server) - theirs
    year = 8760 / hours / 60
    cores = (ours + theirs) / 2 * year
    text = (
        f"{done.points:,} points of {hours} h in {done.seconds:.1f} s, processor {ours:.1f} s and {theirs:.1f} s; "
        f"a year: {done.seconds * year:.1f} min, of two cores {cores:.1f} min"
    )
    return Figure("backfill", text, "a year ≤ 15 min", cores <= 15)


def live(store: Store, server: Influxd, folder: Path, minutes: int) -> list[Figure]:
    """The exporter's share of a core when each minute closes, and the wait until it can be read."""
    server.make_bucket("live")
    target = target_of(config_of(server, folder, "live"))
    ledger = Ledger(folder / "live.sqlite")
    writer = Writer(target, Aside(folder / "refused.lp", 1 << 20))
    making = HourWriter(ledger, per_hour=CLIENTS_PER_HOUR)
    first = min(covered_hours(store.sources().values()))
    kept = Kept(store, first, first + timedelta(hours=1))
    waits: list[float] = []
    start = time.process_time()
    for minute in range(minutes):
        began = time.perf_counter()
        when = first + timedelta(minutes=minute)
        until = when + timedelta(minutes=1)
        seen = kept.up_to(until)
        bins = bins_of(seen.traffic.filter(pl.col("bin_start") == when))
        made = making.prepare_bins(seen, bins, until)
        made.send(writer)
        making.settle(made)
        query = f"select count from traffic where time = {int(when.timestamp())}s"
        rows = server.influxql(query, "live")
        waits.append(time.perf_counter() - began)
        if not rows:
            raise RuntimeError(f"{when} cannot be read back")
    share = (time.process_time() - start) / (60 * minutes)
    ledger.close()
    waits.sort()
    return [
        Figure("live, share of a core", f"{share:.1%}", "≤ 5 %", share <= 0.05),
        Figure(
            "live, a bin can be read after",
            f"{middle(waits):.2f} s, at most {waits[-1]:.2f} s",
            "≤ 2 s",
            waits[-1] <= 2,
        ),
    ]


class Kept:
    """An hour of the store in memory, as the daemon keeps it, cut at the present."""

    def __init__(self, store: Store, since: datetime, until: datetime) -> None:
        self.traffic, self.clients = StoreHours(store.snapshot(["traffic", "client_traffic"])).rows(
            since, until
        )

    def up_to(self, until: datetime) -> Kept:
        """The same, before a moment."""
        other = Kept.__new__(Kept)
        before = pl.col("bin_start") < until
        other.traffic, other.clients = self.traffic.filter(before), self.clients.filter(before)
        return other

    def rows(self, since: datetime, until: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The hour, whichever is asked for."""
        del since, until
        return self.traffic, self.clients

    def activity(self, since: datetime, until: datetime) -> pl.DataFrame:
        """Nothing was before."""
        from seismolog.sinks.influxdb.members import activity

        del until
        return activity(self.clients.filter(pl.col("bin_start") < since))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="measure the exporter against the real InfluxDB")
    parser.add_argument("--hours", type=int, default=2, help="hours of the campus's day")
    parser.add_argument("--campus", type=int, help="days of the simulated campus instead")
    parser.add_argument("--rounds", type=int, default=5, help="turns of the comparison with raw HTTP")
    parser.add_argument("--minutes", type=int, default=30, help="minutes of the live run")
    parser.add_argument("--rows", default="lines,end,backfill,live", help="which rows")
    options = parser.parse_args()
    binary = build.binary()
    if binary is None:
        raise SystemExit(build.HOW_TO_GET)
    if options.campus:
        store = campus_store(default_folder(), options.campus)
    else:
        inputs = Inputs(default_folder(), build_programs().generate, options.hours / 24)
        store = made_store(inputs.folder, inputs.dns())
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Influxd(binary, folder / "influxd")
        server.start()
        try:
            wanted: dict[str, Any] = {
                "lines": lambda: [line_protocol(store)],
                "end": lambda: [end_to_end(store, server, folder, options.rounds)],
                "backfill": lambda: [backfill(store, server, folder)],
                "live": lambda: live(store, server, folder, options.minutes),
            }
            for row in options.rows.split(","):
                say(f"measuring {row}")
                figures += wanted[row]()
        finally:
            server.stop()
    print(json.dumps(machine()))
    site = (
        f"{options.campus} days of a campus"
        if options.campus
        else f"{FULL_DNS:,} queries a day, {options.hours} h"
    )
    print(f"{site}, {datetime.now(UTC):%Y-%m-%d}, {threading.active_count()} thread")
    for figure in figures:
        met = "" if figure.met is None else "met" if figure.met else "NOT MET"
        print(f"{figure.work:36} {figure.value:90} {figure.target:16} {met}")


if __name__ == "__main__":
    main()
