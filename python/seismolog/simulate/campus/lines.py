"""The log lines of a simulated day, as BIND, Postfix, Dovecot and the Linux firewall write them through a syslog daemon.

Lines of a minute are spread evenly over its seconds, in the order of the events. Times are ISO 8601 with the campus's
offset, so that nothing has to be guessed. Counting these lines gives the tables of :mod:`~.tables`.

Limits: about a million lines in three seconds; a day of 20,000 clients is ten million lines, or 1.5 GB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from seismolog.simulate.campus.events import KINDS, Day, Queries
from seismolog.simulate.campus.ordinary import hour
from seismolog.simulate.campus.population import INSIDE, dotted
from seismolog.simulate.campus.world import World
from seismolog.store.schema import QTYPES

__all__ = ["calendar", "counts_of", "site_toml", "write"]

Ints = npt.NDArray[np.int64]
_TYPE_TEXT = tuple({"other": "CAA"}.get(q, q.upper()) for q in QTYPES)


def write(day: Day, folder: Path, *, append: bool = False) -> dict[str, dict[str, int]]:
    """Write ``<server>.log`` for every server of the campus.

    Parameters
    ----------
    append
        Go on behind what is there: for several days one after the other.

    Returns
    -------
    dict
        File -> lines and bytes of it.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    world = day.world
    end = (day.start + timedelta(days=1)).timestamp()
    files = {s: folder / f"{s}.log" for s in world.servers}
    lines = dict.fromkeys(world.servers, 0)
    opened = {
        s: path.open("a" if append else "w", encoding="ascii", newline="\n") for s, path in files.items()
    }
    try:
        for server, batch in _batches(day):
            lines[server] += len(batch)
            _put(opened[server], batch)
    finally:
        for file in opened.values():
            file.close()
    for path in files.values():
        os.utime(path, (end, end))
    return {p.name: {"lines": lines[s], "bytes": p.stat().st_size} for s, p in files.items()}


def counts_of(day: Day) -> dict[str, dict[str, int]]:
    """Events of a day by server and kind."""
    world = day.world
    made: dict[str, dict[str, int]] = {}
    explicit = day.kept_queries(Queries.join(day.queries))
    ordinary = (day.kept_queries(hour(day, which, world.names, world.mixture)).client for which in range(24))
    server = world.people.server[np.concatenate([explicit.client, *ordinary])]
    for number, name in enumerate(world.dns_names):
        made[name] = {"dns_query": int((server == number).sum())}
    mail = day.kept_services()
    for number, name in enumerate(world.mail_names):
        counts = np.bincount(mail.kind[mail.server == number], minlength=len(KINDS)).tolist()
        made[name] = {kind: count for kind, count in zip(KINDS, counts, strict=True) if count}
    made[world.wall_name] = {"firewall_drop": len(day.kept_drops())}
    return made


def _put(file: TextIO, batch: list[str]) -> None:
    file.write("".join(f"{line}\n" for line in batch))


def calendar(world: World) -> str:
    """The holidays of the campus as an iCalendar file."""
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{day:%Y%m%d}@campus.example\r\nDTSTART;VALUE=DATE:{day:%Y%m%d}\r\nSUMMARY:holiday\r\nEND:VEVENT\r\n"
        for day in sorted(world.parameters.holidays)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//seismolog//campus//EN\r\n{events}END:VCALENDAR\r\n"


def site_toml(world: World) -> str:
    """A configuration for these logs."""
    site = world.site()
    parts = [
        "[site]",
        f'timezone = "{site.timezone}"',
        f"inside = {list(INSIDE)!r}".replace("'", '"'),
        'holidays = "holidays.ics"',
        "",
    ]
    for host in site.mail_servers:
        parts += [
            "[[mail_server]]",
            f'name = "{host.name}"',
            f'hostnames = ["{host.name}"]',
            f"addresses = {list(host.addresses)!r}".replace("'", '"'),
            f"domains_per_message = {host.domains_per_message:.4f}",
            f"receive_rate = {host.receive_rate:.4f}",
            "",
        ]
    for name, address in zip(world.dns_names, site.dns_servers, strict=True):
        parts += [
            "[[dns_server]]",
            f'name = "{name}"',
            f'hostnames = ["{name}"]',
            f'addresses = ["{address}"]',
            "",
        ]
    parts += [
        "[detect]",
        f"resolvers = {list(site.resolvers)!r}".replace("'", '"'),
        f"scanners = {list(site.scanners)!r}".replace("'", '"'),
    ]
    return "\n".join(parts) + "\n"


