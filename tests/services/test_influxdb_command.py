"""The command `seismolog export` itself, against the real InfluxDB: setup, a part of the time, progress, kill and resume."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seismolog.store import Store
from tests.services.influx_world import assert_equal, put, said, some
from tests.services.influxd.fixtures import Bucket

pytestmark = [pytest.mark.service]

PROGRAM = str(Path(sys.executable).parent / "seismolog")


class Site:
    """A store with events, and a configuration that names a bucket."""

    def __init__(self, bucket: Bucket, folder: Path, minutes: int, name: str | None = None) -> None:
        self.events = some(1, range(minutes))
        self.store = Store(folder / "store")
        put(self.store, "one", self.events)
        self.folder, self.bucket = folder, bucket
        server = bucket.server
        self.config = folder / "site.toml"
        self.config.write_text(
            f'[store]\nurl = "{folder / "store"}"\n\n[influxdb]\nurl = "{server.url}"\norg = "{server.org}"\n'
            f'bucket = "{name or bucket.name}"\nclients_per_hour = 3\nretry_longest = "1s"\n'
        )

    def command(self, *arguments: str) -> list[str]:
        return [PROGRAM, "export", *arguments, "--config", str(self.config)]

    def environment(self, token: str | None = None) -> dict[str, str]:
        return os.environ | {"SEISMOLOG_INFLUXDB_TOKEN": token or self.bucket.server.token, "TERM": "xterm"}

    def run(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        if "setup" not in arguments:
            arguments += ("--state", str(self.folder / "state"))
        return subprocess.run(
            self.command(*arguments), env=self.environment(token), capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip


def test_setup_and_a_part_of_the_time(influx_bucket: Bucket, tmp_path: Path) -> None:
    name = f"made{time.time_ns()}"
    site = Site(influx_bucket, tmp_path, 240, name)
    missing = site.run()
    assert missing.returncode == 4 and "seismolog export setup" in missing.stderr
    made = site.run("setup", "--retention", "0")
    assert made.returncode == 0 and "made; points are kept for ever" in made.stdout, made.stderr
    bucket = Bucket(influx_bucket.server, name, "")
    part = site.run("--since", "2026-03-29T01:10", "--until", "2026-03-29T02:00", "--tz", "UTC")
    assert part.returncode == 0, part.stderr
    # In a pipe nothing but the result is told.
    assert "1 hours" in part.stdout and part.stderr == ""
    assert_equal(bucket, [e for e in site.events if 60 <= e.minute < 120])
    rest = site.run()
    assert "1 hours were there already" in rest.stdout
    assert_equal(bucket, site.events)
    wrong = site.run("--since", "2026-03-29T02:00", "--until", "2026-03-29T01:00")
    assert wrong.returncode == 2 and "--until" in wrong.stderr


def test_a_service_that_is_away_or_refuses_is_status_4(influx_bucket: Bucket, tmp_path: Path) -> None:
    site = Site(influx_bucket, tmp_path, 30)
    reader = influx_bucket.server.make_token(influx_bucket.id, "read")
    refused = site.run(token=reader)
    assert refused.returncode == 4 and "may not write to this bucket" in refused.stderr
    assert reader not in refused.stderr + refused.stdout
    site.config.write_text(site.config.read_text().replace(influx_bucket.server.url, "http://127.0.0.1:9"))
    away = site.run("--patience", "1s")
    assert away.returncode == 4 and "goes on where this one ends" in away.stderr


def test_killed_on_a_terminal_it_goes_on_where_it_was(influx_bucket: Bucket, tmp_path: Path) -> None:
    site = Site(influx_bucket, tmp_path, 24 * 60)
    master, slave = pty.openpty()
    arguments = site.command("--state", str(tmp_path / "state"))
    process = subprocess.Popen(arguments, env=site.environment(), stdout=slave, stderr=slave)
    os.close(slave)
    # As soon as the first hours have come through.
    shown, end = b"", time.monotonic() + 120
    while b"/24" not in shown and process.poll() is None and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            shown += _read(master)
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.close(master)
    assert b"/24" in shown and b"points/s" in shown, shown[-500:]
    done = len({r["time"] for r in said(influx_bucket, "traffic_1h")})
    assert done > 0
    last = site.run()
    assert last.returncode == 0, last.stderr
    assert_equal(influx_bucket, site.events)
    # What had come through was not sent again, unless the last of it was just being noted.
    assert done < 24 or "hours were there already" in last.stdout, last.stdout
    assert "24 hours were there already" in site.run().stdout


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""
