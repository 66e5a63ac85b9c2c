"""`client_profile`: hours over the limits are found once each, resolvers and what was always so are not."""

from __future__ import annotations

from seismolog.detect.client_profile import Settings, find
from tests.unit.detect_hands import address, at, subjects, world_of

BOT = "133.95.90.1"


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


def test_all_limits_of_an_hour_are_one_incident() -> None:
    world = world_of()
    world.queries(BOT, at(10, 1), 2, a=3000, ptr=200)
    world.pair(BOT, "target.example", at(10, 1), 2, 15000)
    (one,) = find(world.view(), Settings())
    assert one.subjects == (BOT,)
    assert (one.start, one.end) == (at(10, 1), at(12, 1))
    assert {"queries", "ptr", "one_domain"} <= one.evidence.keys()
    assert one.severity == "warning"
    assert "10,000" in one.explanation


def test_reverse_look_ups_alone_are_a_notice() -> None:
    world = world_of()
    world.queries(BOT, at(10, 1), 1, ptr=150)
    (one,) = find(world.view(), Settings())
    assert one.severity == "notice" and "PTR" in one.explanation


def test_distinct_names_count() -> None:
    world = world_of()
    world.queries(BOT, at(10, 1), 1, names=2500, a=800)
    found = find(world.view(), Settings(names=700))
    assert subjects(found) == {BOT} and "names" in found[0].evidence


def test_a_burst_in_one_minute_counts() -> None:
    world = world_of()
    world.queries(address(2), at(10, 1), 1, a=1)
    world.add(
        "client_traffic",
        [
            {
                "bin_start": at(10.5, 1),
                "server": "1dns",
                "kind": "dns_query",
                "client": address(2),
                "count": 6000,
                "a": 6000,
                "distinct_names": 1,
            }
        ],
    )
    (one,) = find(world.view(), Settings())
    assert "peak_ratio" in one.evidence


def test_resolvers_are_left_alone() -> None:
    world = world_of()
    world.queries("133.95.1.1", at(10, 1), 2, a=3000, ptr=200)
    assert find(world.view(), Settings()) == []


def test_what_it_did_yesterday_is_no_news() -> None:
    world = world_of()
    for day in (0, 1):
        world.queries(BOT, at(10, day), 2, a=3000, ptr=200)
    assert find(world.view(), Settings()) == []
