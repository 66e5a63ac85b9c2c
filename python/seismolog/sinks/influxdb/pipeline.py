"""The daemon's own numbers as points: measurements ``pipeline`` and ``unmatched_shape``.

The numbers are those of /metrics; :data:`FIELDS` says which of them, added up over their labels, become which field.
They are of the moment and not of the store: while InfluxDB is away the newest are kept, a bounded number, and the
oldest of them are given up and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import polars as pl

from seismolog.sinks.influxdb.measurements import Measurement, render

__all__ = ["FIELDS", "PIPELINE", "UNMATCHED_SHAPE", "Pipeline", "pipeline_fields"]

#: Field to the metrics that it is the sum of.
FIELDS: dict[str, tuple[str, ...]] = {
    "lines": ("seismolog_lines_total",),
    "matched": ("seismolog_matched_total",),
    "unmatched": ("seismolog_unmatched_total",),
    "late_lines": ("seismolog_late_lines_total",),
    "shed_lines": ("seismolog_shed_total",),
    "queue_fill": ("seismolog_queue_fill",),
    "wal_bytes": ("seismolog_wal_bytes",),
    "lag_seconds": ("seismolog_lag_seconds",),
    "store_lag_seconds": ("seismolog_store_lag_seconds",),
    "influxdb_points": ("seismolog_influxdb_points_total",),
    "influxdb_writes": ("seismolog_influxdb_requests_total",),
    "influxdb_errors": ("seismolog_influxdb_errors_total",),
    "influxdb_dropped_series": ("seismolog_influxdb_refused_series_total",),
    "influxdb_lag_seconds": ("seismolog_influxdb_lag_seconds",),
}

PIPELINE = Measurement("pipeline", ("instance",), dict.fromkeys(FIELDS, pl.Float64()), time="at")
UNMATCHED_SHAPE = Measurement(
    "unmatched_shape", ("instance", "hash"), {"shape": pl.String(), "count": pl.Int64()}, time="at"
)


def pipeline_fields(metrics: Mapping[str, float]) -> dict[str, float]:
    """The fields that these metrics give; one that none of its metrics are there for is left out."""
    sums: dict[str, float] = {}
    for name, value in metrics.items():
        family = name.partition("{")[0]
        sums[family] = sums.get(family, 0.0) + float(value)
    return {
        field: sum(sums[m] for m in families if m in sums)
        for field, families in FIELDS.items()
        if any(m in sums for m in families)
    }


class Pipeline:
    """Numbers on their way to the target.

    Parameters
    ----------
    instance
        The tag.
    most
        Points that are kept while the target is away.
    """

    def __init__(self, instance: str, most: int = 8640) -> None:
        self._instance = instance
        self._waiting: deque[tuple[datetime, dict[str, float]]] = deque(maxlen=most)
        self.given_up = 0

    def take(self, metrics: Mapping[str, float], now: datetime | None = None) -> None:
        """Take the numbers of this moment."""
        if len(self._waiting) == self._waiting.maxlen:
            self.given_up += 1
        self._waiting.append((now or datetime.now(UTC), pipeline_fields(metrics)))

    def texts(self, lines: int) -> list[bytes]:
        """What waits, as line protocol; :meth:`sent` when it was sent."""
        rows = [{"at": at, "instance": self._instance, **fields} for at, fields in self._waiting]
        schema = {"at": pl.Datetime("us", "UTC"), "instance": pl.String(), **PIPELINE.fields}
        return render(pl.DataFrame(rows, schema=schema, orient="row"), PIPELINE, lines)

    def sent(self) -> None:
        """What waited is sent."""
        self._waiting.clear()

    def shapes(self, shapes: Iterable[tuple[str, int]], now: datetime | None = None) -> list[bytes]:
        """Shapes of lines that no dialect knows, with how often each was seen since the start."""
        import hashlib

        at = now or datetime.now(UTC)
        rows = [
            {
                "at": at,
                "instance": self._instance,
                "hash": hashlib.sha256(shape.encode("utf-8", "replace")).hexdigest()[:12],
                "shape": shape[:4000],
                "count": count,
            }
            for shape, count in shapes
        ]
        schema = {
            "at": pl.Datetime("us", "UTC"),
            **dict.fromkeys(UNMATCHED_SHAPE.tags, pl.String()),
            **UNMATCHED_SHAPE.fields,
        }
        return render(pl.DataFrame(rows, schema=schema, orient="row"), UNMATCHED_SHAPE, 10_000)
