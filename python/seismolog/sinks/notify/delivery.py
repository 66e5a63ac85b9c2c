"""Takes messages to their channels: an outbox and attempts with back-off for each, none waits for another.

    notes = notifier(config, state_folder) notes.put(messages)          # on disk when it returns
    notes.start()                # a thread a channel notes.stop()                 # what is not told waits
    for the next start

Attempts are made in order; one that fails is tried again after 2 s, then twice as long each time up to
:data:`SLOWEST`, with up to a fifth of chance so that many do not come back at once, or when the receiver says
so. What a receiver refuses for good is counted and let go, so that it does not hold up what comes after it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from seismolog.detect.base import SEVERITIES
from seismolog.sinks.notify.failure import Refused, Unreachable
from seismolog.sinks.notify.message import Message
from seismolog.sinks.notify.outbox import Outbox

if TYPE_CHECKING:
    from seismolog.config import Config
    from seismolog.config.models import _Channel

__all__ = ["FASTEST", "SLOWEST", "Channel", "Notifier", "Queue", "notifier"]

FASTEST, SLOWEST = 2.0, 300.0
_log = logging.getLogger(__name__)


class Channel(Protocol):
    """A way of telling."""

    def send(self, message: Message) -> None:
        """Tell it; Unreachable: later, Refused: never."""


@dataclass
class Queue:
    """The outbox of one channel and its attempts."""

    name: str
    channel: Channel
    outbox: Outbox
    severity: str = "notice"
    updates: bool = True
    sent: int = 0
    refused: int = 0
    failures: int = 0
    trouble: str = ""
    _attempt: int = 0
    _due: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, message: Message) -> bool:
        """Keep a message if this channel tells such; whether it is new."""
        if SEVERITIES.index(message.severity) < SEVERITIES.index(self.severity):
            return False
        if message.event == "risen" and not self.updates:
            return False
        with self._lock:
            return self.outbox.put(message)

    def attempt(self, now: float) -> float | None:
        """Tell what is due, in order, until it is all told or one fails; when to come back, None where nothing waits."""
        if now < self._due:
            return self._due
        with self._lock:
            waiting = list(self.outbox.waiting())
        for message in waiting:
            try:
                self.channel.send(message)
            except Unreachable as error:
                self.failures += 1
                self.trouble = str(error)
                delay = min(FASTEST * 2.0 ** min(self._attempt, 20), SLOWEST) * random.uniform(1.0, 1.2)
                self._attempt += 1
                self._due = now + max(delay, min(error.after or 0.0, 3600.0))
                if self._attempt in (1, 5) or self._attempt % 50 == 0:
                    _log.warning("%s: %s; %d messages wait", self.name, error, len(self.outbox))
                return self._due
            except Refused as error:
                self.refused += 1
                self.trouble = str(error)
                _log.error("%s: %s; message %s is given up", self.name, error, message.id)
            else:
                self.sent += 1
                self.trouble = ""
            self._attempt = 0
            with self._lock:
                self.outbox.done(message)
        return None


class Notifier:
    """All channels of a configuration."""

    def __init__(self, queues: Iterable[Queue], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.queues = {queue.name: queue for queue in queues}
        self._clock = clock
        self._wake = {name: threading.Event() for name in self.queues}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def put(self, messages: Iterable[Message]) -> int:
        """Keep messages for every channel that tells such; how many were new. They are on disk when this returns."""
        new = 0
        for message in messages:
            for name, queue in self.queues.items():
                if queue.put(message):
                    new += 1
                    self._wake[name].set()
        return new

    def attempt(self) -> None:
        """Tell what is due, in this thread; for one-off commands and tests."""
        for queue in self.queues.values():
            queue.attempt(self._clock())

    def start(self) -> None:
        """A thread for each channel, which ends with the process."""
        self._stop.clear()
        for name, queue in self.queues.items():
            thread = threading.Thread(target=self._run, args=(queue,), name=f"notify-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, queue: Queue) -> None:
        wake = self._wake[queue.name]
        while not self._stop.is_set():
            wake.clear()
            try:
                due = queue.attempt(self._clock())
            except OSError as error:  # the outbox's disk
                queue.trouble = f"outbox: {error.strerror or error}"
                _log.error("%s: %s", queue.name, queue.trouble)
                due = self._clock() + SLOWEST
            wake.wait(None if due is None else max(due - self._clock(), 0.05))

    def stop(self, timeout: float = 5.0) -> None:
        """End the threads, each after the message that it is telling; what waits stays on disk."""
        self._stop.set()
        for wake in self._wake.values():
            wake.set()
        for thread in self._threads:
            thread.join(timeout)
        self._threads.clear()

    def metrics(self) -> dict[str, dict[str, int]]:
        """Channel -> waiting, sent, refused, failures, dropped."""
        return {
            name: {
                "waiting": len(q.outbox),
                "sent": q.sent,
                "refused": q.refused,
                "failures": q.failures,
                "dropped": q.outbox.dropped + q.outbox.bad,
            }
            for name, q in self.queues.items()
        }

    def troubles(self) -> Mapping[str, str]:
        """Channel -> what is wrong now, for those that have trouble."""
        return {name: q.trouble for name, q in self.queues.items() if q.trouble}


def notifier(config: Config, state: Path) -> Notifier | None:
    """The channels of a configuration, None where none is set up.

    Parameters
    ----------
    state
        Folder of the daemon's state; the outbox lies in it unless ``[notify] outbox`` says otherwise.

    Raises
    ------
    ConfigError
        A channel lacks something, or a secret cannot be read.
    """
    from seismolog.sinks.notify.mail import Mail
    from seismolog.sinks.notify.syslog import Syslog
    from seismolog.sinks.notify.webhook import Webhook

    section = config.notify
    folder = config.path(section.outbox) if section.outbox else state / "outbox"
    made: list[tuple[str, Channel, _Channel]] = []
    if section.webhook.url:
        made.append(("webhook", Webhook.of(config), section.webhook))
    if section.mail.server:
        made.append(("mail", Mail.of(config), section.mail))
    if section.syslog.target:
        made.append(("syslog", Syslog.of(config), section.syslog))
    if not made:
        return None
    return Notifier(
        Queue(name, channel, Outbox(folder / name, section.messages), settings.severity, settings.updates)
        for name, channel, settings in made
    )
