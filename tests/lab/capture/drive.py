"""The clients: DNS queries, mails, POP3 and IMAP sessions from loopback addresses, counted as they are made.

Each function takes the `Tally` and adds what it did to it, at the time it did it. Nothing here reads a log.
"""

from __future__ import annotations

import smtplib
import socket
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import dns.edns
import dns.message
import dns.query
import dns.rdatatype

from .configs import ACCOUNTS, DOMAIN, Lab

ALLOWED_CLIENTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14", "127.0.0.20")
DENIED_CLIENTS = ("127.0.0.50", "127.0.0.51")
RELAY_CLIENTS = ("127.0.0.20", "127.0.0.21", "127.0.0.22")
OUTSIDE_CLIENT = "127.0.0.66"
# From where programs speak that have no choice of it; the probes of whether a server listens as well.
LOCAL_CLIENT = "127.0.0.1"
READERS = ("127.0.0.31", "127.0.0.32", "127.0.0.33", "127.0.0.34")

QUESTIONS = (
    (f"www.{DOMAIN}", "A"),
    (f"www.{DOMAIN}", "AAAA"),
    (f"mail.{DOMAIN}", "A"),
    (DOMAIN, "MX"),
    (DOMAIN, "TXT"),
    (DOMAIN, "NS"),
    (f"_imap._tcp.{DOMAIN}", "SRV"),
    ("2.0.0.127.in-addr.arpa", "PTR"),
    ("3.0.0.127.in-addr.arpa", "PTR"),
    (f"nosuch.{DOMAIN}", "A"),
    (f"WwW.{DOMAIN.upper()}", "HTTPS"),
    (DOMAIN, "SOA"),
)
NAMED_TYPES = {"A", "AAAA", "MX", "PTR", "TXT", "NS", "SRV", "HTTPS", "ANY"}


@dataclass
class Tally:
    """What was driven: events by (kind, client) with "" for none, and DNS queries by type."""

    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    query_types: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, client: str = "", count: int = 1) -> None:
        """Count events of one kind."""
        if count:
            self.events[kind, client] += count

    def kind(self, kind: str) -> int:
        """Sum of one kind over all clients."""
        return sum(count for (name, _), count in self.events.items() if name == kind)

    def as_json(self) -> dict[str, Any]:
        """The tally in a stable order: kinds, query types, and clients with their kinds."""
        kinds: dict[str, int] = {}
        clients: dict[str, dict[str, int]] = {}
        for (kind, client), count in sorted(self.events.items()):
            kinds[kind] = kinds.get(kind, 0) + count
            if client:
                clients.setdefault(client, {})[kind] = count
        return {"kinds": kinds, "query_types": dict(sorted(self.query_types.items())), "clients": clients}


def _count_query(tally: Tally, client: str, rdtype: str) -> None:
    tally.add("dns_query", client)
    tally.query_types[rdtype.lower() if rdtype in NAMED_TYPES else "other"] += 1


def dns_queries(lab: Lab, tally: Tally, rounds: int) -> None:
    """Ask every question from every client `rounds` times: UDP, TCP, EDNS, DNSSEC and cookies in turn."""
    turn = 0
    for _ in range(rounds):
        for client in ALLOWED_CLIENTS:
            for name, rdtype in QUESTIONS:
                query = dns.message.make_query(
                    name, rdtype, use_edns=turn % 3 != 0, want_dnssec=turn % 6 == 1, payload=1232
                )
                if turn % 5 == 2:
                    query.use_edns(
                        0, 0, 1232, options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"8 octets")]
                    )
                ask = dns.query.tcp if turn % 11 == 4 else dns.query.udp
                ask(query, "127.0.0.1", port=lab.dns_port, source=client, timeout=5)
                _count_query(tally, client, rdtype)
                turn += 1
    for name, rdtype in QUESTIONS[:4]:
        dns.query.udp(dns.message.make_query(name, rdtype), "::1", port=lab.dns_port, timeout=5)
        _count_query(tally, "::1", rdtype)
    for rdtype in ("A", "ANY"):
        _dig(lab, ALLOWED_CLIENTS[0], f"www.{DOMAIN}", rdtype)
        _count_query(tally, ALLOWED_CLIENTS[0], rdtype)


