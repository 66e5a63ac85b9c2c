"""The daemon around the real engine: lines over TCP come out of the store, and its metrics are the catalogue's."""

from __future__ import annotations

import socket
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from seismolog.archive import ScanOptions, analyze_into_store
from seismolog.config import load
from seismolog.live.catalogue import METRICS
from seismolog.live.notify import Notifier
from seismolog.live.serve import Daemon
from seismolog.store import Store
from seismolog.store.schema import TABLES
from tests.unit.test_live_commit import until
from tests.unit.test_live_serve import free_port

BOTH = ("traffic", "client_traffic")


class Real:
    """A daemon in a thread, over a folder that stays."""

    def __init__(self, folder: Path, live: str = "") -> None:
        self.port = free_port()
        file = folder / "site.toml"
        file.write_text(
            f'[listen]\ntcp = "127.0.0.1:{self.port}"\nrelp = "127.0.0.1:{free_port()}"\nlateness = "2s"\n'
            f'[live]\nmetrics = "127.0.0.1:{free_port()}"\n{live}\n[store]\nurl = "store"\ncommit_interval = 0\n'
        )
        self.daemon = Daemon(lambda: load(file), folder / "live", notifier=Notifier({}))
        self.thread = threading.Thread(target=lambda: self.daemon.run(signals=False))

    def __enter__(self) -> Real:
        self.thread.start()
        assert self.daemon.running.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def send(self, lines: list[str]) -> None:
        before = self.counted()
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
        until(lambda: self.counted() >= before + len(lines), 60)

    def counted(self) -> int:
        return int(self.daemon.engine.metrics()["seismolog_counted_lines_total"])


def lines(first: int, last: int) -> list[str]:
    """Queries and messages of the last ten minutes, one a second."""
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    made = []
    for n in range(first, last):
        when = (start + timedelta(seconds=n)).isoformat()
        made.append(
            f"{when} 1dns named[7]: client @0x7f 10.0.0.{n % 7}#53 (n{n % 5}.example.org): "
            f"query: n{n % 5}.example.org IN A +E(0) (192.0.2.53)"
        )
        made.append(
            f"{when} 1mx postfix/smtpd[8]: 4AB2C3D{n:04X}: client=mail.example.org[198.51.100.{n % 3}]"
        )
    return made


def table(store: Store, name: str) -> pl.DataFrame:
    return store.read(name).collect().sort(list(TABLES[name].keys), nulls_last=True)


def test_lines_over_tcp_are_counted_as_those_of_a_file_over_a_restart_and_an_archive(tmp_path: Path) -> None:
    made = lines(0, 540)
    cut = len(made) // 2 + 1  # within a minute
    with Real(tmp_path) as real:
        real.send(made[:cut])
    with Real(tmp_path) as real:
        real.send(made[cut:])
        address = real.daemon.metrics_address
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            shown = answer.read().decode()
    families = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")}
    assert families <= set(METRICS), sorted(families - set(METRICS))
    live = Store(tmp_path / "store")
    (tmp_path / "all.log").write_text("\n".join(made) + "\n")
    archive = Store(tmp_path / "archive")
    analyze_into_store([tmp_path / "all.log"], ScanOptions(), archive)
    for name in BOTH:
        assert table(live, name).equals(table(archive, name)), name
    entry = next(iter(live.sources().values()))
    assert (entry.lines, entry.matched) == (len(made), len(made))
    # The file analysed over the live range changes nothing.
    analyze_into_store([tmp_path / "all.log"], ScanOptions(), live)
    assert len(live.sources()) == 2
    for name in BOTH:
        assert table(live, name).equals(table(archive, name)), name


def test_a_burst_that_memory_has_no_room_for_is_counted_from_the_log(tmp_path: Path) -> None:
    made = lines(0, 540) * 300
    with Real(tmp_path, live='logged_size = "64 KiB"\nwal_segment = "4 MiB"\nnice = 19') as real:
        real.send(made)
        numbers = real.daemon.engine.metrics()
    assert numbers['seismolog_queue_waits_total{queue="logged"}'] > 10  # batches that were left to the log
    assert numbers['seismolog_queue_waits_total{queue="behind"}'] == 0
    assert numbers["seismolog_wal_damaged_bytes_total"] == 0
    (tmp_path / "all.log").write_text("\n".join(made) + "\n")
    live, archive = Store(tmp_path / "store"), Store(tmp_path / "archive")
    analyze_into_store([tmp_path / "all.log"], ScanOptions(), archive)
    for name in BOTH:
        assert table(live, name).equals(table(archive, name)), name


def test_whoever_sends_waits_for_counting_that_is_too_far_behind(tmp_path: Path) -> None:
    made = lines(0, 540) * 100
    with Real(tmp_path, live='logged_size = "64 KiB"\nbehind_size = "256 KiB"') as real:
        real.send(made)
        numbers = real.daemon.engine.metrics()
    assert numbers['seismolog_queue_waits_total{queue="behind"}'] > 0
    assert numbers["seismolog_counted_lines_total"] == len(made)
