"""`tunnel`: data in names are found, content networks and antivirus are not."""

from __future__ import annotations

import pytest

from seismolog.detect.tunnel import Settings, find
from tests.unit.detect_hands import address, at, subjects, world_of

LONG = {"names_measured": 100, "label_entropy_sum": 430.0, "median_name_length": 50, "distinct_names": "all"}


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("per_ten", [100, 25])
def test_a_tunnel_is_found(per_ten: int) -> None:
    world = world_of()
    world.pair(address(7), "t.example", at(10, 1), 2, per_ten * 6, **LONG)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == ((address(7), "t.example"), "tunnel")
    assert (one.start, one.end) == (at(10, 1), at(12, 1))
    assert one.evidence["median_name_length"] == 50


def test_antivirus_is_asked_by_many() -> None:
    world = world_of()
    for i in range(20):
        world.pair(address(i), "av.example", at(10, 1), 2, 400, **LONG)
    assert find(world.view(), Settings()) == []


def test_few_today_and_many_before_is_no_tunnel() -> None:
    world = world_of()
    for i in range(20):
        world.pair(address(i), "av.example", at(10, 0), 2, 3, **LONG)
    world.pair(address(1), "av.example", at(10, 1), 2, 400, **LONG)
    assert find(world.view(), Settings()) == []


def test_short_plain_names_carry_nothing() -> None:
    world = world_of()
    plain = {**LONG, "label_entropy_sum": 250.0, "median_name_length": 20}
    world.pair(address(7), "hosts.example", at(10, 1), 2, 400, **plain)
    assert find(world.view(), Settings()) == []


def test_what_it_did_yesterday_is_no_news() -> None:
    world = world_of()
    world.pair(address(7), "t.example", at(10, 0), 2, 600, **LONG)
    world.pair(address(7), "t.example", at(10, 1), 2, 600, **LONG)
    world.pair(address(8), "u.example", at(10, 1), 2, 600, **LONG)
    assert subjects(find(world.view(), Settings())) == {address(8)}
