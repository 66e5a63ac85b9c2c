"""The deferral test has both its error rates, and costs little."""

from __future__ import annotations

import time

import polars as pl
import pytest

from seismolog.model import DeferralTest, deferral_test, fit
from seismolog.simulate.worlds import world

WORLDS = 200


def excluded(parameters: dict[str, float | bool], *, fitted: bool) -> float:
    """Share of the worlds whose interval leaves 0 out."""
    count = 0
    for seed in range(WORLDS):
        frame = world(seed, **parameters)  # type: ignore[arg-type]
        count += deferral_test(frame, fit(frame) if fitted else None).excludes_zero
    return count / WORLDS


@pytest.mark.parametrize("outbreak", [False, True])
def test_without_an_effect_the_interval_includes_0(outbreak: bool) -> None:
    assert excluded({"m_sd": 0.0, "outbreak": outbreak}, fitted=True) <= 0.10


def test_with_two_queries_a_deferral_the_interval_excludes_0() -> None:
    assert excluded({"m_sd": 2.0, "outbreak": True}, fitted=True) >= 0.90


def test_both_rates_hold_on_one_day_and_with_the_study_coefficients() -> None:
    assert excluded({"m_sd": 0.0, "outbreak": True, "bins": 144}, fitted=False) <= 0.10
    assert excluded({"m_sd": 2.0, "outbreak": True, "bins": 144}, fitted=False) >= 0.90


def test_a_wrong_coefficient_of_the_mail_does_not_look_like_an_effect() -> None:
    """Deferrals follow the mail: without taking the mail out of both, r would be large here."""
    found = [deferral_test(world(seed, m_s=6.0, outbreak=True)).excludes_zero for seed in range(40)]
    assert sum(found) <= 6


def test_the_effect_that_the_fit_has_absorbed_comes_back() -> None:
    values = []
    for seed in range(20):
        frame = world(seed, m_sd=2.0, outbreak=True)
        found = deferral_test(frame, fit(frame))
        assert found.coefficient is not None
        values.append(found.coefficient)
    assert sum(values) / len(values) == pytest.approx(2.0, abs=0.35)


def test_verdicts() -> None:
    frame = world(2, m_sd=2.0, outbreak=True)
    yes = deferral_test(frame, fit(frame))
    assert yes.excludes_zero
    assert "rises with the deferrals" in yes.verdict
    frame = world(2, outbreak=True)
    no = deferral_test(frame, fit(frame))
    assert no.verdict.startswith("No correlation")
    assert no.r is not None
    assert no.low is not None
    assert no.high is not None
    assert -1 <= no.low <= no.r <= no.high <= 1


@pytest.mark.parametrize(
    "frame",
    [
        world(1, bins=20),
        world(1, bins=144).with_columns(smtp_deferred=pl.lit(0)),
        world(1, bins=144).drop("smtp_deferred"),
        world(1, bins=144).with_columns(smtp_deferred=pl.col("smtp_accepted")),
        world(1, bins=144).clear(),
        world(1, bins=144).with_columns(dns_query=pl.lit(0)),
    ],
    ids=["few", "no deferral", "no column", "all deferred", "no row", "no query"],
)
def test_nothing_to_correlate_is_said(frame: pl.DataFrame) -> None:
    found = deferral_test(frame, fit(frame))
    assert found == DeferralTest(None, None, None, None, found.verdict) or found.r is not None
    assert found.verdict.endswith(".")


def test_same_seed_same_interval() -> None:
    frame = world(3, outbreak=True)
    assert deferral_test(frame) == deferral_test(frame)


def test_one_test_costs_at_most_50_ms() -> None:
    frame = world(1, outbreak=True)
    model = fit(frame)
    deferral_test(frame, model)
    times = []
    for _ in range(7):
        began = time.process_time()
        deferral_test(frame, model)
        times.append(time.process_time() - began)
    assert min(times) <= 0.05
