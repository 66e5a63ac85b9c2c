"""Files that connect seismolog to what a machine already runs: rsyslog, syslog-ng, systemd.

:func:`render` gives one file as text, made for a :class:`~seismolog.integrate.machine.Machine`: its listeners from
the configuration, the path of the program, what is installed. The head of each file says where it goes and how it
is checked. The folder ``deploy/`` holds the same files for a plain machine; a test compares them.

- :mod:`~seismolog.integrate.machine`    what the files depend on
- :mod:`~seismolog.integrate.programs`   which programs' lines are forwarded
- :mod:`~seismolog.integrate.rsyslog`, :mod:`~seismolog.integrate.syslog_ng`, :mod:`~seismolog.integrate.systemd`
"""

from __future__ import annotations

from seismolog.integrate.machine import Machine
from seismolog.integrate.render import DEPLOYED, TARGETS, render

__all__ = ["DEPLOYED", "TARGETS", "Machine", "render"]
