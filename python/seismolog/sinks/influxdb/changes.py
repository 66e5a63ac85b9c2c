"""Which hours the store has changed since they were written.

Closed bins come with their cursor (:mod:`~seismolog.sinks.influxdb.live`). Everything else that changes the store
stands in its journal: an archive that was analysed, counted again, replaced or removed, and live rows of a source whose
closed bins we do not see. :func:`take_account` compares the journal with what the ledger knows of it, and puts the hours
concerned on the ledger's list. A target that is new begins with the present: what was there before is sent with
``seismolog export``.

:func:`stamps` says of each hour what it is made of, so that an hour that was written whole is not written again for
nothing.

Limits: hours are told from the journal's coverage, which may name one that has no row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.sinks.influxdb.ledger import Ledger
from seismolog.sinks.influxdb.points import hour_of
from seismolog.store.live import is_of
from seismolog.store.schema import REVISION, SOURCE

if TYPE_CHECKING:
    from seismolog.store import Snapshot, SourceEntry, Store

__all__ = ["covered_hours", "live_hours", "stamps", "take_account"]

_HOUR = timedelta(hours=1)
#: Raised when what is made of an hour changes.
_VERSION = 1


def _floor(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _spans(entry: SourceEntry) -> list[list[int]]:
    """Stretches of hours that a source has events in: [first, last], hours since 1970, rising and apart."""
    pairs = sorted(
        (int(_floor(c.first).timestamp()) // 3600, int(_floor(c.last).timestamp()) // 3600)
        for c in entry.coverage
    )
    found: list[list[int]] = []
    for first, last in pairs:
        if found and first <= found[-1][1] + 1:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    return found


def _hours(spans: Iterable[Iterable[int]]) -> set[datetime]:
    return {datetime.fromtimestamp(3600 * h, UTC) for first, last in spans for h in range(first, last + 1)}


def covered_hours(entries: Iterable[SourceEntry]) -> set[datetime]:
    """Hours in which any of these sources has events."""
    return _hours(span for e in entries for span in _spans(e))


def stamps(
    entries: Mapping[str, SourceEntry], wanted: Iterable[datetime], settings: str
) -> dict[datetime, str]:
    """What each hour is made of: the writings of archives that cover it, and the settings of the export."""
    parts: dict[datetime, list[str]] = {h: [] for h in wanted}
    for entry in entries.values():
        if entry.origin == "live":
            continue
        for hour in _hours(_spans(entry)):
            if hour in parts:
                parts[hour].append(f"{entry.source} {entry.generation}")
    return {
        h: hashlib.sha256("\n".join([f"{_VERSION} {settings}", *sorted(p)]).encode()).hexdigest()[:16]
        for h, p in parts.items()
    }


def live_hours(
    snapshot: Snapshot, sources: Iterable[str], after: int, until: int | None = None
) -> set[datetime]:
    """Hours with rows of live sources above one revision and up to another."""
    wanted = pl.col(SOURCE).is_in(sorted(sources)) & (pl.col(REVISION) > after)
    rows = snapshot.rows("traffic").filter(wanted)
    if until is not None:
        rows = rows.filter(pl.col(REVISION) <= until)
    return set(rows.select(hour_of()).unique().collect().to_series().to_list())


def take_account(store: Store, ledger: Ledger, own: str | None = None) -> set[datetime]:
    """Put the hours that have changed on the ledger's list; returns them.

    Parameters
    ----------
    own
        The live source whose closed bins, and those of whose late sets, the caller sees itself.
    """
    entries = store.journal.entries()
    known = ledger.sources()
    first_time = ledger.meta("begun") is None
    changed: set[datetime] = set()
    states: dict[str, str] = {}
    snapshot: Snapshot | None = None
    for entry in entries.values():
        if own is not None and is_of(entry.source, own):
            continue
        now: dict[str, Any] = {
            "generation": entry.generation,
            "visible": entry.state == "current",
            "live": entry.live_revision,
            "spans": _spans(entry),
        }
        text = json.dumps(now)
        if known.get(entry.source) == text:
            continue
        states[entry.source] = text
        if first_time:
            continue
        before = json.loads(known.get(entry.source) or '{"visible": false, "spans": [], "live": null}')
        if entry.origin == "live" and now["visible"] and (before["visible"] or before["live"] is None):
            if entry.live_revision != before["live"]:
                snapshot = snapshot or store.snapshot(["traffic"])
                changed |= live_hours(snapshot, [entry.source], before["live"] or 0)
            continue
        for state in (before, now):
            if state["visible"]:
                changed |= _hours(state["spans"])
    if states or first_time:
        with ledger.step():
            ledger.add_todo(changed)
            ledger.set_sources(states)
            ledger.set_meta("begun", ledger.meta("begun") or datetime.now(UTC).isoformat())
    return changed
