"""The measurements: every tag and field declared once, and how a frame of them becomes line protocol.

Dashboards, alerts and this exporter agree on what stands here. A null tag is written as ``none`` (a query type
where there is none), an empty one is left out; a null field is left out. Integers stay integers: InfluxDB gives a
field the type of its first point, for good.

A field that is left out keeps the value that InfluxDB has: points of one time and series are merged. So where a field
had a value and is null now, the point is deleted before it is written again (:attr:`Measurement.optional`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from seismolog.errors import core_errors
from seismolog.store.schema import QTYPES

__all__ = [
    "CLIENT_TRAFFIC",
    "INCIDENT",
    "MEASUREMENTS",
    "MODEL",
    "MODEL_FIT",
    "OTHER",
    "ROLLUPS",
    "TRAFFIC",
    "Measurement",
    "render",
]

#: The client that stands for all that have no series of their own.
OTHER = "other"

_INT = pl.Int64()
_FLOAT = pl.Float64()
_TEXT = pl.String()


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Parameters
    ----------
    name
        As InfluxDB knows it.
    tags
        In this order in a key of the ledger.
    fields
        Name to type; integers are sent with the suffix ``i``.
    time
        The column of its times.
    precision
        In which unit times are sent.
    optional
        Fields that may be null, in groups that are read from one state and are null together.
    """

    name: str
    tags: tuple[str, ...]
    fields: dict[str, pl.DataType]
    time: str = "bin_start"
    precision: Literal["s", "ns"] = "s"
    optional: tuple[tuple[str, ...], ...] = ()

    def of_bins(self, suffix: str) -> Measurement:
        """The same of longer bins: ``traffic_10m``."""
        return replace(self, name=f"{self.name}_{suffix}")

    def zeros(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Points of these keys and times in which every field is 0."""
        zeros = {n: pl.lit(0, dtype=t) for n, t in self.fields.items()}
        if "client" in self.tags:
            of_queries = pl.col("kind").str.starts_with("dns_")
            zeros |= {n: pl.when(of_queries).then(z) for n, z in zeros.items() if n != "count"}
        return keys.select(self.time, *self.tags, *(z.alias(n) for n, z in zeros.items()))


TRAFFIC = Measurement(
    "traffic",
    ("server", "kind", "query_type", "side"),
    {
        "count": _INT,
        "recipients": _INT,
        "distinct_clients": _INT,
        "client_entropy": _FLOAT,
        "distinct_names": _INT,
        "name_entropy": _FLOAT,
        "top_name_share": _FLOAT,
    },
    optional=(("distinct_clients", "client_entropy"), ("distinct_names", "name_entropy", "top_name_share")),
)

#: Every field but the count is of DNS queries only.
CLIENT_TRAFFIC = Measurement(
    "client_traffic",
    ("server", "kind", "client"),
    {"count": _INT, **dict.fromkeys(QTYPES, _INT), "distinct_names": _INT},
    optional=(("distinct_names",),),
)

MODEL = Measurement(
    "model",
    ("model",),
    {
        "observed": _FLOAT,
        "calculated": _FLOAT,
        "residual": _FLOAT,
        "standardized": _FLOAT,
        "cache_efficiency": _FLOAT,
    },
)

#: Its time is the end of what was fitted and not the moment of the work: the coefficients of an archive stand beside its
#: curves.
MODEL_FIT = Measurement(
    "model_fit",
    ("model", "term"),
    {
        "estimate": _FLOAT,
        "std_error": _FLOAT,
        "low": _FLOAT,
        "high": _FLOAT,
        "paper": _FLOAT,
        "r_squared": _FLOAT,
        "dispersion": _FLOAT,
        "domains_not_received": _FLOAT,
        "observations": _INT,
        "left_out": _INT,
    },
    time="window_end",
)

#: Its times are the incident's start with its own nanoseconds, told by its id: two incidents of one detector, cause and
#: severity that begin in the same bin are two points.
INCIDENT = Measurement(
    "incident",
    ("detector", "cause", "severity"),
    {
        "id": _TEXT,
        "subject": _TEXT,
        "subjects": _TEXT,
        "server": _TEXT,
        "start": _INT,
        "end": _INT,
        "score": _FLOAT,
        "threshold": _FLOAT,
        "explanation": _TEXT,
        "evidence": _TEXT,
        "open": _INT,
    },
    time="at",
    precision="ns",
)

#: Suffix of a roll-up to the minutes of its bins.
ROLLUPS = {"10m": 10, "1h": 60}

MEASUREMENTS = {
    m.name: m
    for m in (
        TRAFFIC,
        CLIENT_TRAFFIC,
        *(m.of_bins(s) for m in (TRAFFIC, CLIENT_TRAFFIC) for s in ROLLUPS),
        MODEL,
        MODEL_FIT,
        INCIDENT,
    )
}


def render(frame: pl.DataFrame, measurement: Measurement, lines: int) -> list[bytes]:
    """Line protocol, in texts of at most so many points.

    Parameters
    ----------
    frame
        Its time, tags and fields as columns; fields that are missing are left out.
    """
    if frame.is_empty():
        return []
    from seismolog._core import line_protocol

    fields = [n for n in measurement.fields if n in frame.columns]
    columns = [
        pl.col(measurement.time),
        # A column of nulls alone has no type that Arrow would hand over.
        *(pl.col(n).cast(pl.String) if frame.schema[n] == pl.Null else n for n in measurement.tags),
        *(pl.col(n).cast(measurement.fields[n]) for n in fields),
    ]
    with core_errors():
        return line_protocol(
            frame.select(columns),
            measurement=measurement.name,
            tags=measurement.tags,
            fields=fields,
            time=measurement.time,
            precision=measurement.precision,
            lines=lines,
        )
