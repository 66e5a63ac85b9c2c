r"""A line of syslog for each message, back into rsyslog: RFC 5424 over a unix socket, UDP or TCP.

    <130>1 2026-03-02T10:00:00+00:00 HOST seismolog - incident [seismolog@32473 id="…" event="opened" …]
    sentence

The facility is a setting; the severity is critical (2), warning (4) or notice (5). In structured data ``"``,
``\`` and ``]`` are escaped, everywhere control characters are shown. The element's ``id`` is the message's
id, by which a repetition is known, also to a seismolog that reads the line again.

TCP frames are octet-counted (RFC 6587). A unix socket may be of either kind: datagrams are tried first.

Limits: UDP and datagrams confirm nothing; TCP is told once the line was handed to the system. A line is cut
at :data:`LONGEST` bytes, which rsyslog takes by default.
"""

from __future__ import annotations

import errno
import re
import socket
from typing import TYPE_CHECKING

from seismolog.errors import ConfigError
from seismolog.sinks.notify.failure import Refused, Unreachable
from seismolog.sinks.notify.message import Message, plain

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["LONGEST", "Syslog", "line"]

LONGEST = 8000
_LEVELS = {"critical": 2, "warning": 4, "notice": 5}
_TARGET = re.compile(r"unix:(/.+)|(udp|tcp):(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+):(\d{1,5})")


def _parameter(name: str, value: str) -> str:
    escaped = plain(value, 400).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return f'{name}="{escaped}"'


def line(message: Message, facility: int, host: str) -> bytes:
    """The line of a message, without an end."""
    priority = facility * 8 + _LEVELS.get(message.severity, 5)
    when = message.end if message.event == "closed" and message.end else message.start
    name = re.sub(r"[^\x21-\x7e]", "_", host)[:255] or "-"
    parameters = " ".join(
        _parameter(key, value)
        for key, value in (
            ("id", message.id),
            ("incident", message.incident),
            ("event", message.event),
            ("detector", message.detector),
            ("cause", message.cause),
            ("severity", message.severity),
            ("subject", message.subjects[0]),
            ("start", message.start),
            ("end", message.end or ""),
        )
    )
    head = f"<{priority}>1 {when} {name} seismolog - incident [seismolog@32473 {parameters}] "
    # The mark says that the text is UTF-8.
    text = head.encode() + b"\xef\xbb\xbf" + plain(message.explanation).encode()
    return text[:LONGEST].decode("utf-8", "ignore").encode()


class Syslog:
    """A log that is told.

    Parameters
    ----------
    target
        ``unix:PATH``, ``udp:HOST:PORT`` or ``tcp:HOST:PORT``.
    """

    def __init__(
        self, target: str, facility: int = 16, timeout: float = 10.0, host: str | None = None
    ) -> None:
        match = _TARGET.fullmatch(target)
        if match is None or (match[4] and not 0 < int(match[4]) < 65536):
            raise ValueError("unix:PATH, udp:HOST:PORT or tcp:HOST:PORT")
        self._path, self._kind = match[1], match[2]
        self._address = (match[3].strip("[]"), int(match[4])) if match[3] else None
        self._facility, self._timeout = facility, timeout
        self._host = host if host is not None else socket.gethostname()
        self._open: socket.socket | None = None

    @classmethod
    def of(cls, config: Config) -> Syslog:
        """The log of a configuration."""
        section = config.notify.syslog
        try:
            return cls(section.target or "", section.facility, section.timeout.total_seconds())
        except ValueError as error:
            raise ConfigError(
                "no log that can be told", file=config.file, key="notify.syslog.target", expected=str(error)
            ) from error

    def send(self, message: Message) -> None:
        """Write its line."""
        text = line(message, self._facility, self._host)
        try:
            if self._path is not None:
                self._unix(text)
            elif self._kind == "udp":
                self._udp(text)
            else:
                self._tcp(text)
        except OSError as error:
            self.close()
            reason = f"{self._path or self._address}: {error.strerror or error}"
            if error.errno == errno.EMSGSIZE:
                raise Refused(reason) from error
            raise Unreachable(reason) from error

    def _unix(self, text: bytes) -> None:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_UNIX, kind) as sock:
                sock.settimeout(self._timeout)
                try:
                    sock.connect(self._path or "")
                except OSError as error:
                    if kind == socket.SOCK_DGRAM and error.errno == errno.EPROTOTYPE:  # a stream
                        continue
                    raise
                sock.sendall(text if kind == socket.SOCK_DGRAM else text + b"\n")
                return

    def _udp(self, text: bytes) -> None:
        host, port = self._address or ("", 0)
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(self._timeout)
            sock.sendto(text, address)

    def _tcp(self, text: bytes) -> None:
        # A connection that the other side closed takes the first write without a word: look before.
        if self._open is not None and _ended(self._open, self._timeout):
            self.close()
        if self._open is None:
            self._open = socket.create_connection(self._address or ("", 0), self._timeout)
        self._open.sendall(f"{len(text)} ".encode() + text)

    def close(self) -> None:
        """Close the connection; the next line opens one."""
        if self._open is not None:
            self._open.close()
            self._open = None


def _ended(sock: socket.socket, timeout: float) -> bool:
    """Whether the other side has closed."""
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.settimeout(timeout)
