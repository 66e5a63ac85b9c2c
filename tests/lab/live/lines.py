"""A few minutes of a small site in log lines: DNS queries, Postfix, sendmail, Dovecot, qpopper and a packet filter.

Times end a little before now, since the daemon takes times of the future for clocks that run ahead. Each line is
(time, host, program, message), so that a test can write it in the form that its path needs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Line:
    """One line before it has a form."""

    time: datetime
    host: str
    program: str
    message: str

    def rfc5424(self, uuid: str | None = None) -> str:
        """As our rsyslog template sends it."""
        name, _, pid = self.program.rstrip("]").partition("[")
        data = f'[seismolog@32473 id="{uuid}"]' if uuid else "-"
        return f"<30>1 {self._stamp()} {self.host} {name} {pid or '-'} - {data} {self.message}"

    def rfc3164(self) -> str:
        """As rsyslog forwards with RSYSLOG_ForwardFormat: ISO time, host, tag."""
        return f"<30>{self._stamp()} {self.host} {self.program}: {self.message}"

    def in_file(self) -> str:
        """As rsyslog writes a file with RSYSLOG_FileFormat."""
        return f"{self._stamp()} {self.host} {self.program}: {self.message}"

    def _stamp(self) -> str:
        return self.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")


def site(seed: int, minutes: int = 5, lines: int = 3000, end: datetime | None = None) -> list[Line]:
    """Lines in order of time; the last whole minute ends half a minute or more before `end` (now)."""
    dice = random.Random(seed)
    end = (end or datetime.now(UTC)).replace(second=0, microsecond=0) - timedelta(minutes=1)
    start = end - timedelta(minutes=minutes)
    made = []
    for number in range(lines):
        time = start + timedelta(seconds=dice.random() * 60 * minutes)
        client = f"10.{dice.randrange(3)}.{dice.randrange(4)}.{int(dice.paretovariate(1.0)) % 250 + 1}"
        outside = f"198.51.100.{dice.randrange(1, 200)}"
        queue = f"{number:010X}"
        made.append(dice.choices(_MAKERS, weights=_WEIGHTS)[0](dice, time, client, outside, queue))
    made.sort(key=lambda line: line.time)
    return made


def _query(dice: random.Random, time: datetime, client: str, outside: str, queue: str) -> Line:
    who = dice.choice((client, client, outside, f"2001:db8::{dice.randrange(1, 40):x}"))
    kind = dice.choice(("A", "A", "AAAA", "MX", "TXT", "HTTPS", "PTR"))
    name = f"h{dice.randrange(60)}.d{dice.randrange(12)}.example"
    if kind == "PTR":
        name = f"{dice.randrange(256)}.{dice.randrange(4)}.0.10.in-addr.arpa"
    host, program = dice.choice((("ns1", "named[812]"), ("ns2", "named[99]")))
    return Line(
        time,
        host,
        program,
        f"client @0x7f56{dice.randrange(1 << 20):05x} {who}#{dice.randrange(1024, 65000)} ({name}): query: {name} IN {kind}"
        " +E(0) (10.0.0.53)",
    )


def _accepted(dice: random.Random, time: datetime, client: str, outside: str, queue: str) -> Line:
    sasl = f", sasl_method=PLAIN, sasl_username=user{dice.randrange(9)}" if dice.random() < 0.3 else ""
    return Line(
        time, "mx1", f"postfix/smtpd[{dice.randrange(400, 440)}]", f"{queue}: client=unknown[{client}]{sasl}"
    )


def _sent(dice: random.Random, time: datetime, client: str, outside: str, queue: str) -> Line:
    status = dice.choice(
        ("sent (250 2.0.0 Ok)", "sent (250 ok)", "deferred (connect timed out)", "bounced (no such user)")
    )
    return Line(
        time,
        "mx1",
        f"postfix/smtp[{dice.randrange(500, 540)}]",
        f"{queue}: to=<u{dice.randrange(99)}@d{dice.randrange(9)}.example>, relay=mx.example[{outside}]:25, delay=1.2, "
        f"delays=0.1/0/0.5/0.6, dsn=2.0.0, status={status}",
    )


def _rejected(dice: random.Random, time: datetime, client: str, outside: str, queue: str) -> Line:
    return Line(
        time,
        "mx1",
        f"postfix/smtpd[{dice.randrange(400, 440)}]",
        f"NOQUEUE: reject: RCPT from unknown[{outside}]: 554 5.7.1 <x@y.example>: Relay access denied; "
        "from=<a@b.example> to=<x@y.example> proto=ESMTP helo=<pc>",
    )


def _sendmail(dice: random.Random, time: datetime, client: str, outside: str, queue: str) -> Line:
    return Line(
        time,
        "mx2",
        f"sendmail[{dice.randrange(700, 900)}]",
        f"g6F{queue[-8:]}: from=<u{dice.randrange(50)}@site.example>, size=4711, class=0, nrcpts={dice.randrange(1, 4)}, "
        f"msgid=<{queue}@site.example>, proto=ESMTP, daemon=MTA, relay=pc [{client}]",
    )


def _dovecot(dice: random.Random, time: datetime, client: str, outside: str, queue: str) -> Line:
    user = f"user{dice.randrange(9)}"
    who = dice.choice((client, outside))
    if dice.random() < 0.2:
        text = f"Disconnected (auth failed, 1 attempts in 2 secs): user=<{user}>, method=PLAIN, rip={who}, lip=10.0.0.25"
    else:
        text = f"Login: user=<{user}>, method=PLAIN, rip={who}, lip=10.0.0.25, mpid={dice.randrange(1000, 9999)}, TLS"
    return Line(time, "mx1", "dovecot", f"{dice.choice(('imap', 'pop3'))}-login: {text}")


def _dropped(dice: random.Random, time: datetime, client: str, outside: str, queue: str) -> Line:
    return Line(
        time,
        "gw",
        "kernel",
        f"[12.3] DROP IN=eth0 OUT= MAC=00 SRC={outside} DST=10.0.{dice.randrange(4)}.{dice.randrange(256)} LEN=404 TOS=0x00 "
        f"PREC=0x00 TTL=117 ID=1 PROTO=UDP SPT=1234 DPT={dice.choice((1434, 445, 23))} LEN=384",
    )


_MAKERS = (_query, _accepted, _sent, _rejected, _sendmail, _dovecot, _dropped)
_WEIGHTS = (60, 8, 10, 4, 5, 8, 5)
