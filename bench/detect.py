"""What the detectors cost: a day of a campus, the close of a bin beside the daemon, and clients in step.

    .venv/bin/python -m bench.detect --dir DIR [--rows day,live,pairs] [--clients 20000] [--live-clients 100000] [--runs 3]

The campus is simulated (`seismolog.simulate.campus`), counted and written into a real store in DIR, once for each number of
clients: days of the past in bins of ten minutes, the last day by the minute. The detectors have learnt the past. Each row
runs in a process of its own, so that its memory is its own, with all columns that they read.

    day    every detector over the last day: seconds and the most memory
    live   `Watch.close` on that store, as beside the daemon: at the end of ten minutes, and at the end of an hour
    pairs  `synchronized_clients` alone, with the curves already there; `elevated` clients are planted so that many pair

Limits: Linux (`/proc`). The store is on the local disk and in the page cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from .inputs import default_folder
from .measure import machine, middle
from .worker import resident_mib

LIMITS = {"day": 20.0, "live": 2.0, "pairs": 60.0}
"""Seconds at most, on two cores."""
MEMORY_MIB = 2048
SEED = 7
PAST = 8


def store_of(folder: Path, clients: int) -> Path:
    """The store of a campus with that many clients; made where it is missing."""
    from seismolog.detect import registry
    from seismolog.detect.run import detect
    from seismolog.evaluate.trial import wanted_columns
    from seismolog.simulate import campus
    from seismolog.store import SourceEntry, Store

    path = folder / f"detect-{clients}"
    done = path / "bench.json"
    if done.exists():
        return path
    world = campus.World(SEED, clients)
    wanted = wanted_columns(registry.names())
    store = Store(path)
    for before in range(PAST, -1, -1):
        print(f"day {-before} of {clients:,} clients", file=sys.stderr, flush=True)
        day = world.day(PAST - before)
        counted = (campus.count_coarsely if before else campus.count)(day, wanted=wanted)
        frames = {
            name: frame.with_columns(pl.lit(0, dtype=pl.UInt32).alias("source"))
            for name, frame in counted.items()
            if frame.height
        }
        name = f"day{PAST - before}"
        with store.writer() as writer:
            writer.add(frames, [SourceEntry(source=name, generation=0, head_hash=name, full_hash=name)])
            writer.commit()
        del counted, frames
    start = day.start
    begin = start - timedelta(days=PAST)
    outcome = detect(store, since=begin, until=start, site=world.site(), begin=begin)
    from seismolog.detect.kept import save_baseline

    save_baseline(store, outcome.baseline)
    done.write_text(json.dumps({"start": start.isoformat(), "begin": begin.isoformat()}))
    return path


def _opened(path: Path, clients: int) -> tuple[Any, Any, Any, datetime, datetime]:
    """Store, site, baseline, start of the last day, begin of the store."""
    from seismolog.detect.kept import load_baseline
    from seismolog.simulate import campus
    from seismolog.store import Store

    told = json.loads((path / "bench.json").read_text())
    start, begin = (datetime.fromisoformat(told[k]) for k in ("start", "begin"))
    store = Store(path)
    # Only what is known about the site is needed of the world, not its days.
    site = campus.World(SEED, clients).site()
    return store, site, load_baseline(store), start, begin


def job_day(path: Path, clients: int) -> dict[str, Any]:
    """Every detector over the last day."""
    from seismolog.detect.run import detect

    store, site, baseline, start, begin = _opened(path, clients)
    before, used = resident_mib("VmRSS"), time.process_time()
    began = time.perf_counter()
    outcome = detect(
        store, since=start, until=start + timedelta(days=1), site=site, baseline=baseline, begin=begin
    )
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - used,
        "before_mib": before,
        "peak_mib": resident_mib("VmHWM"),
        "incidents": len(outcome.incidents),
        "by_detector": {k: round(v, 2) for k, v in sorted(outcome.seconds.items(), key=lambda i: -i[1])[:8]},
    }


def job_live(path: Path, clients: int) -> dict[str, Any]:
    """Closes of ten minutes and of the hour in the afternoon of the last day."""
    from seismolog.detect import registry
    from seismolog.detect.run import Watch
    from seismolog.live.watch import _names

    store, site, baseline, start, begin = _opened(path, clients)
    watch = Watch(site=site, settings=registry.settings_of({}), baseline=baseline)
    took: dict[str, list[float]] = {"ten": [], "hour": []}
    for minute in range(16 * 60 + 30, 18 * 60 + 1, 10):
        until = start + timedelta(minutes=minute)
        began = time.perf_counter()
        watch.close(store, until, begin=begin, names=_names(until))
        # The first look has to read everything; what follows is what a daemon does.
        if minute > 16 * 60 + 30:
            took["hour" if until.minute == 0 else "ten"].append(time.perf_counter() - began)
    seconds = max(watch.seconds.items(), key=lambda i: i[1])
    return {
        "seconds": middle(took["ten"]),
        "hour_seconds": middle(took["hour"]),
        "peak_mib": resident_mib("VmHWM"),
        "dearest": f"{seconds[0]} {seconds[1] / 10:.2f} s a look",
    }


def job_pairs(path: Path, clients: int, elevated: int) -> dict[str, Any]:
    """`synchronized_clients` over a day of all clients, `elevated` of which rise for eight hours."""
    from seismolog.detect import registry, synchronized_clients
    from seismolog.detect.view import View

    store, site, baseline, start, _ = _opened(path, clients)
    rows = (
        store.read(
            "client_traffic",
            start,
            start + timedelta(days=1),
            ["bin_start", "server", "kind", "client", "count"],
        )
        .with_columns(pl.col("bin_start").dt.truncate("10m"))
        .group_by("bin_start", "server", "kind", "client")
        .agg(pl.col("count").sum())
        .collect()
    )
    rng = np.random.default_rng(SEED)
    names = rows["client"].unique().sort().sample(elevated, seed=SEED)
    bins = 48
    counts = rng.poisson(60 * np.exp(rng.normal(0, 0.4, (elevated, bins))))
    # Every twentieth moves with the one before it.
    counts[1::20] = rng.poisson(np.maximum(counts[0::20][: len(counts[1::20])], 1))
    planted = pl.DataFrame(
        {
            "bin_start": np.tile(np.arange(bins), elevated),
            "client": np.repeat(names.to_numpy(), bins),
            "count": counts.ravel(),
        }
    ).select(
        (pl.lit(start + timedelta(hours=9)) + pl.duration(minutes=10) * pl.col("bin_start"))
        .cast(rows["bin_start"].dtype)
        .alias("bin_start"),
        pl.lit(rows["server"][0]).cast(rows["server"].dtype).alias("server"),
        pl.lit("dns_query").cast(rows["kind"].dtype).alias("kind"),
        pl.col("client").cast(rows["client"].dtype),
        pl.col("count").cast(rows["count"].dtype),
    )
    tables = {"client_traffic": pl.concat([rows, planted])}
    view = View(tables, since=start, until=start + timedelta(days=1), site=site, baseline=baseline)
    curves = view.curves()
    settings = registry.settings_of({})["synchronized_clients"]
    began, used = time.perf_counter(), time.process_time()
    found = synchronized_clients.find(view, settings)  # type: ignore[arg-type]
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - used,
        "curves": len(curves),
        "elevated": elevated,
        "incidents": len(found),
        "peak_mib": resident_mib("VmHWM"),
    }


def _child(row: str, path: Path, clients: int, elevated: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "bench.detect",
        "--job",
        row,
        "--dir",
        str(path),
        "--clients",
        str(clients),
    ]
    done = subprocess.run(
        [*command, "--elevated", str(elevated)], check=True, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main() -> int:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dir", type=Path, default=default_folder())
    parser.add_argument("--rows", default="day,live,pairs")
    parser.add_argument("--clients", type=int, default=20_000)
    parser.add_argument("--live-clients", type=int, default=100_000)
    parser.add_argument("--elevated", type=int, default=8_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        job = {"day": job_day, "live": job_live}.get(chosen.job)
        told = (
            job(chosen.dir, chosen.clients)
            if job is not None
            else job_pairs(chosen.dir, chosen.clients, chosen.elevated)
        )
        print(json.dumps(told))
        return 0
    chosen.dir.mkdir(parents=True, exist_ok=True)
    print(json.dumps(machine()))
    for row in chosen.rows.split(","):
        clients = chosen.clients if row == "day" else chosen.live_clients
        path = store_of(chosen.dir, clients)
        runs = [_child(row, path, clients, chosen.elevated) for _ in range(chosen.runs)]
        seconds = middle([run["seconds"] for run in runs])
        verdict = "within" if seconds <= LIMITS[row] else "over"
        print(
            f"{row}, {clients:,} clients: {seconds:.2f} s ({verdict} {LIMITS[row]:g} s), last run {runs[-1]}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
