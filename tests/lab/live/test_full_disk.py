"""A disk that is really full, under the daemon's state and under its store: nothing that was confirmed is lost or doubled.

The disk is a tmpfs of a few MiB, which a file of ours fills; freeing it is deleting that file.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.lab.capture.daemons import UnavailableError, wait_for
from tests.lab.live.relp import Sender
from tests.lab.live.serving import Serving, query_line
from tests.services.daemons import available

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount() -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=32m", "seismolog-test", str(folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise UnavailableError(
                f"{done.stderr.strip()}: run as root where mounting is permitted (docker run --privileged)"
            )

    available(mount)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Nothing is left on the disk for the time of the block."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    try:
        yield
    finally:
        ballast.unlink()


class Load(threading.Thread):
    """Lines over RELP until it is told to stop: each client ten times, so that lost and doubled cannot cancel out."""

    def __init__(self, daemon: Serving, begin: datetime | None = None) -> None:
        super().__init__(daemon=True)
        self.sender = Sender(daemon.port("relp"))
        self.sent: dict[str, int] = {}
        self.failure: BaseException | None = None
        self._begin = begin
        self._done = threading.Event()

    def run(self) -> None:
        """Send."""
        number = 0
        try:
            while not self._done.is_set():
                lines = []
                for _ in range(500):
                    client = f"10.{number // 10 >> 16 & 255}.{number // 10 >> 8 & 255}.{number // 10 & 255}"
                    self.sent[client] = self.sent.get(client, 0) + 1
                    when = datetime.now(UTC)
                    if self._begin is not None:  # twenty lines a second, as fast as they may come
                        when = min(when, self._begin + timedelta(seconds=number / 20))
                    lines.append(
                        query_line(number, when, client, uuid=uuid.UUID(int=number + (1 << 100)).hex)
                    )
                    number += 1
                self.sender.send(lines)
        except BaseException as error:  # noqa: BLE001 - handed to the test in finish()
            self.failure = error

    def finish(self) -> None:
        """No more; returns when everything is confirmed."""
        self._done.set()
        self.join(90)
        assert not self.is_alive() and self.failure is None, self.failure
        assert self.sender.confirmed == sum(self.sent.values())

    def flows(self) -> None:
        """Wait until lines are confirmed again."""
        before = self.sender.confirmed
        wait_for("lines to be confirmed", lambda: self.sender.confirmed > before + 1000, 60)


def health(daemon: Serving) -> tuple[int, str]:
    """What /healthz answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.metrics_port}/healthz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def counts(daemon: Serving) -> dict[str, int]:
    """Lines by client, out of the store."""
    rows = daemon.rows().filter(pl.col("kind") == "dns_query").group_by("client").agg(pl.col("count").sum())
    return dict(rows.iter_rows())


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed meanwhile"])
def test_a_full_disk_under_the_state_confirms_nothing_and_loses_nothing(
    killed: bool, disk: Path, tmp_path: Path
) -> None:
    live = {"state": str(disk / "state"), "wal_segment": "1 MiB", "snapshot_interval": "2s"}
    daemon = Serving(tmp_path, {}, live=live)
    daemon.start()
    load = Load(daemon)
    try:
        load.start()
        load.flows()
        with filled(disk):
            # The log's file has its room already, and released ones are written over; then there is none left.
            wait_for("the log to be full", lambda: daemon.metrics()["seismolog_paused"] == 1, 60)
            time.sleep(1)
            confirmed = load.sender.confirmed
            time.sleep(1)
            assert load.sender.confirmed == confirmed
            status, text = health(daemon)
            assert status == 503 and "wal: nothing is received until this is mended" in text, text
            numbers = daemon.metrics()
            assert numbers["seismolog_wal_errors_total"] > 0
            assert numbers["seismolog_healthy"] == 0
            wait_for("the trouble in its log", lambda: "ERROR wal: nothing is received" in daemon.said, 10)
            if killed:
                daemon.kill()
        if killed:
            daemon.start()
        load.flows()
        wait_for("health", lambda: health(daemon)[0] == 200, 30)
        if not killed:
            wait_for("its end in the log", lambda: "INFO wal: all is well again" in daemon.said, 10)
        load.finish()
        assert daemon.stop() == 0, daemon.said
    finally:
        if daemon.process is not None:
            daemon.kill()
    assert counts(daemon) == load.sent


def test_a_full_disk_under_the_store_holds_up_nobody_and_loses_nothing(disk: Path, tmp_path: Path) -> None:
    daemon = Serving(tmp_path, {"lateness": "1s"}, live={"revise_interval": "1s"}, store=disk / "store")
    daemon.start()
    # Minutes go by in less than a second, so bins close all the time.
    load = Load(daemon, begin=datetime.now(UTC) - timedelta(hours=12))
    try:
        load.start()
        load.flows()
        wait_for("a commit", lambda: daemon.metrics()["seismolog_store_commits_total"] > 0, 60)
        with filled(disk):
            wait_for("a commit that fails", lambda: daemon.metrics()["seismolog_store_errors_total"] > 0, 60)
            status, text = health(daemon)
            assert status == 503 and "store: " in text, text
            assert daemon.metrics()["seismolog_store_ok"] == 0
            assert "the store cannot be written; it is tried again" in daemon.said
            kept = daemon.metrics()["seismolog_closed_bytes"]
            load.flows()
            wait_for("closed bins to be kept", lambda: daemon.metrics()["seismolog_closed_bytes"] > kept, 60)
        wait_for("the store", lambda: daemon.metrics()["seismolog_store_ok"] == 1, 90)
        load.flows()
        load.finish()
        assert daemon.stop() == 0, daemon.said
    finally:
        if daemon.process is not None:
            daemon.kill()
    assert counts(daemon) == load.sent
