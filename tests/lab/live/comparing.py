"""What a daemon has in its store, held against what `analyze` makes of the file with the same lines."""

from __future__ import annotations

import random
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from seismolog.store import TABLES, Store
from tests.lab.live.lines import Line, site
from tests.lab.live.serving import PROGRAM, Serving

#: Every path waits so long for late lines; the shuffle stays within it.
LATENESS = 8.0
COUNTED = [name for name, table in TABLES.items() if table.sourced]


def out_of_order(seed: int, lines: int = 4000) -> list[Line]:
    """The last minutes of the hour before this one (so that its hourly rows are complete), somewhat out of order."""
    dice = random.Random(seed)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    made = site(seed, minutes=5, lines=lines, end=hour + timedelta(minutes=1))
    return sorted(made, key=lambda line: line.time.timestamp() + dice.uniform(0, LATENESS / 2))


def analyze(store: Path, *files: Path) -> None:
    """`seismolog analyze` on files, into a store."""
    store.parent.mkdir(parents=True, exist_ok=True)
    config = store.with_name("analyze.toml")
    config.write_text("[detect]\nenabled = false\n")  # only counts are looked at
    subprocess.run(
        [
            *(PROGRAM, "analyze", *map(str, files), "--store", str(store)),
            *("--config", str(config), "--output", str(store.with_name("report.html"))),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )


def analyzed(file: Path, store: Path) -> dict[str, pl.DataFrame]:
    """The tables that `analyze` makes of a file, in a store of its own."""
    analyze(store, file)
    return tables(store)


def tables(store: Path) -> dict[str, pl.DataFrame]:
    """Every counted table as a reader sees it, in the order of its keys."""
    opened = Store(store)
    found = {}
    for name in COUNTED:
        keys = list(TABLES[name].keys)
        frame = opened.read(name).collect()
        found[name] = frame.select(sorted(frame.columns)).sort(keys, nulls_last=True)
    return found


def settled(daemon: Serving, lines: int) -> None:
    """Wait until all lines are counted and their bins are in the store; then end the daemon."""
    deadline = time.monotonic() + 60
    while (seen := daemon.metrics().get("seismolog_counted_lines_total", 0)) < lines:
        assert time.monotonic() < deadline, f"{seen} of {lines} lines: {daemon.said}"
        time.sleep(0.2)
    # Idle servers close by the wall clock.
    time.sleep(LATENESS + 3)
    assert daemon.stop() == 0, daemon.said


def assert_same(live: dict[str, pl.DataFrame], archived: dict[str, pl.DataFrame]) -> None:
    """Every table, row and column."""
    assert archived["client_traffic"].height > 500
    for name in COUNTED:
        assert_frame_equal(live[name], archived[name], check_exact=False, abs_tol=1e-9, rel_tol=1e-9)
