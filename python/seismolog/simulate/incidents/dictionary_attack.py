"""``dictionary_attack``: a server looks up the same one or two addresses again and again: somebody tries its passwords.

Positive: 200 PTR in ten minutes, nine in ten of two addresses. Look-alike: a web server that looks up each visitor
(``HostnameLookups on``), every day.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import PTR, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span, wander

NAME = "dictionary_attack"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """SSH brute force against a server."""
    client = cast.address(int(cast.devices("server")[0]))
    attackers = cast.outside(int(rng.integers(1, 3)))
    begin, end = span(rng, int(rng.integers(120, 360)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 200 * strength * wander(r, end - begin, 0.15), begin, end)
        who = attackers[r.integers(0, len(attackers), len(minute))]
        others = r.integers(day.world.people.world, day.world.people.addresses, len(minute))
        who = np.where(r.random(len(minute)) < 0.05, others, who)
        day.queries.append(Queries.of(minute, client, day.world.names.groups["pointer"][who], PTR))

    may = ("dictionary_attack", "step_change", "flat_curve", "client_profile")
    note = f"{200 * strength:.0f} PTR in ten minutes, nearly all of {len(attackers)} addresses"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A web server with look-ups of its visitors, the busiest of which come often."""
    client = cast.address(int(cast.devices("server")[0]))
    rate = float(rng.uniform(150, 400))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        people = day.world.people
        minute = at_rate(r, rate, 0, 1440)
        count = people.addresses - people.world
        who = people.world + (r.random(len(minute)) ** 3 * count).astype(np.int64)
        day.queries.append(Queries.of(minute, client, day.world.names.groups["pointer"][who], PTR))

    note = f"HostnameLookups on: {rate:.0f} PTR in ten minutes of many visitors, as on every day before"
    subjects = (cast.text(client),)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(client), 0, 1440, 1.0, note, habit=True
    )
