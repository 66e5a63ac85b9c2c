"""/metrics in the text format of Prometheus, /healthz, and /status.json for `seismolog top`.

A small HTTP server on loopback (``[live] metrics``). It answers GET and HEAD of these three paths, to at most
:data:`AT_ONCE` peers at a time, and closes who takes longer than :data:`SECONDS`.

/healthz is 200 with ``ok`` while lines are received and counted, else 503 with one line for each trouble. A
sink that is down is no trouble of ours: it is told in the body and in /metrics, with 200.

Names of metrics are those of the engine (``seismolog_…``, labels included) and of
:mod:`seismolog.live.catalogue`, where each has its sentence.

Limits: no TLS and no password; it is for the machine itself. /status.json holds client addresses, so it is only
given to who asks for an address or ``localhost``, not for a name that a web page could have bent here.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from seismolog.errors import ServiceError
from seismolog.live.catalogue import described

__all__ = ["MetricsServer", "prometheus_text"]

log = logging.getLogger(__name__)

AT_ONCE = 16
SECONDS = 5.0

#: (healthy, lines)
Health = tuple[bool, list[str]]


def prometheus_text(numbers: Mapping[str, float]) -> str:
    """The exposition format, version 0.0.4: families together, each with its help and type."""
    families: dict[str, list[tuple[str, float]]] = {}
    for name, value in numbers.items():
        families.setdefault(name.partition("{")[0], []).append((name, value))
    lines = []
    for family in sorted(families):
        kind, sentence = described(family)
        lines.append(f"# HELP {family} {_help(sentence)}")
        lines.append(f"# TYPE {family} {kind}")
        lines += [f"{name} {_number(value)}" for name, value in sorted(families[family])]
    return "\n".join(lines) + "\n"


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"
    server_version = "seismolog"
    sys_version = ""
    timeout = SECONDS

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        status, kind, text = 200, "text/plain; charset=utf-8", ""
        if path == "/metrics":
            kind = "text/plain; version=0.0.4; charset=utf-8"
            text = prometheus_text(self.server.numbers())
        elif path == "/healthz":
            healthy, lines = self.server.health()
            status = 200 if healthy else 503
            text = "\n".join(["ok" if healthy else "not healthy", *lines]) + "\n"
        elif path == "/status.json":
            if not _is_direct(self.headers.get("Host", "")):
                status, text = 403, "ask for this address by its number, or as localhost\n"
            else:
                kind = "application/json"
                text = json.dumps(self.server.status()) + "\n"
        else:
            status, text = 404, "there are /metrics, /healthz and /status.json\n"
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class calls it
        """Requests are no news."""


def _is_direct(host: str) -> bool:
    name = host.strip()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Server(HTTPServer):
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(
        self,
        address: tuple[str, int],
        numbers: Callable[[], Mapping[str, float]],
        health: Callable[[], Health],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.numbers, self.health, self.status = numbers, health, status
        self._room = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        thread = threading.Thread(
            target=self._one, args=(request, client_address), name="metrics-request", daemon=True
        )
        thread.start()

    def _one(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            log.debug("a reader of /metrics went away")
        except Exception:
            # A page that fails must not end a daemon that counts; the traceback goes to its log.
            log.exception("a request to the metrics port failed")
        finally:
            self.shutdown_request(request)
            self._room.release()


class MetricsServer:
    """The server in a thread.

    Parameters
    ----------
    listener
        Address and port; port 0 takes any.
    numbers, health, status
        What the three paths answer.

    Raises
    ------
    ServiceError
        The port cannot be bound.
    """

    def __init__(
        self,
        listener: str,
        *,
        numbers: Callable[[], Mapping[str, float]],
        health: Callable[[], Health],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        host, _, port = listener.rpartition(":")
        try:
            self._server = _Server((host.strip("[]"), int(port)), numbers, health, status)
        except OSError as error:
            raise ServiceError(
                f"cannot listen on {listener}: {error.strerror}",
                key="live.metrics",
                mend="stop what listens there, or name another port in [live] metrics",
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        text = host.decode() if isinstance(host, bytes) else str(host)
        return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)
