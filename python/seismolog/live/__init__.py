"""Live: the same counts from lines as they happen.

- :mod:`~seismolog.live.serve`      the daemon: start, loop, reload, drain
- :mod:`~seismolog.live.pipe`       the same as a child of rsyslog or syslog-ng
- :mod:`~seismolog.live.engine`     what is asked of the Rust engine
- :mod:`~seismolog.live.settings`   the configuration as the engine takes it
- :mod:`~seismolog.live.closed`     closed bins as frames, and who has read how far
- :mod:`~seismolog.live.commit`     closed bins into the store
- :mod:`~seismolog.live.sinks`      what else is done with closed bins
- :mod:`~seismolog.live.metrics`    /metrics, /healthz, /status.json
- :mod:`~seismolog.live.catalogue`  every metric with its sentence
- :mod:`~seismolog.live.notify`     what systemd is told
- :mod:`~seismolog.live.messages`   the daemon's own log
- :mod:`~seismolog.live.top`        the terminal view
- :mod:`~seismolog.live.doctor`     what is wrong with this machine, and the mend

docs/live.md says what is promised on each path.
"""
