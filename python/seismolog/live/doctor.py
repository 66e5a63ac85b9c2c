"""What is wrong with this installation, and how to mend it.

Each check looks at one thing and says how it is: *ok*, *warning* (it works, but not as well as it could) or *wrong*,
with the mend. Nothing is changed and nothing is sent but a few requests to the services of the configuration.

The exit status is that of the gravest thing that is wrong: 2 the configuration or a folder, 3 files that cannot
be read, 4 a service that does not answer.

Limits: whether rsyslog or syslog-ng forward to us is read from their files under /etc; what they include from
elsewhere is not seen.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seismolog.errors import ConfigError, SeismologError
from seismolog.live.settings import state_folder, store_url

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["Finding", "examine"]

Level = Literal["ok", "warning", "wrong"]

_GIB = 2**30
_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """How one thing is."""

    check: str
    level: Level
    text: str
    mend: str | None = None
    #: Exit status where it is wrong.
    status: int = 2


def ok(check: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(check, "ok", text)


def examine(load: Callable[[], Config]) -> Iterator[Finding]:
    """Look at everything, one after the other."""
    try:
        config = load()
    except ConfigError as error:
        yield Finding("configuration", "wrong", error.render(), error.mend or "correct the file")
        return
    named = config.file
    yield ok("configuration", f"{named} is in order" if named else "no file; the defaults hold")
    running = _daemon(config)
    yield from (_running(config, running),)
    if running is None:
        yield from _unit()
    for check in (_state, _space, _store, _ports, _files, _clock, _zone, _udp, _loggers, _influxdb, _grafana):
        yield from check(config, running is not None)


# --- the daemon and its folders -------------------------------------------------------------------------------


def _daemon(config: Config) -> dict[str, object] | None:
    """The status of a running daemon."""
    from seismolog.live.top import fetch

    if config.live.metrics is None:
        return None
    try:
        return fetch(config.live.metrics, 2.0)
    except SeismologError:
        return None


def _running(config: Config, status: dict[str, object] | None) -> Finding:
    if status is None:
        where = config.live.metrics
        return Finding(
            "daemon", "warning",
            f"no daemon answers on {where}" if where else "there is no [live] metrics to ask the daemon on",
            "start it: seismolog serve, or systemctl enable --now seismolog (seismolog integrate systemd)",
        )  # fmt: skip
    troubles = status.get("troubles")
    if not status.get("healthy") and isinstance(troubles, list):
        return Finding(
            "daemon", "wrong", "it has trouble: " + "; ".join(map(str, troubles)), "see its log", 4
        )
    return ok("daemon", f"runs on {config.live.metrics}")


def _unit() -> Iterator[Finding]:
    """Why systemd does not keep it running, where there is a unit for it."""
    tool = shutil.which("systemctl")
    if tool is None:
        return
    asked = ["LoadState", "ActiveState", "Result", "ExecMainStatus"]
    try:
        told = subprocess.run(
            [tool, "show", "seismolog.service", *(f"--property={name}" for name in asked)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return
    found = dict(line.partition("=")[::2] for line in told.splitlines() if "=" in line)
    if found.get("LoadState") != "loaded":
        return
    state, result, status = (found.get(name, "") for name in asked[1:])
    if result in ("", "success"):
        yield Finding("unit", "warning", f"seismolog.service is {state}", "systemctl enable --now seismolog")
    elif status == "203":
        yield Finding(
            "unit", "wrong", "systemd may not start the program that seismolog.service names (status 203)",
            "make install, then seismolog integrate systemd -o /etc/systemd/system/seismolog.service", 4,
        )  # fmt: skip
    else:
        yield Finding(
            "unit", "wrong", f"seismolog.service ended by {result} (status {status})",
            "journalctl -u seismolog -n 50 says why", 4,
        )  # fmt: skip


def _state(config: Config, running: bool) -> Iterator[Finding]:
    folder = state_folder(config)
    yield _folder("state folder", folder, "[live] state, or run as the user that runs the daemon", running)


def _folder(check: str, folder: Path, how: str, running: bool) -> Finding:
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not there.is_dir():
        return Finding(check, "wrong", f"{there} is no folder", f"choose another in {how}")
    if os.access(there, os.W_OK | os.X_OK):
        return ok(check, f"{folder} can be written" if there == folder else f"{folder} can be made")
    if running:
        return ok(check, f"{folder} belongs to the user that runs the daemon")
    return Finding(
        check, "wrong", f"{folder} cannot be written by this user", f"choose a folder of yours in {how}"
    )


def _space(config: Config, _running: bool) -> Iterator[Finding]:
    folder = state_folder(config)
    there = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        yield Finding("disk space", "wrong", f"{there}: {error.strerror}", "mount that disk")
        return
    wanted = config.live.wal_size + config.live.closed_size
    text = f"{free / _GIB:.1f} GiB are free at {there}"
    if free < _GIB // 4:
        yield Finding("disk space", "wrong", text, "make room; senders wait while the disk is full")
    elif free < wanted:
        yield Finding(
            "disk space", "warning",
            f"{text}; write-ahead log and closed bins may take {wanted / _GIB:.1f} GiB while a sink is down",
            "make room, or lower [live] wal_size and closed_size",
        )  # fmt: skip
    else:
        yield ok("disk space", text)


def _store(config: Config, running: bool) -> Iterator[Finding]:
    from seismolog.store import Store

    url = store_url(config, state_folder(config))
    if "://" not in url:
        found = _folder("store", Path(url), "[store] url", running)
        if found.level != "ok":
            yield found
            return
    try:
        sources = Store(url).sources()
    except SeismologError as error:
        yield Finding("store", "wrong", error.message, error.mend or "see the message", 4)
        return
    live = sum(e.origin == "live" for e in sources.values())
    archives = sum(e.origin == "archive" and not e.is_part for e in sources.values())
    yield ok("store", f"{url} has {archives} archives" + (" and live counts" if live else ""))


# --- where lines come from ------------------------------------------------------------------------------------


def _ports(config: Config, running: bool) -> Iterator[Finding]:
    listen = config.listen
    for name in ("relp", "tcp", "tls", "udp"):
        listener = getattr(listen, name)
        if listener is None:
            continue
        host, _, port = listener.rpartition(":")
        kind = socket.SOCK_DGRAM if name == "udp" else socket.SOCK_STREAM
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except PermissionError:
                yield Finding(
                    f"listen.{name}", "wrong", f"{listener}: a port below 1024 takes a privilege",
                    "use one above, or the unit that `seismolog integrate systemd` prints",
                )  # fmt: skip
            except OSError as error:
                if running:
                    yield ok(f"listen.{name}", f"the daemon has {listener}")
                else:
                    yield Finding(
                        f"listen.{name}", "wrong", f"{listener} cannot be had: {error.strerror}",
                        f"stop what listens there (ss -lp), or change [listen] {name}",
                    )  # fmt: skip
            else:
                if running:
                    yield Finding(
                        f"listen.{name}", "warning", f"the daemon does not listen on {listener}",
                        "have it read the configuration again: systemctl reload seismolog",
                    )  # fmt: skip
                else:
                    yield ok(f"listen.{name}", f"{listener} is free")


def _files(config: Config, _running: bool) -> Iterator[Finding]:
    import glob

    for pattern in config.listen.files:
        path = str(config.path(pattern))
        found = sorted(glob.glob(path))  # noqa: PTH207 - absolute patterns too
        unreadable = [f for f in found if not os.access(f, os.R_OK)]
        if unreadable:
            yield Finding(
                "listen.files", "wrong", f"{unreadable[0]} cannot be read by this user",
                "run the daemon in the group that may (adm on Debian)", 3,
            )  # fmt: skip
        elif not found:
            yield Finding(
                "listen.files", "warning", f"{path} matches no file yet", "correct it, if it should"
            )
        else:
            yield ok("listen.files", f"{path}: {len(found)} file{'s' if len(found) > 1 else ''}")
    if config.listen.journal and shutil.which("journalctl") is None:
        yield Finding(
            "listen.journal", "wrong", "there is no journalctl", "take journal = true out of [listen]", 3
        )


def _udp(config: Config, _running: bool) -> Iterator[Finding]:
    if config.listen.udp is None:
        return
    try:
        most = int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    wanted = config.listen.udp_receive_buffer
    if most < wanted:
        yield Finding(
            "listen.udp", "warning", f"the kernel grants {most} bytes of buffer, {wanted} are wanted",
            f"sysctl -w net.core.rmem_max={wanted}, and put it into /etc/sysctl.d",
        )  # fmt: skip
    else:
        yield ok("listen.udp", "the kernel grants the buffer")


# --- time -----------------------------------------------------------------------------------------------------


def _clock(_config: Config, _running: bool) -> Iterator[Finding]:
    """Whether the kernel takes the clock for synchronized: adjtimex(2) answers 5 (TIME_ERROR) where not."""
    state = None
    try:
        buffer = ctypes.create_string_buffer(512)  # struct timex, all zero: only a question
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        state = None
    if state is None or state < 0:
        yield Finding("clock", "warning", "it cannot be told whether the clock is synchronized", None)
    elif state == 5:
        yield Finding(
            "clock", "warning", "the clock is not synchronized: bins close by it, and times are compared with it",
            "run chrony or systemd-timesyncd (timedatectl set-ntp true)",
        )  # fmt: skip
    else:
        yield ok("clock", "synchronized")


def _local_zone() -> str | None:
    try:
        target = str(Path("/etc/localtime").readlink())
    except OSError:
        return None
    return target.partition("zoneinfo/")[2] or None


def _zone(config: Config, _running: bool) -> Iterator[Finding]:
    zone = _local_zone()
    if config.site.timezone is None and zone not in (None, "UTC", "Etc/UTC"):
        yield Finding(
            "time zone", "warning",
            f"this machine is in {zone}; lines that tell no zone are read as UTC",
            f'if your servers write local time: [site] timezone = "{zone}"',
        )  # fmt: skip
    else:
        yield ok("time zone", config.site.timezone or "UTC")


# --- the system's loggers -------------------------------------------------------------------------------------

_LOGGERS = {
    "rsyslog": ("rsyslogd", ("/etc/rsyslog.conf", "/etc/rsyslog.d/*.conf")),
    "syslog-ng": ("syslog-ng", ("/etc/syslog-ng/syslog-ng.conf", "/etc/syslog-ng/conf.d/*.conf")),
}


def _loggers(config: Config, _running: bool) -> Iterator[Finding]:
    here = False
    for name, (program, patterns) in _LOGGERS.items():
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            continue
        here = True
        yield from _logger(config, name, patterns)
    if not here and not config.listen.files and not config.listen.journal:
        yield Finding(
            "loggers", "warning", "neither rsyslog nor syslog-ng is here, and no file is followed",
            "name log files in [listen] files, set journal = true, or have another machine send here",
        )  # fmt: skip


def _logger(config: Config, name: str, patterns: tuple[str, ...]) -> Iterator[Finding]:
    text = ""
    unread = None
    for pattern in patterns:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            try:
                text += path.read_text(encoding="utf-8", errors="replace") + "\n"
            except OSError as error:
                unread = f"{path}: {error.strerror}"
    if unread is not None:
        yield Finding(name, "warning", f"its files cannot all be read ({unread})", "run this as root")
        return
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    if _forwards(config, code):
        yield ok(name, "forwards to seismolog")
        return
    file = "/etc/rsyslog.d/10-seismolog.conf" if name == "rsyslog" else "/etc/syslog-ng/conf.d/seismolog.conf"
    yield Finding(
        name, "warning", "is here and does not forward to seismolog",
        f"seismolog integrate {name} -o {file}, then restart it"
        + (" (relp needs the package rsyslog-relp)" if name == "rsyslog" else ""),
    )  # fmt: skip


def _forwards(config: Config, code: str) -> bool:
    """Whether a logger's configuration names `seismolog pipe`, or a port or socket of ours."""
    if re.search(r"seismolog\s+pipe\b", code):
        return True
    listen = config.listen
    sockets = [s for s in (listen.unix, listen.unix_datagram) if s]
    if any(str(config.path(s)) in code for s in sockets):
        return True
    ports = [a.rpartition(":")[2] for a in (listen.relp, listen.tcp, listen.tls, listen.udp) if a]
    return any(re.search(rf"""(?i)port\s*[=(]\s*["']?{p}\b|:{p}\b""", code) for p in ports)


