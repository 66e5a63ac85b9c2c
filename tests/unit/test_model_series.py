"""The series: what is zero, what is unknown, and how it follows from the tables; and what is made of a whole server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seismolog.model import (
    absences,
    cache_efficiency,
    calculated,
    day_shape,
    drift,
    fit,
    plan,
    rolling,
    series,
    server_model,
)
from seismolog.model.assemble import MAIL_KINDS, bin_width
from seismolog.model.health import log_chance_of_none
from seismolog.simulate.worlds import world

DAY = datetime(2002, 7, 15, tzinfo=UTC)
MAIL, DNS, ADDRESS = "1mx", "1dns", "133.95.10.2"

Event = tuple[datetime, str, str, str | None, int]


def tables(events: list[Event]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`traffic` and `client_traffic` of events (minute, server, kind, client, count)."""
    every = pl.DataFrame(
        events,
        schema={
            "bin_start": pl.Datetime("us", "UTC"),
            "server": pl.String,
            "kind": pl.String,
            "client": pl.String,
            "count": pl.UInt32,
        },
        orient="row",
    )
    traffic = every.group_by("bin_start", "server", "kind").agg(pl.col("count").sum().cast(pl.UInt64))
    return traffic.with_columns(query_type=pl.lit(None, dtype=pl.String)), every


def at(minutes: int) -> datetime:
    return DAY + timedelta(minutes=minutes)


def events_of(frame: pl.DataFrame, address: str = ADDRESS) -> list[Event]:
    """Events at the first and the last minute of each bin, so that the logs cover the whole of it."""
    events: list[Event] = []
    for row in frame.iter_rows(named=True):
        first, last = row["bin_start"], row["bin_start"] + timedelta(minutes=9)
        events += [
            (first, MAIL, kind, None, row[kind])
            for kind in ("smtp_accepted", "pop_access", "smtp_deferred")
            if row[kind]
        ]
        events += [(first, DNS, "dns_query", address, row["dns_query"])] if row["dns_query"] else []
        # Others keep both logs going.
        events += [(last, MAIL, "smtp_connection", None, 1), (last, DNS, "dns_query", "192.0.2.99", 1)]
        events += [(first, MAIL, "smtp_connection", None, 1), (first, DNS, "dns_query", "192.0.2.99", 1)]
    return events


def test_counts_stand_in_their_bins_and_missing_kinds_are_zero() -> None:
    traffic, clients = tables(
        [
            (at(0), MAIL, "smtp_accepted", None, 3),
            (at(9), MAIL, "smtp_accepted", None, 4),
            (at(10), MAIL, "pop_access", None, 5),
            (at(19), MAIL, "custom:webmail", None, 2),
            (at(0), DNS, "dns_query", ADDRESS, 40),
            (at(0), DNS, "dns_query", "192.0.2.1", 7),
            (at(19), DNS, "dns_query", "2001:db8::2", 6),
        ]
    )
    found = series(traffic, clients, mail_server=MAIL, addresses=[ADDRESS, "2001:db8::2"])
    assert found.frame["bin_start"].to_list() == [at(0), at(10)]
    assert found.frame.columns[: 2 + len(MAIL_KINDS)] == ["bin_start", "dns_query", *MAIL_KINDS]
    assert found.frame["dns_query"].to_list() == [40, 6]
    assert found.frame["smtp_accepted"].to_list() == [7, 0]
    assert found.frame["pop_access"].to_list() == [0, 5]
    assert found.frame["custom:webmail"].to_list() == [0, 2]
    assert found.frame["smtp_deferred"].to_list() == [0, 0]
    assert found.left_out == 0
    assert found.frame.null_count().sum_horizontal().item() == 0


def test_only_bins_that_both_logs_cover_wholly_count() -> None:
    traffic, clients = tables(
        [
            *((at(m), MAIL, "smtp_accepted", None, 1) for m in range(0, 120, 1)),
            *((at(m), DNS, "dns_query", ADDRESS, 9) for m in range(25, 85, 1)),
        ]
    )
    found = series(traffic, clients, mail_server=MAIL, addresses=[ADDRESS])
    # 00:25 to 01:25: whole bins are 00:30 to 01:20; twelve were touched.
    assert found.frame["bin_start"].to_list() == [at(m) for m in range(30, 80, 10)]
    assert found.frame["dns_query"].to_list() == [90] * 5
    assert found.left_out == 7
    assert "7 of 12 bins are left out" in found.notes[0]


