"""One timed job of ours in a process of its own, so that its memory is its own.

`python -m bench.worker JOB FILE...` prints one JSON object: `seconds` from the call of the core to the complete
polars frame, `before_mib` and `peak_mib` of resident memory, and what the suite checks against the peers.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from seismolog import _core

THREADS = 2
# Name → the options of `scan`, and the tables that must be complete polars frames when the clock stops.
SCANS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "clients": ({"query_types": False, "names": False}, ("client_traffic",)),
    "query_types": ({"query_types": True, "names": False}, ("client_traffic",)),
    "all_columns": ({"query_types": True, "names": True}, ("traffic", "client_traffic")),
}


def resident_mib(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (most so far) of this process in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def whole_bins(rows: pl.DataFrame, split: list[tuple[int, int]]) -> pl.DataFrame:
    """Add up the few bins that a cut between two threads left in two parts (a handful of thousands)."""
    key = ("bin_start", "server", "kind", "client")
    if not split:
        return rows.select(*key, "count")
    starts = pl.Series([start for start, _ in split]).unique()
    cut = pl.col("bin_start").cast(pl.Datetime("us", "UTC")).dt.epoch("s").is_in(starts.implode())
    added = rows.filter(cut).group_by(key).agg(pl.col("count").sum())
    return pl.concat([rows.filter(~cut).select(*key, "count"), added.select(*key, "count")])


def scan(job: str, files: list[str]) -> dict[str, Any]:
    """Count the files and make the frames."""
    options, tables = SCANS[job]
    before = resident_mib("VmRSS")
    start = time.perf_counter()
    result = _core.scan(files, threads=THREADS, year=2002, default_server="ns1", **options)
    frames = {name: pl.DataFrame(result.table(name)) for name in tables}
    seconds = time.perf_counter() - start
    peak = resident_mib("VmHWM")
    clients = whole_bins(frames["client_traffic"], result.split_bins)
    kinds = clients.group_by("kind").agg(pl.col("count").sum()).sort("kind")
    queries = clients.filter(pl.col("kind") == _core.KINDS.index("dns_query"))["count"].cast(pl.Int64)
    return {
        "seconds": seconds,
        "before_mib": before,
        "peak_mib": peak,
        "rows": clients.height,
        "kinds": {_core.KINDS[kind]: count for kind, count in kinds.iter_rows()},
        "check": f"{queries.sum()} {queries.len()} {(queries * queries).sum()}",
        "shed": result.summary.get("shed"),
        "unmatched": result.summary.get("unmatched"),
    }


def paper(files: list[str]) -> dict[str, Any]:
    """The paper's five counts."""
    start = time.perf_counter()
    counts = _core.paper_counts(files, threads=THREADS)
    return {"seconds": time.perf_counter() - start, "check": counts}


if __name__ == "__main__":
    job, *files = sys.argv[1:]
    answer = paper(files) if job == "paper" else scan(job, files)
    print(json.dumps(answer))
