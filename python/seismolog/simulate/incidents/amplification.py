"""``amplification``: ANY of one name, or NS of the root, with a forged source: the answers go to a victim.

Positive: 600 in ten minutes. Look-alike: a research scanner that asks ANY of several names for a few minutes.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import ANY, NS, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span, wander

NAME = "amplification"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A reflection attack on one victim, or a few in turn."""
    victims = cast.outside(int(rng.integers(1, 4)))
    begin, end = span(rng, int(rng.integers(60, 200)))
    root = rng.random() < 0.3
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 600 * strength * wander(r, end - begin, 0.2), begin, end)
        name = day.world.names.add([""], ["."])[0] if root else day.world.names.groups["campus"][0]
        who = victims[(minute // 30) % len(victims)]
        day.queries.append(Queries.of(minute, who, name, NS if root else ANY))

    may = ("amplification", "step_change", "entropy_shift", "flat_curve", "client_profile")
    note = f"{600 * strength:.0f} {'NS of the root' if root else 'ANY of one name'} in ten minutes"
    server = cast.server_of(int(victims[0]))
    subjects = (server, *(cast.text(v) for v in victims.tolist()))
    return Planned(put, NAME, "positive", may, subjects, server, begin, end, strength, note)


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A scan of name servers for a study."""
    client = int(cast.outside(1)[0])
    begin, end = span(rng, int(rng.integers(5, 20)))
    size = int(rng.integers(20, 60))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = np.sort(r.integers(begin, end, size))
        names = day.world.names.groups["campus"]
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), size)], ANY))

    server = cast.server_of(client)
    note = f"a research scanner with {size} ANY"
    return Planned(put, NAME, "lookalike", (), (cast.text(client), server), server, begin, end, 1.0, note)
