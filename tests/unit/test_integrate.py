"""The files that connect rsyslog, syslog-ng and systemd; the real programs check them."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from seismolog.cli import main
from seismolog.config import load
from seismolog.errors import UsageError
from seismolog.integrate import DEPLOYED, TARGETS, Machine, render
from seismolog.integrate.machine import closed_to_others, host_and_port, program_path, systemd_version
from seismolog.integrate.programs import EXACT, PREFIXES, SAMPLES
from tests.lab.capture.daemons import UnavailableError, free_port, wait_for
from tests.services.daemons import Rsyslogd, SyslogNg, available, find, rsyslog_module, unpack_syslog_ng

MACHINE = Machine(unix="/run/seismolog/log.sock")


@pytest.mark.parametrize("name", DEPLOYED)
def test_the_files_in_deploy_are_what_is_printed(root: Path, name: str) -> None:
    target, via = DEPLOYED[name]
    printed = render(target, via=via)
    assert (root / "deploy" / name).read_text() == printed, "run: python -m seismolog.integrate deploy"
    assert printed.endswith("\n")
    assert f"seismolog integrate {target}" in printed


def test_every_way_is_deployed() -> None:
    assert {(t, v) for t, v in DEPLOYED.values() if v} == {
        (t, v) for t, vias in TARGETS.items() for v in vias
    }


def test_every_dialect_s_programs_are_forwarded() -> None:
    """The filter, as rsyslog applies it, lets a line of each dialect through, and the core knows the program."""
    from seismolog import _core

    for program, message in SAMPLES:
        name = program.partition("/")[0]  # as rsyslog cuts it
        assert name in EXACT or name.startswith(PREFIXES) or (name == "kernel" and " SRC=" in message), (
            program
        )
    known = {
        "named": "bind",
        "postfix": "postfix",
        "dovecot": "dovecot",
        "sendmail": "sendmail",
        "iplog": "iplog",
    }
    assert set(known) <= {*EXACT, *PREFIXES}
    assert _core.VERSION


def test_lines_as_they_are_forwarded_are_understood(tmp_path: Path) -> None:
    from seismolog import _core

    file = tmp_path / "forwarded.log"
    lines = []
    for program, message in SAMPLES:
        lines += [
            f'<22>1 2026-03-01T10:00:00+00:00 host {program}[88] - - [seismolog@32473 id="AB12"] {message}',
            f"<22>2026-03-01T10:00:00+00:00 host {program}[88]: {message}",
        ]
    file.write_text("\n".join(lines) + "\n")
    for told in _core.explain(file):
        assert told["kind"] is not None, told


def test_the_machine_comes_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        '[listen]\nrelp = "0.0.0.0:20514"\ntcp = "[::1]:6000"\nunix = "s.sock"\n'
        'files = ["/var/log/a.log", "/var/log/b.log", "/srv/x.log"]\njournal = true\n'
    )
    machine = Machine.here(load(tmp_path / "site.toml"), program="/opt/seismolog")
    assert machine.folders == ("/var/log", "/srv")
    assert 'target="127.0.0.1" port="20514"' in render("rsyslog", machine)
    assert 'target="::1" port="6000"' in render("rsyslog", machine, "tcp")
    assert "ip-protocol(6)" in render("syslog-ng", machine, "tcp")
    assert f'unix-stream("{tmp_path}/s.sock"' in render("syslog-ng", machine, "unix")
    unit = render("systemd", machine)
    assert f"ExecStart=/opt/seismolog serve --config {tmp_path}/site.toml\n" in unit
    assert "SupplementaryGroups=adm systemd-journal" in unit
    assert host_and_port("[::]:1") == ("::1", "1")


def test_low_ports_and_homes_are_seen_to() -> None:
    unit = render("systemd", Machine(tcp="0.0.0.0:514", program="/home/me/.venv/bin/seismolog"))
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in unit
    assert "ProtectHome=read-only" in unit
    assert "ProtectHome=yes" in render("systemd")
    assert "CapabilityBoundingSet=\n" in render("systemd")
    assert "Type=notify-reload\n" in render("systemd", Machine(systemd=254))
    assert "Type=notify\nExecReload=" in render("systemd", Machine(systemd=252))


@pytest.mark.parametrize("path", ['/opt/a"b', "/opt/a b", "/opt/a\nb", "/opt/a$b", "/opt/a\\b"])
def test_a_path_that_would_mean_something_else_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be written into these files"):
        Machine(program=path)


def test_a_way_that_serve_does_not_take_is_told() -> None:
    for target, via, key in (
        ("rsyslog", "relp", "relp"),
        ("rsyslog", "tcp", "tcp"),
        ("syslog-ng", "unix", "unix"),
    ):
        with pytest.raises(UsageError, match=rf"listen\.{key}: serve does not listen") as caught:
            render(target, Machine(relp=None, tcp=None), via)
        assert f"set [listen] {key} = " in caught.value.render()
    with pytest.raises(UsageError, match="one of relp, tcp, omprog"):
        render("rsyslog", via="unix")
    with pytest.raises(UsageError, match="one of tcp, unix, program"):
        render("syslog-ng", via="relp")
    with pytest.raises(UsageError, match="no meaning"):
        render("systemd", via="tcp")
    with pytest.raises(UsageError, match="one of rsyslog"):
        render("cron")


def test_a_queue_that_promises_nothing_is_refused() -> None:
    for via in ("relp", "tcp"):
        with pytest.raises(UsageError, match="--queue none") as caught:
            render("rsyslog", via=via, queue="none")
        assert "--via omprog" in caught.value.render()
    with pytest.raises(UsageError, match="one of memory, disk, none"):
        render("rsyslog", queue="tape")
    for target in ("syslog-ng", "systemd"):
        with pytest.raises(UsageError, match="no meaning"):
            render(target, queue="disk")


def test_without_a_queue_each_line_is_confirmed_before_the_next() -> None:
    rules = render("rsyslog", via="omprog", queue="none")
    assert "pipe --confirm lines" in rules and 'confirmMessages="on"' in rules
    assert "useTransactions" not in rules and "queue.filename" not in rules
    assert "`seismolog integrate rsyslog --via omprog --queue none`" in rules


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text("")
    config = ["--config", str(tmp_path / "site.toml"), "--program", "/opt/seismolog"]
    assert main(["integrate", "rsyslog", *config]) == 0
    printed = capsys.readouterr().out
    assert 'type="omrelp"' in printed
    assert main(["integrate", "rsyslog", *config, "-o", str(tmp_path / "out.conf")]) == 0
    assert (tmp_path / "out.conf").read_text() == printed
    assert main(["integrate", "rsyslog", *config, "-o", str(tmp_path / "no" / "out.conf")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["integrate", "systemd", *config]) == 0
    assert "ExecStart=/opt/seismolog serve" in capsys.readouterr().out


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="seismolog-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_program_that_a_service_may_not_start_is_refused(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, program = open_folder / "home", open_folder / "seismolog"
    home.mkdir(mode=0o755)
    python = home / "python"
    python.write_text("")
    program.write_text(f"#!{python}\n")
    for file in (home, python, program):
        file.chmod(0o755)
    site = open_folder / "site.toml"
    site.write_text("")
    asked = ["integrate", "systemd", "--config", str(site), "--program", str(program)]
    assert closed_to_others(str(program)) is None
    assert main(asked) == 0
    assert f"ExecStart={program} serve" in capsys.readouterr().out
    home.chmod(0o700)
    assert closed_to_others(str(program)) == home
    assert main(asked) == 2
    said = capsys.readouterr()
    assert str(home) in said.err and "make install" in said.err and not said.out
    home.chmod(0o755)
    program.chmod(0o750)
    link = open_folder / "link"
    link.symlink_to(program)
    assert closed_to_others(str(link)) == program
    assert closed_to_others(str(open_folder / "absent")) is None


def test_the_program_and_systemd_are_found() -> None:
    assert Path(program_path()).name == "seismolog"
    version = systemd_version()
    assert version is None or version > 200


# --- with the real programs -------------------------------------------------------------------------------------


@pytest.mark.service
@pytest.mark.parametrize(
    ("via", "queue"),
    [*((via, queue) for via in TARGETS["rsyslog"] for queue in ("memory", "disk")), ("omprog", "none")],
)
def test_rsyslog_takes_it(tmp_path: Path, via: str, queue: str) -> None:
    available(lambda: rsyslog_module("omrelp", "rsyslog-relp"))
    Rsyslogd(tmp_path, render("rsyslog", MACHINE, via, queue)).check()


@pytest.mark.service
@pytest.mark.parametrize("via", TARGETS["syslog-ng"])
def test_syslog_ng_takes_it(tmp_path: Path, via: str) -> None:
    available(unpack_syslog_ng)
    SyslogNg(tmp_path, render("syslog-ng", MACHINE, via)).check()


@pytest.mark.service
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    available(lambda: find("systemd-analyze", "systemd"))
    unit = tmp_path / "seismolog.service"
    unit.write_text(render("systemd", Machine(program=shutil.which("true") or "/bin/true")))
    tool = find("systemd-analyze", "systemd")
    done = subprocess.run(
        [tool, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    # What it says of other units on this machine is not ours.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "seismolog" in line]
    assert ours == []
    done = subprocess.run(
        [tool, "security", "--offline=yes", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None, done.stdout + done.stderr
    assert float(exposure[1]) <= 2.0, done.stdout


class RelpReceiver:
    """A RELP server in a thread: notes every message, and confirms while it is `willing`."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.willing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            while head := _token(stream):
                command, length = _token(stream), int(_token(stream))
                data = stream.read(length + 1)[:-1] if length else b""
                answer = b"200 OK"
                if command == b"open":
                    answer += b"\nrelp_version=0\nrelp_software=test\ncommands=syslog"
                elif command == b"syslog":
                    self.messages.append(data.decode())
                    if not self.willing:
                        continue
                connection.sendall(head + b" rsp %d " % len(answer) + answer + b"\n")

    def ids(self) -> list[str]:
        """The ids of the messages, in order."""
        found = (
            re.search(r'named\[7\] - - \[seismolog@32473 id="([0-9A-F]{32})"\] client', m)
            for m in self.messages
        )
        return [m[1] for m in found if m]

    def close(self) -> None:
        self._listener.close()


