"""Senders that do the worst they can to a real daemon: its memory stays within bounds, and others go on unharmed.

Beside each of them an honest sender sends its lines, and every one of those is counted.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.lab.capture.daemons import free_port, wait_for
from tests.lab.live.serving import Serving, query_line, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MIB = 1 << 20
#: What the daemon may take, whatever is sent to it.
MEMORY = 512 * MIB
HONEST = "198.51.100.7"


def peak(daemon: Serving) -> int:
    """The most memory that the daemon has had, in bytes."""
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def sum_of(daemon: Serving, name: str) -> int:
    """A number of the daemon, added up over its labels."""
    return int(sum(value for key, value in daemon.metrics().items() if key.partition("{")[0] == name))


def connect(daemon: Serving, name: str = "tcp") -> socket.socket:
    """A connection to a listener."""
    return socket.create_connection(("127.0.0.1", daemon.port(name)), 30)


def lines(number: int, client: str = HONEST) -> bytes:
    """So many lines of a client."""
    now = datetime.now(UTC)
    return b"".join(query_line(at, now, client) + b"\n" for at in range(number))


class Honest(threading.Thread):
    """A hundred lines every tenth of a second over one connection."""

    def __init__(self, daemon: Serving) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.failure: OSError | None = None
        self._daemon = daemon
        self._done = threading.Event()

    def run(self) -> None:
        """Send."""
        try:
            with connect(self._daemon) as out:
                while not self._done.wait(0.1):
                    out.sendall(lines(100))
                    self.sent += 100
        except OSError as error:
            self.failure = error

    def end(self) -> None:
        """No more."""
        self._done.set()
        self.join(30)
        assert not self.is_alive() and self.failure is None, self.failure


@contextmanager
def harassed(
    root: Path, listen: dict[str, Any] | None = None, more: str = "", **live: Any
) -> Iterator[Serving]:
    """A daemon with an honest sender; at the end its lines are all counted, and the memory was bounded."""
    with serving(root, listen or {}, more, **live) as daemon:
        honest = Honest(daemon)
        honest.start()
        yield daemon
        wait_for("the honest sender", lambda: honest.sent >= 300)
        honest.end()
        assert peak(daemon) < MEMORY
        assert daemon.stop() == 0, daemon.said
        rows = daemon.rows().filter(pl.col("client") == HONEST)
        assert rows["count"].sum() == honest.sent


def closed(connection: socket.socket) -> bool:
    """Wait until the other end has closed it, whatever it says before; a reset says the same."""
    connection.settimeout(20)
    try:
        while connection.recv(1024):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_a_gigabyte_without_the_end_of_a_line(tmp_path: Path) -> None:
    with harassed(tmp_path) as daemon:
        before = peak(daemon)
        with connect(daemon) as endless:
            block = b"x" * (4 * MIB)
            for _ in range(256):
                endless.sendall(block)
            endless.sendall(b"\n" + lines(1, "192.0.2.1"))
            wait_for("its next line", lambda: sum_of(daemon, "seismolog_long_lines_total") == 1)
        assert peak(daemon) - before < 64 * MIB
    assert daemon.rows().filter(pl.col("client") == "192.0.2.1")["count"].sum() == 1


def test_wrong_octet_counts_end_their_own_connection_only(tmp_path: Path) -> None:
    with harassed(tmp_path) as daemon:
        for wrong in (b"4 <1>a6 <1>b\n\nrest", b"4 <1>a-3 <1>b"):
            with connect(daemon) as out:
                out.sendall(wrong)
                assert closed(out)
        with connect(daemon) as out:  # it ends before its message does
            out.sendall(b"12 <30>short")
        assert sum_of(daemon, "seismolog_bad_frames_total") == 2
        with connect(daemon, "relp") as out:
            out.sendall(b"1 syslog 999999999999 <30>x\n")
            assert closed(out)
        assert sum_of(daemon, "seismolog_bad_frames_total") == 3


def test_ten_thousand_connections_and_those_past_the_bound(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    crowd = min(10_000, hard - 500)
    if crowd < 10_000:
        print(f"{crowd} connections only: ulimit -Hn is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, crowd + 500), hard))
    try:
        # One more is the honest sender's.
        with harassed(tmp_path, connections=crowd + 1) as daemon, ExitStack() as stack:
            wait_for("the honest sender", lambda: sum_of(daemon, "seismolog_connections") == 1)
            half, rest = lines(1, "192.0.2.1")[:30], lines(1, "192.0.2.1")[30:]
            open_ones = [stack.enter_context(connect(daemon)) for _ in range(crowd)]
            for connection in open_ones:
                connection.sendall(half)
            wait_for("the crowd", lambda: sum_of(daemon, "seismolog_connections") == crowd + 1)
            for _ in range(20):
                with connect(daemon) as late:
                    assert closed(late)
            assert sum_of(daemon, "seismolog_shed_connections_total") == 20
            for connection in open_ones:
                connection.sendall(rest)
            wait_for("their lines", lambda: sum_of(daemon, "seismolog_received_lines_total") > crowd)
            stack.close()
            wait_for("them to go", lambda: sum_of(daemon, "seismolog_connections") == 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert daemon.rows().filter(pl.col("client") == "192.0.2.1")["count"].sum() == crowd


def test_a_connection_for_each_line(tmp_path: Path) -> None:
    line = lines(1, "192.0.2.1")
    with harassed(tmp_path) as daemon:
        for number in range(2000):
            with connect(daemon) as out:
                out.sendall(line if number % 2 else line.rstrip())
        wait_for("the connections", lambda: sum_of(daemon, "seismolog_accepted_connections_total") > 2000)
        wait_for("them to go", lambda: sum_of(daemon, "seismolog_connections") == 1)
    assert daemon.rows().filter(pl.col("client") == "192.0.2.1")["count"].sum() == 2000


def test_a_sender_of_a_byte_at_a_time_is_closed(tmp_path: Path) -> None:
    with harassed(tmp_path, idle="1s") as daemon:
        slow = [connect(daemon, name) for name in ("tcp", "relp") for _ in range(20)]
        for connection in slow[20:]:  # half a frame
            connection.sendall(b"1 open 1000 ")
        gone: set[int] = set()
        deadline = time.monotonic() + 30
        while len(gone) < len(slow):
            assert time.monotonic() < deadline, f"{len(slow) - len(gone)} are still open"
            for number, connection in enumerate(slow):
                if number in gone:
                    continue
                try:
                    connection.sendall(b"1")
                except OSError:
                    gone.add(number)
            time.sleep(0.1)
        for connection in slow:
            connection.close()
        assert sum_of(daemon, "seismolog_shed_connections_total") == len(slow)


def test_a_relp_sender_that_does_not_wait_or_does_not_listen(tmp_path: Path) -> None:
    def frames(first: int, count: int) -> bytes:
        return b"".join(b"%d syslog 5 <30>x\n" % number for number in range(first, first + count))

    opening = b"1 open 30 relp_version=0\ncommands=syslog\n"
    with harassed(tmp_path, relp_unanswered=1000, relp_unread_size="64 KiB") as daemon:
        with connect(daemon, "relp") as hasty, hasty.makefile("rb") as answers:
            # All at once, far more than may wait for their confirmation: it is read bit by bit, and all are confirmed.
            hasty.sendall(opening + frames(2, 20_000))
            last = b""
            while not last.startswith(b"20001 rsp "):
                last = answers.readline()
            assert sum_of(daemon, "seismolog_relp_pauses_total") > 0
        with connect(daemon, "relp") as deaf:
            # What it does not read fills its socket's buffers, then the bound.
            deaf.sendall(opening)
            with contextlib.suppress(ConnectionError):
                for first in range(2, 100_000_000, 10_000):
                    deaf.sendall(frames(first, 10_000))
        assert sum_of(daemon, "seismolog_shed_connections_total") == 1


def test_peers_outside_of_the_list_are_not_heard(tmp_path: Path) -> None:
    listen = {"udp": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}", "allow": ["127.0.0.1/32"]}
    with harassed(tmp_path, listen) as daemon:
        for name in ("tcp", "relp"):
            address = ("127.0.0.1", daemon.port(name))
            with socket.create_connection(address, 30, source_address=("127.0.0.2", 0)) as stranger:
                assert closed(stranger)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.2", 0))
            stranger.sendto(lines(1, "192.0.2.1"), ("127.0.0.1", daemon.port("udp")))
        wait_for("all three", lambda: sum_of(daemon, "seismolog_refused_peers_total") == 3)
    assert daemon.rows().filter(pl.col("client") == "192.0.2.1").height == 0


def test_a_flood_of_made_up_addresses_is_counted_as_one(tmp_path: Path) -> None:
    """As many lines as there are addresses, over TCP and UDP; past the bound they share one name, and none is lost."""
    bound, flood, block = 50_000, 400_000, 20_000
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    listen = {"udp": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"}
    with harassed(tmp_path, listen, f"[limits]\nclients = {bound}\n") as daemon:
        # The honest one is known before.
        wait_for("the honest sender", lambda: sum_of(daemon, "seismolog_counted_lines_total") > 0)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams = 0
        with connect(daemon) as out, udp:
            for first in range(0, flood, block):
                text = b"".join(
                    b"<30>1 %s ns1 named 812 - - client @0x7f1 10.%d.%d.%d#53 (a.example): query: a.example IN A + (::1)\n"
                    % (stamp.encode(), at >> 16, at >> 8 & 255, at & 255)
                    for at in range(first, first + block)
                )
                out.sendall(text)
                for line in text.splitlines()[:100]:
                    udp.sendto(line, ("127.0.0.1", daemon.port("udp")))
                    datagrams += 1
        wait_for(
            "the flood", lambda: sum_of(daemon, "seismolog_counted_lines_total") >= flood + datagrams, 60
        )
        assert daemon.metrics()['seismolog_shed_total{bound="clients"}'] > 0
        assert sum_of(daemon, "seismolog_known_clients") <= bound + 1
        assert sum_of(daemon, "seismolog_kernel_dropped_total") == 0
    rows = daemon.rows().filter(pl.col("client").is_null() | (pl.col("client") != HONEST))
    assert rows["count"].sum() == flood + datagrams
    assert rows["client"].n_unique() <= bound + 1
