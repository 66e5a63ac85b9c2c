"""What is planted in the simulated campus: every row, apart from one another, and where the truth says."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from seismolog.detect import registry
from seismolog.simulate import campus, incidents


@pytest.fixture(scope="module")
def world() -> campus.World:
    return campus.World(5, 800)


@pytest.fixture(scope="module")
def planned(world: campus.World) -> list[incidents.Planned]:
    return incidents.plan(world, world.day(0))


def test_every_detector_has_its_row_and_its_lookalike() -> None:
    assert set(registry.names()) <= set(incidents.rows())
    alone = {name for name in registry.names() if not hasattr(incidents.row(name), "lookalike")}
    assert alone == {"log_gap"}


def test_rows_are_planted_and_name_detectors_that_exist(planned: list[incidents.Planned]) -> None:
    assert {p.row for p in planned if p.kind == "positive"} >= set(incidents.rows()) - {
        # What concerns a whole server may find no room.
        *("deferral_surge", "cache_collapse", "model_residual", "log_gap", "entropy_shift"),
    }
    for one in planned:
        assert set(one.detectors) <= set(registry.names()), one.row
        assert one.subjects
        assert 0 <= one.begin < one.end <= 1440
        if one.kind == "positive" and not one.row.startswith("study_"):
            assert one.row in one.detectors


def test_incidents_are_apart_in_clients(world: campus.World, planned: list[incidents.Planned]) -> None:
    servers = {*world.servers, *(world.people.texts[a] for a in world.people.mail)}
    seen: dict[str, str] = {}
    for one in planned:
        for subject in set(one.subjects) - servers:
            assert subject not in seen, (subject, one.row, seen[subject])
            seen[subject] = one.row


def test_what_is_planted_shows_in_the_tables(world: campus.World) -> None:
    clean = campus.count(world.day(0))
    cast = incidents.plan(
        world, world.day(0), names=["step_change", "silence", "account_spread"], lookalikes=0
    )
    day = incidents.put(cast, world.day(0))
    tables = campus.count(day)
    by_row = {t.row: t for t in day.truth}
    assert set(by_row) == {"step_change", "silence", "account_spread"}

    def asked(frames: dict[str, pl.DataFrame], row: str) -> int:
        of = by_row[row]
        frame = frames["client_traffic"].filter(
            pl.col("client") == of.subjects[0],
            pl.col("bin_start").is_between(of.start, of.end, closed="left"),
            pl.col("kind").cast(pl.String) == "dns_query",
        )
        return int(frame["count"].sum())

    minutes = (by_row["step_change"].end - by_row["step_change"].start) / timedelta(minutes=1)
    more = asked(tables, "step_change") - asked(clean, "step_change")
    assert more == pytest.approx(30 * minutes, rel=0.35)
    assert asked(clean, "silence") > 0
    assert asked(tables, "silence") == 0
    account = by_row["account_spread"].subjects[0]
    used = tables["account_activity"].filter(account=account)
    assert used["logins"].sum() > clean["account_activity"].filter(account=account)["logins"].sum()


def test_the_same_seed_gives_the_same_tables(world: campus.World) -> None:
    again = campus.World(5, 800)
    one = campus.count(world.day(0), wanted={"traffic": ["count"], "client_traffic": ["count"]})
    other = campus.count(again.day(0), wanted={"traffic": ["count"], "client_traffic": ["count"]})
    assert one["client_traffic"].equals(other["client_traffic"])
    assert one["traffic"].equals(other["traffic"])


def test_the_past_is_like_the_day(world: campus.World) -> None:
    """A day counted by ten minutes has the totals of one counted by the minute."""

    def whole() -> campus.Day:
        day = world.day(-1)
        # What is lost of a log is lost by chance where only ten minutes are known.
        day.removals.clear()
        return day

    fine = campus.count(whole())["client_traffic"]
    coarse = campus.count_coarsely(whole())["client_traffic"]
    for frame in (fine, coarse):
        assert frame["bin_start"].dt.date().n_unique() <= 2
    keys = ["kind", "client"]

    def totals(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.group_by(keys).agg(pl.col("count").sum()).sort(keys)

    assert totals(fine).equals(totals(coarse))


def test_worlds_differ() -> None:
    drawn = [campus.World(seed, 200).parameters for seed in range(1, 7)]
    assert len({p.zipf for p in drawn}) == 6
    assert len({p.degrees for p in drawn}) > 1
    with pytest.raises(ValueError, match="clients = 10"):
        campus.World(1, 10)