def _token(stream: BinaryIO) -> bytes:
    """The next word of a frame's head; the length of a frame without data ends with the frame's line feed."""
    word = b""
    while (byte := stream.read(1)) not in (b" ", b"\n", b""):
        word += byte
    return word


@pytest.mark.service
def test_a_message_keeps_its_id_in_the_queue_and_over_restarts_of_rsyslog(tmp_path: Path) -> None:
    """The id is made before the queue: whenever a message is sent, and sent again, it has the id of the first time."""
    available(lambda: rsyslog_module("omrelp", "rsyslog-relp"))
    receiver = RelpReceiver()
    receiver.willing = True
    noted = tmp_path / "noted"
    rules = render("rsyslog", Machine(relp=f"127.0.0.1:{free_port()}"))
    # The ids as they are when a message goes into the queue.
    rules = rules.replace(
        "    action(\n", f'    action(type="omfile" file="{noted}" template="ids")\n    action(\n', 1
    ).replace(
        "template(name=", 'template(name="ids" type="string" string="%$.seismolog_id%\\n")\ntemplate(name=', 1
    )
    daemon = Rsyslogd(tmp_path, rules)
    daemon.check()
    text = "client @0x7f 192.0.2.1#53 (www.example.org): query: www.example.org IN A +E(0) (192.0.2.53)"
    with daemon:  # seismolog is away
        daemon.send(
            [f"<134>Nov 25 02:{n // 60:02}:{n % 60:02} host named[7]: {text}".encode() for n in range(600)]
        )
        daemon.send([b"<13>Nov 25 02:00:00 host cron[9]: is not forwarded"])
        wait_for("the lines in the queue", lambda: noted.exists() and len(noted.read_text().split()) == 600)
    ids = noted.read_text().split()
    assert len(set(ids)) == 600
    assert list((tmp_path / "spool").glob("seismolog.*"))
    rules_file = tmp_path / "rules.conf"
    rules_file.write_text(re.sub(r'port="\d+"', f'port="{receiver.port}"', rules))
    with daemon:
        wait_for("the first lines", lambda: len(receiver.ids()) >= 20, 60)
        daemon.kill()
    daemon.start()
    with contextlib.closing(receiver):
        wait_for("every line", lambda: set(receiver.ids()) == set(ids), 60)
    daemon.end()
    assert not any("cron" in m for m in receiver.messages)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UnavailableError, match="sudo apt-get install such-a-package"):
        find("no-such-program", "such-a-package")
