"""The real rsyslogd, or the daemon behind it, ends at random moments under load: what is promised is kept, nothing doubled.

A sender feeds rsyslogd over RELP, a client address of its own in each line, and notes what rsyslogd has acknowledged. The
ruleset of that input has no queue (`queue.type="Direct"`), so what is acknowledged has come as far as the action. What
becomes of it then depends on the action; docs/live.md ("When rsyslog itself is killed") says the same in words:

- the daemon is killed, with the printed file: everything arrives, once;
- ended in order (SIGTERM), with the printed file: everything arrives, once;
- killed while seismolog is away, with a queue on disk: everything that the queue holds arrives, once, whatever ended
  rsyslogd meanwhile;
- killed under load, with a queue on disk: nothing is doubled. What omrelp has sent and what was not confirmed (a window at
  most), and what rsyslog's queue has miscounted (a message a kill), may be lost;
- killed under load, with omprog, confirmation and no queue at all: everything arrives, once.

`SEISMOLOG_KILLS` sets the number of kills, 4 in the ordinary test run.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from seismolog.integrate import Machine, render
from tests.lab.capture.daemons import free_port, wait_for
from tests.lab.live.relp import Sender
from tests.lab.live.serving import Serving
from tests.lab.live.test_real_loggers import program, wait_free
from tests.services.daemons import Rsyslogd, available, rsyslog_module

KILLS = int(os.environ.get("SEISMOLOG_KILLS", "4"))
#: omrelp's `windowSize` in the printed file.
WINDOW = 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.service,
    pytest.mark.timeout(120 + 20 * KILLS),
]

#: The queue of the printed file, from its comment to its last key.


class Feeder:
    """Lines over RELP into rsyslogd, each of another client, until it is told to stop.

    What was sent and not acknowledged when rsyslogd ended is not sent again: rsyslogd would take it for another message.
    It may have been taken or not (`unsure`).
    """

    def __init__(self, port: int) -> None:
        self.sender = Sender(port)
        self.sent = 0
        self.unsure: set[str] = set()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def client(number: int) -> str:
        """The address of a line."""
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def line(self) -> bytes:
        """The next one."""
        client, name = self.client(self.sent), f"n{self.sent}.example"
        self.sent += 1
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return (
            f"<30>{stamp} ns1 named[812]: client @0x7f1 {client}#4711 ({name}): query: {name} IN A + (127.0.0.1)"
        ).encode()

    def acknowledged(self) -> set[str]:
        """The clients of all lines that rsyslogd has acknowledged."""
        return {self.client(number) for number in range(self.sent)} - self.unsure

    def send(self, count: int) -> None:
        """So many lines in this thread, all of them acknowledged."""
        self.sender.send([self.line() for _ in range(count)])

    def start(self) -> None:
        """Begin to send in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """No more; what is on its way is acknowledged."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive() and self._failure is None, self._failure

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._pump()
                except OSError:
                    self._forget()
        except BaseException as error:  # noqa: BLE001 - handed to the test in stop()
            self._failure = error

    def _pump(self) -> None:
        sender = self.sender
        if not sender.connected:
            sender.connect(60)
        # Some thousands a second: what comes while seismolog is away for some seconds has room in the queue.
        while not self._stop.wait(0.02):
            while len(sender.waiting) < sender.window:
                sender.begin(self.line())
            sender.take(sender.window // 2)
        sender.take(0)

    def _forget(self) -> None:
        for message in self.sender.waiting.values():
            found = re.search(rb"@0x7f1 ([0-9.]+)#", message)
            assert found is not None
            self.unsure.add(found[1].decode())
        self.sender.waiting.clear()
        self.sender.close()


def rsyslogd(folder: Path, rules: str) -> tuple[Rsyslogd, Feeder]:
    """rsyslogd with RELP as input, whose ruleset has no queue, and who feeds it."""
    available(lambda: rsyslog_module("imrelp", "rsyslog-relp"))
    available(lambda: rsyslog_module("omrelp", "rsyslog-relp"))
    available(lambda: rsyslog_module("omprog", "rsyslog"))
    head, mark, tail = rules.partition("# Only the programs")
    rules = head + 'ruleset(name="in" queue.type="Direct") {\n' + mark + tail + "}\n"
    port = free_port()
    inputs = f'module(load="imrelp")\ninput(type="imrelp" address="127.0.0.1" port="{port}" ruleset="in")\n'
    logger = Rsyslogd(folder, rules, inputs=inputs)
    logger.check()
    return logger, Feeder(port)


@contextmanager
def ended(daemon: Serving, logger: Rsyslogd) -> Iterator[None]:
    """Nothing is left running, however the block ends."""
    try:
        yield
    finally:
        if logger.process is not None:
            logger.kill()
        if daemon.process is not None:
            daemon.kill()


def queued(logger: Rsyslogd) -> int:
    """How many messages the queue on disk holds, as it has written down itself."""
    for state in logger.spool.glob("*.qi"):
        found = re.search(rb"\+iQueueSize:\d+:\d+:(\d+):", state.read_bytes())
        if found is not None:
            return int(found[1])
    return 0


def under_load(logger: Rsyslogd, feeder: Feeder, end: Callable[[], None]) -> None:
    """End something again and again while lines come; at last rsyslogd runs, and all lines are acknowledged.

    `end` leaves running what is to run.
    """
    dice = random.Random(int(os.environ.get("SEISMOLOG_SEED", "7")))
    logger.start()
    feeder.start()
    for _ in range(KILLS):
        before = feeder.sender.confirmed
        wait_for("lines to flow", lambda before=before: feeder.sender.confirmed >= before + 200, 60)  # type: ignore[misc]
        time.sleep(dice.uniform(0, 0.4))
        end()
    before = feeder.sender.confirmed
    wait_for("lines to flow", lambda: feeder.sender.confirmed >= before + 200, 60)
    feeder.stop()


def restarting(logger: Rsyslogd, number: int) -> Callable[[], None]:
    """End rsyslogd by a signal, and start it again."""

    def end() -> None:
        logger.end(number, 60)
        logger.start()

    return end


def counts(daemon: Serving) -> dict[str, int]:
    """Lines by client, out of the store."""
    rows = daemon.rows().filter(pl.col("kind") == "dns_query").group_by("client").agg(pl.col("count").sum())
    return dict(rows.iter_rows())


def assert_once(found: dict[str, int], feeder: Feeder) -> None:
    """Everything that rsyslogd has acknowledged is there, and nothing twice."""
    assert [client for client, count in found.items() if count != 1] == []
    assert feeder.acknowledged() - found.keys() == set()
    print(f"{feeder.sent} sent, {len(feeder.unsure)} not acknowledged, {len(found)} counted")


def settled(daemon: Serving) -> None:
    """Wait until no more lines come."""
    seen, since = -1.0, time.monotonic()
    while time.monotonic() - since < 3:
        now = daemon.metrics()["seismolog_counted_lines_total"]
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.1)


def test_the_daemon_killed_with_the_printed_file_everything_arrives_once(tmp_path: Path) -> None:
    daemon = Serving(tmp_path, {}, live={"snapshot_interval": "2s"})
    rules = render("rsyslog", Machine(relp=str(daemon.listen["relp"])))
    logger, feeder = rsyslogd(tmp_path / "rsyslog", rules)

    def end() -> None:
        daemon.kill()
        daemon.start()

    with ended(daemon, logger):
        daemon.start()
        under_load(logger, feeder, end)
        # rsyslog looks every two seconds whether seismolog is back.
        wait_for(
            "all lines",
            lambda: daemon.metrics()["seismolog_counted_lines_total"] >= len(feeder.acknowledged()),
            60,
        )
        settled(daemon)
        logger.end()
        assert daemon.stop() == 0, daemon.said
    assert feeder.unsure == set()
    assert_once(counts(daemon), feeder)


def test_ended_in_order_with_the_printed_file_everything_arrives_once(tmp_path: Path) -> None:
    daemon = Serving(tmp_path, {})
    rules = render("rsyslog", Machine(relp=str(daemon.listen["relp"])))
    logger, feeder = rsyslogd(tmp_path / "rsyslog", rules)
    with ended(daemon, logger):
        daemon.start()
        under_load(logger, feeder, restarting(logger, signal.SIGTERM))
        settled(daemon)
        logger.end()
        assert daemon.stop() == 0, daemon.said
    assert_once(counts(daemon), feeder)


def test_what_the_queue_has_on_disk_outlives_kills_while_seismolog_is_away(tmp_path: Path) -> None:
    daemon = Serving(tmp_path, {})
    rules = render("rsyslog", Machine(relp=str(daemon.listen["relp"])), queue="disk")
    logger, feeder = rsyslogd(tmp_path / "rsyslog", rules)
    with ended(daemon, logger):
        for _ in range(3):
            logger.start()
            feeder.send(300)
            feeder.sender.close()
            logger.kill()
        daemon.start()
        logger.start()
        wait_for("the queue to empty", lambda: queued(logger) == 0, 60)
        settled(daemon)
        logger.end()
        assert daemon.stop() == 0, daemon.said
    assert_once(counts(daemon), feeder)
    assert feeder.sent == 900


def test_killed_under_load_with_a_queue_on_disk_nothing_is_doubled(tmp_path: Path) -> None:
    daemon = Serving(tmp_path, {})
    rules = render("rsyslog", Machine(relp=str(daemon.listen["relp"])), queue="disk")
    logger, feeder = rsyslogd(tmp_path / "rsyslog", rules)
    with ended(daemon, logger):
        daemon.start()
        under_load(logger, feeder, restarting(logger, signal.SIGKILL))
        wait_for("the queue to empty", lambda: queued(logger) == 0, 60)
        settled(daemon)
        again = daemon.metrics()["seismolog_duplicate_lines_total"]
        logger.end()
        assert daemon.stop() == 0, daemon.said
    found = counts(daemon)
    assert [client for client, count in found.items() if count != 1] == []
    lost = feeder.acknowledged() - found.keys()
    print(f"{feeder.sent} sent, {again:.0f} sent again by rsyslog and known, {len(lost)} lost by rsyslog")
    assert len(lost) <= KILLS * (WINDOW + 1)


def test_killed_under_load_without_a_queue_everything_arrives_once(tmp_path: Path) -> None:
    daemon = Serving(tmp_path, {})
    machine = Machine(program=program(tmp_path), config=str(daemon.config))
    rules = render("rsyslog", machine, "omprog", "none")
    rules = rules.replace("/var/log/seismolog-pipe.log", str(tmp_path / "pipe.log"))
    logger, feeder = rsyslogd(tmp_path / "rsyslog", rules)
    with ended(daemon, logger):
        under_load(logger, feeder, restarting(logger, signal.SIGKILL))
        logger.kill()
        wait_free(tmp_path / "pipe")
    assert_once(counts(daemon), feeder)
