"""A server's log has a gap: what its clients did meanwhile is a line in their curves, and not what they did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from seismolog.detect import flat_curve, ripple, step_change, synchronized_clients
from tests.unit.detect_campus import Campus, pc, server

HERE, ELSEWHERE = pc(250), pc(251)


@dataclass
class TwoServers(Campus):
    """Hosts with an odd number ask a second server, whose log has a gap on the last day."""

    gap: tuple[float, float] = (11.0, 12.5)

    def tables(self) -> dict[str, pl.DataFrame]:
        made = super().tables()
        second = [pc(i) for i in range(1, self.pcs, 2)] + [server(i) for i in range(1, self.servers, 2)]
        clients = made["client_traffic"].with_columns(
            pl.when(pl.col("client").is_in(second))
            .then(pl.lit("2dns"))
            .otherwise(pl.col("server"))
            .alias("server")
        )
        hidden = (
            (pl.col("server") == "2dns")
            & (pl.col("bin_start") >= self.at(self.gap[0]))
            & (pl.col("bin_start") < self.at(self.gap[1]))
        )
        clients = clients.filter(~hidden)
        asked = (
            clients.filter(pl.col("kind") == "dns_query")
            .group_by("bin_start", "server", "kind")
            .agg(pl.col("count").cast(pl.Int64).sum())
        )
        mail = made["traffic"].filter(pl.col("kind") != "dns_query")
        return {"client_traffic": clients, "traffic": pl.concat([asked, mail])}


def test_a_curve_tells_in_which_bins_its_own_log_is_there() -> None:
    view = TwoServers(seed=31).view()
    curves = view.curves()
    told = view.told(curves.where(np.array([curves.names.index(HERE), curves.names.index(ELSEWHERE)])))
    assert told[0].all()
    assert np.flatnonzero(~told[1]).tolist() == list(range(72 + 66, 72 + 75))


def test_a_plateau_is_flat_in_the_bins_that_its_log_tells_of() -> None:
    campus = TwoServers(seed=32)
    campus.add(HERE, 300, 7, 16)
    campus.add(ELSEWHERE, 300, 7, 16)
    # Five hours of it are seen, and a line over the gap.
    campus.add(pc(253), 300, 7.5, 14)
    found = flat_curve.find(campus.view(), flat_curve.Settings())
    assert {r.subjects for r in found} == {(HERE,), (ELSEWHERE,)}
    assert all(r.start == campus.at(7) and r.end == campus.at(16) for r in found)


@pytest.mark.parametrize("begin", [11.1, 11.8, 12.4])
def test_what_begins_in_a_gap_is_dated_to_its_middle(begin: float) -> None:
    campus = TwoServers(seed=33)
    campus.add(ELSEWHERE, 300, begin, 18)
    found = step_change.find(campus.view(), step_change.Settings())
    assert [r.subjects for r in found] == [(ELSEWHERE,)]
    assert abs(found[0].start - campus.at(11.75)) <= timedelta(minutes=10)


def test_what_began_before_a_gap_is_dated_to_its_own_begin() -> None:
    campus = TwoServers(seed=33)
    campus.add(ELSEWHERE, 300, 10, 18)
    found = step_change.find(campus.view(), step_change.Settings())
    assert found[0].start == campus.at(10)


def test_one_gap_is_no_step_of_two_clients() -> None:
    campus = TwoServers(seed=34, gap=(10, 13))
    other = pc(253)
    for client in (ELSEWHERE, other):
        campus.add(client, 200 * np.linspace(0.5, 4, 420) * campus.blocks(9, 16, 0.5), 9, 16)
    view = campus.view()
    curves = view.curves()
    rows = np.array([curves.names.index(ELSEWHERE), curves.names.index(other)])
    inside = slice(72 + 60, 72 + 78)
    assert np.corrcoef(curves.values[rows][:, inside])[0, 1] > 0.99
    assert synchronized_clients.find(view, synchronized_clients.Settings()) == []


def test_bins_of_ten_minutes_of_the_past_are_no_period_of_it() -> None:
    campus = Campus(seed=35)
    wave = 300 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(540) / 10))
    campus.add(HERE, wave, 11, 20)
    for day in (3, 4):
        campus.add(HERE, 110, 8, 20, day)
    # Up to the midnight before, the past is kept in bins of ten minutes.
    size = (campus.days - 2) * 1440
    for client, counts in campus.minutes.items():
        tens = np.zeros_like(counts)
        tens[:size:10] = counts[:size].reshape(-1, 10).sum(axis=1)
        tens[size:] = counts[size:]
        campus.minutes[client] = tens
    found = ripple.find(campus.view(), ripple.Settings())
    assert [r.subjects for r in found] == [(HERE,)]
