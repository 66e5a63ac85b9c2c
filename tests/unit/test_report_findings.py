"""Findings: each rule finds what it is for, and a quiet record has none."""

from __future__ import annotations

import runpy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seismolog.report.analysis import Analysis, Correlation
from seismolog.report.findings import absent, cache, deferral_sentence, find, gaps, unexplained

SAMPLE = runpy.run_path(str(Path(__file__).with_name("report_evening.py")))
OUTBREAK = datetime(2002, 7, 15, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def evening() -> Analysis:
    return SAMPLE["evening"]()


def test_the_outbreak_is_found_and_dated(evening: Analysis) -> None:
    found = [f for f in find(evening) if f.name == "deferrals"]
    assert len(found) == 1
    assert found[0].severity == "critical"
    assert abs(found[0].start - OUTBREAK) <= timedelta(minutes=20)
    assert found[0].end == evening.end
    numbers = found[0].numbers
    assert numbers["attempted"] > numbers["accepted"]
    inside = evening.traffic.filter(
        pl.col("bin_start").is_between(found[0].start, found[0].end, closed="left"),
        pl.col("kind") == "smtp_deferred",
    )
    assert numbers["deferred"] == inside["count"].sum()
    assert "N_S and N_P explain them" in found[0].text


def test_its_command_asks_for_the_same_stretch(evening: Analysis) -> None:
    trace = next(f for f in find(evening) if f.name == "deferrals").trace
    assert trace[:4] == ("seismolog", "count", "logs/1dns", "logs/1mx")
    assert trace[trace.index("--until") + 1] == "2002-07-16T00:00"
    assert trace[trace.index("--tz") + 1] == "Asia/Tokyo"


def test_clients_that_begin_to_ask_are_found_and_dated(evening: Analysis) -> None:
    found = {f.subjects[0]: f for f in find(evening) if f.name == "onset"}
    ripple = found["133.95.31.5"]
    assert abs(ripple.start - datetime(2002, 7, 15, 1, 30, tzinfo=UTC)) <= timedelta(minutes=20)
    assert "still going on" in ripple.text
    plateau = found["133.95.44.101"]
    assert abs(plateau.start - datetime(2002, 7, 14, 0, 0, tzinfo=UTC)) <= timedelta(minutes=20)
    assert abs(plateau.end - datetime(2002, 7, 15, 6, 0, tzinfo=UTC)) <= timedelta(minutes=20)
    assert "fell to almost nothing" in plateau.text
    assert SAMPLE["MAIL"] not in found
    assert "133.95.20.17" not in found


def test_quiet_days_have_no_warning(evening: Analysis) -> None:
    quiet = evening.traffic.filter(pl.col("bin_start") < OUTBREAK - timedelta(hours=1))
    steady = ["133.95.10.2", "133.95.20.17", "2001:db8:44::53", "133.95.52.3"]
    analysis = replace(
        evening,
        traffic=quiet,
        curves=evening.curves.filter(
            pl.col("client").is_in(steady), pl.col("bin_start") < OUTBREAK - timedelta(hours=1)
        ),
        models=(
            replace(
                evening.models[0], series=evening.models[0].series.filter(pl.col("bin_start") < OUTBREAK)
            ),
        ),
        input=replace(evening.input, files=evening.input.files[:1]),
    )
    assert [f for f in find(analysis) if f.severity != "info"] == []


def changed(evening: Analysis, **columns: pl.Expr):
    model = evening.models[0]
    return replace(model, series=model.series.with_columns(**columns))


def test_queries_that_mail_does_not_explain(evening: Analysis) -> None:
    hours = pl.col("bin_start").is_between(OUTBREAK, OUTBREAK + timedelta(hours=1), closed="left")
    observed = pl.when(hours).then(pl.col("observed") * 2).otherwise(pl.col("observed"))
    model = changed(
        evening,
        observed=observed,
        standardized=(observed - pl.col("calculated")) / pl.col("calculated").sqrt(),
    )
    found = list(unexplained(evening, model))
    assert [(f.start, f.end) for f in found] == [(OUTBREAK, OUTBREAK + timedelta(hours=1))]


def test_queries_that_stop_while_mail_goes_on(evening: Analysis) -> None:
    end = OUTBREAK + timedelta(hours=1)
    model = replace(evening.models[0], absences=((OUTBREAK, end, 6120.4, 3.0),))
    found = list(absent(evening, model))
    assert [(f.start, f.end) for f in found] == [(OUTBREAK, end)]
    assert "6,120" in found[0].text


def test_a_cache_that_loses_its_effect(evening: Analysis) -> None:
    rng = np.random.default_rng(1)
    size = evening.models[0].series.height
    usual = pl.Series(0.4 + rng.normal(0, 0.02, size))
    hours = pl.col("bin_start").is_between(OUTBREAK, OUTBREAK + timedelta(hours=1), closed="left")
    model = changed(evening, cache_efficiency=usual)
    assert list(cache(evening, model)) == []
    model = replace(model, series=model.series.with_columns(
        cache_efficiency=pl.when(hours).then(0.05).otherwise(pl.col("cache_efficiency"))))  # fmt: skip
    assert [(f.start, f.end) for f in cache(evening, model)] == [(OUTBREAK, OUTBREAK + timedelta(hours=1))]


def test_a_hole_in_the_log(evening: Analysis) -> None:
    hole = pl.col("bin_start").is_between(OUTBREAK - timedelta(hours=4), OUTBREAK, closed="left") & (
        pl.col("server") == "1mx"
    )
    found = list(gaps(replace(evening, traffic=evening.traffic.filter(~hole))))
    assert [f.subjects for f in found] == [("1mx",)]
    assert list(gaps(evening)) == []


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (None, "was not made"),
        (Correlation(0.04, -0.11, 0.19), "No correlation was found"),
        (Correlation(0.4, 0.2, 0.6), "deferred deliveries cause queries of their own"),
        (Correlation(-0.4, -0.6, -0.2), "falls as N_SD rises"),
    ],
)
def test_the_deferral_test_says_which(evening: Analysis, test: Correlation | None, words: str) -> None:
    assert words in deferral_sentence(replace(evening.models[0], residual_vs_deferred=test))


def test_files_that_broke_off_and_unmatched_lines(evening: Analysis) -> None:
    names = [f.name for f in find(evening)]
    assert "unreadable" in names
    assert "unmatched" not in names
    loud = replace(evening, input=replace(evening.input, unmatched=100_000))
    assert "unmatched" in [f.name for f in find(loud)]