def test_silence_within_coverage_is_zero_and_a_long_gap_is_no_coverage() -> None:
    day = 24 * 60
    mail = [(at(m), MAIL, "smtp_accepted", None, 1) for m in range(0, 2 * day, 5)] + [
        (at(2 * day - 1), MAIL, "smtp_accepted", None, 1)
    ]
    dns = [
        (at(m), DNS, "dns_query", ADDRESS, 9)
        for m in range(2 * day)
        if not (60 <= m < 120 or day - 60 <= m < day + 600)
    ]
    traffic, clients = tables([*mail, *dns])
    found = series(traffic, clients, mail_server=MAIL, addresses=[ADDRESS])
    starts = set(found.frame["bin_start"].to_list())
    assert at(60) in starts
    assert found.frame.filter(pl.col("bin_start") == at(60))["dns_query"].item() == 0
    assert at(day) not in starts
    assert found.left_out == 66


def test_given_coverage_is_used() -> None:
    traffic, clients = tables(
        [(at(5), MAIL, "smtp_accepted", None, 1), (at(25), DNS, "dns_query", ADDRESS, 9)]
    )
    whole = {MAIL: [(at(0), at(60))], DNS: [(at(0), at(40))]}
    found = series(traffic, clients, mail_server=MAIL, addresses=[ADDRESS], coverage=whole)
    assert found.frame["dns_query"].to_list() == [0, 0, 9, 0]
    assert found.left_out == 2


def test_several_host_names_dns_servers_and_sources_are_summed() -> None:
    traffic, clients = tables(
        [
            (at(0), "mx", "smtp_accepted", None, 1),
            (at(9), "mx.example.org", "smtp_accepted", None, 2),
            (at(0), "mx.example.org", "smtp_accepted", None, 4),
            (at(0), "ns1", "dns_query", ADDRESS, 10),
            (at(9), "ns1", "dns_query", ADDRESS, 20),
            (at(0), "ns2", "dns_query", ADDRESS, 40),
            (at(9), "ns2", "dns_query", ADDRESS, 80),
        ]
    )
    doubled = pl.concat([clients, clients]).with_columns(pl.col("server", "kind").cast(pl.Categorical))
    found = series(traffic, doubled, mail_server=["mx", "mx.example.org"], addresses=[ADDRESS])
    assert found.frame["smtp_accepted"].to_list() == [7]
    assert found.frame["dns_query"].to_list() == [300]
    one = series(
        traffic, clients, mail_server=["mx", "mx.example.org"], addresses=[ADDRESS], dns_servers=["ns2"]
    )
    assert one.frame["dns_query"].to_list() == [120]


def test_empty_tables_give_an_empty_frame_that_says_so() -> None:
    traffic, clients = tables([])
    found = series(traffic, clients, mail_server=MAIL, addresses=[ADDRESS])
    assert found.frame.is_empty()
    assert "no whole bin in common" in found.notes[-1]
    model = server_model(traffic, clients, name=MAIL, hostnames=[MAIL], addresses=[ADDRESS])
    json.dumps(model.to_json(), allow_nan=False)
    assert model.fit_rows(DAY).is_empty()
    assert model.series_rows().is_empty()


@pytest.mark.parametrize("text", ["", "0m", "7m", "10", "10x", "-10m", "48h", "10 m", "1.5h"])
def test_bad_bins_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="bin must be"):
        bin_width(text)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.sampled_from([(MAIL, "smtp_accepted"), (MAIL, "pop_access"), (DNS, "dns_query")]),
            st.integers(1, 9),
        ),
        max_size=60,
    )
)
@settings(max_examples=40)
def test_every_count_within_the_common_coverage_is_there_once(
    drawn: list[tuple[int, tuple[str, str], int]],
) -> None:
    traffic, clients = tables([(at(m), server, kind, ADDRESS, n) for m, (server, kind), n in drawn])
    found = series(traffic, clients, mail_server=MAIL, addresses=[ADDRESS])
    starts = found.frame["bin_start"].to_list()
    kept = [e for e in drawn if any(start <= at(e[0]) < start + timedelta(minutes=10) for start in starts)]
    for kind in ("smtp_accepted", "pop_access", "dns_query"):
        assert found.frame[kind].sum() == sum(n for _, (_, k), n in kept if k == kind)


