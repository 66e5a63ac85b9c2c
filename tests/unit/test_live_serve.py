"""The daemon around a hand-written engine: start, reload, drain, what systemd is told, /metrics."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from seismolog.config import Config, load
from seismolog.errors import ConfigError, SeismologError, ServiceError, UsageError
from seismolog.live import settings as live_settings
from seismolog.live.catalogue import METRICS, described, markdown
from seismolog.live.metrics import MetricsServer, prometheus_text
from seismolog.live.notify import Notifier
from seismolog.live.pipe import pipe_daemon
from seismolog.live.serve import Daemon
from seismolog.live.settings import changed_keys, counting, intake, listeners, source_of, state_folder
from seismolog.live.sinks import Running
from seismolog.store import Store
from tests.unit.live_fakes import Counter, FakeEngine
from tests.unit.store_fakes import merge_states
from tests.unit.test_live_commit import until
from tests.unit.test_store import expected, table
from tests.unit.test_store_live import day


class Manager:
    """Stands for systemd's end of the notification socket."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(10)
        self.heard: list[dict[str, str]] = []

    def hear(self, key: str) -> dict[str, str]:
        """Wait for a message with that key."""
        while True:
            text = self.socket.recv(65_536).decode()
            message = dict(line.split("=", 1) for line in text.splitlines())
            self.heard.append(message)
            if key in message:
                return message


class InThread:
    """A daemon in a thread."""

    def __init__(self, tmp_path: Path, text: str, **more: Any) -> None:
        self.file = tmp_path / "site.toml"
        self.file.write_text(text)
        self.engines: list[FakeEngine] = []
        self.manager = Manager(tmp_path)
        environ = {"NOTIFY_SOCKET": self.manager.path, "WATCHDOG_USEC": "300000"}
        self.state = tmp_path / "live"
        self.daemon = Daemon(
            lambda: load(self.file), self.state, factory=self.factory, notifier=Notifier(environ), **more
        )
        self.status: int | BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def factory(self, directory: str, **settings: Any) -> FakeEngine:
        self.engines.append(FakeEngine(directory, **settings))
        return self.engines[-1]

    @property
    def engine(self) -> FakeEngine:
        return self.engines[-1]

    def _run(self) -> None:
        try:
            self.status = self.daemon.run(signals=False)
        except SeismologError as error:
            self.status = error

    def start(self) -> None:
        self.thread.start()
        assert self.daemon.running.wait(20), self.status

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://{self.daemon.metrics_address}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


