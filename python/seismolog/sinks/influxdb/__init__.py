"""Series in InfluxDB: what the store has, written as absolute values, so that writing twice changes nothing.

- :mod:`~seismolog.sinks.influxdb.measurements`  the measurements, each tag and field declared once; rendering
- :mod:`~seismolog.sinks.influxdb.points`        rows of the store become points, and roll-ups of them
- :mod:`~seismolog.sinks.influxdb.members`       which clients have series of their own in an hour
- :mod:`~seismolog.sinks.influxdb.ledger`        what one target was sent: keys by hour, members, what is still to do
- :mod:`~seismolog.sinks.influxdb.current`       an hour as it is now: the store, and what it has not committed yet
- :mod:`~seismolog.sinks.influxdb.hours`         writes bins: points, roll-ups, zeros for what has vanished
- :mod:`~seismolog.sinks.influxdb.changes`       which hours the store has changed since they were written
- :mod:`~seismolog.sinks.influxdb.findings`      models, fits and incidents
- :mod:`~seismolog.sinks.influxdb.pipeline`      the daemon's own numbers
- :mod:`~seismolog.sinks.influxdb.target`        where to, with which token
- :mod:`~seismolog.sinks.influxdb.writer`        requests, retries, what the server refuses
- :mod:`~seismolog.sinks.influxdb.live`          the daemon's thread
- :mod:`~seismolog.sinks.influxdb.backfill`      months out of the store
- :mod:`~seismolog.sinks.influxdb.setup`         the bucket

docs/influxdb.md says what is promised and how it was measured.

Limits: one exporter for a target and state folder at a time (a lock); two machines that count different lines write to
two buckets.
"""
