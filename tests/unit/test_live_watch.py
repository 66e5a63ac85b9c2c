"""Detectors beside the daemon: an incident is opened once, kept, told, taken up after a restart, and closed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seismolog.archive.jobs import analyze_into_store
from seismolog.archive.scanning import ScanOptions
from seismolog.config import Config, load
from seismolog.detect import registry
from seismolog.detect.kept import load_incidents
from seismolog.detect.run import Watch
from seismolog.detect.site import Site
from seismolog.live.sinks import Running, make_sinks
from seismolog.live.watch import Watcher, due
from seismolog.store import Store
from tests.lab.capture.daemons import wait_for

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_ten_minutes_are_looked_at_once_their_bins_have_closed() -> None:
    lateness = timedelta(minutes=2)
    assert due(NOW, NOW + timedelta(minutes=11, seconds=59), lateness) is None
    end = NOW + timedelta(minutes=10)
    assert due(NOW, NOW + timedelta(minutes=12, seconds=2), lateness) == end
    assert due(end, NOW + timedelta(minutes=15), lateness) is None
    assert due(NOW, NOW + timedelta(hours=1), lateness) == NOW + timedelta(minutes=50)


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A webhook that remembers what it was told."""
    heard: list[dict[str, object]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard
    server.shutdown()


def campus(folder: Path, store: Store, risen: int, until: datetime, minutes: int = 24 * 60) -> None:
    """A day of forty clients up to a moment; one asks forty a minute in the last `risen` minutes."""
    dice = np.random.default_rng(5)
    start = until - timedelta(minutes=minutes)
    rates = dice.gamma(2.0, 0.2, 40)
    lines = []
    for minute in range(minutes):
        counts = dice.poisson(rates)
        if minute >= minutes - risen:
            counts[7] += dice.poisson(40)
        stamp = (start + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        for client, count in enumerate(counts, start=1):
            query = f"client 10.0.0.{client}#4711 (www.example): query: www.example IN A + (10.0.0.53)"
            lines += [f"{stamp} ns1 named[1]: {query}\n"] * int(count)
    (folder / "ns1.log").write_text("".join(lines))
    analyze_into_store([folder / "ns1.log"], ScanOptions.from_config(Config()), store)


def test_a_rehearsal_tells_nothing_and_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    campus(tmp_path, store, risen=90, until=NOW)
    found = []
    for rehearsed in (False, True):
        watch = Watch(site=Site(), settings=registry.settings_of({}))
        if rehearsed:
            watch.rehearse(store, NOW - timedelta(hours=1))
            assert watch.state()["open"] == 0
        changes = watch.close(store, NOW)
        found.append([(i.id, i.start, i.end, i.score, i.explanation) for i in changes.opened])
    assert found[0]
    assert found[0] == found[1]


@pytest.mark.parametrize("minutes", [15, 50, 24 * 60])
def test_a_daemon_prepares_its_first_look_at_the_end_of_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    until = NOW + timedelta(minutes=20)
    store = Store(tmp_path / "store")
    campus(tmp_path, store, risen=0, until=until, minutes=minutes)
    rehearsed: list[datetime] = []
    whole = Watch.rehearse

    def rehearse(watch: Watch, tables: Store, hour: datetime, **more: Any) -> None:
        rehearsed.append(hour)
        whole(watch, tables, hour, **more)

    monkeypatch.setattr(Watch, "rehearse", rehearse)
    watcher = Watcher(Config())
    for _ in range(2):
        watcher.look(store, until)
        watcher.prepare(store, until)
    # Once, and not where the hour has nothing.
    assert rehearsed == ([] if minutes == 15 else [NOW])


def test_an_incident_is_opened_kept_and_told_once(
    tmp_path: Path, told: tuple[str, list[dict[str, object]]]
) -> None:
    url, heard = told
    (tmp_path / "key").write_text("a secret of the webhook\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "site.toml").write_text(
        f'[store]\nurl = "{tmp_path / "store"}"\n[notify.webhook]\nurl = "{url}"\nsecret_file = "{tmp_path / "key"}"\n'
        'severity = "notice"\n'
    )
    config = load(tmp_path / "site.toml")
    store = Store(tmp_path / "store")
    campus(tmp_path, store, risen=90, until=NOW)

    watcher = next(sink for sink in make_sinks(config) if isinstance(sink, Watcher))
    watcher.start(Running(None, lambda: store, tmp_path / "state", dict))  # type: ignore[arg-type]
    try:
        changes = watcher.look(store, NOW)
        risen = [i for i in changes.opened if "10.0.0.8" in i.subjects]
        assert len(risen) == 1 and risen[0].end is None
        assert abs(risen[0].start - (NOW - timedelta(minutes=90))) <= timedelta(minutes=20)
        assert [i.id for i in load_incidents(store) if i.open] == [risen[0].id]
        # A second look at the same bins, and one after a restart, open nothing new.
        assert not watcher.look(store, NOW).opened
        again = Watcher(config)
        assert not again.look(store, NOW).opened
        wait_for("the webhook", lambda: len(heard) == 1)
    finally:
        watcher.stop(10)
    assert watcher.metrics()["seismolog_incidents_opened_total"] == 1
    assert heard[0]["id"] == risen[0].id or risen[0].id in json.dumps(heard[0])
