"""A hardened unit for ``seismolog serve``.

The daemon needs its state folder, its run folder, a few ports above 1024 and, where it follows files or reads the
journal, to be in the groups that may read them. Everything else is taken away: no new privileges, a user that exists
only while it runs, the system read-only, no devices, no other users' processes, only the system calls of a service.

It is of type ``notify``: started is what listens, ``systemctl reload`` (SIGHUP) waits for nothing, and a daemon that
says nothing for ``WatchdogSec`` is restarted. From systemd 253 on the type is ``notify-reload``.
"""

from __future__ import annotations

from seismolog.integrate.machine import Machine

__all__ = ["systemd"]


def systemd(machine: Machine) -> str:
    """The file /etc/systemd/system/seismolog.service."""
    reloads = machine.systemd is not None and machine.systemd >= 253
    kind = "Type=notify-reload" if reloads else "Type=notify\nExecReload=/bin/kill -HUP $MAINPID"
    ports = [int(a.rpartition(":")[2]) for a in (machine.relp, machine.tcp, machine.udp) if a]
    low = any(p < 1024 for p in ports)
    capability = "CAP_NET_BIND_SERVICE" if low else ""
    groups = "adm" + (" systemd-journal" if machine.journal else "")
    home = "read-only" if any(f.startswith(("/home", "/root")) for f in machine.folders) else "yes"
    home = "read-only" if machine.program.startswith(("/home", "/root")) else home
    extra = f"AmbientCapabilities={capability}\n" if capability else ""
    return f"""\
# seismolog as a service.
#
# Put it into /etc/systemd/system/seismolog.service, then:
#   systemd-analyze verify /etc/systemd/system/seismolog.service
#   systemctl daemon-reload && systemctl enable --now seismolog
# Made by `seismolog integrate systemd`.

[Unit]
Description=Counts DNS queries and mail from the log lines of their servers
After=network.target
# rsyslog queues while we are away, and goes on when we are here.
Before=rsyslog.service syslog-ng.service
# What ends it may last (a full disk): it is started again however often that takes.
StartLimitIntervalSec=0

[Service]
{kind}
ExecStart={machine.program} serve --config {machine.config}
Restart=on-failure
RestartSec=2
WatchdogSec=60
# Replaying the write-ahead log after a crash, and committing what closed at the end.
TimeoutStartSec=180
TimeoutStopSec=90

DynamicUser=yes
# For the log files and the journal that it may be told to read.
SupplementaryGroups={groups}
StateDirectory=seismolog
StateDirectoryMode=0750
RuntimeDirectory=seismolog
ConfigurationDirectory=seismolog
UMask=0027

MemoryHigh=512M
MemoryMax=1G
TasksMax=128
LimitNOFILE=65536

NoNewPrivileges=yes
CapabilityBoundingSet={capability}
{extra}ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# The counting thread gives way to others ([live] nice).
SystemCallFilter=setpriority
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
