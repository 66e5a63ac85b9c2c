"""Where series and incidents go besides the report: InfluxDB and Grafana.

A sink reads the store (or the closed bins on their way into it) and knows no detector and no dialect. Nothing
flows back.
"""
