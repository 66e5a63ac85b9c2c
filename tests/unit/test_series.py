from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog import series
from tests.unit.store_fakes import Event, frames, merge_states, minute, numbers, state

EVENTS: list[Event] = [
    (0, "1dns", "dns_query", "10.0.0.1", "a.example"),
    (0, "1dns", "dns_query", "10.0.0.2", "a.example"),
    (5, "1dns", "dns_query", "10.0.0.1", "b.example"),
    (12, "1mx", "pop_access", "10.0.0.3", "-"),
]


@pytest.fixture
def traffic() -> pl.DataFrame:
    return frames((0, e) for e in EVENTS)["traffic"]


@pytest.fixture
def by_client() -> pl.DataFrame:
    frame = frames((0, e) for e in EVENTS)["client_traffic"]
    # One of the queries was of type MX.
    is_mx = (pl.col("bin_start") == minute(5)) & (pl.col("client") == "10.0.0.1")
    return frame.with_columns(
        pl.when(is_mx).then(0).otherwise("a").cast(pl.UInt32).alias("a"),
        pl.when(is_mx).then(1).otherwise(0).cast(pl.UInt32).alias("mx"),
    )


def test_counts_have_the_stable_shape(traffic: pl.DataFrame) -> None:
    table = series.counts(traffic, ["kind", "server"], timedelta(minutes=10))
    assert table.columns == ["bin_start", "kind", "server", "count"]
    assert table.rows() == [(minute(0), "dns_query", "1dns", 3), (minute(10), "pop_access", "1mx", 1)]
    assert table.schema["count"] == pl.Int64
    assert series.counts(traffic, ["server"]).rows() == [("1dns", 3), ("1mx", 1)]
    assert series.counts(traffic, []).rows() == [(4,)]
    assert series.counts(traffic, [], timedelta(hours=1)).rows() == [(minute(0), 4)]
    assert series.counts(traffic.clear(), ["kind"], timedelta(hours=1)).columns == [
        "bin_start",
        "kind",
        "count",
    ]


def test_counts_by_query_type_from_either_table(traffic: pl.DataFrame, by_client: pl.DataFrame) -> None:
    assert series.counts(traffic, ["qtype"]).rows() == [("a", 3), (None, 1)]
    by_type = series.counts(by_client, ["qtype", "client"])
    assert by_type.columns == ["qtype", "client", "count"]
    assert by_type.rows() == [
        ("a", "10.0.0.1", 1),
        ("a", "10.0.0.2", 1),
        ("mx", "10.0.0.1", 1),
        (None, "10.0.0.3", 1),
    ]
    assert series.counts(by_client, ["qtype"]).rows() == [("a", 2), ("mx", 1), (None, 1)]


def test_counts_refuse_what_they_do_not_know(traffic: pl.DataFrame) -> None:
    for by in (["color"], ["kind", "kind"]):
        with pytest.raises(ValueError, match="at most once"):
            series.counts(traffic, by)
    with pytest.raises(ValueError, match="divide a day"):
        series.counts(traffic, ["kind"], timedelta(minutes=7))


def test_rolling_up_merges_states_and_recomputes_numbers(traffic: pl.DataFrame) -> None:
    rolled = series.roll_up(traffic, "traffic", timedelta(minutes=10), merger=merge_states)
    first = rolled.filter(pl.col("kind") == "dns_query").to_dicts()
    assert len(first) == 1
    assert first[0]["count"] == 3
    assert first[0]["client_state"] == state({"10.0.0.1": 2, "10.0.0.2": 1})
    assert first[0]["distinct_clients"] == 2
    assert first[0]["client_entropy"] == pytest.approx(numbers(state({"a": 2, "b": 1}))["entropy"])
    assert first[0]["top_name_share"] == pytest.approx(2 / 3)
    pop = rolled.filter(pl.col("kind") == "pop_access").to_dicts()[0]
    assert pop["distinct_names"] is None


def test_rolling_up_in_steps_is_rolling_up_at_once(traffic: pl.DataFrame) -> None:
    at_once = series.roll_up(traffic, "traffic", timedelta(hours=1), ["server"], merger=merge_states)
    step = series.roll_up(traffic, "traffic", timedelta(minutes=10), merger=merge_states)
    in_steps = series.roll_up(step, "traffic", timedelta(hours=1), ["server"], merger=merge_states)
    assert at_once.columns == ["bin_start", "server", *traffic.columns[6:]]
    exact = ["bin_start", "server", "count", "recipients", "distinct_clients", "client_state", "name_state"]
    assert_frame_equal(at_once.select(exact), in_steps.select(exact))


def test_bins_of_several_days_count_from_1970(traffic: pl.DataFrame) -> None:
    table = series.counts(traffic, [], timedelta(days=2))
    days = (table["bin_start"][0] - datetime(1970, 1, 1, tzinfo=UTC)).days
    assert days % 2 == 0
    assert table["bin_start"][0] <= minute(0) < table["bin_start"][0] + timedelta(days=2)


def test_zero_fill_adds_every_bin_for_every_group(traffic: pl.DataFrame) -> None:
    table = series.counts(traffic, ["server"], timedelta(minutes=10))
    filled = series.zero_fill(table, timedelta(minutes=10), minute(5), minute(30), by=["server"])
    assert filled.select("bin_start", "server", "count").rows() == [
        (minute(m), s, n)
        for m, counts in ((0, (3, 0)), (10, (0, 1)), (20, (0, 0)))
        for s, n in zip(("1dns", "1mx"), counts, strict=True)
    ]


def test_gaps_are_between_events_of_a_server(traffic: pl.DataFrame) -> None:
    found = series.gaps(traffic, timedelta(minutes=1), timedelta(minutes=4))
    assert found.rows() == [("1dns", minute(1), minute(5))]
    assert series.gaps(traffic, timedelta(minutes=1), timedelta(minutes=5)).height == 0


def test_local_time_across_the_end_of_winter_time() -> None:
    # 2026-03-29 01:00 UTC: clocks in Berlin go from 02:00 to 03:00.
    frame = pl.DataFrame(
        {"bin_start": [minute(59), minute(60)]}, schema={"bin_start": pl.Datetime("us", "UTC")}
    )
    local = series.local_time(frame, "Europe/Berlin")
    assert [t.strftime("%H:%M") for t in local["local"]] == ["01:59", "03:00"]
    assert local["utc_offset"].to_list() == [timedelta(hours=1), timedelta(hours=2)]
    assert local["weekday"].to_list() == [7, 7]
    assert local["minute_of_day"].to_list() == [119, 180]
