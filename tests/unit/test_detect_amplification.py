"""`amplification`: a flood of ANY for one name is found, scanners that ask once are not."""

from __future__ import annotations

import pytest

from seismolog.detect.amplification import Settings, find
from tests.unit.detect_hands import TEN, at, world_of

VICTIM = "198.51.100.9"


def flood(world, per_ten: int, share: float, query_type: str = "any", hours: float = 1, day: int = 1) -> None:
    world.queries(VICTIM, at(10, day), hours, **{query_type: per_ten})
    world.add(
        "traffic",
        [
            {
                "bin_start": at(10, day) + i * TEN,
                "server": "1dns",
                "kind": "dns_query",
                "query_type": query_type,
                "side": "outside",
                "count": per_ten,
                "top_name_share": share,
            }
            for i in range(round(hours * 6))
        ],
    )
    world.add(
        "domain",
        [
            {
                "bin_start": at(10, day),
                "server": "1dns",
                "domain": "big.example",
                "count": per_ten,
                query_type: per_ten,
                "distinct_names": 1,
                "distinct_clients": 1,
            }
        ],
    )


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("query_type", ["any", "ns"])
@pytest.mark.parametrize("per_ten", [2000, 500])
def test_a_flood_is_found(per_ten: int, query_type: str) -> None:
    world = world_of()
    flood(world, per_ten, 0.99, query_type)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == ((VICTIM,), "attack from outside")
    assert (one.start, one.end) == (at(10, 1), at(11, 1))
    assert one.evidence["domain"] == "big.example"
    assert query_type.upper() in one.explanation


def test_a_scanner_asks_for_many_names() -> None:
    world = world_of()
    flood(world, 2000, 0.01)
    assert find(world.view(), Settings()) == []


def test_what_was_so_yesterday_is_no_news() -> None:
    world = world_of()
    flood(world, 2000, 0.99, day=0)
    flood(world, 2000, 0.99)
    assert find(world.view(), Settings()) == []


def test_few_queries_are_no_flood() -> None:
    world = world_of()
    flood(world, 40, 0.99)
    assert find(world.view(), Settings()) == []


def of_the_root(world, counts: list[int], hour: float = 10) -> None:
    world.add(
        "domain",
        [
            {
                "bin_start": at(hour, 1) + i * TEN,
                "server": "1dns",
                "domain": ".",
                "count": count,
                "ns": count,
                "distinct_names": 1,
                "distinct_clients": 1,
            }
            for i, count in enumerate(counts)
        ],
    )


def test_ns_of_the_root_is_found_where_ns_is_asked_for_all_day() -> None:
    world = world_of()
    for day in (0, 1):
        world.queries("192.0.2.77", at(0, day), 24, ns=60)
    world.queries(VICTIM, at(10, 1), 1, ns=180)
    of_the_root(world, [180] * 6)
    (one,) = find(world.view(), Settings())
    assert (one.subjects[0], one.start, one.end) == (VICTIM, at(10, 1), at(11, 1))
    assert "180 NS queries of the root" in one.explanation


def test_the_root_is_looked_at_beside_a_flood_of_another_name() -> None:
    world = world_of()
    for day in (0, 1):
        world.queries("192.0.2.77", at(0, day), 24, ns=60)
    flood(world, 2000, 0.99, "ns")  # at ten, and told by all names together
    world.queries("198.51.100.77", at(15, 1), 1, ns=180)
    of_the_root(world, [180] * 6, 15)
    found = find(world.view(), Settings())
    assert [(r.subjects[0], r.start) for r in found] == [(VICTIM, at(10, 1)), ("198.51.100.77", at(15, 1))]


def test_ns_of_other_names_beside_a_little_of_the_root_is_no_flood() -> None:
    world = world_of()
    for day in (0, 1):
        world.queries("192.0.2.77", at(0, day), 24, ns=60)
    world.queries(VICTIM, at(10, 1), 1, ns=180)
    of_the_root(world, [20] * 6)
    assert find(world.view(), Settings()) == []
