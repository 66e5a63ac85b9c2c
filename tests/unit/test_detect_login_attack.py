"""`login_attack`: brute force and spraying are found, a telephone with an old password is not."""

from __future__ import annotations

import pytest

from seismolog.detect.login_attack import Settings, find
from tests.unit.detect_hands import HOUR, address, at, clients_state, subjects, world_of

ATTACKER = "198.51.100.7"


def failures(
    world, account: str, clients: dict[str, int], hours: int = 2, day: int = 1, logins: int = 0
) -> None:
    world.add(
        "account_activity",
        [
            {
                "bin_start": at(10, day) + i * HOUR,
                "server": "1mx",
                "account": account,
                "logins": logins,
                "failures": sum(clients.values()),
                "distinct_clients": len(clients),
                "client_state": clients_state(clients),
            }
            for i in range(hours)
        ],
    )


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("per_ten", [200, 50])
def test_a_client_that_tries_many_accounts(per_ten: int) -> None:
    world = world_of()
    world.queries(ATTACKER, at(10, 1), 2, kind="auth_failure", count=per_ten)
    for i in range(20):
        failures(world, f"user{i}", {ATTACKER: per_ten * 6 // 20})
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == ((ATTACKER,), "brute force")
    assert one.evidence["accounts"] == 20
    assert (one.start, one.end) == (at(10, 1), at(12, 1))


def test_a_log_that_names_no_account_is_enough() -> None:
    world = world_of()
    world.queries(ATTACKER, at(10, 1), 2, kind="auth_failure", count=60)
    assert subjects(find(world.view(), Settings())) == {ATTACKER}


def test_a_telephone_with_an_old_password() -> None:
    world = world_of()
    world.queries(address(9), at(10, 1), 8, kind="auth_failure", count=40)
    failures(world, "user9", {address(9): 240}, hours=8)
    assert find(world.view(), Settings()) == []


def test_one_account_can_be_attacked_by_force() -> None:
    world = world_of()
    world.queries(ATTACKER, at(10, 1), 2, kind="auth_failure", count=400)
    failures(world, "root", {ATTACKER: 2400})
    assert subjects(find(world.view(), Settings())) == {ATTACKER}


def test_an_account_from_many_clients() -> None:
    world = world_of()
    failures(world, "user3", {f"198.51.100.{i}": 2 for i in range(40)})
    (one,) = find(world.view(), Settings())
    assert one.subjects == ("user3",) and "40 clients" in one.explanation


def test_what_was_so_yesterday_is_no_news() -> None:
    world = world_of()
    for day in (0, 1):
        world.queries(ATTACKER, at(10, day), 2, kind="auth_failure", count=200)
        failures(world, "user3", {f"198.51.100.{i}": 2 for i in range(40)}, day=day)
    assert find(world.view(), Settings()) == []


def test_refusals_at_smtp_time() -> None:
    world = world_of()
    world.queries(ATTACKER, at(10, 1), 1, kind="smtp_rejected", count=300)
    (one,) = find(world.view(), Settings())
    assert one.severity == "notice" and one.evidence["kind"] == "smtp_rejected"
