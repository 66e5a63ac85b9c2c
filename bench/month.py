"""`analyze` over 30 days and 20,000 clients: peak memory, time after counting, disk that the store takes."""

from __future__ import annotations

import json
import shutil
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
    analyze_seconds: float
    #: Seconds of `analyze` where the store knows the files: models, incidents and report.
    after_counting: float
    peak_mib: float
    store_gib: float


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(inputs: Inputs, scale: float) -> Month:
    """Analyze the month into a new store, then once more: nothing is counted again, all else is done anew."""
    files = [inputs.month(scale), inputs.month_mail(scale)]
    store = inputs.folder / "month-store"
    shutil.rmtree(store, ignore_errors=True)
    command = [
        str(SEISMOLOG),
        "analyze",
        *map(str, files),
        "--store",
        str(store),
        "--year",
        "2002",
        "--format",
        "json",
    ]
    report = inputs.folder / "month-report.html"
    first, second = (run([*command, "--output", str(report)]) for _ in range(2))
    told = json.loads(first.output)
    size = folder_size(store)
    shutil.rmtree(store)
    return Month(
        lines=int(told["input"]["lines"]),
        input_gib=sum(path.stat().st_size for path in files) / 2**30,
        analyze_seconds=first.seconds,
        after_counting=second.seconds,
        peak_mib=first.peak_mib,
        store_gib=size / 2**30,
    )
