"""What the exporter writes into InfluxDB, as the dashboards and alert rules name it.

One place for every measurement, tag and field that a query may speak of, so that a query cannot drift from the
exporter unseen: ``tests/unit/test_grafana_dashboards.py`` holds each query to these lists, and the service tests run
each query against a real InfluxDB that was filled by them.

Limits: names only; who writes them and when is the exporter's matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from seismolog.store.schema import QTYPES

__all__ = ["BINS", "MEASUREMENTS", "OTHER", "Measurement"]

#: The client that stands for all clients without a series of their own.
OTHER = "other"

#: Length of a bin -> the measurement of all traffic in bins of that length. That of the clients has ``client_`` before it.
BINS = {"1m": "traffic", "10m": "traffic_10m", "1h": "traffic_1h"}


@dataclass(frozen=True)
class Measurement:
    """A measurement: its tags, and its fields with the type that InfluxDB gives them."""

    name: str
    tags: tuple[str, ...]
    fields: dict[str, str]


_TRAFFIC = {
    "count": "integer",
    "recipients": "integer",
    "distinct_clients": "integer",
    "client_entropy": "float",
    "distinct_names": "integer",
    "name_entropy": "float",
    "top_name_share": "float",
}
_CLIENT = {"count": "integer", **dict.fromkeys(QTYPES, "integer"), "distinct_names": "integer"}

#: The numbers of the daemon and its exporter; counters grow from its start, gauges (in the second part) do not.
_COUNTERS = (
    "lines",
    "matched",
    "unmatched",
    "late_lines",
    "shed_lines",
    "influxdb_points",
    "influxdb_writes",
    "influxdb_errors",
    "influxdb_dropped_series",
)
_GAUGES = ("queue_fill", "wal_bytes", "lag_seconds", "influxdb_lag_seconds", "store_lag_seconds")

MEASUREMENTS: dict[str, Measurement] = {
    m.name: m
    for m in (
        *(Measurement(name, ("server", "kind", "query_type", "side"), _TRAFFIC) for name in BINS.values()),
        *(Measurement(f"client_{name}", ("server", "kind", "client"), _CLIENT) for name in BINS.values()),
        Measurement(
            "model",
            ("model",),
            dict.fromkeys(
                ("observed", "calculated", "residual", "standardized", "cache_efficiency"), "float"
            ),
        ),
        Measurement(
            "model_fit",
            ("model", "term"),
            {
                **dict.fromkeys(("estimate", "std_error", "low", "high", "paper"), "float"),
                **dict.fromkeys(("r_squared", "dispersion", "domains_not_received"), "float"),
                **dict.fromkeys(("observations", "left_out"), "integer"),
            },
        ),
        Measurement(
            "incident",
            ("detector", "cause", "severity"),
            {
                **dict.fromkeys(("id", "subject", "subjects", "server", "explanation", "evidence"), "string"),
                **dict.fromkeys(("start", "end", "open"), "integer"),
                **dict.fromkeys(("score", "threshold"), "float"),
            },
        ),
        Measurement("pipeline", ("instance",), dict.fromkeys((*_COUNTERS, *_GAUGES), "float")),
        Measurement("unmatched_shape", ("instance", "hash"), {"shape": "string", "count": "integer"}),
    )
}