def test_a_whole_server_round_trip() -> None:
    frame = world(5, bins=432)
    traffic, clients = tables(events_of(frame))
    model = server_model(
        traffic,
        clients,
        name="mail",
        hostnames=[MAIL],
        addresses=[ADDRESS],
        domains_per_message=2.0,
        receive_rate=0.175,
    )
    assert model.bins.frame["dns_query"].to_list() == frame["dns_query"].to_list()
    assert model.bins.frame["smtp_deferred"].to_list() == frame["smtp_deferred"].to_list()
    said = model.to_json()
    json.dumps(said, allow_nan=False)
    assert {
        "name",
        "server",
        "client",
        "coefficients",
        "r_squared",
        "dispersion",
        "cache_efficiency",
        "residual_vs_deferred",
    } <= set(said)
    assert set(said["coefficients"]) == {"smtp_accepted", "pop_access"}
    assert set(said["coefficients"]["smtp_accepted"]) == {"estimate", "std_error", "low", "high", "paper"}
    assert said["coefficients"]["smtp_accepted"]["paper"] == 8.6
    assert set(said["residual_vs_deferred"]) == {"r", "low", "high"}
    assert (said["name"], said["server"], said["client"]) == ("mail", MAIL, ADDRESS)
    assert any("n and q apart are configured" in note for note in said["notes"])
    row = model.fit_rows(DAY).row(0, named=True)
    assert (
        json.loads(row["coefficients"])["smtp_accepted"]["estimate"]
        == said["coefficients"]["smtp_accepted"]["estimate"]
    )
    assert row["window_end"] - row["window_start"] == timedelta(days=3)
    rows = model.series_rows()
    assert rows.columns == [
        "bin_start",
        "model",
        "observed",
        "calculated",
        "residual",
        "standardized",
        "cache_efficiency",
    ]
    assert len(rows) == 432


def test_rows_fit_the_store() -> None:
    schema = pytest.importorskip("seismolog.store.schema")
    known = (
        {table.name: [column.name for column in table.columns] for table in schema.TABLES.values()}
        if isinstance(schema.TABLES, dict)
        else {table.name: [column.name for column in table.columns] for table in schema.TABLES}
    )
    traffic, clients = tables(events_of(world(5, bins=144)))
    model = server_model(traffic, clients, name="mail", hostnames=[MAIL], addresses=[ADDRESS])
    assert set(model.fit_rows(DAY).columns) <= set(known["model_fit"])
    assert set(model.series_rows().columns) <= set(known["model_series"])


def test_calculated_and_residual_add_up() -> None:
    frame = world(1, bins=288)
    found = fit(frame)
    table = calculated(frame, found)
    assert (table["observed"] - table["calculated"] - table["residual"]).abs().max() < 1e-9
    assert table["standardized"].std() == pytest.approx(1.0, abs=0.15)
    assert not table.select(pl.exclude("cache_efficiency")).null_count().sum_horizontal().item()


def test_cache_efficiency_comes_from_the_configured_line_not_from_the_fit() -> None:
    frame = world(1).with_columns((pl.col("dns_query").cast(pl.Float64) * 0.7).round().alias("dns_query"))
    found = cache_efficiency(frame, domains_per_message=2, receive_rate=0.175)
    assert found.estimate == pytest.approx(0.3, abs=0.02)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.3 < found.high
    assert fit(frame).coefficients["smtp_accepted"].estimate == pytest.approx(6.0, abs=0.3)
    table = calculated(frame, fit(frame))
    expected = 8.6 * frame["smtp_accepted"].cast(pl.Float64) + frame["pop_access"].cast(pl.Float64)
    assert table.filter(expected < 200)["cache_efficiency"].null_count() == (expected < 200).sum()
    assert table.filter(expected >= 200)["cache_efficiency"].null_count() == 0
    assert "not configured" in cache_efficiency(frame).source
    assert cache_efficiency(frame.head(0)).estimate is None


def test_predicted_but_absent_is_found_and_dated() -> None:
    frame = world(3, bins=432).with_columns(
        pl.when(pl.int_range(pl.len()).is_between(200, 217))
        .then(0)
        .otherwise(pl.col("dns_query"))
        .alias("dns_query")
    )
    found = absences(frame, fit(frame))
    assert [(a.start, a.end, a.bins) for a in found] == [
        (frame["bin_start"][200], frame["bin_start"][218], 18)
    ]
    assert "mail went on" in found[0].sentence


def test_nothing_is_absent_from_clean_worlds() -> None:
    for seed in range(20):
        frame = world(seed, bins=432, messages=3.0, sessions=3.0)
        assert absences(frame, fit(frame)) == []
    assert absences(world(1, bins=10).head(0), fit(world(1, bins=144))) == []


