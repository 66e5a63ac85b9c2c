"""Start real daemons on loopback with their own folders, and stop them by their pid.

Everything a daemon writes lies below one working folder, except the system log socket: named, Postfix and
Dovecot call syslog(3), which knows one address only, so rsyslogd takes /dev/log for the time of the capture.
Where another logger already listens there, `UnavailableError` says so and nothing is started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOG_SOCKET = Path("/dev/log")

# Program → the Debian package that brings it.
PROGRAMS = {
    "rsyslogd": "rsyslog",
    "named": "bind9",
    "dig": "bind9-dnsutils",
    "postfix": "postfix",
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
    "dovecot": "dovecot-pop3d dovecot-imapd",
}


class UnavailableError(RuntimeError):
    """The capture cannot run here; the message says what is missing and how to get it."""


def find(program: str) -> str:
    """Return the path of a daemon, looked for in the system folders too."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise UnavailableError(f"{program} is not installed: sudo apt-get install {PROGRAMS[program]}")
    return path


def check_available() -> None:
    """Raise `UnavailableError` unless every daemon is installed, we are root, and /dev/log is free."""
    for program in PROGRAMS:
        find(program)
    if os.geteuid() != 0:
        raise UnavailableError(
            "Postfix and Dovecot only start as root: run the capture as root, best in a container"
        )
    if logger_listens():
        raise UnavailableError(f"a system logger listens on {LOG_SOCKET}: run the capture in a container")


def logger_listens() -> bool:
    """Whether somebody reads /dev/log. A socket that an earlier logger left behind is nobody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(LOG_SOCKET))
        except OSError:
            return False
    return True


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, ready: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until `ready` says so; raise `TimeoutError` naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether a TCP server answers on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def daemon(
    command: list[str], output: Path, stop: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in the foreground for the time of the block; then end it, and its group if it lingers.

    What it prints goes to `output`. A daemon that has ended before the block does is an error that quotes it.
    """
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
        if process.poll() is not None:
            said = output.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{command[0]} ended early with status {process.returncode}:\n{said}")
    finally:
        if process.poll() is None:
            process.send_signal(stop)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)


@contextlib.contextmanager
def postfix(config: Path, pid_file: Path) -> Iterator[None]:
    """Run a Postfix instance for the time of the block; its master detaches itself and is ended by pid."""
    subprocess.run([find("postfix"), "-c", str(config), "start"], check=True, capture_output=True, timeout=60)
    pid = int(pid_file.read_text())
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for("Postfix to end", lambda: not Path(f"/proc/{pid}").exists())
