"""The same lines through the real rsyslogd and the real syslog-ng give the tables that `analyze` gives.

The files are those that `seismolog integrate` prints, with the ports and folders of the test: what users get is what
is tested. Lines go in over TCP, somewhat out of order; what they are held against is the file that a real rsyslogd
wrote of them.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import polars as pl
import pytest

from seismolog.integrate import Machine, render
from seismolog.store import Store
from tests.lab.capture.daemons import free_port, wait_for
from tests.lab.live.comparing import LATENESS, analyzed, assert_same, out_of_order, tables
from tests.lab.live.lines import Line
from tests.lab.live.serving import PROGRAM, Serving
from tests.services.daemons import Daemon, Rsyslogd, SyslogNg, available, rsyslog_module, unpack_syslog_ng

pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return out_of_order(11)


@pytest.fixture(scope="module")
def archived(lines: list[Line], tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """What `analyze` makes of the file that rsyslog wrote."""
    available(lambda: rsyslog_module("imptcp", "rsyslog"))
    folder = tmp_path_factory.mktemp("archived")
    written = folder / "written.log"
    rules = f'action(type="omfile" file="{written}" template="RSYSLOG_FileFormat")\n'
    with Rsyslogd(folder / "rsyslog", rules) as rsyslog:
        send(rsyslog, lines)
        wait_for("rsyslog to write its file", lambda: count_lines(written) >= len(lines))
    return analyzed(written, folder / "store")


def send(logger: Daemon, lines: list[Line]) -> None:
    """As another machine's logger sends them."""
    assert isinstance(logger, Rsyslogd | SyslogNg)
    logger.send([line.rfc3164().encode() for line in lines])


def count_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def program(folder: Path) -> str:
    """The program as a logger starts it. rsyslog gives it no environment, so a checkout's own is told by a script."""
    if "PYTHONPATH" not in os.environ:
        return PROGRAM
    script = folder / "seismolog"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{os.environ["PYTHONPATH"]}" exec {PROGRAM} "$@"\n')
    script.chmod(0o755)
    return str(script)


def logger_of(folder: Path, target: str, rules: str) -> Rsyslogd | SyslogNg:
    """The real logger with the printed file; its check has no complaint."""
    folder.mkdir(parents=True, exist_ok=True)
    rules = rules.replace("/var/log/seismolog-pipe.log", str(folder / "pipe.log"))
    logger = Rsyslogd(folder, rules) if target == "rsyslog" else SyslogNg(folder, rules)
    logger.check()
    return logger


def wait_all(store: Path, expected: int, said: Path) -> None:
    """Wait until the store has so many events, then as long as idle servers take to close all their tables."""

    def there() -> bool:
        rows = Store(store).read("traffic").collect()
        return int(rows["count"].sum() or 0) >= expected

    try:
        wait_for(f"{expected} events in the store", there, 60)
    except TimeoutError as error:
        raise AssertionError(f"{error}: {said.read_text(errors='replace')[-3000:]}") from None
    time.sleep(2)


WAYS = [
    ("rsyslog", "tcp"),
    ("rsyslog", "relp"),
    ("rsyslog", "omprog"),
    ("syslog-ng", "tcp"),
    ("syslog-ng", "unix"),
    ("syslog-ng", "program"),
]


@pytest.mark.parametrize(("target", "via"), WAYS, ids=lambda value: str(value))
def test_what_comes_through_the_logger_counts_as_its_file(
    target: str, via: str, lines: list[Line], archived: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    if target == "syslog-ng":
        available(unpack_syslog_ng)
    else:
        available(lambda: rsyslog_module("omrelp", "rsyslog-relp"))
    listen = {
        "tcp": f"127.0.0.1:{free_port()}",
        "relp": f"127.0.0.1:{free_port()}",
        "unix": str(tmp_path / "log.sock"),
        "lateness": f"{LATENESS:.0f}s",
    }
    daemon = Serving(tmp_path, listen)
    machine = Machine(
        program=program(tmp_path),
        config=str(daemon.config),
        relp=listen["relp"],
        tcp=listen["tcp"],
        unix=listen["unix"],
    )
    logger = logger_of(tmp_path / target, target, render(target, machine, via))
    child = via in ("omprog", "program")
    expected = int(archived["traffic"]["count"].sum())
    try:
        if not child:
            daemon.start()
        with logger:
            send(logger, lines)
            said = tmp_path / target / ("pipe.log" if via == "omprog" else f"{logger.name}.out")
            wait_all(tmp_path / "store", expected, said if child else tmp_path / "serve.out")
        if child:
            wait_free(tmp_path / "pipe")
        else:
            assert daemon.stop() == 0, daemon.said
    finally:
        if daemon.process is not None:
            daemon.kill()
    assert_same(tables(tmp_path / "store"), archived)


def wait_free(state: Path) -> None:
    """Wait until the logger's child has left its state folder."""

    def free() -> bool:
        with (state / "wal" / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    wait_for("the child to end", free, 60)
