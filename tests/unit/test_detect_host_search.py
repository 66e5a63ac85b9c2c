"""`host_search`: searches in sequence and at random are found and told apart, analysers of logs are not searches."""

from __future__ import annotations

import pytest

from seismolog.detect.host_search import Settings, find
from tests.unit.detect_hands import HOUR, address, at, subjects, world_of

SEARCHER = "133.95.90.1"


def search(world, origin: str, per_hour: int, distinct: int, kind: str, hours: int = 2, day: int = 1) -> None:
    steps = per_hour - 1
    histogram = {
        "sequential": [0, steps],
        "random": [0, 1, 1, 3, steps // 2, steps // 3, steps // 6],
        "repeated": [steps // 2, 1, 1, 3, steps // 4, steps // 8, steps // 8],
    }[kind]
    world.add(
        "ptr_target",
        [
            {
                "bin_start": at(10, day) + i * HOUR,
                "server": "1dns",
                "origin": origin,
                "count": per_hour,
                "distinct_targets": distinct,
                "distance_histogram": histogram,
            }
            for i in range(hours)
        ],
    )


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("per_ten", [256, 64])
@pytest.mark.parametrize("kind", ["sequential", "random"])
def test_a_search_is_found_and_named(per_ten: int, kind: str) -> None:
    world = world_of()
    search(world, SEARCHER, per_ten * 6, per_ten * 6, kind)
    world.queries(SEARCHER, at(10, 1), 2, ptr=per_ten)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause, one.evidence["kind"]) == ((SEARCHER,), "host search", kind)
    assert (one.start, one.end) == (at(10, 1), at(12, 1))


def test_it_is_dated_by_ten_minutes() -> None:
    world = world_of()
    search(world, SEARCHER, 800, 800, "sequential", hours=2)
    world.queries(SEARCHER, at(10.5, 1), 1, ptr=256)
    (one,) = find(world.view(), Settings())
    assert (one.start, one.end) == (at(10.5, 1), at(11.5, 1))


def test_an_analyser_of_logs_asks_again_and_again() -> None:
    world = world_of()
    search(world, SEARCHER, 1500, 600, "repeated")
    assert find(world.view(), Settings()) == []


def test_what_it_did_yesterday_is_no_news() -> None:
    world = world_of()
    search(world, SEARCHER, 1500, 1400, "random", day=0)
    search(world, SEARCHER, 1500, 1400, "random", day=1)
    assert find(world.view(), Settings()) == []


def test_many_clients_of_one_network_take_turns() -> None:
    world = world_of()
    for i in range(20):
        search(world, f"133.95.90.{i}", 100, 100, "sequential")
    search(world, "133.95.90.0/24", 2000, 2000, "sequential")
    assert subjects(find(world.view(), Settings())) == {"133.95.90.0/24"}


def test_a_network_is_not_raised_beside_its_client() -> None:
    world = world_of()
    search(world, address(0), 2000, 2000, "sequential")
    search(world, address(0).rsplit(".", 1)[0] + ".0/24", 2100, 2100, "sequential")
    assert subjects(find(world.view(), Settings())) == {address(0)}
