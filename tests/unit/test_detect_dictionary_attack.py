"""`dictionary_attack`: a host that looks up one attacker again and again, and a web server that looks up its visitors."""

from __future__ import annotations

import pytest

from seismolog.detect.dictionary_attack import Settings, find
from tests.unit.detect_hands import HOUR, at, clients_state, world_of

HOST = "133.95.90.1"


def targets(world, counts: dict[str, int], hours: int = 2, day: int = 1, state: bool = True) -> None:
    world.add(
        "ptr_target",
        [
            {
                "bin_start": at(10, day) + i * HOUR,
                "server": "1dns",
                "origin": HOST,
                "count": sum(counts.values()),
                "distinct_targets": len(counts),
                "target_state": clients_state(counts) if state else None,
            }
            for i in range(hours)
        ],
    )


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("per_ten", [200, 50])
def test_an_attack_is_found(per_ten: int, state: bool) -> None:
    world = world_of()
    world.queries(HOST, at(10, 1), 2, ptr=per_ten)
    few = {f"198.18.7.{i}": 1 for i in range(per_ten // 4)}
    targets(world, {"198.18.1.1": per_ten * 6 - len(few), **few}, state=state)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == ((HOST,), "brute force")
    assert one.evidence["top_two_share"] > 0.8
    assert abs((one.start - at(10, 1)).total_seconds()) <= 1200


@pytest.mark.parametrize("state", [True, False])
def test_host_name_lookups_are_of_many(state: bool) -> None:
    world = world_of()
    world.queries(HOST, at(10, 1), 2, ptr=200)
    targets(world, {f"198.18.{i // 200}.{i % 200}": 2 for i in range(600)}, state=state)
    assert find(world.view(), Settings()) == []


def test_what_it_did_yesterday_is_no_news() -> None:
    world = world_of()
    for day in (0, 1):
        world.queries(HOST, at(10, day), 2, ptr=200)
        targets(world, {"198.18.1.1": 1200}, day=day)
    assert find(world.view(), Settings()) == []
