"""How long after the close of a bin incidents are told, in one real daemon beside everything else that it does.

    .venv/bin/python -m bench.watch --dir DIR [--clients 20000] [--looks 6]

A store is made of a simulated campus whose last day is today, up to now, with eight days of the past learnt. `seismolog
serve` runs on it and takes the queries of the same clients over TCP at the rate of that hour, as they happen. Each look
of the detectors is noted: the daemon's own `seismolog_detect_delay_seconds`, from the close of the ten minutes to the end
of the look. A look at the end of an hour reads the hourly tables too. It takes ten minutes a look.

Limits: Linux. One of the campus's two name servers writes; mail and firewall are silent from now on, which is told.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from .detect import PAST, SEED
from .inputs import default_folder
from .live import Daemon, cpu_seconds, memory_mib
from .measure import machine

LIMIT = 5.0
"""Seconds at most from the close of a bin to the incident."""
SERVER = "1dns"


def store_until_now(folder: Path, clients: int) -> Path:
    """The store of a campus whose last day is today; what lies ahead is left out."""
    from seismolog.detect import registry
    from seismolog.detect.kept import save_baseline
    from seismolog.detect.run import detect
    from seismolog.evaluate.trial import wanted_columns
    from seismolog.simulate import campus
    from seismolog.store import SourceEntry, Store

    path = folder / "watch-store"
    shutil.rmtree(path, ignore_errors=True)
    world = campus.World(SEED, clients)
    wanted = wanted_columns(registry.names())
    store = Store(path)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    last = world.day(PAST).start
    # By whole days, so that the time of day is the campus's own.
    shift = timedelta(days=(now - last).days)
    for number in range(PAST + 1):
        print(f"day {number - PAST} of {clients:,} clients", file=sys.stderr, flush=True)
        day = world.day(number)
        counted = (campus.count if number == PAST else campus.count_coarsely)(day, wanted=wanted)
        frames = {
            name: frame.with_columns(
                (pl.col("bin_start") + shift).cast(frame.schema["bin_start"]),
                pl.lit(0, dtype=pl.UInt32).alias("source"),
            ).filter(pl.col("bin_start") < now)
            for name, frame in counted.items()
            if frame.height
        }
        entry = SourceEntry(source=f"day{number}", generation=0, head_hash=f"{number}", full_hash=f"{number}")
        with store.writer() as writer:
            writer.add(frames, [entry])
            writer.commit()
    begin = last - timedelta(days=PAST) + shift
    outcome = detect(store, since=begin, until=last + shift, site=world.site(), begin=begin)
    save_baseline(store, outcome.baseline)
    return path


def lines_of(store: Path) -> tuple[list[str], np.ndarray, float]:
    """Clients of the last hour, each with its share, and queries a second."""
    from seismolog.store import Store

    until = datetime.now(UTC)
    hour = (
        Store(store)
        .read("client_traffic", until - timedelta(hours=1), until, ["server", "kind", "client", "count"])
        .filter(pl.col("server") == SERVER, pl.col("kind") == "dns_query")
        .group_by("client")
        .agg(pl.col("count").cast(pl.Int64).sum())
        .collect()
    )
    total = int(hour["count"].sum())
    return hour["client"].to_list(), hour["count"].to_numpy() / total, total / 3600


def feed(port: int, clients: list[str], shares: np.ndarray, rate: float, stopping: threading.Event) -> None:
    """Send queries as they happen until told to stop."""
    rng = np.random.default_rng(SEED)
    sent, began = 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as sender:
        while not stopping.wait(0.1):
            due = int((time.monotonic() - began) * rate) - sent
            when = datetime.now(UTC).isoformat(timespec="milliseconds")
            text = "".join(
                f"{when} {SERVER} named[77]: client @0x7f00aa {clients[c]}#{4000 + n % 60000} (h{n % 4001}.example.org): "
                f"query: h{n % 4001}.example.org IN A + (192.0.2.1)\n"
                for n, c in enumerate(rng.choice(len(clients), due, p=shares), sent)
            )
            sender.sendall(text.encode())
            sent += due


def main() -> int:
    """Prepare, run, print."""
    from seismolog.simulate import campus

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dir", type=Path, default=default_folder())
    parser.add_argument("--clients", type=int, default=20_000)
    parser.add_argument("--looks", type=int, default=6, help="looks to wait for (6: an hour, with its end)")
    chosen = parser.parse_args()
    folder: Path = chosen.dir
    folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(machine()), flush=True)
    store = store_until_now(folder, chosen.clients)
    clients, shares, rate = lines_of(store)
    print(f"{len(clients):,} clients, {rate:.0f} queries a second", flush=True)
    state = folder / "watch-state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    site = campus.World(SEED, chosen.clients).site()
    more = f"[site]\ntimezone = {json.dumps(site.timezone)}\ninside = {json.dumps(list(site.inside))}\n"
    daemon = Daemon(state, {}, more)
    (state / "store").symlink_to(store)
    daemon.start()
    stopping = threading.Event()
    port = int(str(daemon.listen["tcp"]).rsplit(":", 1)[1])
    feeder = threading.Thread(target=feed, args=(port, clients, shares, rate, stopping))
    feeder.start()
    delays: list[float] = []
    try:
        used = cpu_seconds(daemon.pid)
        while len(delays) < chosen.looks:
            time.sleep(1)
            if daemon.metric("seismolog_detect_looks_total") <= len(delays):
                continue
            delays.append(daemon.metric("seismolog_detect_delay_seconds"))
            now = cpu_seconds(daemon.pid)
            print(
                f"{datetime.now(UTC):%H:%M:%S} delay {delays[-1]:.2f} s, {now - used:.1f} s of processor since the "
                f"last look, peak {memory_mib(daemon.pid):.0f} MiB",
                flush=True,
            )
            used = now
    finally:
        stopping.set()
        feeder.join()
        daemon.stop()
    # The first look has a day to read; what follows is what a daemon does.
    worst = max(delays[1:] or delays)
    print(
        f"delay {worst:.2f} s at most ({'within' if worst <= LIMIT else 'over'} {LIMIT:g} s), first {delays[0]:.2f} s"
    )
    shutil.rmtree(store)
    shutil.rmtree(state)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
