"""A RELP sender that does what a careful one does: what was not confirmed is sent again, with the same id.

RELP (as rsyslog's omrelp speaks it): a frame is `TXNR SP COMMAND SP LENGTH [SP DATA] LF`. `open` offers what both
can, `syslog` carries one message, `rsp` answers with the number of the frame it is for. A message is the receiver's
only when its `rsp` says `200`; until then it is kept here and sent again over the next connection.
"""

from __future__ import annotations

import select
import socket
import time
from collections import OrderedDict

OFFER = b"relp_version=0\nrelp_software=seismolog-lab\ncommands=syslog"


class RefusedError(ConnectionError):
    """The receiver answered with something else than 200."""


class Sender:
    """Sends messages in order, at most `window` of them unconfirmed."""

    def __init__(self, port: int, window: int = 128) -> None:
        self.port = port
        self.window = window
        self.waiting: OrderedDict[int, bytes] = OrderedDict()
        self.confirmed = 0
        self.sent_again = 0
        self.connections = 0
        self._socket: socket.socket | None = None
        self._number = 0
        self._rest = b""
        self._again: list[bytes] = []

    def _frame(self, command: bytes, data: bytes) -> bytes:
        self._number += 1
        return b"%d %s %d %s\n" % (self._number, command, len(data), data)

    def connect(self, patience: float = 30.0) -> None:
        """Open a session; what was not confirmed in the last one is sent first."""
        deadline = time.monotonic() + patience
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
                self._number, self._rest = 0, b""
                connection.sendall(self._frame(b"open", OFFER))
                self._socket = connection
                self._answers({1}, 10)
                break
            except OSError:
                self._socket = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.connections += 1
        self._again = [*self._again, *self.waiting.values()]
        self.waiting.clear()
        self.sent_again += len(self._again)
        while self._again:
            message = self._again.pop(0)
            self.begin(message)

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._socket is not None

    def begin(self, message: bytes) -> None:
        """Send one message; it waits for its confirmation in `waiting`."""
        assert self._socket is not None
        frame = self._frame(b"syslog", message)
        self.waiting[self._number] = message
        self._socket.sendall(frame)

    def _answers(self, wanted: set[int], seconds: float) -> set[int]:
        """Read answers until those wanted are there or the time is over; returns those that came."""
        assert self._socket is not None
        came: set[int] = set()
        deadline = time.monotonic() + seconds
        while True:
            while self._rest.find(b" ") > 0:
                number, _, rest = self._rest.partition(b" ")
                parts = rest.split(b" ", 2)
                if len(parts) < 2 or (len(parts) == 2 and not parts[1].endswith(b"\n")):
                    break
                length = int(parts[1])
                if len(parts) < 3 or len(parts[2]) < length + 1:
                    break
                data = parts[2][:length]
                self._rest = parts[2][length + 1 :]
                if parts[0] != b"rsp":
                    raise RefusedError(f"{parts[0]!r} {data!r}")
                if not data.startswith(b"200"):
                    raise RefusedError(repr(data))
                came.add(int(number))
            if came and wanted <= came:
                return came
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                return came
            got = self._socket.recv(1 << 16)
            if not got:
                raise ConnectionError("the receiver closed the session")
            self._rest += got

    def _take(self, seconds: float) -> None:
        answered = self._answers(set(), seconds)
        if not answered:
            raise ConnectionError(f"no answer in {seconds:.0f} s")
        for number in answered:
            if self.waiting.pop(number, None) is not None:
                self.confirmed += 1

    def take(self, least: int) -> None:
        """Take confirmations until no more than `least` messages wait for theirs."""
        while len(self.waiting) > least:
            self._take(30.0)

    def send(self, messages: list[bytes]) -> None:
        """Send messages; returns when all are confirmed, over as many connections as it takes."""
        queue = list(reversed(messages))
        while queue or self.waiting or self._again:
            try:
                if self._socket is None:
                    self.connect()
                while queue and len(self.waiting) < self.window:
                    # On the list of what waits before it is on the wire: a failure in between loses nothing.
                    self.begin(queue.pop())
                # Half a window at a time, as a busy sender has it: else each answer would let one message out.
                self.take(self.window // 2 if queue else 0)
            except RefusedError:
                raise
            except OSError:
                self.close()

    def close(self) -> None:
        """Drop the connection; what is unconfirmed is kept."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
