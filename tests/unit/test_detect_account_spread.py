"""`account_spread`: an account that is used from many networks is found, mobile users are not."""

from __future__ import annotations

import polars as pl
import pytest

from seismolog.detect.account_spread import Settings, find
from tests.unit.detect_hands import HOUR, at, clients_state, subjects, world_of


def used(
    world, account: str, addresses: list[str], hours: int = 6, day: int = 1, networks: bool = True
) -> None:
    """Some of the addresses in each hour."""
    rows = []
    for i in range(hours):
        now = addresses[i::hours]
        if not now:
            continue
        nets = {a.rsplit(".", 1)[0] + ".0": 1 for a in now}
        rows.append(
            {
                "bin_start": at(10, day) + i * HOUR,
                "server": "1mx",
                "account": account,
                "logins": len(now),
                "distinct_clients": len(now),
                "client_state": clients_state(dict.fromkeys(now, 1)),
                **(
                    {"distinct_networks": len(nets), "network_state": clients_state(nets)} if networks else {}
                ),
            }
        )
    world.add("account_activity", rows)


MANY = [f"198.{18 + i % 2}.{i}.7" for i in range(60)]


def with_networks(world) -> None:
    """The campus' own rows with their networks: one each."""
    (rows,) = world.parts["account_activity"]
    world.parts["account_activity"] = [
        rows.with_columns(
            pl.lit(1, pl.Int32).alias("distinct_networks"), pl.col("client_state").alias("network_state")
        )
    ]


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []
    world = world_of()
    with_networks(world)
    assert find(world.view(), Settings()) == []


@pytest.mark.parametrize("number", [40, 10])
def test_many_networks_are_found(number: int) -> None:
    world = world_of()
    with_networks(world)
    used(world, "user5", MANY[:number])
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == (("user5",), "stolen account")
    assert "networks" in one.explanation
    assert one.evidence["networks"] >= number


def test_addresses_do_where_networks_are_not_counted() -> None:
    world = world_of()
    used(world, "user5", MANY[:40], networks=False)
    assert subjects(find(world.view(), Settings())) == {"user5"}


def test_a_mobile_user_has_few_networks() -> None:
    world = world_of()
    with_networks(world)
    used(world, "user5", [f"198.18.{i % 3}.{i}" for i in range(80)])
    assert find(world.view(), Settings()) == []


def test_who_was_everywhere_yesterday_is_no_news() -> None:
    world = world_of()
    with_networks(world)
    used(world, "user5", MANY[:30], day=0)
    used(world, "user5", MANY[25:55])
    assert find(world.view(), Settings()) == []
