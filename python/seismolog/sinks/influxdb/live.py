"""The exporter in the daemon: a thread that follows the closed bins.

It reads through its own cursor and advances it when the points have come through, so that an InfluxDB that is down
costs nothing but the wait. Beside the closed bins it keeps an eye on the store: archives that were analysed, models
and incidents. Between closed bins it works off the hours that are to be written whole, a few at a time, so that a
year that was analysed anew does not hold up the present.

What it needs of a moment: half a second after the first bin has closed it takes all that have (servers close theirs
together), writes them, and waits again.

Limits: reading the store and rendering share this process's interpreter; rendering and requests let go of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.errors import SeismologError
from seismolog.sinks.influxdb.target import Target, target_of

if TYPE_CHECKING:
    from seismolog.config import Config
    from seismolog.live.closed import Cursor
    from seismolog.live.sinks import Running
    from seismolog.sinks.influxdb.current import LiveHours
    from seismolog.sinks.influxdb.findings import Findings
    from seismolog.sinks.influxdb.hours import HourWriter
    from seismolog.sinks.influxdb.ledger import Ledger
    from seismolog.sinks.influxdb.pipeline import Pipeline
    from seismolog.sinks.influxdb.writer import Writer

__all__ = ["InfluxSink", "make"]

log = logging.getLogger(__name__)

#: Seconds: to gather bins that close together; between looks at roll-ups, at the store, and at our own numbers.
GATHER, ROLLUPS_EVERY, STORE_EVERY, NUMBERS_EVERY = 0.25, 5.0, 30.0, 10.0
#: Seconds between two points of each shape of lines that no dialect knows.
SHAPES_EVERY = 60.0
#: Seconds until a target that refuses us altogether, or a step that failed, is tried again.
MENDED_AFTER = 30.0
#: Closed bins of one step, and whole hours of one step.
BINS_A_STEP, HOURS_A_STEP = 256, 4


def make(config: Config) -> InfluxSink | None:
    """The sink that a configuration wants."""
    return None if config.influxdb.url is None else InfluxSink(config)


class _Parts:
    """What one run of the thread works with; made in the thread."""

    def __init__(
        self,
        config: Config,
        running: Running,
        stop: threading.Event,
        waiting: Callable[[_Parts], None],
    ) -> None:
        from seismolog.live.settings import source_of
        from seismolog.privacy import pseudonymizer
        from seismolog.sinks.influxdb.current import LiveHours
        from seismolog.sinks.influxdb.findings import Findings
        from seismolog.sinks.influxdb.hours import HourWriter
        from seismolog.sinks.influxdb.ledger import Ledger
        from seismolog.sinks.influxdb.pipeline import Pipeline
        from seismolog.sinks.influxdb.refused import Aside
        from seismolog.sinks.influxdb.writer import Writer
        from seismolog.store import LiveWriter

        self.target: Target = target_of(config)
        section = config.influxdb
        folder = running.state / "influxdb"
        pseudonyms = pseudonymizer(config)
        self.store = running.store()
        self.source = source_of(running.state)
        self.ledger: Ledger = Ledger(folder / f"{self.target.name}.sqlite")
        aside = Aside(folder / f"{self.target.name}.refused.lp", self.target.refused_size)
        self.writer: Writer = Writer(
            self.target, aside, stop=stop, waiting=lambda _seconds, _why: waiting(self)
        )
        self.hours: LiveHours = LiveHours(self.store, self.source)
        self.hour_writer: HourWriter = HourWriter(
            self.ledger,
            per_hour=section.clients_per_hour,
            max_series=section.max_series,
            batch=section.batch_points,
            pseudonym=None if pseudonyms is None else pseudonyms.address,
        )
        self.findings: Findings = Findings(
            self.store, self.ledger, self.writer, pseudonyms=pseudonyms, batch=section.batch_points
        )
        self.pipeline: Pipeline = Pipeline(self.target.instance, pseudonyms=pseudonyms)
        self.series_age = section.series_age
        self.settings = export_settings(config)
        self.cursor: Cursor = running.bins.cursor(cursor_name(self.target))
        self.new = self.ledger.meta("begun") is None
        released = running.bins.released
        if released > self.cursor.position and not self.new and self.cursor.skipped is None:
            self.cursor.skipped = (self.cursor.position, released)
        committed = LiveWriter(self.store.tables, self.store.journal, self.source).committed()
        if self.cursor.position > committed:
            # Sent by us and not yet in the store: hours are read with these laid over.
            self.hours.add(
                b for b in running.bins.after(committed, 1 << 20) if b.revision <= self.cursor.position
            )

    def close(self) -> None:
        """Close connections and files."""
        self.writer.close()
        self.ledger.close()


class InfluxSink:
    """Closed bins into InfluxDB; a :class:`seismolog.live.sinks.Sink`."""

    name = "influxdb"

    def __init__(self, config: Config) -> None:
        self._target = target_of(config)  # what is wrong with it is told at once
        self._config = config
        self._running: Running | None = None
        self._wake = threading.Event()
        self._interrupt = threading.Event()
        self._stopping = threading.Event()
        self._committed = threading.Event()
        self._waiting_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="influxdb", daemon=True)
        self._numbers: dict[str, float] = {}
        self._failures = 0
        self._numbers_at = 0.0
        self._shapes_at = 0.0
        self._base: dict[str, float] = {}

    # -- as the daemon sees it

    def start(self, running: Running) -> None:
        """Begin."""
        self._running = running
        self._waiting_since = time.monotonic()
        # At once: bins that close are kept from here on, whenever the thread comes to read them.
        running.bins.cursor(cursor_name(self._target))
        self._thread.start()

    def nudge(self, revisions: Sequence[int]) -> None:
        """Bins have closed, or ([]) were committed."""
        if not revisions:
            self._committed.set()
            return
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._wake.set()

    def reload(self, config: Config) -> None:
        """Take new settings: another target begins with its own ledger and cursor."""
        if (config.influxdb, config.store) == (self._config.influxdb, self._config.store):
            return
        if config.influxdb.url is None:
            log.warning(
                "[influxdb] url was taken out: the exporter goes on until the daemon is started again"
            )
            return
        target_of(config)
        self._config = config
        self._interrupt.set()
        self._wake.set()

    def metrics(self) -> Mapping[str, float]:
        """Numbers by their full name."""
        since = self._waiting_since
        lag = 0.0 if since is None else time.monotonic() - since
        return {**self._numbers, "seismolog_influxdb_lag_seconds": round(lag, 3)}

    def stop(self, timeout: float) -> None:
        """Send what has closed, or leave it to the next start."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout / 2)
        if self._thread.is_alive():
            self._interrupt.set()
            self._thread.join(timeout / 2)

    # -- the thread

    def _run(self) -> None:
        while True:
            self._interrupt.clear()
            parts: _Parts | None = None
            try:
                assert self._running is not None
                parts = _Parts(self._config, self._running, self._interrupt, self._outage)
                self._claimed(parts)
                self._follow(parts)
            except SeismologError as error:
                if not self._interrupt.is_set():
                    self._failed(error.render())
            except Exception:
                # A bug of ours must not end the thread: it would look like an InfluxDB that is away.
                log.exception("the exporter to InfluxDB failed and is begun again")
                self._failed("see the traceback above")
            finally:
                if parts is not None:
                    self._tell(parts)
                    for name, value in self._numbers.items():
                        if name.endswith("_total"):
                            self._base[name] = value
                    parts.close()
            if self._stopping.is_set():
                return
            if not self._interrupt.is_set():
                self._interrupt.wait(MENDED_AFTER)

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._numbers["seismolog_influxdb_failures_total"] = self._failures
        self._numbers["seismolog_influxdb_ok"] = 0
        log.error("the exporter to InfluxDB is begun again in %d s: %s", MENDED_AFTER, why)

    def _claimed(self, parts: _Parts) -> None:
        """Wait until no other process exports to this target out of this folder."""
        told = False
        while not parts.ledger.claim():
            if not told:
                log.info("another seismolog exports to %s: waiting until it is done", parts.target.place)
                told = True
            if self._stopping.wait(1.0) or self._interrupt.is_set():
                return

    def _follow(self, parts: _Parts) -> None:
        from seismolog.sinks.influxdb.changes import take_account

        take_account(parts.store, parts.ledger, parts.source)
        if parts.new:
            this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
            with parts.ledger.step():
                parts.ledger.add_todo([this_hour - timedelta(hours=1), this_hour])
        parts.ledger.forget_series(parts.series_age)
        next_rollups = next_store = next_numbers = 0.0
        self._committed.set()
        while not self._interrupt.is_set():
            self._wake.wait(0.0 if parts.ledger.todo_count() else 1.0)
            stopping = self._stopping.is_set()
            if self._wake.is_set() and not stopping:
                self._interrupt.wait(GATHER)
            self._wake.clear()
            while self._closed(parts):
                self._tell(parts)
            now = time.monotonic()
            if now >= next_rollups or stopping:
                next_rollups = now + ROLLUPS_EVERY
                self._due(parts)
            if now >= next_store and self._committed.is_set() and not stopping:
                next_store = now + STORE_EVERY
                self._committed.clear()
                self._store_changed(parts)
            if now >= next_numbers:
                next_numbers = now + NUMBERS_EVERY
                self._own_numbers(parts)
            self._tell(parts)
            if stopping:
                return
            self._whole_hours(parts)

    def _closed(self, parts: _Parts) -> bool:
        """Send the bins that have closed; whether there were any."""
        if parts.cursor.skipped is not None:
            self._skipped(parts)
        began = time.monotonic()
        closed = parts.cursor.read(BINS_A_STEP)
        if not closed:
            self._waiting_since = None
            return False
        parts.hours.add(closed)
        frames = [
            tables["traffic"].select("bin_start", "server")
            for b in closed
            for tables in (b.frames, *b.late.values())
            if "traffic" in tables
        ]
        if frames:
            bins = pl.concat(frames).unique()
            # A backlog of a week is worked off by the hour: memory is that of one.
            for _, part in sorted(
                bins.with_columns(pl.col("bin_start").dt.truncate("1h").alias("_hour"))
                .partition_by("_hour", as_dict=True)
                .items()
            ):
                made = parts.hour_writer.prepare_bins(parts.hours, part.select("bin_start", "server"))
                made.send(parts.writer)
                parts.hour_writer.settle(made)
        parts.cursor.advance(closed[-1].revision)
        self._waiting_since = began
        return True

    def _skipped(self, parts: _Parts) -> None:
        """Closed bins that went before we read them are in the store: write their hours whole."""
        from seismolog.sinks.influxdb.changes import live_hours
        from seismolog.store.live import is_of

        assert parts.cursor.skipped is not None
        after, until = parts.cursor.skipped
        snapshot = parts.store.snapshot(["traffic"])
        ours = [s for s in snapshot.sources if is_of(s, parts.source)]
        hours = live_hours(snapshot, ours, after, until)
        with parts.ledger.step():
            parts.ledger.add_todo(hours)
        parts.hours.invalidate()
        parts.cursor.mended()

    def _due(self, parts: _Parts) -> None:
        made = parts.hour_writer.prepare_due(parts.hours)
        if made is not None:
            made.send(parts.writer)
            parts.hour_writer.settle(made)

    def _store_changed(self, parts: _Parts) -> None:
        from seismolog.sinks.influxdb.changes import take_account

        if take_account(parts.store, parts.ledger, parts.source):
            parts.hours.invalidate()
        parts.findings.sync()

    def _whole_hours(self, parts: _Parts) -> None:
        from seismolog.sinks.influxdb.changes import stamps
        from seismolog.sinks.influxdb.current import StoreHours

        todo = parts.ledger.todo(HOURS_A_STEP)
        if not todo:
            return
        wanted = [h for h in todo if h - todo[0] < timedelta(hours=HOURS_A_STEP)]
        recent = datetime.now(UTC) - timedelta(hours=2)
        if wanted[-1] >= recent:
            # The present has bins that the store has not got yet.
            source: Any = parts.hours
        else:
            source = StoreHours(parts.store.snapshot(["traffic", "client_traffic"]))
        made = parts.hour_writer.prepare_hours(
            source, wanted, stamps(parts.store.journal.entries(), wanted, parts.settings)
        )
        made.send(parts.writer)
        parts.hour_writer.settle(made)

    def _outage(self, parts: _Parts) -> None:
        """The target is away: our numbers go on."""
        assert self._running is not None
        self._tell(parts)
        if time.monotonic() - self._numbers_at >= NUMBERS_EVERY:
            self._numbers_at = time.monotonic()
            parts.pipeline.take(self._running.metrics())

    def _own_numbers(self, parts: _Parts) -> None:
        assert self._running is not None
        self._numbers_at = time.monotonic()
        metrics = self._running.metrics()
        parts.pipeline.take(metrics)
        texts = parts.pipeline.texts(parts.target.batch_points)
        if self._numbers_at >= self._shapes_at + SHAPES_EVERY and (shapes := self._running.shapes()):
            self._shapes_at = self._numbers_at
            texts += parts.pipeline.shapes(shapes)
        parts.writer.write(texts)
        parts.pipeline.sent()

    def _tell(self, parts: _Parts) -> None:
        """Numbers for /metrics; counters go on over a restart of the thread."""
        written, counts = parts.writer.written, parts.hour_writer.counts
        totals = {
            "points": written.points,
            "requests": written.requests,
            "bytes": written.bytes,
            "request_seconds": written.seconds,
            "retries": written.retries,
            "errors": written.errors,
            "refused_points": written.refused,
            "too_old_points": written.too_old,
            "zeros": counts.zeros,
            "refused_series": counts.refused_series,
            "given_up_numbers": parts.pipeline.given_up,
        }
        found: dict[str, float] = {}
        for name, value in totals.items():
            full = f"seismolog_influxdb_{name}_total"
            found[full] = value + self._base.get(full, 0)
        found["seismolog_influxdb_failures_total"] = self._failures
        found["seismolog_influxdb_series"] = counts.series
        found["seismolog_influxdb_todo_hours"] = parts.ledger.todo_count()
        found["seismolog_influxdb_revision"] = parts.cursor.position
        found["seismolog_influxdb_ok"] = int(written.trouble is None)
        self._numbers = found


def cursor_name(target: Target) -> str:
    """The name of a target's cursor in the log of closed bins."""
    return f"influxdb-{target.name}"


def export_settings(config: Config) -> str:
    """Settings that change what an hour looks like, for its stamp."""
    return f"{config.influxdb.clients_per_hour} {config.privacy.pseudonyms}"
