"""Three small worlds through the whole evaluation: incidents are found, look-alikes and clean days stay quiet.

The goals of the full evaluation (docs/evaluation.md) are for 20,000 clients and sixty worlds; three worlds of 1,200 clients
can only tell that nothing has come apart. The bounds here are set by that: an interval of three worlds is wide.
"""

from __future__ import annotations

from typing import Any

import pytest

from seismolog.evaluate import Plan, evaluate, summarize
from seismolog.evaluate.summary import STUDY, Summary

PLAN = Plan(clients=1200, history=7, strengths=(1.0,))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return evaluate(tmp_path_factory.mktemp("worlds"), (101, 102, 103), PLAN)


@pytest.fixture(scope="module")
def summary(results: list[dict[str, Any]]) -> Summary:
    return summarize(results)


pytestmark = pytest.mark.slow


def test_incidents_of_2003_are_found_and_dated(summary: Summary) -> None:
    rows = [summary.rows[name] for name in STUDY if name in summary.rows]
    found = sum(row.any[1.0].hits for row in rows)
    tried = sum(row.any[1.0].trials for row in rows)
    assert tried >= 20
    assert found / tried >= 0.9
    dated = sum(row.dated.hits for row in rows)
    assert dated / sum(row.dated.trials for row in rows) >= 0.85


def test_successors_are_found(summary: Summary) -> None:
    rows = [row for name, row in summary.rows.items() if name not in STUDY]
    found = sum(row.any[1.0].hits for row in rows)
    assert found / sum(row.any[1.0].trials for row in rows) >= 0.8


def test_lookalikes_are_left_alone(summary: Summary) -> None:
    fired = sum(row.lookalike.hits for row in summary.rows.values())
    tried = sum(row.lookalike.trials for row in summary.rows.values())
    assert tried >= 60
    assert fired / tried <= 0.1


def test_clean_days_are_quiet(summary: Summary) -> None:
    assert summary.clean.days == 3
    assert summary.clean.incidents <= 6, summary.clean.examples


def test_what_is_raised_is_mostly_true(summary: Summary) -> None:
    share = summary.precision[1.0].share
    assert share is not None
    assert share >= 0.75


def test_every_explanation_has_numbers_in_it(results: list[dict[str, Any]]) -> None:
    for result in results:
        for truth in result["truths"]:
            for detector, what in truth["by"].items():
                assert any(c.isdigit() for c in what["explanation"]), (detector, what["explanation"])
