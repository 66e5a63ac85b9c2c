"""Months out of the store: `seismolog export --since … --until …`.

Hours are written whole, in their order, a few at a time: while one lot is sent the next is read and rendered. An hour
that was written whole out of the same writings of the same archives is skipped, so an export that was interrupted goes
on where it was, and one that has nothing to do does nothing. `again` writes it all the same; it changes nothing.

Where the daemon exports to the same target out of the same folder, the hours are put on its list, and we look on.

A lot is as many hours as hold about :data:`ROWS` rows, a day at most: a file of the store that two lots share is read
twice, so lots are long where they can be, and a site of ten times the clients takes no more memory.

Limits: a lot of hours is in memory twice, an hour at least.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from seismolog.errors import SeismologError
from seismolog.privacy import pseudonymizer
from seismolog.sinks.influxdb.changes import covered_hours, stamps, take_account
from seismolog.sinks.influxdb.current import StoreHours
from seismolog.sinks.influxdb.findings import Findings
from seismolog.sinks.influxdb.hours import HourWriter, Prepared
from seismolog.sinks.influxdb.ledger import Ledger
from seismolog.sinks.influxdb.live import export_settings
from seismolog.sinks.influxdb.refused import Aside
from seismolog.sinks.influxdb.target import target_of
from seismolog.sinks.influxdb.writer import Writer, Written
from seismolog.store import Store

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["Exported", "export"]

_HOUR = timedelta(hours=1)
#: Hours of the first lot, and the most of any.
LOT, LONGEST = 4, 24
#: Rows of the store that a lot should have.
ROWS = 2_000_000


@dataclass
class Exported:
    """What an export has done."""

    place: str
    hours: int = 0
    skipped: int = 0
    points: int = 0
    findings: int = 0
    zeros: int = 0
    refused_series: int = 0
    seconds: float = 0.0
    by_daemon: bool = False
    written: Written = field(default_factory=Written)
    refused_file: Path | None = None


def export(
    config: Config,
    store: str,
    state: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    again: bool = False,
    patience: float | None = 300.0,
    progress: Callable[[int, int, int], None] | None = None,
) -> Exported:
    """Write what the store holds of a stretch of time.

    Parameters
    ----------
    config, store, state
        The configuration with its target, the store, and the daemon's state folder, in which the ledger stands.
    since, until
        Half open; hours that they cut are written whole. None is from the beginning, to the end.
    again
        Also hours that were written out of the same.
    patience
        Seconds of trying one request.
    progress
        Called with hours done, hours in all, points sent.

    Raises
    ------
    SeismologError
        What was written stays; the same call goes on from there.
    """
    began = time.monotonic()
    target = target_of(config)
    folder = state / "influxdb"
    ledger = Ledger(folder / f"{target.name}.sqlite")
    aside = Aside(folder / f"{target.name}.refused.lp", target.refused_size)
    writer = Writer(target, aside, patience=patience)
    done = Exported(target.place)
    opened = Store(store)
    try:
        first_time = ledger.meta("begun") is None
        wanted = _wanted(opened, ledger, since, until)
        made_of = stamps(opened.journal.entries(), wanted, export_settings(config))
        if not ledger.claim():
            _by_daemon(ledger, wanted, made_of, again, done, progress)
            return done
        changed = take_account(opened, ledger)
        pseudonyms = pseudonymizer(config)
        findings = Findings(opened, ledger, writer, pseudonyms=pseudonyms, batch=target.batch_points)
        # First: clients under an incident have series of their own in the hours that follow.
        done.findings = findings.sync(since, until)
        todo = set(ledger.todo(1 << 30)) | changed
        hours = [h for h in wanted if again or h in todo or ledger.stamp(h) != made_of[h]]
        done.skipped = len(wanted) - len(hours)
        making = HourWriter(
            ledger,
            per_hour=config.influxdb.clients_per_hour,
            max_series=config.influxdb.max_series,
            batch=target.batch_points,
            pseudonym=None if pseudonyms is None else pseudonyms.address,
        )
        _write(opened, making, writer, hours, made_of, done, progress)
        if first_time and since is None and until is None:
            ledger.forget_series(config.influxdb.series_age)
        done.zeros, done.refused_series = making.counts.zeros, making.counts.refused_series
    finally:
        done.written = writer.written
        done.points = writer.written.points
        done.seconds = time.monotonic() - began
        done.refused_file = aside.path if writer.written.refused else None
        writer.close()
        ledger.close()
    return done


def _wanted(store: Store, ledger: Ledger, since: datetime | None, until: datetime | None) -> list[datetime]:
    """Hours with anything in the store, or once sent, rising."""
    found = covered_hours(store.sources().values()) | set(ledger.known_hours())
    return sorted(h for h in found if (since is None or h + _HOUR > since) and (until is None or h < until))


def _lot(hours: Sequence[datetime], most: int) -> Sequence[datetime]:
    """The first of these hours, so many of them or what lies within so many."""
    within = [h for h in hours[:most] if h - hours[0] < most * _HOUR]
    return hours[: len(within)]


def _write(
    store: Store,
    making: HourWriter,
    writer: Writer,
    hours: list[datetime],
    made_of: dict[datetime, str],
    done: Exported,
    progress: Callable[[int, int, int], None] | None,
) -> None:
    source = StoreHours(store.snapshot(["traffic", "client_traffic"]))

    def make(lot: Sequence[datetime]) -> Prepared:
        return making.prepare_hours(source, lot, {h: made_of[h] for h in lot})

    with ThreadPoolExecutor(1, thread_name_prefix="export") as pool:
        lot = _lot(hours, min(LOT, LONGEST))
        waiting = pool.submit(make, lot) if lot else None
        begun = len(lot)
        while waiting is not None:
            made = waiting.result()
            length = min(LONGEST, max(1, ROWS * len(lot) // max(1, made.rows)))
            # Not twice as long as the one before: nights have few rows, and mornings many.
            lot = _lot(hours[begun:], min(length, 2 * len(lot)))
            waiting = pool.submit(make, lot) if lot else None
            begun += len(lot)
            made.send(writer)
            making.settle(made)
            done.hours += len(made.hours)
            if progress is not None:
                progress(done.hours, len(hours), writer.written.points)


def _by_daemon(
    ledger: Ledger,
    wanted: list[datetime],
    made_of: dict[datetime, str],
    again: bool,
    done: Exported,
    progress: Callable[[int, int, int], None] | None,
) -> None:
    """The daemon holds the target: give it the hours and look on."""
    hours = [h for h in wanted if again or ledger.stamp(h) != made_of[h]]
    done.by_daemon = True
    done.skipped = len(wanted) - len(hours)
    with ledger.step():
        ledger.add_todo(hours)
    mine = set(hours)
    moved = time.monotonic()
    left = len(mine)
    while mine:
        mine &= set(ledger.todo(1 << 30))
        if len(mine) < left:
            left, moved = len(mine), time.monotonic()
        done.hours = len(hours) - len(mine)
        if progress is not None:
            progress(done.hours, len(hours), 0)
        if mine and time.monotonic() - moved > 600:
            raise SeismologError(
                f"the daemon has written none of {len(mine)} hours for ten minutes",
                mend="look at its log and /metrics; the hours stay on its list",
            )
        if mine:
            time.sleep(0.5)
