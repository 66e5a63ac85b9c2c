"""What the tests of live counting share: lines, a child that counts, a sender of RELP, and rows to compare."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from seismolog import _core
from seismolog.store.schema import TABLES

#: Counts live lines until it is told to stop; says where it listens, and when it has drained.
CHILD = """
import json, sys
from seismolog import _core
folder, intake, counting = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
live = _core.Live(folder, intake=intake, counting=counting)
started = live.start()
print(json.dumps({"addresses": live.addresses(), **started}), flush=True)
for line in sys.stdin:
    if line == "drain\\n":
        print(json.dumps({"drained": live.drain(60.0)}), flush=True)
    elif line == "metrics\\n":
        print(json.dumps(live.metrics()), flush=True)
live.stop()
"""


class Child:
    """A process that counts. It can be killed at any moment."""

    def __init__(self, folder: Path, intake: dict[str, Any], counting: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), json.dumps(intake), json.dumps(counting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started = self.answer()
        host, _, port = next(iter(self.started["addresses"].values())).rpartition(":")
        self.address = (host, int(port))

    def answer(self) -> dict[str, Any]:
        """The next thing it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with {self.process.wait()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, word: str) -> dict[str, Any]:
        """Tells it to do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.answer()

    def kill(self) -> None:
        """Ends it in the middle of whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Lets it end."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@contextmanager
def engine(
    folder: Path, *, listeners: list[dict[str, Any]] | None = None, **counting: Any
) -> Iterator[_core.Live]:
    """An engine of this process, with one TCP listener where none is named."""
    intake = {"listeners": [{"tcp": {"address": "127.0.0.1:0"}}] if listeners is None else listeners}
    live = _core.Live(folder, intake=intake, counting=counting)
    live.start()
    try:
        yield live
    finally:
        live.stop()


def send(live: _core.Live, lines: Iterable[str]) -> None:
    """Lines over TCP to the only listener; returns when they are counted."""
    before = live.metrics()["seismolog_logged_lines_total"]
    host, _, port = next(iter(live.addresses().values())).rpartition(":")
    text = "".join(line + "\n" for line in lines)
    with socket.create_connection((host, int(port))) as sender:
        sender.sendall(text.encode())
    until(lambda: live.metrics()["seismolog_logged_lines_total"] - before == text.count("\n"))


def until(done: Callable[[], bool], patience: float = 30.0) -> None:
    """Waits for something."""
    end = time.monotonic() + patience
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