def _batches(day: Day) -> Iterator[tuple[str, list[str]]]:
    """Lines by server, hour by hour for DNS servers."""
    world = day.world
    zone = ZoneInfo(world.parameters.timezone)
    explicit = day.kept_queries(Queries.join(day.queries))
    for which in range(24):
        ordinary = day.kept_queries(hour(day, which, world.names, world.mixture))
        queries = Queries.join([ordinary, explicit.where(explicit.minute // 60 == which)])
        server = world.people.server[queries.client]
        for number, name in enumerate(world.dns_names):
            asked = queries.where(np.flatnonzero(server == number))
            asked = asked.where(np.argsort(asked.minute, kind="stable"))
            yield name, _query_lines(world, name, asked, stamps(day.start.astimezone(zone), asked.minute))
    mail = day.kept_services()
    for number, name in enumerate(world.mail_names):
        part = mail.where(np.flatnonzero(mail.server == number))
        at = stamps(day.start.astimezone(zone), part.minute)
        yield (
            name,
            [
                _mail_line(world, name, *row)
                for row in zip(
                    at,
                    range(len(part)),
                    part.kind.tolist(),
                    part.client.tolist(),
                    part.account.tolist(),
                    strict=True,
                )
            ],
        )
    drops = day.kept_drops()
    at = stamps(day.start.astimezone(zone), drops.minute)
    texts = world.people.texts
    yield (
        world.wall_name,
        [
            f"{stamp} {world.wall_name} kernel: DROP IN=eth0 OUT= SRC={texts[client]} DST={dotted(target)} LEN=60 "
            f"TOS=0x00 PREC=0x00 TTL=52 ID={number % 65536} PROTO=TCP SPT={40000 + number % 20000} DPT={port} WINDOW=64240"
            for number, (stamp, client, target, port) in enumerate(
                zip(at, drops.client.tolist(), drops.target.tolist(), drops.port.tolist(), strict=True)
            )
        ],
    )


def stamps(start: datetime, minutes: Ints) -> list[str]:
    """Times of events that are sorted by minute, spread over the seconds of each."""
    if not len(minutes):
        return []
    first = np.flatnonzero(np.concatenate([[True], minutes[1:] != minutes[:-1]]))
    length = np.diff(np.append(first, len(minutes)))
    rank = np.arange(len(minutes)) - np.repeat(first, length)
    second = minutes * 60 + rank * 60 // np.repeat(length, length)
    whole, where = np.unique(second, return_inverse=True)
    texts = [(start + timedelta(seconds=s)).isoformat(timespec="seconds") for s in whole.tolist()]
    return [texts[i] for i in where.tolist()]


def _query_lines(world: World, server: str, queries: Queries, at: list[str]) -> list[str]:
    texts, names = world.people.texts, world.names.texts
    here = texts[world.people.dns[world.dns_names.index(server)]]
    head = f" {server} named[77]: client @0x7f3a5c0 "
    return [
        f"{stamp}{head}{texts[client]}#{1024 + number % 60000} ({names[name]}): query: {names[name]} IN "
        f"{_TYPE_TEXT[kind]} +E(0)K ({here})"
        for number, (stamp, client, name, kind) in enumerate(
            zip(at, queries.client.tolist(), queries.name.tolist(), queries.qtype.tolist(), strict=True)
        )
    ]


def _mail_line(
    world: World, server: str, stamp: str, number: int, kind: int, client: int, account: int
) -> str:
    """One line of Postfix or Dovecot; deliveries are known by number only."""
    address = world.people.texts[client] if client >= 0 else ""
    user = world.accounts[account] if account >= 0 else ""
    queue = f"{0x4000000000 + number:X}"
    postfix, dovecot = f"{stamp} {server} postfix", f"{stamp} {server} dovecot[8]: "
    to = f"to=<u{number % 977}@example.net>"
    match KINDS[kind]:
        case "smtp_accepted":
            login = f", sasl_method=PLAIN, sasl_username={user}" if user else ""
            return f"{postfix}/smtpd[31]: {queue}: client=unknown[{address}]{login}"
        case "smtp_sent":
            where = "relay=mx.example.net[192.0.2.25]:25, delay=1.2, delays=0.1/0/0.6/0.5"
            return f"{postfix}/smtp[32]: {queue}: {to}, {where}, dsn=2.0.0, status=sent (250 2.0.0 Ok)"
        case "smtp_deferred":
            why = "(connect to mx.example.net[192.0.2.25]:25: Connection timed out)"
            return (
                f"{postfix}/smtp[32]: {queue}: {to}, relay=none, delay=30, dsn=4.4.1, status=deferred {why}"
            )
        case "smtp_bounced":
            why = "(host mx.example.net[192.0.2.25] said: 550 5.1.1 User unknown)"
            return (
                f"{postfix}/smtp[32]: {queue}: {to}, relay=none, delay=1.2, dsn=5.1.1, status=bounced {why}"
            )
        case "smtp_rejected":
            why = "554 5.7.1 Relay access denied; from=<a@b.example>"
            return f"{postfix}/smtpd[31]: NOQUEUE: reject: RCPT from unknown[{address}]: {why} {to} proto=ESMTP helo=<pc>"
        case "smtp_connection":
            return f"{postfix}/smtpd[31]: connect from unknown[{address}]"
        case "pop_access" | "imap_access" as protocol:
            program = "pop3-login" if protocol == "pop_access" else "imap-login"
            where = f"rip={address}, lip=133.95.10.25, mpid={number}, TLS"
            return f"{dovecot}{program}: Login: user=<{user}>, method=PLAIN, {where}"
        case _:
            why = "(auth failed, 1 attempts in 2 secs)"
            return f"{dovecot}imap-login: Aborted login {why}: user=<{user}>, method=PLAIN, rip={address}, lip=133.95.10.25"
