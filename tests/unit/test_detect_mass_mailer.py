"""`mass_mailer`: a worm and a relay are found and told apart, servers and monitors are left alone."""

from __future__ import annotations

import pytest

from seismolog.detect.mass_mailer import Settings, find
from tests.unit.detect_hands import MAIL, address, at, subjects, world_of

WORM, RELAY, MONITOR, MTA = "133.95.90.1", "133.95.90.2", "133.95.90.3", "133.95.90.4"


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("strength", [40, 10])
def test_a_worm_asks_mx_and_no_ptr(strength: float) -> None:
    world = world_of()
    world.queries(WORM, at(10, 1), 2, mx=strength, a=strength)
    (one,) = find(world.view(), Settings())
    assert one.cause == "worm"
    assert one.subjects == (WORM,)
    assert abs((one.start - at(10, 1)).total_seconds()) <= 1200
    assert one.end is not None and abs((one.end - at(12, 1)).total_seconds()) <= 1200
    assert one.evidence["ptr_ratio"] < 0.02
    assert WORM in one.explanation and "MX" in one.explanation


def test_a_relay_looks_up_its_peers() -> None:
    world = world_of()
    world.queries(RELAY, at(10, 1), 2, mx=40, a=60, ptr=20)
    (one,) = find(world.view(), Settings())
    assert one.cause == "spam relay"
    assert one.evidence["ptr"] > 100


def test_an_infected_pc_goes_on_working() -> None:
    world = world_of()
    world.queries(address(5), at(10, 1), 2, mx=40, a=40)
    assert subjects(find(world.view(), Settings())) == {address(5)}


def test_what_mailed_yesterday_is_no_news() -> None:
    world = world_of()
    for day in (0, 1):
        world.queries(MTA, at(8, day), 6, mx=40, a=60, ptr=30)
    assert find(world.view(), Settings()) == []


def test_a_monitor_asks_for_the_same_names() -> None:
    world = world_of()
    world.queries(MONITOR, at(10, 1), 6, names=3, mx=30)
    assert find(world.view(), Settings()) == []


def test_known_mail_servers_and_exceptions_are_left_alone() -> None:
    world = world_of()
    world.queries(MAIL, at(10, 1), 2, mx=4000)
    world.queries(WORM, at(10, 1), 2, mx=40, a=40)
    assert find(world.view(), Settings(exclude=["133.95.90.0/24"])) == []


def test_one_that_goes_on_has_no_end() -> None:
    world = world_of()
    world.queries(WORM, at(22, 1), 2, mx=40, a=40)
    (one,) = find(world.view(), Settings())
    assert one.end is None
