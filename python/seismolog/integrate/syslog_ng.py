"""What syslog-ng needs to forward to seismolog.

The destination has a disk buffer of its own, so that seismolog may be away for as long as that lasts. syslog-ng
gets no confirmation on any of these paths: what was under way when seismolog was killed is lost. Use rsyslog with
RELP where that matters.

Limits: the name of the source is Debian's (``s_src``); elsewhere change it in the last line.
"""

from __future__ import annotations

import re

from seismolog.errors import UsageError
from seismolog.integrate.machine import Machine, host_and_port
from seismolog.integrate.programs import EXACT, PREFIXES

__all__ = ["VIAS", "syslog_ng"]

VIAS = ("tcp", "unix", "program")

_BUFFER = """\
        disk-buffer(reliable(yes) mem-buf-size(16777216) disk-buf-size(536870912) dir("/var/lib/syslog-ng"))"""


def syslog_ng(machine: Machine, via: str = "tcp") -> str:
    """The file for /etc/syslog-ng/conf.d.

    Raises
    ------
    UsageError
        `via` is none of :data:`VIAS`, or ``serve`` does not listen there.
    """
    if via not in VIAS:
        raise UsageError(
            f"--via: syslog-ng cannot reach seismolog by {via!r}", expected=f"one of {', '.join(VIAS)}"
        )
    pattern = "^(" + "|".join(re.escape(n) for n in EXACT) + ")$|^(" + "|".join(PREFIXES) + ")"
    return f"""\
# syslog-ng -> seismolog {_HEAD[via]}
#
# Put it into /etc/syslog-ng/conf.d/seismolog.conf, then:
#   syslog-ng -s && systemctl reload syslog-ng
# Made by `seismolog integrate syslog-ng --via {via}`.

# Only the programs that seismolog counts.
filter f_seismolog {{
    program('{pattern}')
    or (program("kernel" type(string)) and message(" SRC=" type(string) flags(substring)));
}};

destination d_seismolog {{
{_destination(machine, via)}
}};

log {{ source(s_src); filter(f_seismolog); destination(d_seismolog); }};
"""


_HEAD = {
    "tcp": "over TCP (RFC 5424, octet counts).",
    "unix": "over a unix socket.",
    "program": "as a child: `seismolog pipe`, started and restarted by syslog-ng itself.",
}

#: As rsyslog's traditional lines, with a full time.
_TEMPLATE = """template("<${PRI}>${ISODATE} ${HOST} ${MSGHDR}${MESSAGE}\\n")"""


def _destination(machine: Machine, via: str) -> str:
    if via == "program":
        command = f"{machine.program} pipe --config {machine.config}"
        return f"""\
    program("{command}"
        {_TEMPLATE}
        keep-alive(yes)
{_BUFFER}
    );"""
    listener = machine.tcp if via == "tcp" else machine.unix
    if listener is None:
        example = '"127.0.0.1:5514"' if via == "tcp" else '"/run/seismolog/log.sock"'
        raise UsageError(
            f"serve does not listen for {via}",
            key=f"listen.{via}",
            mend=f"set [listen] {via} = {example}, or choose another --via",
        )
    if via == "unix":
        return f"""\
    unix-stream("{listener}"
        {_TEMPLATE}
{_BUFFER}
    );"""
    host, port = host_and_port(listener)
    return f"""\
    syslog("{host}" port({port}) transport("tcp"){" ip-protocol(6)" if ":" in host else ""}
{_BUFFER}
    );"""
