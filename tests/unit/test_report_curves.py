"""Curves: nothing is lost or invented on the way to the screen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seismolog.report.curves import MAX_POINTS, choose_axis

MINUTE = timedelta(minutes=1)
START = datetime(2002, 7, 14, 15, 0, tzinfo=UTC)


def frame(counts: dict[int, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"bin_start": [START + m * MINUTE for m in counts], "count": list(counts.values())},
        schema={"bin_start": pl.Datetime("us", "UTC"), "count": pl.UInt64},
    )


@given(st.dictionaries(st.integers(0, 5000), st.integers(0, 10**6), min_size=1), st.integers(1, 600))
def test_means_times_minutes_are_the_total_and_the_peak_is_kept(counts: dict[int, int], target: int) -> None:
    first, last = START + min(counts) * MINUTE, START + (max(counts) + 1) * MINUTE
    axis = choose_axis(first, last, "Asia/Tokyo", target=target)
    band = axis.band(frame(counts), "count", MINUTE)
    minutes = [
        max(
            0,
            round(
                (min(axis.start + (i + 1) * axis.step, last) - max(axis.start + i * axis.step, first))
                / MINUTE
            ),
        )
        for i in range(axis.count)
    ]
    total = sum(m * n for m, n in zip(band.mean, minutes, strict=True) if m is not None)
    assert total == pytest.approx(sum(counts.values()))
    assert band.peak == max(counts.values())
    for low, mean, high in zip(band.low, band.mean, band.high, strict=True):
        if mean is not None:
            assert low <= mean + 1e-9
            assert mean <= high + 1e-9


@given(
    st.integers(1, 60 * 24 * 366 * 30),
    st.sampled_from(["UTC", "Asia/Tokyo", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_no_curve_has_too_many_points(minutes: int, zone: str) -> None:
    axis = choose_axis(START, START + minutes * MINUTE, zone)
    assert 1 <= axis.count <= MAX_POINTS
    assert axis.start <= START
    assert axis.end >= START + minutes * MINUTE
    assert axis.end - axis.step < START + minutes * MINUTE


def test_bins_of_a_day_begin_at_local_midnight() -> None:
    axis = choose_axis(START + timedelta(hours=5), START + timedelta(days=900), "Asia/Tokyo")
    assert axis.step >= timedelta(days=1)
    assert axis.local(axis.start).hour == 0


def test_before_the_first_event_there_is_no_record() -> None:
    axis = choose_axis(START + 7 * MINUTE, START + 1000 * MINUTE, "UTC", target=110)
    assert axis.step == 10 * MINUTE
    band = axis.band(frame({7: 5, 8: 5, 9: 5, 999: 1}), "count", MINUTE)
    assert band.mean[0] == 5.0  # three minutes of record, not ten
    assert band.mean[1] == 0.0


def test_gaps_of_a_measured_column_stay_gaps() -> None:
    measured = pl.DataFrame(
        {"bin_start": [START, START + 20 * MINUTE], "e": [0.5, None]},
        schema={"bin_start": pl.Datetime("us", "UTC"), "e": pl.Float64},
    )
    axis = choose_axis(START, START + 30 * MINUTE, "UTC", 10 * MINUTE)
    assert axis.fold(measured, "e", 10 * MINUTE).mean == [0.5, None, None]


@pytest.mark.parametrize("days", [1, 3, 30, 400])
def test_ticks_are_few_and_in_order(days: int) -> None:
    axis = choose_axis(START, START + timedelta(days=days), "Europe/Berlin")
    ticks = list(axis.ticks())
    assert 3 <= len(ticks) <= 14
    assert [x for x, _, _ in ticks] == sorted(x for x, _, _ in ticks)


def test_ticks_keep_to_the_clock_across_a_change_of_offset() -> None:
    first = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)  # midnight before the spring change in Berlin
    axis = choose_axis(first, first + timedelta(hours=23), "Europe/Berlin")
    labels = [label for _, label, _ in axis.ticks()]
    assert labels[0] == "29 Mar"
    assert "12:00" in labels
    position = next(x for x, label, _ in axis.ticks() if label == "12:00")
    assert position == pytest.approx(11 / 23, abs=0.01)
