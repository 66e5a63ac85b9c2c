"""``synchronized_clients``: curves that one hand moves (IP-D and IP-E of the study, and outside clients in step).

Positive: two to ten clients, inside or outside, mean 200 in ten minutes, a shared factor of log standard deviation 0.7 and
private ones of 0.2. Look-alike: hosts with one job at the same minutes, every day.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import PTR, A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span, wander

NAME = "synchronized_clients"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """Hijacked hosts under one command."""
    size = int(rng.choice([2, 2, 3, 6, 10]))
    if size >= 6 and rng.random() < 0.6:
        clients = cast.outside(size)
    else:
        inside = [cast.address(int(d)) for d in cast.devices("pc", "server", count=max(1, size - 1))]
        clients = np.array([*inside, *cast.outside(size - len(inside)).tolist()])
    begin, end = span(rng, int(rng.integers(480, 780)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups
        shared = wander(r, end - begin, 0.7, rho=0.6)
        for client in clients.tolist():
            level = 200 * strength * shared * wander(r, end - begin, 0.2, rho=0.0)
            minute = at_rate(r, level, begin, end)
            kind = np.where(r.random(len(minute)) < 0.3, PTR, A)
            pick = r.integers(0, 1 << 31, len(minute))
            name = np.where(
                kind == PTR,
                names["pointer"][pick % len(names["pointer"])],
                names["web"][pick % len(names["web"])],
            )
            day.queries.append(Queries.of(minute, client, name, kind))

    may = (
        "synchronized_clients",
        "step_change",
        "host_search",
        "client_profile",
        "entropy_shift",
        "ripple",
        "flat_curve",
    )
    note = f"{size} clients in step, {200 * strength:.0f} look-ups in ten minutes each"
    subjects = tuple(cast.text(c) for c in clients.tolist())
    server = cast.server_of(int(clients[0]))
    return Planned(put, NAME, "positive", may, subjects, server, begin, end, strength, note)


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """Updates of a room full of servers, at the same minutes every day."""
    size = int(rng.integers(5, 20))
    clients = [cast.address(int(d)) for d in cast.devices("server", "device", count=size)]
    every = int(rng.choice([30, 60, 120]))
    amount = float(rng.uniform(20, 80))
    phase = int(rng.integers(every))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups["web"][:40]
        times = np.arange(phase, 1440, every)
        size_of_run = amount * np.exp(r.normal(0, 0.6, len(times)))
        for client in clients:
            minute = np.repeat(times + r.integers(0, 3, len(times)), r.poisson(size_of_run))
            minute = minute[minute < 1440]
            day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    note = f"{len(clients)} hosts that fetch updates every {every} minutes, as on every day before"
    subjects = tuple(cast.text(c) for c in clients)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(clients[0]), 0, 1440, 1.0, note, habit=True
    )