def _dig(lab: Lab, client: str, name: str, rdtype: str) -> None:
    subprocess.run(
        [
            "dig",
            "@127.0.0.1",
            "-p",
            str(lab.dns_port),
            "-b",
            client,
            "+tries=1",
            "+time=5",
            "+notcp",
            name,
            rdtype,
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )


def denied_queries(lab: Lab, tally: Tally, rounds: int) -> None:
    """Ask from addresses that may not (refused), and for a name the server has no business with."""
    for _ in range(rounds):
        for client in DENIED_CLIENTS:
            for name, rdtype in QUESTIONS[:3]:
                dns.query.udp(
                    dns.message.make_query(name, rdtype),
                    "127.0.0.1",
                    port=lab.dns_port,
                    source=client,
                    timeout=5,
                )
                _count_query(tally, client, rdtype)
                tally.add("dns_denied", client)


def _send(lab: Lab, client: str, sender: str, recipients: list[str]) -> dict[str, tuple[int, bytes]]:
    body = f"From: <{sender}>\r\nTo: {', '.join(recipients)}\r\nSubject: a test\r\n\r\nHello.\r\n"
    with smtplib.SMTP(
        "127.0.0.1", lab.smtp_port, local_hostname="client.example", source_address=(client, 0), timeout=30
    ) as session:
        return session.sendmail(sender, recipients, body)


def mails(lab: Lab, tally: Tally) -> None:
    """About a hundred mails: delivered to mailboxes and relayed, put off, bounced, refused, from this host.

    What each one causes: a delivered recipient is one `smtp_sent`; busy.example and down.example put each
    recipient off; gone.example refuses it: the mail bounces and a notice is delivered to the sender.
    """
    names = [name for name, _ in ACCOUNTS]

    def accepted(client: str, sender: str, recipients: list[str]) -> None:
        refused = _send(lab, client, sender, recipients)
        tally.add("smtp_connection", client)
        tally.add("smtp_accepted", client)
        tally.add("smtp_rejected", client, len(refused))

    for number in range(36):
        client = RELAY_CLIENTS[number % len(RELAY_CLIENTS)]
        accepted(client, f"user{number}@good.example", [f"{names[number % len(names)]}@{DOMAIN}"])
        tally.add("smtp_sent")
    for number in range(24):
        client = RELAY_CLIENTS[number % len(RELAY_CLIENTS)]
        recipients = [f"friend{index}@good.example" for index in range(1 + number % 3)]
        accepted(client, f"{names[number % len(names)]}@{DOMAIN}", recipients)
        tally.add("smtp_sent", count=len(recipients))
    for number in range(10):
        accepted(RELAY_CLIENTS[1], f"alice@{DOMAIN}", [f"late{number}@busy.example"])
        tally.add("smtp_deferred")
    for number in range(3):
        accepted(RELAY_CLIENTS[2], f"bob@{DOMAIN}", [f"late{number}@down.example"])
        tally.add("smtp_deferred")
    for number in range(6):
        accepted(RELAY_CLIENTS[0], "sender@good.example", [f"nobody{number}@gone.example"])
        tally.add("smtp_bounced")
        tally.add("smtp_sent")  # the notice to the sender
    # One recipient is unknown, the other is not: refused once, accepted once, delivered once.
    for _ in range(4):
        accepted(OUTSIDE_CLIENT, "spam@good.example", [f"unknown@{DOMAIN}", f"carol@{DOMAIN}"])
        tally.add("smtp_sent")
    # An open relay is looked for, and a name that looks like a log line is tried.
    for recipient in ["victim@elsewhere.example", '"x status=sent (y"@elsewhere.example'] * 4:
        try:
            _send(lab, OUTSIDE_CLIENT, "spam@good.example", [recipient])
        except smtplib.SMTPRecipientsRefused:
            tally.add("smtp_connection", OUTSIDE_CLIENT)
            tally.add("smtp_rejected", OUTSIDE_CLIENT)
        else:
            raise RuntimeError("the mail server relayed for an address outside")


def load(lab: Lab, tally: Tally, smtp_source: str, count: int) -> None:
    """Mails to our own mailboxes by Postfix's own load generator: a connection each, four at a time."""
    subprocess.run(
        [
            *(smtp_source, "-s", "4", "-m", str(count), "-l", "200"),
            *("-f", "load@good.example", "-t", f"alice@{DOMAIN}", f"127.0.0.1:{lab.smtp_port}"),
        ],
        check=True,
        timeout=60,
    )
    tally.add("smtp_connection", LOCAL_CLIENT, count)
    tally.add("smtp_accepted", LOCAL_CLIENT, count)
    tally.add("smtp_sent", count=count)


def local_mails(lab: Lab, tally: Tally, sendmail: str, count: int) -> None:
    """Submit mails through the sendmail command: accepted without a client address."""
    for number in range(count):
        subprocess.run(
            [sendmail, "-C", str(lab.root / "postfix/conf"), "-f", f"cron@{DOMAIN}", f"bob@{DOMAIN}"],
            input=f"Subject: job {number}\n\ndone\n".encode(),
            check=True,
            timeout=30,
        )
        tally.add("smtp_accepted")
        tally.add("smtp_sent")


class _Line:
    """A line dialogue over TCP from a chosen source address."""

    def __init__(self, port: int, client: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(client, 0))
        self.file = self.socket.makefile("rb")
        self.file.readline()

    def say(self, text: str) -> bytes:
        """Send a line and return the answer's first line."""
        self.socket.sendall(text.encode() + b"\r\n")
        return self.file.readline()

    def close(self) -> None:
        self.file.read()
        self.file.close()
        self.socket.close()


def pop_sessions(lab: Lab, tally: Tally, rounds: int) -> None:
    """POP3: each reader logs in, asks for the state and leaves; two wrong passwords a round."""
    for number in range(rounds):
        for index, client in enumerate(READERS):
            name, password = ACCOUNTS[(number + index) % len(ACCOUNTS)]
            line = _Line(lab.pop_port, client)
            line.say(f"USER {name}")
            if not line.say(f"PASS {password}").startswith(b"+OK"):
                raise RuntimeError("POP3 login failed")
            line.say("STAT")
            line.say("QUIT")
            line.close()
            tally.add("pop_access", client)
        for client in READERS[:2]:
            line = _Line(lab.pop_port, client)
            line.say("USER alice")
            if line.say("PASS wrong").startswith(b"+OK"):
                raise RuntimeError("POP3 let a wrong password in")
            line.say("QUIT")
            line.close()
            tally.add("auth_failure", client)


def imap_sessions(lab: Lab, tally: Tally, rounds: int) -> None:
    """IMAP: each reader logs in and out; one wrong password a round."""
    for number in range(rounds):
        for index, client in enumerate(READERS[1:]):
            name, password = ACCOUNTS[(number + index) % len(ACCOUNTS)]
            line = _Line(lab.imap_port, client)
            answer = line.say(f"a LOGIN {name} {password}")
            while answer.startswith(b"*"):
                answer = line.file.readline()
            if not answer.startswith(b"a OK"):
                raise RuntimeError(f"IMAP login failed: {answer!r}")
            line.say("b LOGOUT")
            line.close()
            tally.add("imap_access", client)
        line = _Line(lab.imap_port, READERS[3])
        if not line.say("a LOGIN mallory guess").startswith(b"a NO"):
            raise RuntimeError("IMAP let an unknown user in")
        line.say("b LOGOUT")
        line.close()
        tally.add("auth_failure", READERS[3])
