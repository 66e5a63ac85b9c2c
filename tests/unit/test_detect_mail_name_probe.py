"""`mail_name_probe`: guesses of mail servers' names are found, mail clients are not."""

from __future__ import annotations

import pytest

from seismolog.detect.mail_name_probe import Settings, find
from tests.unit.detect_hands import HOUR, address, at, subjects, world_of

WORM = "133.95.90.1"


def probing(world, client: str, domains: int, probed: int, hours: int = 2, day: int = 1) -> None:
    world.add(
        "client_names",
        [
            {
                "bin_start": at(10, day) + i * HOUR,
                "server": "1dns",
                "client": client,
                "mail_domains": domains,
                "probed_domains": probed,
            }
            for i in range(hours)
        ],
    )


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("domains", [120, 30])
def test_a_worm_is_found(domains: int) -> None:
    world = world_of()
    probing(world, WORM, domains, domains // 2)
    world.queries(WORM, at(10, 1), 2, a=domains)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == ((WORM,), "worm")
    assert (one.start, one.end) == (at(10, 1), at(12, 1))
    assert one.evidence["domains_in_an_hour"] == domains


def test_rows_of_pairs_do_where_names_were_not_counted() -> None:
    world = world_of()
    world.parts.pop("client_names")
    for i in range(30):
        world.pair(WORM, f"host{i}.example", at(10, 1), 2, 6.0, mail_label_bits=7 if i < 10 else 1)
    assert subjects(find(world.view(), Settings())) == {WORM}


def test_a_mail_client_has_few_domains() -> None:
    world = world_of()
    probing(world, WORM, 4, 1, hours=8)
    assert find(world.view(), Settings()) == []


def test_many_domains_without_guessing_are_no_probe() -> None:
    world = world_of()
    probing(world, address(3), 40, 0)
    assert find(world.view(), Settings()) == []


def test_a_mail_server_asks_mx_too() -> None:
    world = world_of()
    probing(world, WORM, 60, 10)
    world.queries(WORM, at(10, 1), 2, a=20, mx=20)
    assert find(world.view(), Settings()) == []


def test_what_it_did_yesterday_is_no_news() -> None:
    world = world_of()
    probing(world, WORM, 60, 30, day=0)
    probing(world, WORM, 80, 30)
    assert find(world.view(), Settings()) == []
