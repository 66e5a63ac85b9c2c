"""Log lines as the daemons of 2002 wrote them.

What it is for
    Turning the model's arrays into the text that syslogd put into /var/log: iplog 1.2, BIND 9.2's query log,
    sendmail 8.9.3 and qpopper 4.0, all with the RFC 3164 header (local time, no year, no zone).

How it works
    Each function returns a list of lines beside the times they were given; :func:`write` sorts the lines
    of one file by time, keeps the order of equal seconds, and sets the file's modification time to the
    end of the simulated time, because readers infer the missing year from it.

Limits
    syslogd's "last message repeated N times" is not imitated: the ``grep`` counts then stay exact.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seismolog.simulate.clients import Queries
from seismolog.simulate.mail import DEFERRED, NULL_SENDER, SENT, TYPE_TEXT, UNKNOWN, Mail
from seismolog.simulate.names import Names

__all__ = [
    "bind_lines",
    "iplog_lines",
    "marks",
    "ports",
    "qpopper_lines",
    "sendmail_lines",
    "stamps",
    "write",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CAMPUS = "campus.example"
_OWN_HOSTS = ("cc", "eng", "sci", "med", "fac", "lib")

Lines = tuple[Floats, list[str]]


def stamps(start: datetime, times: Floats) -> list[str]:
    """RFC 3164 timestamps (``Jul 15 18:00:01``) of seconds since ``start``, a local time."""
    seconds, where = np.unique(np.floor(times).astype(np.int64), return_inverse=True)
    texts: list[str] = []
    days: dict[int, str] = {}
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    offset = int((start - midnight).total_seconds())
    for second in (seconds + offset).tolist():
        day, rest = divmod(second, 86400)
        prefix = days.get(day)
        if prefix is None:
            date = midnight + timedelta(days=day)
            prefix = days[day] = f"{_MONTHS[date.month - 1]} {date.day:2d} "
        minute, s = divmod(rest, 60)
        h, m = divmod(minute, 60)
        texts.append(f"{prefix}{h:02d}:{m:02d}:{s:02d}")
    return [texts[i] for i in where.tolist()]


def ports(queries: Queries) -> Ints:
    """Source ports: a client keeps one for a couple of hours, as resolvers of the time did."""
    epoch = (np.floor(queries.times / 7200)).astype(np.int64)
    return 1025 + (queries.clients * 2654435761 + epoch * 40503) % 3900


def iplog_lines(start: datetime, names: Names, queries: Queries) -> Lines:
    """Lines of iplog 1.2: one line a datagram to port 53, with the size of the DNS message."""
    lengths = np.array([len(name) for name in names.name_text])
    # Header 12, name as labels 2 more than its text, type and class 4.
    sizes = (lengths[queries.names] + 18).tolist()
    address = names.address_text
    text = [
        f"{stamp} 1dns iplog[123]: UDP: dgram to domain from {address[client]}:{port} ({size} data bytes)"
        for stamp, client, port, size in zip(
            stamps(start, queries.times),
            queries.clients.tolist(),
            ports(queries).tolist(),
            sizes,
            strict=True,
        )
    ]
    return queries.times, text


def bind_lines(start: datetime, names: Names, queries: Queries) -> Lines:
    """BIND 9.2's query log through syslog: the same queries with their names and types."""
    address, name = names.address_text, names.name_text
    text = [
        f"{stamp} 1dns named[77]: client {address[client]}#{port}: query: {name[asked]} IN {TYPE_TEXT[kind]}"
        for stamp, client, port, asked, kind in zip(
            stamps(start, queries.times),
            queries.clients.tolist(),
            ports(queries).tolist(),
            queries.names.tolist(),
            queries.types.tolist(),
            strict=True,
        )
    ]
    return queries.times, text


def _delay(seconds: float) -> str:
    """As sendmail's ``delay=``: ``00:15:02``, with days in front when there are any (``1+00:15:02``)."""
    days, rest = divmod(int(seconds), 86400)
    minute, s = divmod(rest, 60)
    h, m = divmod(minute, 60)
    clock = f"{h:02d}:{m:02d}:{s:02d}"
    return f"{days}+{clock}" if days else clock


def _mailbox(number: int, domain: int, names: Names) -> str:
    if domain >= 0:
        return f"<u{number % 977}@{names.name_text[domain]}>"
    return f"<u{number % 977}@{_OWN_HOSTS[number % len(_OWN_HOSTS)]}.{_CAMPUS}>"


