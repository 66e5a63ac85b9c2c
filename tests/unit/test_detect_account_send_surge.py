"""`account_send_surge`: a stolen account that sends is found, a newsletter that went out before is not."""

from __future__ import annotations

import pytest

from seismolog.detect.account_send_surge import Settings, find
from tests.unit.detect_hands import HOUR, at, world_of


def sends(world, account: str, per_hour: int, hours: int = 2, day: int = 1) -> None:
    world.add(
        "account_activity",
        [
            {
                "bin_start": at(10, day) + i * HOUR,
                "server": "1mx",
                "account": account,
                "logins": 1,
                "authenticated_sends": per_hour,
                "distinct_clients": 1,
            }
            for i in range(hours)
        ],
    )


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("per_hour", [400, 100])
def test_a_surge_is_found(per_hour: int) -> None:
    world = world_of()
    sends(world, "user5", per_hour)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == (("user5",), "stolen account")
    assert (one.start, one.end) == (at(10, 1), at(12, 1))
    assert one.score >= per_hour


def test_a_newsletter_went_out_before() -> None:
    world = world_of()
    sends(world, "news", 2000, day=0)
    sends(world, "news", 2500)
    assert find(world.view(), Settings()) == []


def test_accounts_can_be_left_out() -> None:
    world = world_of()
    sends(world, "news", 2000)
    assert find(world.view(), Settings(exclude_accounts=["news"])) == []
