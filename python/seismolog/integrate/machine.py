"""What the generated files depend on, found on this machine or given by hand.

Limits: paths that hold quotation marks, backslashes, blanks or control characters are refused, for they would
have another meaning in one of the three syntaxes.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from seismolog.errors import UsageError

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["Machine", "program_path", "systemd_version"]

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


@dataclass(frozen=True)
class Machine:
    """One machine.

    Parameters
    ----------
    program
        Path of the program ``seismolog``.
    config
        Path of the configuration.
    relp, tcp, udp, unix
        Where ``serve`` listens, None where it does not.
    folders
        Folders of followed files, which the unit must be able to read.
    systemd
        Version of systemd, None where it is unknown.
    """

    program: str = "/usr/bin/seismolog"
    config: str = "/etc/seismolog/site.toml"
    relp: str | None = "127.0.0.1:5515"
    tcp: str | None = "127.0.0.1:5514"
    udp: str | None = None
    unix: str | None = None
    journal: bool = False
    folders: tuple[str, ...] = field(default=())
    systemd: int | None = None

    def __post_init__(self) -> None:
        for name in ("program", "config", "unix"):
            value = getattr(self, name)
            if value is not None and not _SAFE.fullmatch(value):
                raise UsageError(
                    f"the path {value!r} cannot be written into these files",
                    expected="letters, digits and . / _ - only",
                    mend=f"give a link with a plain name (--{name})"
                    if name != "unix"
                    else "choose another path",
                )

    @classmethod
    def here(cls, config: Config, *, program: str | None = None) -> Machine:
        """The machine that we run on, with the listeners of a configuration."""
        listen = config.listen
        return cls(
            program=program or program_path(),
            config=str(config.file) if config.file is not None else cls.config,
            relp=listen.relp,
            tcp=listen.tcp,
            udp=listen.udp,
            unix=None if listen.unix is None else str(config.path(listen.unix)),
            journal=listen.journal,
            folders=tuple(dict.fromkeys(str(config.path(f).parent) for f in listen.files)),
            systemd=systemd_version(),
        )


def program_path() -> str:
    """Where the running program ``seismolog`` lies."""
    beside = Path(sys.executable).parent / "seismolog"
    called = Path(sys.argv[0])
    if called.name == "seismolog" and called.exists():
        return str(called.absolute())
    if beside.exists():
        return str(beside)
    return shutil.which("seismolog") or Machine.program


def closed_to_others(program: str) -> Path | None:
    """What a service's own user, who belongs to no group, may not use of a program; None where all is open to it.

    That is a folder on the way to the program or to the interpreter that its first line names, or one of these files.
    A program that is not there yet is taken as open.
    """
    path = Path(program)
    wanted = [path]
    try:
        with path.open("rb") as file:
            first = file.readline(256)
    except OSError:
        first = b""
    if first.startswith(b"#!/"):
        # A script is read by its interpreter.
        wanted.append(Path(os.fsdecode(first[2:].split()[0])))
    for start in wanted:
        for end in dict.fromkeys((start, start.resolve())):
            for part in (*reversed(end.parents), end):
                try:
                    mode = part.stat().st_mode
                except OSError:
                    break
                needed = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IXOTH | stat.S_IROTH
                if mode & needed != needed:
                    return part.resolve()
    return None


def systemd_version() -> int | None:
    """The version of the installed systemd."""
    tool = shutil.which("systemctl")
    if tool is None:
        return None
    try:
        told = subprocess.run(
            [tool, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"systemd (\d+)", told)
    return int(match[1]) if match else None


def host_and_port(listener: str) -> tuple[str, str]:
    """A listener as the address that a sender on this machine connects to."""
    host, _, port = listener.rpartition(":")
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - where to connect, not bind
