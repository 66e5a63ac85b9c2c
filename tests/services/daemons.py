"""Start the real rsyslogd and syslog-ng on loopback, with folders of their own, and stop them by their pid.

Debian's packages of the two exclude one another (each is *the* system logger), so syslog-ng is not installed but
unpacked: :func:`unpack_syslog_ng` downloads the packages and unpacks them into a cache folder outside the checkout
(below $SEISMOLOG_CACHE, else $XDG_CACHE_HOME/seismolog, else ~/.cache/seismolog). `python -m tests.services.daemons`
does it beforehand, as `.ci/run` has it done; the tests do it themselves where nothing is there yet.

Where something is missing, `UnavailableError` names it and how to get it; `available` skips then, except in CI.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab.capture.daemons import UnavailableError, free_port, listens, wait_for

SYSLOG_NG_PACKAGES = ("syslog-ng-core", "libivykis0")
#: Where Debian keeps programs that a user's PATH may lack.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def available(check: Callable[[], object]) -> None:
    """Skip the test where `check` raises UnavailableError; under CI fail it."""
    import pytest  # not needed to unpack

    try:
        check()
    except UnavailableError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run the services: {reason}")
        pytest.skip(str(reason))


def find(program: str, package: str) -> str:
    """The path of a program, or UnavailableError with the package that brings it."""
    path = shutil.which(program, path=_PATH)
    if path is None:
        raise UnavailableError(f"{program} is not installed: sudo apt-get install {package}")
    return path


def rsyslog_module(name: str, package: str) -> None:
    """UnavailableError where rsyslogd has not this module."""
    find("rsyslogd", "rsyslog")
    if not any(Path("/usr/lib").glob(f"**/rsyslog/{name}.so")):
        raise UnavailableError(f"rsyslog has no {name}: sudo apt-get install {package}")


class Daemon:
    """A process with a folder of its own; its output goes to `<folder>/<name>.out`."""

    name = "daemon"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """What is run, in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What it is run with."""
        return dict(os.environ)

    def ready(self) -> bool:
        """Whether it takes lines."""
        raise NotImplementedError

    @property
    def said(self) -> str:
        """The end of what it has printed."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{self.name}.out").read_text(errors="replace")[-4000:]
        return ""

    def start(self, seconds: float = 20.0) -> None:
        """Start it and wait until it takes lines."""
        with (self.folder / f"{self.name}.out").open("ab") as out:
            self.process = subprocess.Popen(
                list(self.command()), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment()
            )
        process = self.process

        def up() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"{self.name} has ended with {process.returncode}: {self.said}")
            return self.ready()

        wait_for(f"{self.name} to take lines", up, seconds)

    def end(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> None:
        """Send a signal and wait for the end; nothing where it does not run."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.name} did not end in {seconds:.0f} s: {self.said}") from None
        self.process = None

    def kill(self) -> None:
        """As `kill -9`."""
        self.end(signal.SIGKILL)

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Rsyslogd(Daemon):
    """rsyslogd with the given rules; it takes lines over TCP (`port`) and hands them to the rules.

    `rules` is what would stand in /etc/rsyslog.d; the queue's folder is `<folder>/spool`. `inputs` are further ones:
    modules, inputs, global settings.
    """

    name = "rsyslogd"

    def __init__(self, folder: Path, rules: str, port: int | None = None, inputs: str = "") -> None:
        super().__init__(folder)
        self.program = find("rsyslogd", "rsyslog")
        self.port = port or free_port()
        self.spool = folder / "spool"
        self.spool.mkdir(exist_ok=True)
        (folder / "rules.conf").write_text(rules)
        self.config = folder / "rsyslog.conf"
        self.config.write_text(
            f'global(workDirectory="{self.spool}")\n'
            'module(load="imptcp")\n'
            f'input(type="imptcp" address="127.0.0.1" port="{self.port}")\n'
            f"{inputs}"
            f'include(file="{folder}/rules.conf")\n'
            # Messages of its own would go through the rules, too.
            'if $syslogfacility-text == "syslog" then { stop }\n'
        )

    def command(self) -> Sequence[str]:
        return [self.program, "-n", "-f", str(self.config), "-i", str(self.folder / "pid")]

    def ready(self) -> bool:
        return listens(self.port)

    def check(self) -> None:
        """`rsyslogd -N1`: AssertionError with every complaint."""
        done = subprocess.run(
            [self.program, "-N1", "-f", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        complaints = [
            line for line in (done.stdout + done.stderr).splitlines() if "config validation run" not in line
        ]
        assert done.returncode == 0 and not complaints, "\n".join(complaints)

    def send(self, lines: Sequence[bytes]) -> None:
        """Send lines as a program's would come over the network."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(b"".join(line + b"\n" for line in lines))


def _cache() -> Path:
    base = os.environ.get("SEISMOLOG_CACHE")
    if not base:
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seismolog")
    return Path(base)


def unpack_syslog_ng() -> Path:
    """The `usr` folder of an unpacked syslog-ng, downloaded where it is not there yet.

    Raises
    ------
    UnavailableError
        There is no apt-get, it has no such package, or a library is missing.
    """
    folder = _cache() / "syslog-ng"
    home = folder / "usr"
    if not (home / "sbin" / "syslog-ng").exists():
        apt = find("apt-get", "apt (this is no Debian)")
        part = folder.with_name(f"syslog-ng.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            done = subprocess.run(
                [apt, "download", "-q", *SYSLOG_NG_PACKAGES],
                cwd=part, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            if done.returncode:
                raise UnavailableError(
                    f"apt-get download {' '.join(SYSLOG_NG_PACKAGES)}: {done.stderr.strip()[-500:]}"
                )
            for package in part.glob("*.deb"):
                subprocess.run(["dpkg", "-x", str(package), str(part)], check=True, timeout=120)
                package.unlink()
            with contextlib.suppress(OSError):  # another process was faster
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    done = subprocess.run(
        [str(home / "sbin" / "syslog-ng"), "--version"],
        env=_syslog_ng_environment(home), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UnavailableError(
            f"syslog-ng does not run: {(done.stdout + done.stderr).strip()[-500:]}; "
            "sudo apt-get install libcap2 libglib2.0-0 libjson-c5 libnet1 libpcre3 libssl3 libwrap0"
        )
    return home


def _syslog_ng_environment(home: Path) -> dict[str, str]:
    libraries = [
        *(str(p) for p in sorted((home / "lib").glob("*-linux-gnu"))),
        str(home / "lib" / "syslog-ng"),
    ]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "SYSLOGNG_PREFIX": str(home)}


class SyslogNg(Daemon):
    """syslog-ng with the given rules and a source `s_src` over TCP (`port`) and through the drivers `inputs`."""

    name = "syslog-ng"

    def __init__(self, folder: Path, rules: str, port: int | None = None, inputs: str = "") -> None:
        super().__init__(folder)
        self.home = unpack_syslog_ng()
        self.port = port or free_port()
        version = next(
            p.name for p in sorted((self.home / "lib" / "syslog-ng").iterdir()) if re.match(r"\d", p.name)
        )
        self.modules = self.home / "lib" / "syslog-ng" / version
        self.config = folder / "syslog-ng.conf"
        # The queue's folder is Debian's in the file that users take; here it is ours.
        rules = rules.replace("/var/lib/syslog-ng", str(folder))
        self.config.write_text(
            f"@version: {version}\n"
            "options { keep-hostname(yes); stats-freq(0); };\n"
            f'source s_src {{ network(ip("127.0.0.1") port({self.port}) transport("tcp")); {inputs} }};\n'
            f"{rules}"
        )

    def environment(self) -> dict[str, str]:
        return _syslog_ng_environment(self.home)

    def _command(self, *more: str) -> list[str]:
        return [
            str(self.home / "sbin" / "syslog-ng"), *more, "-f", str(self.config),
            f"--module-path={self.modules}", "-R", str(self.folder / "persist"), "-c", str(self.folder / "control"),
        ]  # fmt: skip

    def command(self) -> Sequence[str]:
        return [*self._command("-F", "-e", "--no-caps"), "-p", str(self.folder / "pid")]

    def ready(self) -> bool:
        return listens(self.port)

    def check(self) -> None:
        """`syslog-ng -s`: AssertionError with its complaints."""
        done = subprocess.run(
            self._command("-s"),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and not done.stderr.strip(), done.stdout + done.stderr

    def send(self, lines: Sequence[bytes]) -> None:
        """Send lines as a program's would come over the network."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(b"".join(line + b"\n" for line in lines))


if __name__ == "__main__":
    try:
        print(unpack_syslog_ng())
    except UnavailableError as reason:
        sys.exit(str(reason))
