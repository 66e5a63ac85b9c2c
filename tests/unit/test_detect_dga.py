"""`dga`: many made-up domains of one client are found, a heavy user's few odd ones are not."""

from __future__ import annotations

import pytest

from seismolog.detect.dga import Settings, find
from tests.unit.detect_hands import HOUR, address, at, subjects, world_of


def unlikely(world, client: str, per_hour: int, hours: int = 2, day: int = 1) -> None:
    world.add(
        "client_names",
        [
            {
                "bin_start": at(10, day) + i * HOUR,
                "server": "1dns",
                "client": client,
                "unlikely_domains": per_hour,
            }
            for i in range(hours)
        ],
    )


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("per_hour", [60, 15])
def test_generated_domains_are_found(per_hour: int) -> None:
    world = world_of()
    unlikely(world, "133.95.90.1", per_hour)
    world.queries("133.95.90.1", at(10, 1), 2, a=per_hour / 6 + 5)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == (("133.95.90.1",), "remote-controlled")
    assert (one.start, one.end) == (at(10, 1), at(12, 1))
    assert one.evidence["unlikely_domains_in_an_hour"] == per_hour


def test_one_in_a_hundred_is_what_anybody_asks() -> None:
    world = world_of()
    unlikely(world, address(2), 20)
    world.queries(address(2), at(10, 1), 2, a=350)
    assert find(world.view(), Settings()) == []


def test_what_it_did_yesterday_is_no_news() -> None:
    world = world_of()
    unlikely(world, address(2), 40, day=0)
    unlikely(world, address(2), 60)
    unlikely(world, address(3), 60)
    assert subjects(find(world.view(), Settings())) == {address(3)}


def test_without_the_table_nothing_is_raised() -> None:
    world = world_of()
    world.parts.pop("client_names")
    assert find(world.view(), Settings()) == []