# --- services -------------------------------------------------------------------------------------------------


def _get(
    url: str, token: str | None = None, scheme: str = "Bearer", ca: Path | None = None
) -> dict[str, object]:
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"{scheme} {token}"
    context = (
        ssl.create_default_context(cafile=None if ca is None else str(ca))
        if url.startswith("https")
        else None
    )
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http and https only, checked by the caller
    with urllib.request.urlopen(request, timeout=_SECONDS, context=context) as answer:  # noqa: S310
        found = json.loads(answer.read(1 << 20) or b"{}")
        return found if isinstance(found, dict) else {}


def _token(config: Config, file: str | None, variable: str) -> tuple[str | None, Finding | None]:
    """A token from its file or the environment, and what is wrong with the file."""
    if file is None:
        return os.environ.get(variable) or None, None
    path = config.path(file)
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        return None, Finding(
            "token", "wrong", f"{path}: {error.strerror}", "give this user the right to read it"
        )
    if mode & 0o007:
        return token, Finding("token", "warning", f"{path} can be read by everybody", f"chmod o= {path}")
    return token, None


def _service(
    check: str, url: str, health: str, tells: Callable[[dict[str, object]], str | None], ca: Path | None
) -> Finding:
    """Whether a service answers, and answers well."""
    if not re.match(r"https?://", url):
        return Finding(check, "wrong", f"{url} is no http or https address", f"correct [{check}] url")
    try:
        trouble = tells(_get(url.rstrip("/") + health, ca=ca))
    except urllib.error.HTTPError as error:
        return Finding(check, "wrong", f"{url} answers {error.code}", "is it the right address?", 4)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Finding(
            check, "wrong", f"{url} does not answer: {reason}", f"start it, or correct [{check}] url", 4
        )
    if trouble:
        return Finding(check, "wrong", f"{url}: {trouble}", "see its log", 4)
    return ok(check, f"{url} answers")


