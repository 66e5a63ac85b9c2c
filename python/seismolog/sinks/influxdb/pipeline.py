"""The daemon's own numbers as points: measurements ``pipeline`` and ``unmatched_shape``.

The numbers are those of /metrics; :data:`FIELDS` says which of them, added up over their labels, become which field.
They are of the moment and not of the store: while InfluxDB is away the newest are kept, a bounded number, and the
oldest of them are given up and counted.

Shapes are those of lines that no dialect knows, as the engine marks them: addresses, mail addresses, identifiers and
numbers are replaced, words stay. Whoever may log chooses the words, so the number of shapes that are ever written is
bounded (:data:`SHAPES_MOST`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from seismolog.sinks.influxdb.measurements import Measurement, render

if TYPE_CHECKING:
    from seismolog.privacy import Pseudonymizer

__all__ = ["FIELDS", "PIPELINE", "SHAPES_MOST", "UNMATCHED_SHAPE", "Pipeline", "pipeline_fields"]

#: Shapes of one look, and shapes that are written in all until the next start: each is a series.
SHAPES_A_LOOK, SHAPES_MOST = 50, 1000

#: Field to the metrics that it is the sum of.
FIELDS: dict[str, tuple[str, ...]] = {
    "lines": ("seismolog_counted_lines_total",),
    "matched": ("seismolog_matched_lines_total",),
    "unmatched": ("seismolog_unmatched_lines_total",),
    # Bins that late lines changed: the engine does not count such lines apart.
    "late_lines": ("seismolog_revised_bins_total",),
    # Not `seismolog_shed_total`: its bounds cost detail (rare domains, exact distinct counts), no line.
    "shed_lines": ("seismolog_dropped_messages_total", "seismolog_kernel_dropped_total"),
    "wal_bytes": ("seismolog_wal_bytes",),
    "store_lag_seconds": ("seismolog_store_lag_seconds",),
    "influxdb_points": ("seismolog_influxdb_points_total",),
    "influxdb_writes": ("seismolog_influxdb_requests_total",),
    "influxdb_errors": ("seismolog_influxdb_errors_total",),
    "influxdb_dropped_series": ("seismolog_influxdb_refused_series_total",),
    "influxdb_lag_seconds": ("seismolog_influxdb_lag_seconds",),
}

#: Fields that are reckoned: the share of the queue that is full, and how long counting is behind reception.
_RECKONED = ("queue_fill", "lag_seconds")

PIPELINE = Measurement(
    "pipeline", ("instance",), dict.fromkeys((*FIELDS, *_RECKONED), pl.Float64()), time="at"
)
UNMATCHED_SHAPE = Measurement(
    "unmatched_shape", ("instance", "hash"), {"shape": pl.String(), "count": pl.Int64()}, time="at"
)


def pipeline_fields(metrics: Mapping[str, float]) -> dict[str, float]:
    """The fields that these metrics give; one that none of its metrics are there for is left out."""
    sums = _families(metrics)
    found = {
        field: sum(sums[m] for m in families if m in sums)
        for field, families in FIELDS.items()
        if any(m in sums for m in families)
    }
    if sums.get("seismolog_queue_bound_bytes"):
        found["queue_fill"] = sums.get("seismolog_queue_bytes", 0.0) / sums["seismolog_queue_bound_bytes"]
    return found


def _families(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics added up over their labels."""
    sums: dict[str, float] = {}
    for name, value in metrics.items():
        family = name.partition("{")[0]
        sums[family] = sums.get(family, 0.0) + float(value)
    return sums


class Pipeline:
    """Numbers on their way to the target.

    Parameters
    ----------
    instance
        The tag.
    most
        Points that are kept while the target is away.
    pseudonyms
        What is written in place of addresses, None for the addresses themselves.
    """

    def __init__(self, instance: str, most: int = 8640, *, pseudonyms: Pseudonymizer | None = None) -> None:
        self._instance = instance
        self._pseudonyms = pseudonyms
        self._shapes: set[str] = set()
        self._waiting: deque[tuple[datetime, dict[str, float]]] = deque(maxlen=most)
        self.given_up = 0
        self._counted: tuple[datetime, float] | None = None

    def take(self, metrics: Mapping[str, float], now: datetime | None = None) -> None:
        """Take the numbers of this moment."""
        if len(self._waiting) == self._waiting.maxlen:
            self.given_up += 1
        now = now or datetime.now(UTC)
        fields = pipeline_fields(metrics)
        lag = self._lag(_families(metrics), now)
        self._waiting.append((now, fields if lag is None else fields | {"lag_seconds": lag}))

    def _lag(self, sums: Mapping[str, float], now: datetime) -> float | None:
        """How long counting takes for what is received and not counted, at the pace that it has had.

        What was received is told by the position in the write-ahead log. While nothing moves, it is the time since
        something did.
        """
        counted = sums.get("seismolog_counted_position")
        received = sums.get("seismolog_wal_durable_position")
        if counted is None or received is None:
            return None
        before, self._counted = self._counted, (now, counted)
        behind = received - counted
        if behind <= 0 or before is None:
            return 0.0
        seconds = (now - before[0]).total_seconds()
        moved = counted - before[1]
        if moved <= 0:
            self._counted = before
            return seconds
        return behind * seconds / moved

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
        rows = []
        for shape, count in sorted(shapes, key=lambda s: (-s[1], s[0]))[:SHAPES_A_LOOK]:
            text = shape if self._pseudonyms is None else self._pseudonyms.text(shape)
            key = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
            if key not in self._shapes and len(self._shapes) >= SHAPES_MOST:
                continue
            self._shapes.add(key)
            rows.append(
                {"at": at, "instance": self._instance, "hash": key, "shape": text[:4000], "count": count}
            )
        schema = {
            "at": pl.Datetime("us", "UTC"),
            **dict.fromkeys(UNMATCHED_SHAPE.tags, pl.String()),
            **UNMATCHED_SHAPE.fields,
        }
        return render(pl.DataFrame(rows, schema=schema, orient="row"), UNMATCHED_SHAPE, 10_000)