def test_chance_of_none_is_that_of_the_distribution() -> None:
    from scipy.stats import nbinom, poisson

    mu, variance = np.array([2.0, 5.0, 0.0]), np.array([6.0, 5.0, 1.0])
    found = log_chance_of_none(mu, variance)
    assert found[0] == pytest.approx(nbinom.logpmf(0, 2.0**2 / 4.0, 2.0 / 6.0))
    assert found[1] == pytest.approx(poisson.logpmf(0, 5.0))
    assert found[2] == 0


def test_drift_is_seen_and_its_absence_too() -> None:
    steady = sum(min(drift(world(seed, bins=2016)).p_values.values()) < 0.005 for seed in range(20))
    assert steady <= 2
    first, second = world(1, bins=1008), world(2, bins=1008, m_s=12.0)
    moved = pl.concat([first, second.with_columns(pl.col("bin_start") + timedelta(days=7))])
    found = drift(moved)
    assert found.p_values["smtp_accepted"] < 1e-6
    assert "smtp_accepted drift" in found.notes[0]
    assert set(found.frame["term"]) == {"smtp_accepted", "pop_access", "baseline"}
    assert drift(first.head(100)).frame.is_empty()
    assert drift(first.head(0)).notes


def test_rolling_fits_follow_the_window() -> None:
    fits = rolling(world(1, bins=2016), window=timedelta(days=7), step=timedelta(days=3))
    assert [end.date().isoformat() for end, _ in fits] == ["2002-07-14", "2002-07-17", "2002-07-20"]
    assert all(found.bins == 1008 for _, found in fits)
    assert rolling(world(1, bins=2016).head(0)) == []


def test_plan_predicts_the_next_week() -> None:
    """95 % intervals of days: of seven days of another week of the same world, nearly all are inside."""
    inside = total = 0
    for seed in range(12):
        frame = world(seed, bins=2016)
        past, future = frame.head(1008), frame.tail(1008)
        found = fit(past)
        days = future.group_by_dynamic("bin_start", every="1d", offset="15h").agg(
            pl.exclude("bin_start", "outlying", "outbreak").sum(), pl.len()
        )
        for day in days.filter(pl.col("len") == 144).iter_rows(named=True):
            load = plan(found, mails=day["smtp_accepted"], pops=day["pop_access"]).total
            inside += load.low <= day["dns_query"] <= load.high
            total += 1
    assert inside / total >= 0.88


def test_plan_names_the_peak_and_the_shape() -> None:
    frame = world(1, bins=2016)
    answer = plan(fit(frame), mails=30_000, pops=20_000, frame=frame, timezone="Asia/Tokyo")
    assert answer.peak is not None
    assert answer.peak_start is not None
    assert 8 <= int(answer.peak_start[:2]) <= 17
    assert answer.slots["share"].sum() == pytest.approx(1.0)
    assert answer.slots["queries"].sum() == pytest.approx(answer.total.queries, rel=1e-6)
    assert answer.peak.low < answer.peak.queries < answer.peak.high
    assert "busiest weekdays" in answer.sentences[-1]


def test_plan_without_a_fit_uses_the_study() -> None:
    answer = plan(mails=1000, pops=500)
    assert answer.total.queries == pytest.approx(9100)
    assert "study" in answer.sentences[1]
    assert "shape of the day is unknown" in answer.sentences[-1]
    hour = plan(mails=100, per="hour")
    assert hour.peak is None
    assert hour.total.queries == pytest.approx(860)
    nothing = plan(mails=0)
    assert (nothing.total.queries, nothing.total.high) == (0, 0)
    assert any("imap_access" in sentence for sentence in plan(mails=1, imaps=5).sentences)
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="no number of events"):
            plan(mails=bad)


def test_day_shape_levels() -> None:
    frame = world(1, bins=2016)
    tokyo = {"timezone": "Asia/Tokyo"}
    assert "weekdays" in day_shape(frame, "smtp_accepted", **tokyo).level
    assert day_shape(frame.head(288), "smtp_accepted", **tokyo).level == "2 days of its own"
    assert (
        day_shape(frame.head(100), "smtp_accepted", **tokyo, population=[frame]).level
        == "other servers' days"
    )
    flat = day_shape(frame.head(100), "smtp_accepted", **tokyo)
    assert flat.level == "flat"
    assert flat.shares.sum() == pytest.approx(1)


def test_nothing_heavy_is_imported_with_the_package() -> None:
    import subprocess
    import sys

    code = "import sys, seismolog.model, seismolog.discover; print('scipy' in sys.modules, 'statsmodels' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
