"""An HTTP proxy before a server that fails as it is told: for what a real server does only on its worst days.

Each request takes the next fault off the script; without one it is passed on. A fault answers in the server's place,
closes the connection, or delays, before or after the request was carried out.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to one request."""

    #: Answer with this status; None passes on what the server says.
    status: int | None = None
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    #: Close the connection without an answer.
    reset: bool = False
    #: Seconds to wait first.
    delay: float = 0.0
    #: Whether the server carries the request out, whatever is answered.
    carried_out: bool = False


@dataclass
class Seen:
    """One request as it came."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FaultProxy:
    """The proxy, listening while in its context."""

    def __init__(self, upstream: str) -> None:
        split = urlsplit(upstream)
        self._upstream = (split.hostname or "127.0.0.1", split.port or 80)
        self.script: deque[Fault] = deque()
        #: Asked for each request that the script has no fault for.
        self.always: Callable[[Seen], Fault | None] = lambda _: None
        self.seen: list[Seen] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                seen = Seen(time.monotonic(), self.command, self.path, dict(self.headers), body)
                proxy.seen.append(seen)
                fault = proxy.script.popleft() if proxy.script else proxy.always(seen)
                fault = fault or Fault(carried_out=True)
                time.sleep(fault.delay)
                answer = None
                if fault.carried_out or (fault.status is None and not fault.reset):
                    answer = proxy.forward(seen)
                if fault.reset:
                    # An RST, as a server that was killed gives.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault.status is not None or answer is None:
                    status, headers, content = fault.status or 502, fault.headers, fault.body.encode()
                else:
                    status, headers, content = answer
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # the client did not wait for it

            do_GET = do_POST = do_DELETE = do_PATCH = handle_one  # noqa: N815 - as http.server calls them

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forward(self, seen: Seen) -> tuple[int, dict[str, str], bytes] | None:
        """Carry a request out; None where the server does not answer."""
        connection = http.client.HTTPConnection(*self._upstream, timeout=60)
        try:
            headers = {k: v for k, v in seen.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(seen.method, seen.path, seen.body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except OSError:
            return None
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
