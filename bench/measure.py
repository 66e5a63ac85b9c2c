"""Time a command from its start to its end, with the most memory it held."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Run:
    """One run of a command."""

    seconds: float
    peak_mib: float
    output: str


def run(command: list[str], *, cwd: Path | None = None, stdin: Path | None = None) -> Run:
    """Run a command in the C locale; raise `RuntimeError` with what it said when it fails.

    The peak is the resident set of that one process (`ru_maxrss`), not of its children.
    """
    environment = os.environ | {"LC_ALL": "C", "TZ": "UTC"}
    with (stdin or Path(os.devnull)).open("rb") as source:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=environment
        )
        assert process.stdout is not None
        assert process.stderr is not None
        output = process.stdout.read()
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    # grep says 1 when nothing matched, seismolog when an incident was found: both did their work.
    if process.returncode not in (0, 1):
        raise RuntimeError(
            f"{command}: status {process.returncode}: {errors.decode(errors='replace')[-2000:]}"
        )
    return Run(seconds, usage.ru_maxrss / 1024, output.decode(errors="replace"))


def middle(values: list[float]) -> float:
    """Median, for readers who look for the word in one place."""
    return median(values)


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, memory, system."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "load": os.getloadavg()[1],
    }
