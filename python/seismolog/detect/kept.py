"""Incidents and what is usual, in the store: written after a run, read by reports, sinks and the next run.

The rows of a run replace those of earlier runs that begin in the same stretch of time, so that a second run over the
same logs leaves the same table. What is usual is kept as it was after the last day that was learnt.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from seismolog.detect.baseline import Baseline
from seismolog.detect.incidents import Incident, incidents_frame, incidents_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seismolog.store import Store

__all__ = ["load_baseline", "load_incidents", "save_baseline", "save_changes", "save_incidents"]


def load_baseline(store: Store, before: datetime | None = None) -> Baseline:
    """What is usual, as it was kept; an empty one where nothing was, or where it knows days from `before` on.

    A baseline that has learnt the days that are to be looked at would tell another story at a second look.
    """
    frame = store.read("baseline").collect()
    if frame.is_empty():
        return Baseline()
    newest = frame["learned_at"].max()
    made = Baseline.of_frame(frame.filter(pl.col("learned_at") == newest))
    last = made.last_day("dns_query")
    if before is not None and last is not None and last >= before.astimezone(UTC).date():
        return Baseline()
    return made


def save_baseline(store: Store, baseline: Baseline) -> None:
    """Keep what is usual, unless the store knows later days."""
    last = baseline.last_day("dns_query") or baseline.last_day("firewall_drop")
    if last is None:
        return
    known = load_baseline(store)
    stored = known.last_day("dns_query") or known.last_day("firewall_drop")
    if stored is None or stored <= last:
        store.replace("baseline", baseline.frame(), None)


def load_incidents(
    store: Store, since: datetime | None = None, until: datetime | None = None
) -> list[Incident]:
    """Incidents that touch [since, until), in order of their start."""
    found = incidents_of(store.read("incident").collect())
    return [
        i
        for i in found
        if (since is None or i.end is None or i.end > since) and (until is None or i.start < until)
    ]


def save_incidents(store: Store, incidents: Iterable[Incident], since: datetime, until: datetime) -> None:
    """Keep the incidents of a run over [since, until) in the place of those that begin there."""
    held = list(incidents)
    frame = incidents_frame(held)
    same = pl.col("start").is_between(since, until, closed="left") | pl.col("id").is_in([i.id for i in held])
    store.replace("incident", frame, same)


def save_changes(store: Store, changed: Iterable[Incident], absorbed: Iterable[str] = ()) -> None:
    """Keep what the close of a bin changed; incidents that became part of another one go."""
    held = list(changed)
    gone = [*(i.id for i in held), *absorbed]
    if gone:
        store.replace("incident", incidents_frame(held), pl.col("id").is_in(gone))
