"""The daemon: starts the engine, sees that closed bins reach store and sinks, and ends in order.

The engine receives, logs and counts in threads of its own. Here is what is left to do for a process that others
rely on: :class:`Daemon` starts the parts, sleeps until bins close, nudges whoever reads them, answers SIGHUP
(a new configuration) and SIGTERM (drain), and tells systemd how it goes.

On SIGTERM reception ends first; what was received is counted; bins that have closed are committed; sinks finish
or leave the rest to the next start. Open bins are in the snapshot and the write-ahead log, not lost.

On SIGHUP the file is read again. If anything in it is wrong, that is told and the old configuration stays in
full. Otherwise the engine takes the new one without losing a line, and the log says which keys changed and
which of those need a restart.

Limits: Python handles a signal when the main loop comes round, at most half a second later.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seismolog import __version__
from seismolog.errors import SeismologError, core_errors
from seismolog.live.engine import Engine, EngineFactory, core_engine
from seismolog.live.notify import Notifier
from seismolog.live.settings import (
    FIXED,
    LiveSettings,
    changed_keys,
    prepare_folder,
    source_of,
    store_url,
)

if TYPE_CHECKING:
    from types import FrameType

    from seismolog.config import Config
    from seismolog.live.closed import ClosedBins
    from seismolog.live.commit import CommitSettings, Committer
    from seismolog.live.metrics import MetricsServer
    from seismolog.live.sinks import Sink
    from seismolog.store import LiveTotals

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

#: Seconds that the main loop sleeps at most.
TICK = 0.5
#: Seconds between two lines of status for systemd.
STATUS_EVERY = 10.0
#: Clients in /status.json.
TOP = 20

#: Counters of the engine that the journal of the store adds up.
TOTALS = {
    "lines": "seismolog_counted_lines_total",
    "matched": "seismolog_matched_lines_total",
    "ignored": "seismolog_ignored_lines_total",
    "unmatched": "seismolog_unmatched_lines_total",
}


class Daemon:
    """One running daemon.

    Parameters
    ----------
    load
        Reads the configuration; called again at SIGHUP.
    state
        Folder of the state.
    only
        Listeners in place of those of the configuration.
    metrics
        Whether to listen for /metrics, where the configuration names a port.
    factory
        Makes the engine.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        state: Path,
        *,
        only: tuple[Mapping[str, Any], ...] | None = None,
        metrics: bool = True,
        factory: EngineFactory = core_engine,
        notifier: Notifier | None = None,
    ) -> None:
        self._load = load
        self.config = load()
        self.state = state
        self._only = only
        self._with_metrics = metrics
        self._factory = factory
        self._notifier = notifier or Notifier()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._began = time.time()
        self._reloads = [0, 0]
        self._replayed: dict[str, Any] = {}
        self._told: dict[str, str] = {}
        self._revision = 0
        self._engine: Engine | None = None
        self._bins: ClosedBins | None = None
        self._committer: Committer | None = None
        self._server: MetricsServer | None = None
        self._sinks: list[Sink] = []
        #: Set once everything runs, for whoever started this in a thread.
        self.running = threading.Event()

    # -- from outside

    def stop(self) -> None:
        """End in order, soon."""
        self._stop.set()

    def reload(self) -> None:
        """Take a new configuration, soon."""
        self._reload.set()

    @property
    def engine(self) -> Engine:
        """The engine, once it is made."""
        assert self._engine is not None
        return self._engine

    @property
    def metrics_address(self) -> str | None:
        """Where /metrics is, None where it is not."""
        return None if self._server is None else self._server.address

    def run(self, *, signals: bool = True) -> int:
        """Run until SIGTERM, SIGINT or the end of input; the exit status.

        Raises
        ------
        SeismologError
            It could not be started, or the engine has ended with an error.
        """
        if signals:
            self._take_signals()
        try:
            self._start()
            self._loop()
            return self._end()
        finally:
            self._notifier.close()

    # -- the parts

    def _take_signals(self) -> None:
        def ends(number: int, _: FrameType | None) -> None:
            log.info("%s: draining", signal.Signals(number).name)
            self._stop.set()

        def reloads(_number: int, _: FrameType | None) -> None:
            self._reload.set()

        signal.signal(signal.SIGTERM, ends)
        signal.signal(signal.SIGINT, ends)
        signal.signal(signal.SIGHUP, reloads)

    def _settings(self, config: Config) -> LiveSettings:
        return LiveSettings(config, self.state, self._only)

    def _start(self) -> None:
        prepare_folder(self.state)
        settings = self._settings(self.config)
        with core_errors():
            self._engine = self._factory(
                str(self.state), intake=settings.intake(), counting=settings.counting()
            )
            self._replayed = self._engine.start() or {}
        # Lines come in from here on; what follows takes longer to load than the engine takes to start.
        try:
            self._start_readers()
        except BaseException:
            self._engine.stop()
            raise
        bound = sorted(self._engine.addresses().items())
        where = ", ".join(n if n.endswith(a) else f"{n} ({a})" for n, a in bound)
        lines = int(self._replayed.get("replayed_lines", 0))
        log.info(
            "seismolog %s takes lines from %s%s%s",
            __version__,
            where or "standard input",
            f"; {lines} lines replayed in {self._replayed.get('seconds', 0):.1f} s" if lines else "",
            f"; metrics on http://{self._server.address}/metrics" if self._server else "",
        )
        self._notifier.ready(f"listening on {where}" if where else "reading standard input")
        self.running.set()

    def _start_readers(self) -> None:
        from seismolog.archive.scanning import ScanOptions, core
        from seismolog.live.closed import ClosedBins
        from seismolog.live.commit import Committer
        from seismolog.live.metrics import MetricsServer
        from seismolog.live.sinks import Running, make_sinks
        from seismolog.store import Store

        config, engine = self.config, self.engine
        if self._with_metrics and config.live.metrics is not None:
            self._server = MetricsServer(
                config.live.metrics, numbers=self.numbers, health=self.health, status=self.status
            )
        url = store_url(config, self.state)
        self._bins = ClosedBins(
            engine,
            self.state / "cursors",
            size=config.live.closed_size,
            age=config.live.closed_age.total_seconds(),
        )
        self._committer = Committer(
            Store(url),
            source_of(self.state),
            self._bins,
            self._commit_settings(config),
            fingerprint=ScanOptions.from_config(config).fingerprint(core().VERSION),
            totals=self._totals,
            committed=self._committed,
        )
        running = Running(
            self._bins,
            lambda: Store(url),
            self.state,
            self.numbers,
            self.engine.unmatched_shapes,
            self._committer.flush,
        )
        # Sinks first: what the store has taken is released unless a sink's cursor still needs it.
        for sink in make_sinks(config):
            sink.start(running)
            self._sinks.append(sink)
        self._committer.start()
        self._committer.nudge()

    @staticmethod
    def _commit_settings(config: Config) -> CommitSettings:
        from seismolog.live.commit import CommitSettings

        return CommitSettings(
            interval=config.store.commit_interval.total_seconds(),
            rows=config.store.commit_rows,
            upkeep=config.live.upkeep_interval.total_seconds(),
            keep=config.store.keep or None,
            compact_files=config.store.compact_files,
            retention=config.store.retention,
        )

    def _totals(self) -> LiveTotals:
        """Lines since the state folder was made: the engine's counters go on over a restart."""
        from seismolog.store import LiveTotals

        numbers = self._engine_numbers()
        return LiveTotals(**{field: int(numbers.get(name, 0)) for field, name in TOTALS.items()})

    def _committed(self, _revision: int) -> None:
        for sink in self._sinks:
            sink.nudge([])

    # -- the main loop

    def _loop(self) -> None:
        next_status = 0.0
        while not self._stop.is_set():
            with core_errors():
                revisions = self.engine.wait(TICK)
            if revisions:
                self._revision = max(self._revision, *revisions)
                assert self._committer is not None
                self._committer.nudge()
                for sink in self._sinks:
                    sink.nudge(revisions)
            if self._reload.is_set():
                self._reload.clear()
                self._take_configuration()
            if self._only is not None and self.engine.ended():
                log.info("standard input has ended: draining")
                return
            if self._committer is not None and not self._committer.alive:
                raise SeismologError(
                    "the thread that writes the store has ended",
                    mend="see the log above, and report it; what was received is in the write-ahead log",
                )
            self._notifier.alive()
            self._tell_troubles()
            now = time.monotonic()
            if now >= next_status:
                next_status = now + STATUS_EVERY
                self._notifier.status(self._status_line())

    def _tell_troubles(self) -> None:
        """Each trouble of the engine into the log when it begins and when it ends, not while it lasts."""
        now = self._engine_troubles()
        for part in now.keys() - self._told.keys():
            log.error("%s: %s", part, now[part])
        for part in self._told.keys() - now.keys():
            log.info("%s: all is well again", part)
        self._told = now

    def _engine_troubles(self) -> dict[str, str]:
        return dict(self.engine.metrics().get("troubles") or {})

    def _status_line(self) -> str:
        numbers = self._engine_numbers()
        healthy, troubles = self.health()
        lines = int(numbers.get(TOTALS["lines"], 0))
        return f"{lines} lines; " + ("all is well" if healthy else "; ".join(troubles))

    def _take_configuration(self) -> None:
        """SIGHUP: all of the new configuration, or none of it."""
        self._notifier.reloading()
        try:
            new = self._load()
            settings = self._settings(new)
            changed = changed_keys(self.config, new)
            with core_errors():
                self.engine.reload(settings.intake(), settings.counting())
        except SeismologError as error:
            self._reloads[1] += 1
            log.error("the configuration stays as it was: %s", error.render())
        else:
            self._reloads[0] += 1
            self.config = new
            assert self._committer is not None and self._bins is not None
            self._committer.settings = self._commit_settings(new)
            self._bins.size = new.live.closed_size
            self._bins.age = new.live.closed_age.total_seconds()
            for sink in self._sinks:
                sink.reload(new)
            later = [k for k in changed if k in FIXED]
            log.info("reloaded; changed: %s", ", ".join(changed) or "nothing")
            if later:
                log.warning("a restart is needed for %s", ", ".join(later))
        self._notifier.ready(self._status_line())

    def _end(self) -> int:
        until = time.monotonic() + self.config.live.drain.total_seconds()

        def left() -> float:
            return max(0.5, until - time.monotonic())

        self._notifier.stopping("draining")
        self._notifier.longer(self.config.live.drain.total_seconds() + 5)
        with core_errors():
            drained = self.engine.drain(left())
        committed = self._committer is not None and self._committer.stop(left())
        for sink in self._sinks:
            sink.stop(left())
        if self._server is not None:
            self._server.close()
        with core_errors():
            self.engine.stop()
        if drained is False or not committed:
            log.warning("not everything was committed in time; the next start goes on with it")
        else:
            log.info("ended; everything that closed is committed")
        return 0

    # -- what is shown

    def _engine_numbers(self) -> dict[str, float]:
        return {k: v for k, v in self.engine.metrics().items() if isinstance(v, int | float)}

    def numbers(self) -> dict[str, float]:
        """Every number of the daemon by its full name."""
        found: dict[str, float] = {
            f'seismolog_info{{version="{__version__}"}}': 1,
            "seismolog_start_time_seconds": round(self._began, 3),
            "seismolog_replayed_lines": self._replayed.get("replayed_lines", 0),
            "seismolog_replay_seconds": self._replayed.get("seconds", 0.0),
            "seismolog_reloads_total": self._reloads[0],
            "seismolog_reload_errors_total": self._reloads[1],
            "seismolog_closed_revision": self._revision,
            "seismolog_healthy": int(self.health()[0]),
            **_process_numbers(),
            **self._engine_numbers(),
        }
        if self._bins is not None:
            found["seismolog_closed_skipped_total"] = self._bins.skipped_total
            for reader, position in self._bins.positions().items():
                found[f'seismolog_cursor_revision{{reader="{reader}"}}'] = position
        if self._committer is not None:
            state = self._committer.state
            found["seismolog_store_commits_total"] = state.commits
            found["seismolog_store_rows_total"] = state.rows
            found["seismolog_store_commit_seconds_total"] = round(state.commit_seconds, 6)
            found["seismolog_store_errors_total"] = state.errors
            found["seismolog_store_lag_seconds"] = round(self._committer.lag, 3)
            found["seismolog_store_ok"] = int(state.trouble is None)
            found["seismolog_store_upkeeps_total"] = state.upkeeps
            found["seismolog_store_upkeep_seconds"] = round(state.upkeep_seconds, 3)
        for sink in self._sinks:
            found.update(sink.metrics())
        return found

    def health(self) -> tuple[bool, list[str]]:
        """Whether lines are received and counted, and every trouble."""
        lines = [f"{part}: {message}" for part, message in sorted(self._engine_troubles().items())]
        healthy = not lines and self.running.is_set()
        committer = self._committer
        if committer is not None and committer.state.trouble is not None:
            lines.append(f"store: {committer.state.trouble}")
            healthy = False
        return healthy, lines

    def status(self) -> dict[str, Any]:
        """For `seismolog top`: numbers, the busiest clients, troubles."""
        healthy, troubles = self.health()
        return {
            "version": __version__,
            "time": time.time(),
            "started": self._began,
            "state": str(self.state),
            "store": store_url(self.config, self.state),
            "listeners": self.engine.addresses(),
            "healthy": healthy,
            "troubles": troubles,
            "numbers": self.numbers(),
            "top": self.engine.top(TOP),
        }


def _process_numbers() -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found: dict[str, float] = {"process_cpu_seconds_total": round(usage.ru_utime + usage.ru_stime, 3)}
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        found["process_resident_memory_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
        found["process_open_fds"] = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, no paths
    except OSError:
        log.debug("/proc cannot be read")
    return found
