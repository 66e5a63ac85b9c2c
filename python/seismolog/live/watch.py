"""Detectors beside the daemon: what the bins that have just closed complete is found, kept and told.

Every ten minutes, when the bins of the last ten have closed and are in the store, the detectors look at the last day up
to there (:class:`seismolog.detect.run.Watch`), those of hourly tables at the end of the hour. What opened, changed or
closed is written to the table ``incident``, put into the outboxes of the channels under ``[notify]``, and, where
``[grafana]`` has an address, made Grafana's annotations. Open incidents and what is usual are taken up again at a start.

A look is one thread's work and holds nobody up: reception and counting run without the interpreter, and bins go to the
store from a thread of their own. Grafana is asked from a thread of its own too; what it does not take is tried again at
the next look, since annotations are made to equal the store.

Limits: detectors see what is in the store, so a look has the bins that have closed committed first. Lines of the past that
come in late are looked at by `seismolog detect`, not here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from seismolog.errors import SeismologError

if TYPE_CHECKING:
    from seismolog.config import Config
    from seismolog.detect.incidents import Changes
    from seismolog.detect.run import Watch
    from seismolog.live.sinks import Running
    from seismolog.sinks.notify import Notifier
    from seismolog.store import Store

__all__ = ["Watcher", "due", "make"]

log = logging.getLogger(__name__)

STEP = timedelta(minutes=10)
#: Tables that are complete at the end of an hour only.
HOURLY = ("client_domain", "client_names", "ptr_target", "drop_target", "account_activity")
#: After the lateness, until the bins of an idle server have closed too: rounds are told twenty times a second and go by
#: whole seconds.
SETTLED = timedelta(seconds=1.2)
#: How often the clock is looked at, seconds.
TICK = 0.2
#: How long a look waits for the commit of its bins; what a store that is away lacks is looked at later.
COMMIT_PATIENCE = 15.0
#: How far back Grafana's annotations are held to the store.
ANNOTATED = timedelta(days=2)


def make(config: Config) -> Watcher | None:
    """The sink that a configuration wants."""
    return Watcher(config) if config.detect.enabled else None


def due(after: datetime, now: datetime, lateness: timedelta) -> datetime | None:
    """The end of the newest ten minutes whose bins have closed by `now` and that lies behind `after`; None for none."""
    closed = now - lateness - SETTLED
    end = closed - (closed - datetime.min.replace(tzinfo=UTC)) % STEP
    return end if end > after else None


class Watcher:
    """A :class:`seismolog.live.sinks.Sink` that runs detectors."""

    name = "detectors"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: Running | None = None
        self._stopping = threading.Event()
        self._reloaded = threading.Event()
        self._thread = threading.Thread(target=self._run, name="detectors", daemon=True)
        self._notifier: Notifier | None = None
        self._annotator = _Annotator()
        self._watch: Watch | None = None
        self._prepared: Watch | None = None
        self._told: dict[str, str] = {}
        self._numbers: dict[str, float] = {}
        self._looks = self._errors = self._opened = 0

    # -- as the daemon sees it

    def start(self, running: Running) -> None:
        """Begin."""
        from seismolog.sinks.notify import notifier

        self._running = running
        # A channel that lacks something is an error of the configuration, told at the start.
        self._notifier = notifier(self._config, running.state)
        if self._notifier is not None:
            self._notifier.start()
        self._thread.start()

    def nudge(self, revisions: Sequence[int]) -> None:
        """Bins have closed, or ([]) were committed: a look begins by the clock, and asks for the commit itself."""

    def reload(self, config: Config) -> None:
        """Take new settings at the next look."""
        self._config = config
        self._reloaded.set()

    def metrics(self) -> Mapping[str, float]:
        """Numbers by their full name."""
        found = {
            "seismolog_detect_looks_total": float(self._looks),
            "seismolog_detect_errors_total": float(self._errors),
            "seismolog_incidents_opened_total": float(self._opened),
            **self._numbers,
        }
        if self._notifier is not None:
            for channel, numbers in self._notifier.metrics().items():
                for what, value in numbers.items():
                    found[f'seismolog_notify_{what}{{channel="{channel}"}}'] = float(value)
        return found

    def stop(self, timeout: float) -> None:
        """End; a look under way is left, and made again at the next start."""
        self._stopping.set()
        self._thread.join(timeout / 2)
        if self._notifier is not None:
            self._notifier.stop(timeout / 2)

    # -- the thread

    def _run(self) -> None:
        assert self._running is not None
        looked = datetime.now(UTC)
        while not self._stopping.wait(TICK):
            until = due(looked, datetime.now(UTC), self._config.listen.lateness)
            if until is None:
                continue
            self._running.flush(COMMIT_PATIENCE)
            if self._stopping.is_set():
                return
            try:
                self.look(self._running.store(), until)
            except (SeismologError, OSError) as error:
                # Such as a store that is away: the next ten minutes are looked at together with these.
                self._errors += 1
                self._watch = None
                log.error("incidents: %s", error.render() if isinstance(error, SeismologError) else error)
                continue
            looked = until
            try:
                self.prepare(self._running.store(), until)
            except (SeismologError, OSError) as error:
                log.warning("incidents: the look at the end of the hour will take longer: %s", error)

    def look(self, store: Store, until: datetime) -> Changes:
        """Run the detectors over the day up to `until`; keep and tell what changed.

        Raises
        ------
        SeismologError, OSError
            The store cannot be read or written.
        """
        if self._reloaded.is_set() or self._watch is None:
            self._reloaded.clear()
            self._watch = _watch(self._config, store, until)
        began, watch = time.monotonic(), self._watch
        self._told = {i.id: i.severity for i in watch.book.incidents}
        changes = watch.close(store, until, begin=_begin(store), names=_names(until))
        self._tell(store, changes, watch)
        self._looks += 1
        delay = datetime.now(UTC) - until - self._config.listen.lateness
        self._numbers["seismolog_detect_seconds"] = round(time.monotonic() - began, 3)
        self._numbers["seismolog_detect_delay_seconds"] = round(delay.total_seconds(), 3)
        self._numbers["seismolog_detect_kept_bytes"] = float(watch.kept_bytes)
        self._numbers["seismolog_incidents_open"] = float(sum(i.open for i in watch.book.incidents))
        return changes

    def prepare(self, store: Store, until: datetime) -> None:
        """After the first look of new detectors: read what their first look at the end of an hour reads of the day before.

        Raises
        ------
        SeismologError, OSError
            The store cannot be read.
        """
        watch, hour = self._watch, until.replace(minute=0)
        if watch is None or watch is self._prepared:
            return
        self._prepared = watch
        begin = _begin(store)
        if begin is not None and begin < hour < until:
            watch.rehearse(store, hour, begin=begin, names=_detectors(hourly=True))

    def _tell(self, store: Store, changes: Changes, watch: Watch) -> None:
        from seismolog.detect.kept import save_baseline, save_changes
        from seismolog.privacy import pseudonymizer

        changed = [*changes.opened, *changes.updated, *changes.closed]
        if changed or changes.absorbed:
            save_changes(store, changed, changes.absorbed)
        save_baseline(store, watch.baseline)
        self._opened += len(changes.opened)
        for incident in changes.opened:
            log.warning(
                "incident %s: %s", incident.id, incident.explanation.encode("unicode_escape").decode()
            )
        if not changed:
            return
        pseudonyms = pseudonymizer(self._config)
        if self._notifier is not None:
            from seismolog.sinks.notify import messages_of

            self._notifier.put(messages_of(changes, self._told, pseudonyms))
        self._annotator.push(self._config, store)


class _Annotator:
    """Holds Grafana's annotations to the store, in a thread of its own, one push at a time."""

    def __init__(self) -> None:
        self._busy = threading.Lock()

    def push(self, config: Config, store: Store) -> None:
        """Begin a push, unless one is under way or no Grafana is configured."""
        if config.grafana.url is None or not self._busy.acquire(blocking=False):
            return
        threading.Thread(target=self._push, args=(config, store.url), name="annotations", daemon=True).start()

    def _push(self, config: Config, url: str) -> None:
        from seismolog.privacy import pseudonymizer
        from seismolog.sinks.grafana.annotations import annotations_of, push_annotations
        from seismolog.sinks.grafana.api import Grafana, grafana_of
        from seismolog.sinks.grafana.push import Pushed
        from seismolog.store import Store

        try:
            pseudonyms = pseudonymizer(config)
            now = datetime.now(UTC)
            incidents = Store(url).read("incident", now - ANNOTATED, now).collect()
            push_annotations(
                Grafana(grafana_of(config)),
                annotations_of(
                    incidents, None if pseudonyms is None else lambda text, _: pseudonyms.text(text)
                ),
                Pushed(),
                since=now - ANNOTATED,
                until=now,
            )
        except (SeismologError, OSError) as error:
            log.error("annotations: %s", error.render() if isinstance(error, SeismologError) else error)
        finally:
            self._busy.release()


def _watch(config: Config, store: Store, until: datetime) -> Watch:
    """Detectors as configured, with what was open and what is usual."""
    from seismolog.detect import registry
    from seismolog.detect.kept import load_baseline, load_incidents
    from seismolog.detect.run import Rules, Watch
    from seismolog.detect.site import Site

    return Watch(
        site=Site.from_config(config),
        settings=registry.settings_of(config.detect.given),
        rules=Rules.of_config(config.detect),
        baseline=load_baseline(store),
        incidents=[i for i in load_incidents(store, until - timedelta(days=1)) if i.open],
    )


def _begin(store: Store) -> datetime | None:
    """First moment that the store holds."""
    span = store.snapshot(["traffic"]).span()
    return None if span is None else span[0]


def _names(until: datetime) -> list[str] | None:
    """Detectors to run: at the end of an hour all, else those whose tables are complete."""
    return None if until.minute == 0 else _detectors(hourly=False)


def _detectors(*, hourly: bool) -> list[str]:
    """Those that read tables of hours, or the others."""
    from seismolog.detect import registry

    return [n for n in registry.names() if bool(set(HOURLY) & set(registry.detector(n).TABLES)) is hourly]
