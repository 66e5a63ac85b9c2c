"""Worlds: the truth that their parameters promise is what comes out, over seeds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from seismolog.simulate.worlds import world, worlds


def per_message(frame: pl.DataFrame) -> float:
    """Queries that neither POP nor deferrals cause, per message, with m_P = 1."""
    total = frame.sum()
    return float((total["dns_query"][0] - total["pop_access"][0]) / total["smtp_accepted"][0])


def test_the_same_seed_gives_the_same_world() -> None:
    assert world(7, outbreak=True).equals(world(7, outbreak=True))
    assert not world(7).equals(world(8))


def test_columns_are_counts_on_a_regular_grid() -> None:
    frame = world(1, bins=288, bin="5m")
    assert frame["bin_start"].diff().drop_nulls().unique().to_list() == [np.timedelta64(300, "s")]
    assert frame.schema["bin_start"] == pl.Datetime("us", "UTC")
    for kind in ("dns_query", "smtp_accepted", "pop_access", "smtp_sent", "smtp_deferred", "smtp_connection"):
        assert frame.schema[kind] == pl.UInt64


@pytest.mark.parametrize("outbreak", [False, True])
def test_coefficients_are_the_truth_on_average(outbreak: bool) -> None:
    values = [per_message(frame) for _, frame in worlds(60, outbreak=outbreak)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - 8.6) < 4 * error
    assert error < 0.03


def test_deferrals_cost_what_they_are_made_to_cost() -> None:
    with_cost = [frame.sum() for _, frame in worlds(20, outbreak=True, m_sd=2.0, overdispersion=0.0)]
    extra = [
        (f["dns_query"][0] - f["pop_access"][0] - 8.6 * f["smtp_accepted"][0]) / f["smtp_deferred"][0]
        for f in with_cost
    ]
    assert np.mean(extra) == pytest.approx(2.0, abs=0.15)


def test_an_outbreak_raises_deferrals_from_two_to_forty_percent() -> None:
    shares = []
    for _, frame in worlds(20, outbreak=True):
        tried = pl.col("smtp_sent") + pl.col("smtp_deferred")
        running = frame.filter("outbreak")
        assert running.height == 36
        quiet = frame.filter(~pl.col("outbreak"))
        shares.append(
            [
                part.select(pl.col("smtp_deferred").sum() / tried.sum()).item()
                for part in (quiet, running.tail(24))
            ]
        )
    before, after = np.mean(shares, axis=0)
    assert 0.01 < before < 0.03
    assert 0.35 < after < 0.45


def test_intensities_are_autocorrelated() -> None:
    frame = world(3, bins=2016)
    ratio = (frame["smtp_accepted"].rolling_mean(3) / frame["pop_access"].rolling_mean(3)).drop_nulls()
    series = np.log(ratio.to_numpy())
    assert np.corrcoef(series[:-6], series[6:])[0, 1] > 0.4


def test_a_cache_that_depends_on_the_load_lowers_the_queries() -> None:
    assert per_message(world(1, independent=False)) < 0.8 * per_message(world(1))


def test_contaminated_bins_are_marked() -> None:
    frame = world(2, contamination=0.05).with_columns(
        calculated=8.6 * pl.col("smtp_accepted") + pl.col("pop_access")
    )
    ratio = frame.group_by("outlying").agg((pl.col("dns_query") / pl.col("calculated")).median())
    by_truth = dict(ratio.iter_rows())
    assert by_truth[True] > 1.4
    assert by_truth[False] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    "wrong", [{"bins": 0}, {"bin": "ten"}, {"m_s": 1.0}, {"contamination": 2.0}, {"messages": -1.0}]
)
def test_a_wrong_parameter_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        world(1, **wrong)  # type: ignore[arg-type]
