"""`analyze` over 30 days and 20,000 clients: peak memory, time after counting, disk that the store takes."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from .inputs import Inputs
from .measure import run
from .rows import SEISMOLOG


@dataclass(frozen=True)
class Month:
    """What a month of logs costs."""

    lines: int
    input_gib: float
    count_seconds: float
    analyze_seconds: float
    peak_mib: float
    store_gib: float

    @property
    def after_counting(self) -> float:
        """Seconds that `analyze` takes beyond counting the same files."""
        return self.analyze_seconds - self.count_seconds


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(inputs: Inputs, scale: float) -> Month:
    """Count the month once, then analyze it into a new store."""
    files = [inputs.month(scale), inputs.month_mail(scale)]
    store = inputs.folder / "month-store"
    shutil.rmtree(store, ignore_errors=True)
    start = time.perf_counter()
    counted = run(
        [
            str(SEISMOLOG),
            "count",
            *map(str, files),
            "--by",
            "kind",
            "--bin",
            "all",
            "--format",
            "csv",
            "--year",
            "2002",
        ]
    )
    count_seconds = time.perf_counter() - start
    lines = sum(int(line.rsplit(",", 1)[1]) for line in counted.output.split()[1:])
    report = inputs.folder / "month-report.html"
    analyzed = run(
        [
            str(SEISMOLOG),
            "analyze",
            *map(str, files),
            "--store",
            str(store),
            "--output",
            str(report),
            "--year",
            "2002",
        ]
    )
    size = folder_size(store)
    shutil.rmtree(store)
    return Month(
        lines=lines,
        input_gib=sum(path.stat().st_size for path in files) / 2**30,
        count_seconds=count_seconds,
        analyze_seconds=analyzed.seconds,
        peak_mib=analyzed.peak_mib,
        store_gib=size / 2**30,
    )