def sendmail_lines(start: datetime, names: Names, mail: Mail) -> Lines:
    """Lines of sendmail 8.9.3: ``from=`` once a message, ``to=`` once an attempt, and bounce notes."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    offset = (start - midnight).total_seconds()
    hours = (np.floor((mail.times + offset) / 3600) % 24).astype(np.int64).tolist()
    identities = [f"{chr(65 + hour)}AA{1000 + i % 29000:05d}" for i, hour in enumerate(hours)]
    address, name = names.address_text, names.name_text
    counts = mail.addresses_of_messages().tolist()
    host = [name[i] for i in names.host(mail.clients).tolist()]
    # Sizes look random and depend on the message's number only.
    sizes = (600 + (np.arange(len(mail.times)) * 7919) % 5200).tolist()
    stamp_list = stamps(start, mail.times)
    text: list[str] = []
    for i, (stamp, identity, sender, client, count, size, rejected) in enumerate(
        zip(
            stamp_list,
            identities,
            mail.senders.tolist(),
            mail.clients.tolist(),
            counts,
            sizes,
            mail.rejected.tolist(),
            strict=True,
        )
    ):
        box = "<>" if sender == NULL_SENDER else _mailbox(i, sender, names)
        relay = f"{host[i]} [{address[client]}]"
        head = f"{stamp} 1mx sendmail[{1000 + i % 29000}]: {identity}: from={box}, "
        if rejected:
            # Every recipient was refused: sendmail still notes the sender.
            text.append(f"{head}size=0, class=0, pri=0, nrcpts=0, proto=SMTP, relay={relay}")
        else:
            text.append(
                f"{head}size={size}, class=0, pri={30000 * count + size}, nrcpts={count}, "
                f"msgid=<{identity}@{host[i]}>, proto=ESMTP, relay={relay}"
            )
    done = _delivery_lines(start, names, mail, identities)
    return np.concatenate([mail.times, done[0]]), text + done[1]


def _delivery_lines(start: datetime, names: Names, mail: Mail, identities: Sequence[str]) -> Lines:
    """The ``to=`` lines, and a bounce note for each unknown user."""
    address, name = names.address_text, names.name_text
    work = mail.deliveries
    message = mail.recipient_message[work.recipient]
    domain = mail.recipient_domain[work.recipient]
    boxes = mail.recipient_addresses[work.recipient]
    mail_host = names.mail_host(np.maximum(domain, 0))
    later: list[float] = []
    text: list[str] = []
    notes: list[str] = []
    stamp_list = stamps(start, work.times)
    for k, (stamp, i, d, count, status, delay, mx) in enumerate(
        zip(
            stamp_list,
            message.tolist(),
            domain.tolist(),
            boxes.tolist(),
            work.status.tolist(),
            work.delays.tolist(),
            mail_host.tolist(),
            strict=True,
        )
    ):
        to = ",".join(_mailbox(i + 13 * j + 1, d, names) for j in range(count))
        head = (
            f"{stamp} 1mx sendmail[{1001 + i % 29000}]: {identities[i]}: to={to}, delay={_delay(delay)}, "
            f"xdelay=00:00:{k % 7:02d}, "
        )
        if d < 0:
            if status == UNKNOWN:
                text.append(f"{head}mailer=local, stat=User unknown")
                bounce = f"{identities[i][:3]}{30000 + i % 2000}"
                where = f"1mx sendmail[{1001 + i % 29000}]: {identities[i]}: {bounce}: DSN: User unknown"
                notes.append(f"{stamp} {where}")
                later.append(float(work.times[k]))
            else:
                text.append(f"{head}mailer=local, stat=Sent")
        elif status == DEFERRED:
            reason = "Connection refused by" if k % 3 else "Connection timed out with"
            text.append(
                f"{head}mailer=esmtp, relay={name[mx]}. [{address[d]}], stat=Deferred: {reason} {name[mx]}."
            )
        elif status == SENT:
            text.append(
                f"{head}mailer=esmtp, relay={name[mx]}. [{address[d]}], stat=Sent (Ok: queued as {k:X})"
            )
        else:
            raise AssertionError("only own users are unknown at delivery")
    return np.concatenate([work.times, np.array(later, float)]), text + notes


def qpopper_lines(start: datetime, names: Names, times: Floats, clients: Ints) -> Lines:
    """Lines of qpopper 4.0 with ``-s``: one ``Stats:`` line a session."""
    address, name = names.address_text, names.name_text
    text = [
        f"{stamp} 1mx popper[{2000 + i % 28000}]: Stats: u{client % 977} {i % 4} {(i % 4) * 2310} 0 0 "
        f"{name[host]} {address[client]} [pop_updt.c:296]"
        for i, (stamp, client, host) in enumerate(
            zip(stamps(start, times), clients.tolist(), names.host(clients).tolist(), strict=True)
        )
    ]
    return times, text


def marks(start: datetime, server: str, seconds: float) -> Lines:
    """The line of syslogd, ``-- MARK --`` every twenty minutes: a line that is no event."""
    times = np.arange(0.0, seconds, 1200.0)
    return times, [f"{stamp} {server} -- MARK --" for stamp in stamps(start, times)]


def write(path: Path, parts: Iterable[Lines], end: datetime) -> int:
    """Write one log file, sorted by second, and set its modification time to ``end`` (an aware time).

    A name that ends in ``.gz`` is compressed. Its header carries ``end`` too: it survives where a copy loses
    the modification time, and the same lines give the same bytes.

    Returns
    -------
    int
        Number of lines.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    chosen = list(parts)
    times = np.concatenate([times for times, _ in chosen])
    text = [line for _, lines in chosen for line in lines]
    if len(times) != len(text):
        raise AssertionError(f"{path.name}: {len(times)} times for {len(text)} lines")
    order = np.argsort(np.floor(times), kind="stable")
    content = "".join([text[i] + "\n" for i in order.tolist()]).encode("ascii")
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=9, mtime=int(end.timestamp()))
    path.write_bytes(content)
    moment = end.timestamp()
    os.utime(path, (moment, moment))
    return len(text)