SITE = """
[store]
url = "store"
commit_interval = 0
[live]
metrics = "127.0.0.1:{port}"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[InThread]:
    made = InThread(tmp_path, SITE.format(port=free_port()))
    yield made
    made.daemon.stop()
    if made.thread.ident:
        made.thread.join(20)
        assert not made.thread.is_alive()


def test_bins_that_close_reach_the_store_and_the_end_is_in_order(running: InThread, tmp_path: Path) -> None:
    running.start()
    counter = Counter()
    counter.feed(*day(0, 1))
    running.engine.put(counter.close())
    until(lambda: running.engine.released == counter.position)
    counter.feed(*day(2))
    running.engine.put(counter.close())
    running.daemon.stop()
    running.thread.join(20)
    assert running.status == 0
    assert running.engine.calls == ["start", "drain", "stop"]
    store = Store(tmp_path / "store", merger=merge_states)
    assert_frame_equal(table(store), expected(counter.events))
    assert list(store.sources()) == [source_of(running.state)]


def test_systemd_is_told(running: InThread) -> None:
    running.start()
    manager = running.manager
    assert "127.0.0.1:5514" in manager.hear("READY")["STATUS"]
    manager.hear("WATCHDOG")
    manager.hear("WATCHDOG")
    running.daemon.reload()
    assert int(manager.hear("RELOADING") and manager.heard[-1]["MONOTONIC_USEC"]) > 0
    manager.hear("READY")
    running.daemon.stop()
    manager.hear("STOPPING")
    assert int(manager.hear("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) == 35_000_000


def test_without_systemd_nothing_is_sent() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    notifier.alive()
    notifier.close()
    other = Notifier({"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "x", "WATCHDOG_PID": "1"})
    other.ready("x")
    other.alive()
    other.close()


def test_an_abstract_socket_is_known() -> None:
    name = f"@seismolog-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + name[1:])
        end.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.status("two\nlines")
        assert end.recv(100) == b"STATUS=two lines"
        notifier.close()


def test_a_reload_says_what_changed_and_what_needs_a_restart(
    running: InThread, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "seismolog")
    running.start()
    text = running.file.read_text()
    running.file.write_text(
        text.replace(
            "[live]", '[listen]\ntcp = "127.0.0.1:6000"\nlateness = "5m"\n[live]\nwal_segment = "8 MiB"'
        )
    )
    running.daemon.reload()
    until(lambda: "reload" in running.engine.calls)
    until(lambda: "a restart is needed" in caplog.text)
    assert "changed: listen.tcp, listen.lateness, live.wal_segment" in caplog.text
    assert "a restart is needed for live.wal_segment" in caplog.text
    assert {"tcp": {"address": "127.0.0.1:6000"}} in running.engine.intake["listeners"]
    assert running.engine.counting["lateness"] == 300
    assert running.daemon.numbers()["seismolog_reloads_total"] == 1


def test_a_reload_of_a_wrong_file_keeps_the_old_one(
    running: InThread, caplog: pytest.LogCaptureFixture
) -> None:
    running.start()
    before = running.daemon.config
    running.file.write_text("[listen]\ntpc = 1\n")
    running.daemon.reload()
    until(lambda: "stays as it was" in caplog.text)
    assert "site.toml:2: listen.tpc: unknown key" in caplog.text
    assert "did you mean tcp?" in caplog.text
    assert running.daemon.config is before
    assert "reload" not in running.engine.calls
    assert running.daemon.numbers()["seismolog_reload_errors_total"] == 1
    assert running.thread.is_alive()


def test_a_reload_that_the_engine_refuses_keeps_the_old_one(
    running: InThread, caplog: pytest.LogCaptureFixture
) -> None:
    from seismolog._core import UsageError as CoreUsageError

    running.start()
    before = running.daemon.config
    running.engine.reload_error = CoreUsageError("listener 127.0.0.1:6000: address in use")
    running.daemon.reload()
    until(lambda: "stays as it was" in caplog.text)
    assert "address in use" in caplog.text
    assert running.daemon.config is before


def test_metrics_health_and_status(running: InThread) -> None:
    running.start()
    running.engine.counters = {"seismolog_counted_lines_total": 12, 'seismolog_x_total{source="tcp"}': 3}
    status, text = running.get("/metrics")
    assert status == 200
    assert "# TYPE seismolog_counted_lines_total counter\nseismolog_counted_lines_total 12\n" in text
    assert 'seismolog_x_total{source="tcp"} 3' in text
    assert "# HELP seismolog_store_lag_seconds For how long" in text
    assert running.get("/healthz") == (200, "ok\n")
    running.engine.counters["troubles"] = {"wal": "no space left"}
    assert running.get("/healthz") == (503, "not healthy\nwal: no space left\n")
    status, text = running.get("/status.json")
    content = json.loads(text)
    assert content["healthy"] is False
    assert content["top"]["clients"][0]["client"] == "192.0.2.1"
    assert content["numbers"]["seismolog_counted_lines_total"] == 12
    assert running.get("/status.json", Host="evil.example:9514")[0] == 403
    assert running.get("/status.json", Host="localhost:9514")[0] == 200
    assert running.get("/elsewhere")[0] == 404
    assert running.get("/metrics", Host="monitor.example")[0] == 200


def test_every_metric_of_the_daemon_is_in_the_catalogue(running: InThread) -> None:
    running.start()
    own = {name.partition("{")[0] for name in running.daemon.numbers()} - {"lines"}
    assert own <= set(METRICS), sorted(own - set(METRICS))
    assert described("seismolog_new_total") == ("counter", "new total")


def test_the_page_of_metrics_is_the_catalogue(root: Path) -> None:
    page = (root / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert page.endswith("\n\n" + markdown()), "run: python -m seismolog.live.catalogue docs/metrics.md"


def test_the_exposition_format_groups_families() -> None:
    text = prometheus_text({'b{x="1"}': 1, "a": 0.5, 'b{x="0"}': 2})
    assert text.splitlines() == [
        "# HELP a a", "# TYPE a gauge", "a 0.5",
        "# HELP b b", "# TYPE b gauge", 'b{x="0"} 2', 'b{x="1"} 1',
    ]  # fmt: skip


def serve_metrics(**more: Any) -> MetricsServer:
    made = {"numbers": dict, "health": lambda: (True, []), "status": dict} | more
    return MetricsServer("127.0.0.1:0", **made)


def test_slow_and_many_readers_of_metrics_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seismolog.live.metrics.AT_ONCE", 3)
    monkeypatch.setattr("seismolog.live.metrics._Handler.timeout", 0.5)
    server = serve_metrics()
    host, port = server.address.split(":")
    idle = [socket.create_connection((host, int(port)), 5) for _ in range(8)]
    time.sleep(1.0)  # three were let in and timed out, five were turned away
    with urllib.request.urlopen(f"http://{server.address}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok\n"
    for one in idle:
        one.close()
    server.close()


def test_a_page_that_fails_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Mapping[str, float]:
        raise ZeroDivisionError

    server = serve_metrics(numbers=broken)
    with pytest.raises((http.client.RemoteDisconnected, urllib.error.URLError)):
        urllib.request.urlopen(f"http://{server.address}/metrics", timeout=5)
    with urllib.request.urlopen(f"http://{server.address}/healthz", timeout=5) as answer:
        assert answer.status == 200
    assert "ZeroDivisionError" in caplog.text
    server.close()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        made = InThread(tmp_path, SITE.format(port=taken.getsockname()[1]))
        made.thread.start()
        made.thread.join(20)
    assert isinstance(made.status, ServiceError)
    assert "live.metrics: cannot listen" in made.status.render()
    assert made.engine.calls == ["start", "stop"]


def test_a_state_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("a file")
    made = InThread(tmp_path, SITE.format(port=free_port()))
    made.thread.start()
    made.thread.join(20)
    assert isinstance(made.status, UsageError)
    assert "live.state: the state folder cannot be written" in made.status.render()


class Sink:
    """Reads closed bins through its cursor, in the main loop's thread, which a real one would not."""

    name = "probe"

    def __init__(self) -> None:
        self.heard: list[list[int]] = []
        self.running: Running | None = None
        self.config: Config | None = None
        self.stopped = False
        self.rows = 0

    def start(self, running: Running) -> None:
        self.running = running
        self.cursor = running.bins.cursor(self.name)

    def nudge(self, revisions: Sequence[int]) -> None:
        self.heard.append(list(revisions))
        if revisions:
            for bins in self.cursor.read():
                self.rows += bins.rows
                self.cursor.advance(bins.revision)

    def reload(self, config: Config) -> None:
        self.config = config

    def metrics(self) -> Mapping[str, float]:
        return {"seismolog_probe_rows_total": self.rows}

    def stop(self, timeout: float) -> None:
        assert timeout > 0
        self.stopped = True


