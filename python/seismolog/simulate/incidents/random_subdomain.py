"""``random_subdomain``: made-up names below one domain (water torture, cache poisoning).

Positive: 700 names in ten minutes, from one client or from many. Look-alike: a mail filter that asks a blocklist of its own,
every day, or a content network whose names are new each time.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import A, Day, Queries
from seismolog.simulate.campus.names import hexes, reverse
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, new_domains, seeded, span, wander

NAME = "random_subdomain"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """An attack on the name servers of a domain through the campus's own."""
    many = rng.random() < 0.5
    clients = np.array([cast.address(int(d)) for d in cast.devices("pc", count=30 if many else 1)])
    known = rng.random() < 0.5
    begin, end = span(rng, int(rng.integers(60, 180)))
    apex = cast.world.names.groups["apex"]
    old = cast.world.names.domains[cast.world.names.domain[apex[int(rng.integers(200, len(apex)))]]]
    domain = old if known else new_domains(rng, 1)[0]
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 700 * strength * wander(r, end - begin, 0.15), begin, end)
        letters = r.integers(97, 123, (len(minute), 10)).astype(np.uint8).tobytes().decode()
        texts = [f"{letters[10 * i : 10 * i + 4 + i % 7]}.{domain}" for i in range(len(minute))]
        names = day.world.names.add(texts, [domain] * len(texts))
        day.queries.append(Queries.of(minute, clients[r.integers(0, len(clients), len(minute))], names, A))

    may = (
        "random_subdomain",
        "tunnel",
        "step_change",
        "client_profile",
        "flat_curve",
        "entropy_shift",
        "dga",
    )
    note = f"{700 * strength:.0f} made-up names below one domain in ten minutes, from {len(clients)} clients"
    subjects = (domain, *(cast.text(c) for c in clients.tolist()))
    return Planned(
        put, NAME, "positive", may, subjects, cast.server_of(int(clients[0])), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A mail filter and its blocklist, or a content network."""
    filter_ = rng.random() < 0.5
    clients = np.array(
        [
            cast.address(int(d))
            for d in cast.devices("server" if filter_ else "pc", count=1 if filter_ else 60)
        ]
    )
    domain = new_domains(rng, 1)[0]
    rate = float(rng.uniform(150, 500))
    begin, end = (0, 1440) if filter_ else (480, 1200)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, rate, begin, end)
        if filter_:
            texts = [
                reverse(int(n)).replace("in-addr.arpa", domain)
                for n in r.integers(1 << 24, 1 << 32, len(minute))
            ]
        else:
            texts = [f"{h}.a.{domain}" for h in hexes(r, len(minute), 8)]
        names = day.world.names.add(texts, [domain] * len(texts))
        day.queries.append(Queries.of(minute, clients[r.integers(0, len(clients), len(minute))], names, A))

    note = f"{'a blocklist' if filter_ else 'a content network'}, {rate:.0f} names in ten minutes, as on every day before"
    subjects = (domain, *(cast.text(c) for c in clients.tolist()))
    server = cast.server_of(int(clients[0]))
    return Planned(put, NAME, "lookalike", (), subjects, server, begin, end, 1.0, note, habit=True)