class Relp:
    """A careful sender: what is not confirmed is sent again, under the same id, to whoever listens next."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.waiting = [(str(uuid.uuid4()), line) for line in lines]
        self.sent: list[str] = []

    def pump(self, address: tuple[str, int], stop: Callable[[], bool], window: int = 64) -> None:
        """Sends until everything is confirmed, `stop` says so, or the other side is gone."""
        try:
            with socket.create_connection(address, timeout=20) as connection:
                self._pump(connection, stop, window)
        except OSError:
            return

    def _pump(self, connection: socket.socket, stop: Callable[[], bool], window: int) -> None:
        offer = b"relp_version=0\nrelp_software=test\ncommands=syslog"
        connection.sendall(b"1 open %d %s\n" % (len(offer), offer))
        reader = connection.makefile("rb")
        self._response(reader)
        number = 1
        while self.waiting and not stop():
            batch = self.waiting[:window]
            frames = b""
            for at, (message_id, line) in enumerate(batch):
                stamp, host, rest = line.split(" ", 2)
                tag, text = rest.split(": ", 1)
                program, _, pid = tag.rstrip("]").partition("[")
                data = f'[seismolog@32473 id="{message_id}"]'
                body = f"<30>1 {stamp} {host} {program} {pid or '-'} - {data} {text}".encode()
                frames += b"%d syslog %d %s\n" % (number + 1 + at, len(body), body)
            connection.sendall(frames)
            for _ in batch:
                self._response(reader)
                number += 1
                self.sent.append(self.waiting.pop(0)[1])

    @staticmethod
    def _response(reader: Any) -> None:
        head = b""
        while head.count(b" ") < 3 and not head.endswith(b"\n"):
            byte = reader.read(1)
            if not byte:
                raise OSError("the other side is gone")
            head += byte
        length = int(head.split()[2])
        rest = reader.read(length + (0 if head.endswith(b"\n") else 1))
        if not rest and length:
            raise OSError("the other side is gone")


def some_lines(seed: int, count: int, begin: datetime, step: float = 1.0) -> list[str]:
    """Lines of several daemons on two servers, `step` seconds apart on average, in ISO times."""
    pick = random.Random(seed)
    now = begin.timestamp()
    lines = []
    for at in range(count):
        now += pick.expovariate(1 / step)
        stamp = datetime.fromtimestamp(now - pick.uniform(0, 20), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        client = pick.choice([f"192.0.2.{pick.randrange(30)}", f"2001:db8::{pick.randrange(9):x}"])
        name = f"n{pick.randrange(40)}.d{pick.randrange(8)}.example"
        reverse = f"{pick.randrange(9)}.{pick.randrange(3)}.0.10.in-addr.arpa"
        user = f"u{pick.randrange(6)}"
        message = pick.choice(
            [f"named[7]: client {client}#53: query: {name} IN {t} +" for t in ("A", "AAAA", "MX", "TXT")]
            + [
                f"named[7]: client {client}#53: query: {reverse} IN PTR +",
                f"dovecot[1]: imap-login: Login: user=<{user}>, method=PLAIN, rip={client}, lip=192.0.2.1, mpid=3",
                f"popper[{at // 2}]: Stats: joe 0 0 3 4567 host {client}",
                f'popper[{at // 2}]: (v4.0.5) POP login by user "joe" at (host) {client}',
                f"kernel[0]: DROP IN=eth0 OUT= SRC={client} DST=192.0.2.{pick.randrange(9)} PROTO=TCP SPT=4711 DPT=22",
                "cron[1]: something else",
            ]
        )
        lines.append(f"{stamp} ns{pick.randrange(2)} {message}")
    return lines


def _plain(frame: pl.DataFrame, servers: list[str]) -> pl.DataFrame:
    names = pl.Series("server", servers, dtype=pl.String)
    return frame.with_columns(names.gather(frame["server"]).alias("server")).with_columns(
        pl.col(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Int32).cast(pl.Int64)
    )


def _nothing(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    if name == "client_names":
        return frame
    sums = ["logins", "failures", "authenticated_sends"] if name == "account_activity" else ["count"]
    return frame.filter(pl.any_horizontal(pl.col(c) > 0 for c in sums))


def told(rounds: Iterable[_core.Closed]) -> dict[str, pl.DataFrame]:
    """What all rounds say: of each key the row with the highest revision; keys of nothing left out."""
    parts: dict[str, list[pl.DataFrame]] = {}
    for closed in rounds:
        for name in closed.tables():
            frame = _plain(pl.DataFrame(closed.table(name)), closed.servers)
            parts.setdefault(name, []).append(frame.with_columns(revision=pl.lit(closed.revision)))
    found = {}
    for name, frames in parts.items():
        keys = [*TABLES[name].keys, "source"]
        frame = pl.concat(frames).sort("revision")
        frame = frame.unique(keys, keep="last").drop("revision")
        assert (frame["source"] == 0).all(), "no line of these tests is later than an hour"
        found[name] = _nothing(frame.drop("source"), name).sort(TABLES[name].keys)
    return found


def counted(path: Path) -> dict[str, pl.DataFrame]:
    """The same of an archive."""
    scan = _core.scan([path], state=True, details=True)
    assert scan.split_bins == []
    found = {}
    for name in ("traffic", "client_traffic", *(t for t in TABLES if t in DETAILS)):
        frame = _plain(pl.DataFrame(scan.table(name)), scan.servers).drop("source")
        if frame.height:
            found[name] = _nothing(frame, name).sort(TABLES[name].keys)
    return found


DETAILS = (
    "account_activity",
    "ptr_target",
    "drop_target",
    "domain",
    "client_domain",
    "client_names",
)


def kills(default: int) -> int:
    """How often a test kills; SEISMOLOG_KILLS asks for more."""
    return int(os.environ.get("SEISMOLOG_KILLS", str(default)))
