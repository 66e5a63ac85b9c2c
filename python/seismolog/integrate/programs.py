"""Whose lines are forwarded: the programs that a dialect knows, and packets that the kernel logs.

Everything else would be counted as unmatched, and would cost a queue its room. A test holds this list against
the dialects of the core.
"""

from __future__ import annotations

__all__ = ["EXACT", "PREFIXES", "SAMPLES"]

#: Program names as rsyslog cuts them: up to a slash, so Postfix's daemons are `postfix`.
EXACT = (
    "named",
    "bind",
    "bind9",
    "isc-bind-named",
    "iplog",
    "MTA",
    "MSP",
    "newaliases",
    "pop3-login",
    "imap-login",
    "popper",
    "qpopper",
    "qpop",
    "spopper",
    "popper.ssl",
    "in.popper",
    "in.qpopper",
    "ulogd",
    "ulogd2",
    "shorewall",
)
#: Beginnings of program names: instances (`postfix-out/smtpd`), services (`dovecot-lda`, `sm-mta`).
PREFIXES = ("postfix", "dovecot", "sendmail", "sm-")

#: A line of each kind of program, for the tests: (program, message).
SAMPLES = (
    ("named", "client @0x7f 192.0.2.1#53 (www.example.org): query: www.example.org IN A +E(0) (192.0.2.53)"),
    ("postfix/smtpd", "4AB2C3D4E5: client=mail.example.org[192.0.2.1]"),
    ("postfix-out/smtpd", "4AB2C3D4E5: client=mail.example.org[192.0.2.1]"),
    (
        "dovecot",
        "pop3-login: Login: user=<ann>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, mpid=7, session=<x>",
    ),
    (
        "sm-mta",
        "g6F9012345: from=<a@example.org>, size=100, class=0, nrcpts=1, msgid=<1@example.org>, proto=SMTP, "
        "daemon=MTA, relay=mail.example.org [192.0.2.1]",
    ),
    ("in.qpopper", "Stats: ann 0 0 0 0 host.example.org 192.0.2.1"),
    (
        "kernel",
        "IN=eth0 OUT= MAC=00:00 SRC=192.0.2.1 DST=192.0.2.9 LEN=40 TTL=5 PROTO=TCP SPT=1 DPT=22 SYN",
    ),
)
