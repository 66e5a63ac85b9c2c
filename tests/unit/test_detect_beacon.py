"""`beacon`: regular asking for orders is found, people, updates and what was always so are not."""

from __future__ import annotations

import numpy as np
import pytest

from seismolog.detect.beacon import Settings, find, regularity
from seismolog.store.schema import INTERVAL_MINUTES
from tests.unit.detect_hands import HOUR, address, at, subjects, world_of

EDGES = np.array([*INTERVAL_MINUTES, 1e9])


def regular(
    world, client: str, domain: str, period: float, jitter: float, hours: int, start: float = 8, day: int = 1
):
    """A client asks every `period` minutes, give or take a share; each time A and AAAA."""
    times, now = [], 0.0
    while now < hours * 60:
        times.append(now)
        now += period * (1 + jitter * world.rng.uniform(-1, 1))
    minutes = np.floor(np.array(times)).astype(int)
    rows = []
    before = None
    for hour in range(hours):
        inside = minutes[(minutes >= 60 * hour) & (minutes < 60 * hour + 60)]
        if not len(inside):
            continue
        steps = np.diff(inside if before is None else np.concatenate([[before], inside]))
        histogram = np.histogram(steps, EDGES)[0]
        histogram[0] += len(inside)  # AAAA beside A
        before = inside[-1]
        rows.append(
            {
                "bin_start": at(start, day) + hour * HOUR,
                "server": "1dns",
                "client": client,
                "domain": domain,
                "count": 2 * len(inside),
                "distinct_names": 1,
                "interval_histogram": histogram.tolist(),
            }
        )
    world.add("client_domain", rows)


def test_a_clean_day_is_quiet() -> None:
    assert find(world_of().view(), Settings()) == []


@pytest.mark.parametrize(("period", "jitter"), [(1, 0.1), (2, 0.1), (5, 0.1), (10, 0.2), (30, 0.1), (7, 0.0)])
def test_a_beacon_is_found(period: float, jitter: float) -> None:
    world = world_of()
    regular(world, address(4), "c2.example", period, jitter, 10)
    (one,) = find(world.view(), Settings())
    assert (one.subjects, one.cause) == ((address(4), "c2.example"), "remote-controlled")
    assert one.start == at(8, 1)
    assert abs(one.evidence["median_minutes"] / period - 1) < 0.25
    assert "no other client asks it" in one.explanation


def test_updates_are_asked_by_many() -> None:
    world = world_of()
    for i in range(30):
        regular(world, address(i), "update.example", 10, 0.05, 8)
    assert find(world.view(), Settings()) == []


def test_what_others_asked_before_is_known_software() -> None:
    world = world_of()
    for i in range(20):
        regular(world, address(i), "update.example", 10, 0.05, 2, day=0)
    regular(world, address(40), "update.example", 10, 0.05, 8)
    assert find(world.view(), Settings()) == []


def test_what_was_always_so_is_not_new() -> None:
    world = world_of()
    for day in (0, 1):
        regular(world, "133.95.90.1", "monitor.example", 5, 0.02, 24, start=0, day=day)
    regular(world, "133.95.90.2", "c2.example", 5, 0.02, 12)
    assert subjects(find(world.view(), Settings())) == {"133.95.90.2"}


def test_people_are_not_regular() -> None:
    world = world_of()
    for i in range(40):
        world.pair(address(i), f"news{i}.example", at(8, 1), 10, 12)
        counts = world.rng.exponential(5.0, 110)
        histogram = np.histogram(counts, EDGES)[0].tolist()
        world.add(
            "client_domain",
            [
                {
                    "bin_start": at(8 + h, 1),
                    "server": "1dns",
                    "client": address(i),
                    "domain": f"shop{i}.example",
                    "count": 12,
                    "interval_histogram": [n // 10 for n in histogram],
                }
                for h in range(10)
            ],
        )
    assert find(world.view(), Settings()) == []


def test_scores_of_a_clock_and_of_chance() -> None:
    clock = np.zeros(24)
    clock[10] = 50
    chance = np.histogram(np.random.default_rng(1).exponential(10, 50), EDGES)[0].astype(float)
    times, log_p, median = regularity(np.array([clock, chance]))
    assert times[0] == 1.0 and times[1] < 0.8
    assert log_p[0] < -50 and log_p[1] > -8
    assert median[0] == 10


@pytest.mark.parametrize("rate", [1.0, 3.0, 60.0])
def test_who_asks_all_the_time_does_not_ask_every_minute(rate: float) -> None:
    # A Poisson process of some queries a minute: whole minutes between them are 0 and 1, whatever the client does.
    steps = np.diff(np.floor(np.random.default_rng(5).exponential(1 / rate, 3000).cumsum()))
    histogram = np.histogram(steps, EDGES)[0].astype(float)
    _, log_p, _ = regularity(histogram[None, :])
    assert log_p[0] > -10