def _influxdb(config: Config, _running: bool) -> Iterator[Finding]:
    section = config.influxdb
    if section.url is None:
        return
    _, wrong = _token(config, section.token_file, "SEISMOLOG_INFLUXDB_TOKEN")
    if wrong is not None:
        yield Finding("influxdb token", wrong.level, wrong.text, wrong.mend)

    def tells(found: dict[str, object]) -> str | None:
        return (
            None
            if found.get("status", "pass") == "pass"
            else str(found.get("message") or "it is not healthy")
        )

    yield _service("influxdb", section.url, "/health", tells, _ca(config, section))


def _grafana(config: Config, _running: bool) -> Iterator[Finding]:
    section = config.grafana
    if section.url is None:
        return
    _, wrong = _token(config, section.token_file, "SEISMOLOG_GRAFANA_TOKEN")
    if wrong is not None:
        yield Finding("grafana token", wrong.level, wrong.text, wrong.mend)

    def tells(found: dict[str, object]) -> str | None:
        return None if found.get("database", "ok") == "ok" else "its database is not well"

    yield _service("grafana", section.url, "/api/health", tells, _ca(config, section))


def _ca(config: Config, section: object) -> Path | None:
    file = getattr(section, "ca_file", None)
    return None if file is None else config.path(file)
