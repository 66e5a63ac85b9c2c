"""Real daemons, a real logger, `serve`, the store: what clients did is what the store has, event by event.

named with its query log, Postfix and Dovecot log through syslog into the real rsyslogd, and again into the real
syslog-ng; the logger forwards with the file that `seismolog integrate` prints. A DNS client, mails (some by Postfix's
smtp-source, out again to its smtp-sink) and POP3 and IMAP sessions are counted as they are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog.integrate import Machine, render
from tests.lab.capture import configs, drive
from tests.lab.capture.capture import laboratory, servers, sessions
from tests.lab.capture.daemons import check_available, find, logger_listens, wait_for
from tests.lab.live.serving import Serving
from tests.services.daemons import Daemon, Rsyslogd, SyslogNg, available, rsyslog_module, unpack_syslog_ng

pytestmark = [
    pytest.mark.slow,
    pytest.mark.service,
    pytest.mark.timeout(300),
]

ROUNDS = 2
LOADED = 60
TYPES = ("a", "aaaa", "mx", "ptr", "txt", "ns", "srv", "https", "any", "other")


def logger_of(lab: configs.Lab, target: str, daemon: Serving) -> Rsyslogd | SyslogNg:
    """The system logger: takes /dev/log, forwards by the printed file, and writes the files that the driver reads."""
    machine = Machine(relp=str(daemon.listen["relp"]), tcp=str(daemon.listen["tcp"]))
    rules = render(target, machine)
    folder = lab.root / target
    if target == "rsyslog":
        inputs = lab.fill(configs.RSYSLOG_SYSTEM_LOG)
        return Rsyslogd(folder, rules + lab.fill(configs.RSYSLOG_FILES), inputs=inputs)
    inputs = lab.fill(configs.SYSLOG_NG_SYSTEM_LOG)
    return SyslogNg(folder, rules + lab.fill(configs.SYSLOG_NG_FILES), inputs=inputs)


def run(lab: configs.Lab, logger: Daemon, daemon: Serving) -> drive.Tally:
    """Everything that the clients do, with the servers started and ended around it; returns when it is counted."""
    tally = drive.Tally()
    with logger:
        wait_for("the logger to take /dev/log", logger_listens)
        with servers(lab):
            # To see whether Postfix listens, somebody connected.
            tally.add("smtp_connection", drive.LOCAL_CLIENT)
            drive.load(lab, tally, find("smtp-source"), LOADED)
            sessions(lab, tally, ROUNDS)
        # While the logger runs: what it has not sent when it ends, it keeps for the next start.
        wait_for("all lines to be counted", lambda: counted(daemon) == written(lab), 60)
    return tally


def counted(daemon: Serving) -> int:
    """Lines that the daemon has counted."""
    return int(daemon.metrics()["seismolog_counted_lines_total"])


def written(lab: configs.Lab) -> int:
    """Lines that the logger has written to its own files: those of the programs that it forwards."""
    return sum(log.read_bytes().count(b"\n") for log in (lab.mail_log, lab.named_log))


def stored(daemon: Serving) -> dict[str, Any]:
    """What the store has, in the shape of a tally."""
    table = daemon.rows("client_traffic")
    assert set(table["server"]) == {configs.HOST}
    kinds = table.group_by("kind").agg(pl.col("count").cast(pl.Int64).sum()).sort("kind")
    queries = table.filter(pl.col("kind") == "dns_query").select(pl.col(TYPES).cast(pl.Int64).sum())
    clients: dict[str, dict[str, int]] = {}
    of_clients = (
        table.drop_nulls("client").group_by("client", "kind").agg(pl.col("count").cast(pl.Int64).sum())
    )
    for client, kind, count in of_clients.sort("client", "kind").iter_rows():
        clients.setdefault(client, {})[kind] = count
    return {
        "kinds": dict(kinds.iter_rows()),
        "query_types": {name: count for name, count in queries.row(0, named=True).items() if count},
        "clients": clients,
    }


@pytest.mark.parametrize("target", ["rsyslog", "syslog-ng"])
def test_what_clients_did_is_in_the_store(target: str, tmp_path: Path) -> None:
    available(check_available)
    available(lambda: rsyslog_module("omrelp", "rsyslog-relp"))
    if target == "syslog-ng":
        available(unpack_syslog_ng)
    daemon = Serving(tmp_path, {})
    daemon.start()
    try:
        with laboratory() as lab:
            tally = run(lab, logger_of(lab, target, daemon), daemon)
            assert counted(daemon) == written(lab)
        assert daemon.stop() == 0, daemon.said
    finally:
        if daemon.process is not None:
            daemon.kill()
    driven = tally.as_json()
    assert stored(daemon) == driven
    # N queries, M mails in and out, P logins: the sums that the rounds amount to.
    kinds = driven["kinds"]
    assert kinds["dns_query"] == ROUNDS * (5 * 12 + 2 * 3) + 6
    assert kinds["smtp_accepted"] == LOADED + 36 + 24 + 10 + 3 + 6 + 4 + 5
    assert kinds["pop_access"] == 2 * ROUNDS * 4
    accounts = (
        daemon.rows("account_activity").select(pl.col("logins", "failures").cast(pl.Int64).sum()).row(0)
    )
    assert accounts == (kinds["pop_access"] + kinds["imap_access"], kinds["auth_failure"])
