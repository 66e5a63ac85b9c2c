"""Capture small real logs: start the daemons, drive them, stop them, keep their logs and the counts.

The result is a folder with

- `syslog/named.log`: named through syslog, ISO 8601 time;
- `syslog/mail.log`: Postfix and Dovecot through syslog, RFC 3164 time;
- `channel/queries.log`: the same queries as named's own file channel writes them;
- `counts.json`: what the clients did.

From the first query on, the lines are as the daemons wrote them: nothing is rewritten.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from . import configs, drive
from .daemons import check_available, daemon, find, free_port, listens, logger_listens, postfix, wait_for

_STATUS = re.compile(rb" postfix/\w+\[\d+\]: \w+: to=<.*? status=(sent|deferred|bounced) ")


def capture(out: Path, *, rounds: int = 3) -> dict[str, Any]:
    """Run the whole capture into the folder `out` and return what was driven.

    Parameters
    ----------
    out
        Folder for the logs and `counts.json`; made when it is missing.
    rounds
        How often each DNS client asks all its questions; the sessions follow it.

    Raises
    ------
    UnavailableError
        When a daemon is missing, we are not root, or a system logger listens already.
    """
    check_available()
    tally = drive.Tally()
    with laboratory() as lab:
        logger = ["rsyslogd", "-n", "-f", str(lab.root / "rsyslog.conf"), "-i", str(lab.root / "rsyslog.pid")]
        with daemon([find(logger[0]), *logger[1:]], lab.root / "rsyslog.out"):
            wait_for("rsyslogd's socket", logger_listens)
            with servers(lab):
                # What the daemons said of this machine while they started, and of the probes, is left out.
                starts = {log: log.stat().st_size for log in (lab.mail_log, lab.named_log) if log.exists()}
                sessions(lab, tally, rounds)
        (out / "syslog").mkdir(parents=True, exist_ok=True)
        (out / "channel").mkdir(exist_ok=True)
        for log in (lab.named_log, lab.mail_log):
            (out / "syslog" / log.name).write_bytes(log.read_bytes()[starts.get(log, 0) :])
        shutil.copyfile(lab.root / "logs/queries.log", out / "channel/queries.log")
    counts = tally.as_json() | {"daemons": _versions()}
    (out / "counts.json").write_text(json.dumps(counts, indent=2) + "\n")
    return counts


@contextmanager
def laboratory() -> Iterator[configs.Lab]:
    """Folders, ports and configurations for one run, removed after the block."""
    # Unix socket paths are short: the system's temporary folder, not a test runner's deep one.
    root = Path(tempfile.mkdtemp(prefix="seismolog-lab-", dir="/tmp"))
    root.chmod(0o755)
    try:
        lab = configs.Lab(root, *(free_port() for _ in range(8)))
        _configure(lab)
        yield lab
    finally:
        shutil.rmtree(root)


@contextmanager
def servers(lab: configs.Lab) -> Iterator[None]:
    """named, Postfix, Dovecot and the sinks for mail, for the time of the block; a logger has /dev/log already.

    The block begins when all of them listen and have nothing more to say.
    """
    with ExitStack() as running:

        def run(name: str, *command: str) -> None:
            running.enter_context(daemon([find(command[0]), *command[1:]], lab.root / f"{name}.out"))

        run("named", "named", "-f", "-c", str(lab.root / "named.conf"))
        running.enter_context(postfix(lab.root / "postfix/conf", lab.root / "postfix/spool/pid/master.pid"))
        run("dovecot", "dovecot", "-F", "-c", str(lab.root / "dovecot/dovecot.conf"))
        run("good", "smtp-sink", "-u", "postfix", f"127.0.0.1:{lab.sink_good_port}", "100")
        run("busy", "smtp-sink", "-u", "postfix", "-r", "RCPT", f"127.0.0.1:{lab.sink_busy_port}", "100")
        run("gone", "smtp-sink", "-u", "postfix", "-f", "RCPT", f"127.0.0.1:{lab.sink_gone_port}", "100")
        for port in (lab.dns_port, lab.smtp_port, lab.pop_port, lab.imap_port, lab.sink_good_port):
            wait_for(f"the server on port {port}", functools.partial(listens, port))
        wait_quiet(lab.mail_log)
        wait_quiet(lab.named_log)
        yield


def sessions(lab: configs.Lab, tally: drive.Tally, rounds: int) -> None:
    """Everything that the clients do; returns when the servers have written all of it to their logs."""
    drive.dns_queries(lab, tally, rounds)
    drive.denied_queries(lab, tally, rounds)
    drive.mails(lab, tally)
    drive.local_mails(lab, tally, "/usr/sbin/sendmail", 5)
    drive.pop_sessions(lab, tally, 2 * rounds)
    drive.imap_sessions(lab, tally, rounds)
    wait_deliveries(lab.mail_log, tally)
    # A second attempt at what was put off.
    put_off = tally.kind("smtp_deferred")
    subprocess.run([find("postfix"), "-c", str(lab.root / "postfix/conf"), "flush"], check=True, timeout=30)
    tally.add("smtp_deferred", count=put_off)
    wait_deliveries(lab.mail_log, tally)
    wait_quiet(lab.mail_log)


def _configure(lab: configs.Lab) -> None:
    root = lab.root
    for folder in (
        "rsyslog",
        "named",
        "logs",
        "postfix/spool",
        "postfix/data",
        "dovecot/run",
        "dovecot/state",
        "mail",
    ):
        (root / folder).mkdir(parents=True)
    (root / "logs").chmod(0o777)
    shutil.chown(root / "postfix/data", "postfix", "root")
    shutil.chown(root / "mail", configs.MAIL_UID, configs.MAIL_UID)
    lab.write("rsyslog.conf", configs.RSYSLOG)
    lab.write("named.conf", configs.NAMED)
    lab.write(f"named/{configs.DOMAIN}.zone", configs.FORWARD_ZONE)
    lab.write("named/reverse.zone", configs.REVERSE_ZONE)
    lab.write("postfix/conf/main.cf", configs.POSTFIX_MAIN)
    lab.write("postfix/conf/master.cf", configs.POSTFIX_MASTER)
    lab.write("postfix/transport", configs.POSTFIX_TRANSPORT)
    lab.write(
        "postfix/mailboxes", "".join(f"{name}@{configs.DOMAIN} {name}/\n" for name, _ in configs.ACCOUNTS)
    )
    lab.write("dovecot/dovecot.conf", configs.DOVECOT)
    lab.write("dovecot/users", "".join(f"{name}:{password}\n" for name, password in configs.ACCOUNTS))


def _deliveries(mail_log: Path) -> dict[str, int]:
    found = {"sent": 0, "deferred": 0, "bounced": 0}
    if mail_log.exists():
        for line in mail_log.read_bytes().splitlines():
            if (match := _STATUS.search(line)) is not None:
                found[match.group(1).decode()] += 1
    return found


def wait_deliveries(mail_log: Path, tally: drive.Tally) -> None:
    """Wait until Postfix has tried all deliveries; what came of them is for the reader of the logs to say."""
    expected = sum(tally.kind(f"smtp_{status}") for status in ("sent", "deferred", "bounced"))
    wait_for(
        f"{expected} deliveries (so far {_deliveries(mail_log)})",
        lambda: sum(_deliveries(mail_log).values()) >= expected,
        90,
    )


def wait_quiet(log: Path, seconds: float = 1.5) -> None:
    """Wait until the log has not grown for a while."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        now = log.stat().st_size if log.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.1)


def _versions() -> dict[str, str]:
    """The first line of each daemon's version."""
    commands = {
        "named": ["named", "-v"],
        "postfix": ["postconf", "-d", "-h", "mail_version"],
        "dovecot": ["dovecot", "--version"],
        "rsyslog": ["rsyslogd", "-v"],
    }
    versions = {}
    for name, command in commands.items():
        path = shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin") or command[0]
        done = subprocess.run([path, *command[1:]], check=True, capture_output=True, text=True, timeout=30)
        versions[name] = re.search(r"\d+\.\d[\d.]*", done.stdout).group()  # type: ignore[union-attr]
    return versions
