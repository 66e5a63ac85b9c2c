"""Clients outside in step, as if many attacked the DNS server together.

Eight addresses of the world whose curves one hand moves, 200 look-ups in ten minutes each.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span, wander

NAME = "study_outside"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A botnet asks for the campus's own names."""
    clients = cast.outside(8)
    begin, end = span(rng, int(rng.integers(480, 780)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups["campus"]
        shared = wander(r, end - begin, 0.7, rho=0.6)
        for client in clients.tolist():
            level = 200 * strength * shared * wander(r, end - begin, 0.2, rho=0.0)
            minute = at_rate(r, level, begin, end)
            day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    may = ("synchronized_clients", "entropy_shift", "step_change", "flat_curve", "ripple")
    subjects = tuple(cast.text(c) for c in clients.tolist())
    note = f"eight clients outside in step, {200 * strength:.0f} look-ups in ten minutes each"
    return Planned(
        put, NAME, "positive", may, subjects, cast.server_of(int(clients[0])), begin, end, strength, note
    )
