"""Many worlds, one result file each: a run that was stopped goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seismolog.evaluate.trial import Plan, trial

__all__ = ["evaluate", "load"]


def evaluate(
    folder: Path,
    seeds: Iterable[int],
    plan: Plan,
    *,
    days: int = 1,
    again: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Try the worlds of these seeds, each on so many of its days, and return the results of all.

    Parameters
    ----------
    folder
        Where the result files are, ``<seed>-<day>.json``; those of the same plan are not computed again.
    again
        Compute them all the same.
    progress
        Told what is done.

    Raises
    ------
    OSError
        A result file cannot be written.
    """
    tell = progress or (lambda _: None)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    # Clean days of one trial are not those of the next.
    todo = [(seed, day * plan.clean) for seed in seeds for day in range(days)]
    for count, (seed, day) in enumerate(todo):
        path = folder / f"{seed:05d}-{day}.json"
        known = None if again else load(path, plan)
        if known is None:
            head = f"world {count + 1} of {len(todo)} (seed {seed}, day {day})"
            tell(head)
            known = trial(seed, plan, day, progress=lambda step, head=head: tell(f"{head}: {step}"))  # type: ignore[misc]
            write = path.with_suffix(".json.tmp")
            write.write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")
            write.replace(path)
        made.append(known)
    return made


def load(path: Path, plan: Plan) -> dict[str, Any] | None:
    """A result of the same plan, None where there is none."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if result.get("plan") == json.loads(json.dumps(asdict(plan))) else None
