"""The summary on a terminal: short, plain in a pipe, and harmless whatever a log holds."""

from __future__ import annotations

import io
import runpy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from seismolog.detect.incidents import Incident
from seismolog.report.analysis import Analysis
from seismolog.report.findings import find
from seismolog.report.page import _findings
from seismolog.report.terminal import print_models, print_summary

SAMPLE = runpy.run_path(str(Path(__file__).parent / "report_evening.py"))


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    evening = SAMPLE["evening"]()
    return replace(evening, findings=find(evening))


def summary(analysis: Analysis) -> str:
    out = io.StringIO()
    print_summary(analysis, Path("report.html"), out)
    return out.getvalue()


def test_it_says_what_was_read_counted_found_and_where(analysis: Analysis) -> None:
    text = summary(analysis)
    assert "1,404,466 lines" in text
    assert "254 not understood" in text
    assert "guessed  year 2002" in text
    assert "892,909" in text
    assert "133.95.10.2" in text
    assert "mail server 1mx" in text
    assert "D_q ≈ 8.43 N_S + 1.04 N_P" in text
    assert "Deferrals climbed on 1mx" in text
    assert text.rstrip().endswith("Report: report.html")
    assert any(spark in text for spark in "▃▄▅▆▇")


def test_who_has_incidents_is_not_told_that_nothing_stands_out(analysis: Analysis) -> None:
    start = datetime(2002, 7, 15, 18, tzinfo=UTC)
    incident = Incident(
        id="x",
        detector="silence",
        cause="dead forwarder",
        severity="warning",
        subjects=("133.95.10.27",),
        server="1dns",
        start=start,
        end=None,
        score=5.0,
        threshold=3.0,
        explanation="It asks no more.",
        evidence={"silence": {"start": start.isoformat(), "end": None, "explanation": "It asks no more."}},
        updated_at=start,
    )
    quiet = replace(analysis, findings=[], incidents=[])
    for told, said in (
        (quiet, True),
        (replace(quiet, incidents=[incident]), False),
        (replace(quiet, incidents=[replace(incident, suppressed="known")]), True),
    ):
        assert ("Nothing stands out." in summary(told)) is said
        assert ("stands out against" in _findings(told)) is said


def test_a_pipe_gets_no_escape_sequences(analysis: Analysis) -> None:
    text = summary(analysis)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(len(line) for line in text.splitlines()) <= 110


def test_markup_in_names_is_only_text(analysis: Analysis) -> None:
    bad = "[bold red]:boom:[/nonsense]\x1b]0;owned\x07\u202e"
    shown = summary(replace(analysis, site=bad, traffic=analysis.traffic.with_columns(server=pl.lit(bad)),
                            models=(replace(analysis.models[0], server=bad, notes=(bad,)),)))  # fmt: skip
    assert "[bold red]:boom:[/nonsense]\\x1b]0;owned\\x07\\u202e" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_models_stand_beside_the_study(analysis: Analysis) -> None:
    out = io.StringIO()
    print_models(analysis, out)
    line = next(line for line in out.getvalue().splitlines() if "messages accepted" in line)
    assert line.split()[2:] == ["8.430", "0.110", "8.210", "to", "8.640", "8.6"]
    assert "n(1−q) = 1.61" in out.getvalue()


def test_no_model_is_said(analysis: Analysis) -> None:
    out = io.StringIO()
    print_models(replace(analysis, models=()), out)
    assert "nothing to fit" in out.getvalue()
