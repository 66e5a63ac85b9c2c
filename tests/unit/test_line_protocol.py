"""Frames as line protocol: what is written, what is left out, and that no text breaks a line."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seismolog import _core
from seismolog.errors import UsageError
from seismolog.sinks.grafana import measurements as read
from seismolog.sinks.influxdb import measurements as sent
from seismolog.sinks.influxdb.measurements import CLIENT_TRAFFIC, INCIDENT, TRAFFIC, render
from seismolog.sinks.influxdb.pipeline import PIPELINE, UNMATCHED_SHAPE

WHEN = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
SECONDS = int(WHEN.timestamp())
HOSTILE = 'a,b=c d\\ "e"\n\r\t\x00\x7fé\u202e\\'


def row(**more: object) -> pl.DataFrame:
    plain: dict[str, object] = dict.fromkeys(TRAFFIC.fields)
    tags = {"server": "1dns", "kind": "dns_query", "query_type": None, "side": "inside"}
    return pl.DataFrame([{"bin_start": WHEN, **tags, **plain, "count": 3, **more}])


def test_a_point_of_traffic() -> None:
    frame = row(client_entropy=1.5, recipients=3, distinct_clients=2)
    assert render(frame, TRAFFIC, 10) == [
        b"traffic,kind=dns_query,query_type=none,server=1dns,side=inside "
        b"count=3i,recipients=3i,distinct_clients=2i,client_entropy=1.5 %d\n" % SECONDS
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_is_left_out(value: float | None) -> None:
    assert b"entropy" not in b"".join(render(row(client_entropy=value), TRAFFIC, 10))


def test_a_row_without_a_field_is_no_point() -> None:
    assert render(row(count=None), TRAFFIC, 10) == []
    assert render(row().clear(), TRAFFIC, 10) == []


def test_texts_are_cut_at_points() -> None:
    frame = pl.concat([row(count=n) for n in range(7)])
    texts = render(frame, TRAFFIC, 3)
    assert [t.count(b"\n") for t in texts] == [3, 3, 1]
    assert b"".join(texts) == b"".join(render(frame, TRAFFIC, 100))


def test_names_of_any_kind_give_the_same_text() -> None:
    frame = pl.concat([row(server=s, kind=k) for s in ("1dns", "2 dns", "") for k in ("a", "b,c")])
    plain = render(frame, TRAFFIC, 100)
    assert b"server=2\\ dns" in plain[0] and b"kind=b\\,c" in plain[0]
    assert b"query_type=none,side=inside" in plain[0]  # an empty server is no tag
    for dtype in (pl.Categorical, pl.Enum(["", "1dns", "2 dns", "a", "b,c"])):
        assert render(frame.with_columns(pl.col("server", "kind").cast(dtype)), TRAFFIC, 100) == plain


@given(st.text(), st.text())
def test_hostile_names_stay_in_their_tag(one: str, two: str) -> None:
    frame = pl.concat([row(server=one), row(server=two), row(server=HOSTILE)])
    (text,) = render(frame, TRAFFIC, 10)
    lines = text.split(b"\n")
    assert len(lines) == 4 and lines[-1] == b""
    assert all(line.endswith(b" count=3i %d" % SECONDS) for line in lines[:3])
    assert (lines[0] == lines[1]) == (one == two)
    assert not any(b < 0x20 or b == 0x7F for line in lines for b in line)


def test_an_incident_keeps_its_nanoseconds_and_its_words() -> None:
    frame = pl.DataFrame(
        {
            "at": pl.Series([SECONDS * 10**9 + 123_456_789]).cast(pl.Datetime("ns", "UTC")),
            "detector": ["ripple"], "cause": ["a b"], "severity": ["warning"], "id": ["1"],
            "explanation": ['say "no"\\\n'], "open": [1], "score": [2.5],
        }
    )  # fmt: skip
    assert render(frame, INCIDENT, 10) == [
        b"incident,cause=a\\ b,detector=ripple,severity=warning "
        b'id="1",score=2.5,explanation="say \\"no\\"\\\\\\\\x0a",open=1i %d123456789\n' % SECONDS
    ]


def test_what_has_no_place_is_told() -> None:
    frame = row().select("bin_start", pl.lit(2**63, dtype=pl.UInt64).alias("count"))
    with pytest.raises(_core.UsageError, match="beyond 2\\^63"):
        _core.line_protocol(frame, measurement="m", tags=[], fields=["count"])
    with pytest.raises(_core.UsageError, match="precision"):
        _core.line_protocol(frame, measurement="m", tags=[], fields=["count"], precision="m")
    with pytest.raises(UsageError, match="no time"):
        render(row().with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("bin_start")), TRAFFIC, 10)


@pytest.mark.parametrize(("kind", "fields"), [("dns_query", 12), ("smtp_accepted", 1)])
def test_zeros_have_every_field_that_their_kind_has(kind: str, fields: int) -> None:
    # Query types and numbers of names are of queries alone.
    keys = pl.DataFrame([{"bin_start": WHEN, "server": "s", "kind": kind, "client": "c"}])
    (text,) = render(CLIENT_TRAFFIC.zeros(keys), CLIENT_TRAFFIC, 10)
    assert text.count(b"=0i") == fields <= len(CLIENT_TRAFFIC.fields) == 12


def test_the_dashboards_read_what_is_sent() -> None:
    """One list for the writer, one for the readers: they agree, name by name and type by type."""
    words = {pl.Int64(): "integer", pl.Float64(): "float", pl.String(): "string"}
    written = {**sent.MEASUREMENTS, PIPELINE.name: PIPELINE, UNMATCHED_SHAPE.name: UNMATCHED_SHAPE}
    for name, measurement in read.MEASUREMENTS.items():
        ours = written[name]
        assert set(ours.tags) == set(measurement.tags), name
        types = {n: words[t] for n, t in ours.fields.items()}
        assert measurement.fields.items() <= types.items(), name
    assert set(read.MEASUREMENTS) == set(written)
    assert read.OTHER == sent.OTHER
