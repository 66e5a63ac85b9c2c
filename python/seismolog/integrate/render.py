"""One file of each kind, and the list of those in ``deploy/``."""

from __future__ import annotations

from seismolog.errors import UsageError
from seismolog.integrate import rsyslog as _rsyslog
from seismolog.integrate import syslog_ng as _syslog_ng
from seismolog.integrate import systemd as _systemd
from seismolog.integrate.machine import Machine

__all__ = ["DEPLOYED", "TARGETS", "render"]

#: Target -> the ways to reach seismolog, the default first.
TARGETS: dict[str, tuple[str, ...]] = {
    "rsyslog": _rsyslog.VIAS,
    "syslog-ng": _syslog_ng.VIAS,
    "systemd": (),
}

_PLAIN = Machine(unix="/run/seismolog/log.sock")

#: File below deploy/ -> (target, via).
DEPLOYED: dict[str, tuple[str, str | None]] = {
    "rsyslog/10-seismolog-relp.conf": ("rsyslog", "relp"),
    "rsyslog/10-seismolog-tcp.conf": ("rsyslog", "tcp"),
    "rsyslog/10-seismolog-omprog.conf": ("rsyslog", "omprog"),
    "syslog-ng/seismolog-tcp.conf": ("syslog-ng", "tcp"),
    "syslog-ng/seismolog-unix.conf": ("syslog-ng", "unix"),
    "syslog-ng/seismolog-program.conf": ("syslog-ng", "program"),
    "systemd/seismolog.service": ("systemd", None),
}


def render(target: str, machine: Machine = _PLAIN, via: str | None = None, queue: str | None = None) -> str:
    """The file for a target.

    Parameters
    ----------
    target
        One of :data:`TARGETS`.
    machine
        What it is made for; a plain machine by default.
    via
        How lines reach seismolog; the target's first way by default.
    queue
        Where messages wait for seismolog, one of :data:`~seismolog.integrate.rsyslog.QUEUES`; rsyslog only, in
        memory by default.

    Raises
    ------
    UsageError
        The target has no such way, or the configuration no such listener.
    """
    if target not in TARGETS:
        raise UsageError(f"nothing is known of {target!r}", expected=f"one of {', '.join(TARGETS)}")
    if queue is not None and target != "rsyslog":
        raise UsageError(f"--queue has no meaning for {target}", mend="leave it out")
    if target == "systemd":
        if via is not None:
            raise UsageError("--via has no meaning for systemd", mend="leave it out")
        return _systemd.systemd(machine)
    way = via or TARGETS[target][0]
    if target == "rsyslog":
        return _rsyslog.rsyslog(machine, way, queue or _rsyslog.QUEUES[0])
    return _syslog_ng.syslog_ng(machine, way)
