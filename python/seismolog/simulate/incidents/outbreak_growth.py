"""``outbreak_growth``: ever more clients under a worm-like incident.

Positive: hosts that are infected one after the other, twice as many every 40 to 70 minutes, each a mass mailer at the
strength of that row. Look-alike: one subnet gets new software, which asks for its servers.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, mail_lookups, new_domains, seeded

NAME = "outbreak_growth"
ALONE = True
"""Other worms of the same day would be part of the outbreak."""


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A worm that spreads."""
    begin = int(rng.integers(480, 780))
    end = min(1440, begin + 480)
    doubling = float(rng.uniform(40, 70))
    count = 24
    # The n-th host falls when 2^(t/doubling) reaches n.
    starts = begin + doubling * np.log2(np.arange(1, count + 1))
    starts = np.sort(starts + rng.normal(0, 5, count)).astype(int)
    starts = starts[starts < end - 30]
    clients = [cast.address(int(d)) for d in cast.devices("pc", count=len(starts))]
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        for client, first in zip(clients, starts.tolist(), strict=True):
            minute = at_rate(r, 80 * strength, max(first, begin), end)
            day.queries.append(mail_lookups(day.world, r, minute, client))

    may = (
        "outbreak_growth",
        "mass_mailer",
        "step_change",
        "mail_server_mimic",
        "synchronized_clients",
        "flat_curve",
    )
    subjects = tuple(cast.text(c) for c in clients)
    note = f"{len(clients)} hosts fall, twice as many every {doubling:.0f} minutes"
    return Planned(
        put, NAME, "positive", may, subjects, cast.server_of(clients[0]), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """Software is rolled out to a subnet within two hours."""
    clients = [cast.address(int(d)) for d in cast.devices("pc", count=25)]
    begin = int(rng.integers(540, 780))
    domain = new_domains(rng, 1)[0]
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.add([f"{h}.{domain}" for h in ("mail", "api", "dist", "login")])
        for number, client in enumerate(clients):
            minute = at_rate(r, 25, begin + 5 * number, min(begin + 5 * number + 60, 1440))
            day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    subjects = tuple(cast.text(c) for c in clients)
    end = min(1440, begin + 185)
    note = "software is rolled out to 25 hosts"
    return Planned(put, NAME, "lookalike", (), subjects, cast.server_of(clients[0]), begin, end, 1.0, note)
