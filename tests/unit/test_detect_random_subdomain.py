"""`random_subdomain`: ever new names of one domain are found, content networks and block lists are not."""

from __future__ import annotations

import pytest

from seismolog.detect.random_subdomain import Settings, find
from tests.unit.detect_hands import MAIL, TEN, at, clients_state, world_of

VICTIM = "victim.example"


def names(world, per_ten: int, share: float, hours: float = 2, day: int = 1, clients=None) -> None:
    who = clients or {"133.95.20.20": per_ten}
    rows = []
    for i in range(round(hours * 6)):
        count = int(world.rng.poisson(per_ten))
        rows.append(
            {
                "bin_start": at(10, day) + i * TEN,
                "server": "1dns",
                "domain": VICTIM,
                "count": count,
                "a": count,
                "distinct_names": int(count * share),
                "distinct_clients": len(who),
                "client_state": clients_state(who),
            }
        )
    world.add("domain", rows)


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("per_ten", [700, 175])
def test_water_torture_is_found(per_ten: int) -> None:
    world = world_of()
    names(world, per_ten, 0.97)
    world.pair("133.95.20.20", VICTIM, at(10, 1), 2, per_ten * 6)
    (one,) = find(world.view(), Settings())
    assert one.subjects == (VICTIM, "133.95.20.20")
    assert (one.start, one.end) == (at(10, 1), at(12, 1))
    assert "133.95.20.20" in one.explanation


def test_a_content_network_repeats_its_names() -> None:
    world = world_of()
    names(world, 3000, 0.3)
    assert find(world.view(), Settings()) == []


def test_what_was_so_yesterday_is_no_news() -> None:
    world = world_of()
    names(world, 700, 0.95, day=0)
    names(world, 900, 0.95)
    assert find(world.view(), Settings()) == []


def test_block_lists_are_asked_by_mail_servers() -> None:
    world = world_of()
    names(world, 700, 0.95, clients={MAIL: 700})
    assert find(world.view(), Settings()) == []


def test_domains_can_be_left_out() -> None:
    world = world_of()
    names(world, 700, 0.95)
    assert find(world.view(), Settings(exclude_domains=["Victim.example."])) == []