probe = Sink()


def make_probe(config: Config) -> Sink | None:
    return probe if config.listen.udp is None else None


def test_sinks_hear_of_closed_bins_and_reloads(running: InThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seismolog.live.sinks.SINKS", (f"{__name__}:make_probe",))
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("sys").modules[__name__])
    running.start()
    counter = Counter()
    counter.feed(*day(0))
    revision = running.engine.put(counter.close())
    until(lambda: [revision] in probe.heard and [] in probe.heard)
    until(lambda: running.engine.released == revision)
    assert probe.rows == 1 + 3
    assert running.daemon.numbers()["seismolog_probe_rows_total"] == 4
    running.daemon.reload()
    until(lambda: probe.config is not None)
    running.daemon.stop()
    running.thread.join(20)
    assert probe.stopped


# --- settings ---------------------------------------------------------------------------------------------------


def test_listeners_as_the_engine_takes_them(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        """
        [listen]
        relp = "127.0.0.1:1"
        tls = "[::]:6514"
        tls_certificate = "server.pem"
        tls_key = "/etc/key.pem"
        udp = "127.0.0.1:2"
        unix = "/run/s.sock"
        unix_datagram = "d.sock"
        unix_mode = "0600"
        files = ["logs/*.log"]
        journal = true
        journal_arguments = ["--unit=named.service"]
        """
    )
    config = load(tmp_path / "site.toml")
    assert listeners(config) == [
        {"relp": {"address": "127.0.0.1:1"}},
        {"tcp": {"address": "127.0.0.1:5514"}},
        {
            "tls": {
                "address": "[::]:6514",
                "certificate": str(tmp_path / "server.pem"),
                "key": "/etc/key.pem",
                "client_ca": None,
            }
        },
        {"udp": {"address": "127.0.0.1:2", "receive_buffer": 64 * 2**20}},
        {"unix": {"path": "/run/s.sock", "mode": 0o600}},
        {"unix_datagram": {"path": str(tmp_path / "d.sock"), "mode": 0o600}},
        {"files": {"patterns": [str(tmp_path / "logs/*.log")], "from_start": False}},
        {"journal": {"arguments": ["--unit=named.service"]}},
    ]
    made = intake(config, tmp_path / "live")
    assert made["limits"]["idle_seconds"] == 600
    assert made["wal"]["segment_bytes"] == 64 * 2**20
    assert json.dumps(made)
    assert json.dumps(counting(config))


