"""`seismolog top` and `seismolog doctor`, on daemons and machines made by hand."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seismolog.cli import main
from seismolog.config import load
from seismolog.errors import ServiceError
from seismolog.live import doctor
from seismolog.live.doctor import Finding, examine
from seismolog.live.top import fetch, page, summarize, watch
from seismolog.store import Store
from tests.unit.store_fakes import merge_states
from tests.unit.test_live_serve import SITE, InThread, free_port
from tests.unit.test_store import put
from tests.unit.test_store_live import day, live


def status(seconds: float, lines: int, **numbers: float) -> dict[str, Any]:
    return {
        "version": "1.0",
        "time": 1000.0 + seconds,
        "started": 1000.0,
        "healthy": True,
        "troubles": [],
        "numbers": {
            "seismolog_counted_lines_total": lines,
            "seismolog_matched_lines_total": lines // 2,
            "seismolog_ignored_lines_total": lines // 4,
            'seismolog_received_lines_total{source="relp 127.0.0.1:5515"}': lines,
            'seismolog_queue_bytes{queue="received"}': 50,
            'seismolog_queue_bound_bytes{queue="received"}': 200,
            'seismolog_kernel_dropped_total{source="udp"}': 3,
            'seismolog_shed_total{bound="clients_per_bin"}': 9,
            'seismolog_shed_total{bound="names_per_bin"}': 0,
            "seismolog_closed_revision": 900,
            'seismolog_cursor_revision{reader="store"}': 800,
            "seismolog_store_lag_seconds": 2.5,
            "seismolog_store_ok": 1,
            **numbers,
        },
        "top": {
            "since": 0,
            "kinds": {"dns_query": 5},
            "distinct_clients": 2,
            "clients": [
                {"client": "192.0.2.7", "total": 4, "kinds": {"dns_query": 3, "smtp_accepted": 1}},
                {"client": None, "total": 1, "kinds": {"smtp_accepted": 1}},
                {"client": "evil\x1b[31m", "total": 1, "kinds": {"dns_query": 1}},
            ],
        },
    }


def test_a_summary_is_of_the_time_between_two_looks() -> None:
    summary = summarize(status(10, 1000), status(12, 1500))
    assert summary["lines_per_second"] == 250.0
    assert summary["sources"] == [{"source": "relp 127.0.0.1:5515", "lines": 1500, "lines_per_second": 250.0}]
    assert summary["matched_share"] == 0.5
    assert summary["understood_share"] == 0.75
    assert summary["queues"] == [{"queue": "received", "bytes": 50, "fill": 0.25}]
    assert summary["lost"] == {"kernel_dropped": 3, "dropped_messages": 0}
    assert summary["shed"] == {"clients_per_bin": 9, "names_per_bin": 0}
    assert summary["behind_bytes"] == {"store": 100}
    assert summary["lag_seconds"] == {"store": 2.5}
    assert summary["uptime_seconds"] == 12.0
    assert summarize(None, status(10, 1000))["lines_per_second"] == 100.0
    assert summarize(None, status(10, 0))["matched_share"] is None
    assert json.dumps(summary)


def test_the_page_shows_it_and_no_escape_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    looks = status(12, 1500, seismolog_paused=1)
    looks["healthy"], looks["troubles"] = False, ["wal: no space left"]
    Console(width=140, force_terminal=False).print(page(summarize(status(10, 1000), looks)))
    shown = capsys.readouterr().out
    for text in (
        "250",
        "192.0.2.7",
        "dns_query 3",
        "(no address)",
        "full: senders wait",
        "wal: no space left",
        "trouble",
        "kernel dropped",
        "past limits.clients_per_bin",
    ):
        assert text in shown
    assert "names_per_bin" not in shown
    assert "\x1b" not in shown
    assert "\\x1b[31m" in shown


@pytest.fixture
def running(tmp_path: Path) -> Iterator[InThread]:
    made = InThread(tmp_path, SITE.format(port=free_port()))
    made.start()
    yield made
    made.daemon.stop()
    made.thread.join(20)


def test_top_reads_a_running_daemon(running: InThread, capsys: pytest.CaptureFixture[str]) -> None:
    running.engine.counters = {"seismolog_counted_lines_total": 7}
    options = ["--once", "--interval", "0.1", "--config", str(running.file)]
    assert main(["top", *options, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lines"] == 7
    assert told["clients"][0]["client"] == "192.0.2.1"
    assert main(["top", *options]) == 0
    assert "192.0.2.1" in capsys.readouterr().out


def test_watching_goes_on_while_the_daemon_is_away(
    running: InThread, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = iter(range(4))
    address = running.daemon.metrics_address
    assert address is not None

    def stopped() -> bool:
        look = next(looks, None)
        if look == 2:
            running.daemon.stop()
            running.thread.join(20)
        return look is None

    watch(address, 0.05, stopped)
    assert "no daemon answers" in capsys.readouterr().out


def test_nobody_there_and_somebody_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServiceError, match="no daemon answers"):
        fetch(f"127.0.0.1:{free_port()}", 1.0)
    with (
        web({"/status.json": (200, {"hello": 1})}) as address,
        pytest.raises(ServiceError, match="is no seismolog"),
    ):
        fetch(address)
    assert main(["top", "--address", f"127.0.0.1:{free_port()}", "--once"]) == 4
    assert main(["top", "--format", "json"]) == 2
    assert main(["top", "--once", "--interval", "0"]) == 2
    capsys.readouterr()


# --- doctor -----------------------------------------------------------------------------------------------------


class web:  # noqa: N801 - used as a function
    """A web server that answers some paths with JSON."""

    def __init__(self, pages: dict[str, tuple[int, Any]]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, content = pages.get(self.path, (404, {}))
                text = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Finding]]:
    """Examine a configuration on a machine without loggers; findings by check."""
    monkeypatch.setattr(doctor, "_LOGGERS", {})

    def examined(text: str) -> dict[str, Finding]:
        (tmp_path / "site.toml").write_text(
            f'[live]\nmetrics = "127.0.0.1:{free_port()}"\nstate = "live"\n[store]\nurl = "store"\n' + text
        )
        return {f.check: f for f in examine(lambda: load(tmp_path / "site.toml"))}

    return examined


def test_a_machine_in_order(site: Callable[[str], dict[str, Finding]], tmp_path: Path) -> None:
    store = Store(tmp_path / "store", merger=merge_states)
    put(store, ("a", day(0)))
    live(store, day(1))
    (tmp_path / "x.log").write_text("line\n")
    found = site(
        f'[listen]\ntcp = "127.0.0.1:{free_port()}"\nrelp = "127.0.0.1:{free_port()}"\n'
        'files = ["*.log"]\n[site]\ntimezone = "UTC"\n'
    )
    for check in (
        "configuration",
        "state folder",
        "disk space",
        "store",
        "listen.tcp",
        "listen.files",
        "time zone",
    ):
        assert found[check].level == "ok", found[check]
    assert "1 archives and live counts" in found["store"].text
    assert found["daemon"].level == "warning"
    assert found["daemon"].mend is not None and "seismolog serve" in found["daemon"].mend
    assert not (tmp_path / "live").exists()  # nothing is changed


def test_a_wrong_configuration_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text("[listen]\ntpc = 1\n")
    assert main(["doctor", "--config", str(tmp_path / "site.toml")]) == 2
    shown = capsys.readouterr().out
    assert "WRONG    configuration:" in shown
    assert "site.toml:2: listen.tpc: unknown key" in shown


def test_what_cannot_be_had_is_told(
    site: Callable[[str], dict[str, Finding]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "live").write_text("a file")
    monkeypatch.setattr(doctor, "_local_zone", lambda: "Asia/Tokyo")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**26})())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = site(f'[listen]\ntcp = "127.0.0.1:{port}"\nfiles = ["none-*.log"]\n')
    assert found["state folder"].level == "wrong"
    assert found["listen.tcp"].level == "wrong" and found["listen.tcp"].status == 2
    assert found["listen.files"].level == "warning"
    assert found["disk space"].level == "wrong"
    assert 'timezone = "Asia/Tokyo"' in (found["time zone"].mend or "")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**30})())
    assert site("")["disk space"].level == "warning"


def test_services_that_do_not_answer_are_exit_status_4(
    site: Callable[[str], dict[str, Finding]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    with web(
        {"/health": (200, {"status": "fail", "message": "no disk"}), "/api/health": (200, {"database": "ok"})}
    ) as at:
        text = (
            f'[influxdb]\nurl = "http://{at}"\norg = "o"\nbucket = "b"\ntoken_file = "token"\n'
            f'[grafana]\nurl = "http://{at}"\ntoken_file = "missing"\n'
        )
        found = site(text)
        assert found["influxdb"].level == "wrong" and "no disk" in found["influxdb"].text
        assert found["influxdb token"].level == "warning"
        assert found["grafana"].level == "ok"
        assert found["grafana token"].level == "wrong"
    found = site(text)
    assert "does not answer" in found["grafana"].text
    assert found["grafana"].status == 4
    status_ = main(["doctor", "--config", str(tmp_path / "site.toml"), "--format", "json"])
    told = capsys.readouterr().out
    assert status_ == 4
    assert "secret" not in told
    assert {c["check"] for c in json.loads(told)["checks"]} >= {"influxdb", "grafana"}


def test_a_running_daemon_explains_taken_ports(running: InThread) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running.file.write_text(
            running.file.read_text()
            + f'[listen]\ntcp = "127.0.0.1:{port}"\nrelp = "127.0.0.1:{free_port()}"\n'
        )
        found = {f.check: f for f in examine(lambda: load(running.file))}
    assert found["daemon"].level == "ok"
    assert found["listen.tcp"].level == "ok"
    assert found["listen.relp"].level == "warning"
    assert "reload" in (found["listen.relp"].mend or "")
    running.engine.counters["troubles"] = {"wal": "no space left"}
    found = {f.check: f for f in examine(lambda: load(running.file))}
    assert found["daemon"].level == "wrong" and found["daemon"].status == 4


@pytest.mark.parametrize(
    ("code", "forwards"),
    [
        ('action(type="omrelp" target="127.0.0.1" port="5515")', True),
        ("action(type=\"omprog\" binary=\"/usr/bin/seismolog pipe --confirm lines\")", True),
        ('syslog("127.0.0.1" port(5514) transport("tcp"));', True),
        ("*.* @@127.0.0.1:5514", True),
        ('unix-stream("/run/seismolog/log.sock")', True),
        ("*.* @@127.0.0.1:514", False),
        ('# action(type="omrelp" port="5515")', False),
        ("", False),
    ],
)  # fmt: skip
def test_whether_a_logger_forwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, forwards: bool
) -> None:
    (tmp_path / "site.toml").write_text('[listen]\nunix = "/run/seismolog/log.sock"\n')
    (tmp_path / "rsyslog.conf").write_text(code)
    findings = list(
        doctor._logger(load(tmp_path / "site.toml"), "rsyslog", (str(tmp_path / "rsyslog.conf"),))
    )
    assert [f.level for f in findings] == ["ok" if forwards else "warning"]
    if not forwards:
        assert "seismolog integrate rsyslog" in (findings[0].mend or "")


def test_the_clock_and_the_buffer_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[listen]\nudp = "127.0.0.1:5514"\nudp_receive_buffer = "1024 GiB"\n')
    config = load(tmp_path / "site.toml")
    assert [f.check for f in doctor._clock(config, False)] == ["clock"]
    assert "net.core.rmem_max" in (next(iter(doctor._udp(config, False))).mend or "")


@pytest.mark.parametrize(
    ("told", "level", "text"),
    [
        ("LoadState=not-found\nActiveState=inactive\nResult=success\nExecMainStatus=0\n", None, ""),
        (
            "LoadState=loaded\nActiveState=inactive\nResult=success\nExecMainStatus=0\n",
            "warning",
            "is inactive",
        ),
        (
            "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=203\n",
            "wrong",
            "may not start",
        ),
        (
            "LoadState=loaded\nActiveState=failed\nResult=watchdog\nExecMainStatus=6\n",
            "wrong",
            "by watchdog (status 6)",
        ),
    ],
)
def test_doctor_says_why_systemd_does_not_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, level: str | None, text: str
) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{told}END\n")
    tool.chmod(0o755)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: str(tool))
    found = list(doctor._unit())
    assert [f.level for f in found] == ([] if level is None else [level])
    assert all(text in f.text and f.mend for f in found)
