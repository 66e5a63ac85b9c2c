"""What systemd is told: ready, reloading, stopping, a line of status, and that the daemon is alive.

The protocol of sd_notify(3): datagrams of ``KEY=value`` lines to the socket named by ``$NOTIFY_SOCKET`` (a
path, or an abstract name that begins with ``@``). Without that variable nothing is sent. With
``WatchdogSec=`` systemd restarts a daemon that has not sent ``WATCHDOG=1`` for that long; we send it at a third of
the time, and only from the main loop, so that one that hangs is seen.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

__all__ = ["Notifier"]

log = logging.getLogger(__name__)


class Notifier:
    """Sends to systemd, or to nobody."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address[:1] in ("/", "\0"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._every = _watchdog_seconds(environ) / 3
        self._next = 0.0
        self._failed = False

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd cannot be told: %s", error.strerror)
            self._failed = True

    def ready(self, status: str) -> None:
        """All listeners are bound."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """A reload has begun; :meth:`ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """No line is taken any more."""
        self._send("STOPPING=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """A line for `systemctl status`."""
        self._send(f"STATUS={_line(status)}")

    def longer(self, seconds: float) -> None:
        """What is going on takes this much longer."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """Call it often: it is sent when it is due."""
        now = time.monotonic()
        if self._every > 0 and now >= self._next:
            self._next = now + self._every
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """How long systemd waits for a sign of life; 0 where it does not (or waits for another process)."""
    try:
        if int(environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return 0.0
        return int(environ.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