def test_a_tls_listener_needs_its_files(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[listen]\ntls = "[::]:6514"\n')
    with pytest.raises(ConfigError, match="with tls also tls_certificate and tls_key"):
        load(tmp_path / "site.toml")


def test_the_state_folder_is_configured_or_systemd_s_or_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state_folder(Config(), {"STATE_DIRECTORY": "/var/lib/seismolog:/x"}) == Path(
        "/var/lib/seismolog/live"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_folder(Config(), {"XDG_STATE_HOME": "/home/me/state"}) == Path(
        "/home/me/state/seismolog/live"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_folder(Config(), {}) == Path("/var/lib/seismolog/live")
    (tmp_path / "site.toml").write_text('[live]\nstate = "here"\n')
    assert state_folder(load(tmp_path / "site.toml"), {}) == tmp_path / "here"
    assert live_settings.store_url(Config(), Path("/s/live")) == "/s/store"


def test_a_state_folder_is_a_source_for_good(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = source_of(tmp_path / "a")
    assert first.startswith("live-")
    assert source_of(tmp_path / "a") == first
    assert source_of(tmp_path / "b") != first


def test_changed_keys_name_section_and_key() -> None:
    a = Config()
    b = Config.model_validate({"listen": {"udp": "127.0.0.1:9"}, "mail_server": [{"name": "x"}]})
    assert changed_keys(a, a) == []
    assert changed_keys(a, b) == ["mail_server", "listen.udp"]


# --- pipe -------------------------------------------------------------------------------------------------------


def test_pipe_reads_standard_input_and_ends_with_it(tmp_path: Path) -> None:
    engines: list[FakeEngine] = []

    def factory(directory: str, **settings: Any) -> FakeEngine:
        engines.append(FakeEngine(directory, **settings))
        engines[-1].input_ended = True
        counter = Counter()
        counter.feed(*day(0))
        engines[-1].put(counter.close())
        return engines[-1]

    (tmp_path / "site.toml").write_text('[store]\nurl = "store"\n')
    daemon = pipe_daemon(
        lambda: load(tmp_path / "site.toml"), "transactions", state=tmp_path / "pipe", factory=factory
    )
    assert daemon.run(signals=False) == 0
    assert engines[0].intake["listeners"] == [{"stdin": {"protocol": "transactions"}}]
    assert daemon.metrics_address is None
    assert table(Store(tmp_path / "store", merger=merge_states)).height == 1


def test_pipe_has_a_folder_of_its_own_and_checks_its_port(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[live]\nstate = "live"\n')
    daemon = pipe_daemon(lambda: load(tmp_path / "site.toml"), "plain", metrics="127.0.0.1:9515")
    assert daemon.state == tmp_path / "pipe"
    assert daemon.config.live.metrics == "127.0.0.1:9515"
    with pytest.raises(UsageError, match="--metrics"):
        pipe_daemon(lambda: load(tmp_path / "site.toml"), "plain", metrics="everywhere")


def test_messages_are_made_for_the_journal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from seismolog.live.messages import set_up

    logger = logging.getLogger("seismolog")
    before = logger.handlers[:], logger.propagate, logger.level
    try:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
        set_up()
        logging.getLogger("seismolog.live.test").warning("one\ntwo \x1b[31m")
        assert capsys.readouterr().err == "<4>one\n<4>two \\x1b[31m\n"
        monkeypatch.delenv("JOURNAL_STREAM")
        set_up()
        logging.getLogger("seismolog.live.test").info("one\ntwo")
        assert capsys.readouterr().err.endswith(" INFO one\n    two\n")
    finally:
        logger.handlers[:], logger.propagate, level = before
        logger.setLevel(level)
