"""``beacon``: a client asks for one rare domain at regular times.

Positive: every five minutes with some jitter for nine hours and more, for a domain that nobody else asks for; a weaker one
asks less often. Look-alike: an updater that comes with new software to many hosts on this day, or one that has been on a
single host for weeks.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import TXT, A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, new_domains, seeded, span

NAME = "beacon"


def _times(rng: np.random.Generator, period: float, jitter: float, begin: int, end: int) -> np.ndarray:
    steps = period * (1 + jitter * rng.uniform(-1, 1, int((end - begin) / period) + 2))
    times = begin + np.cumsum(steps)
    return times[times < end].astype(np.int64)


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A Trojan that asks for orders."""
    client = cast.address(int(cast.devices("pc", "server")[0]))
    domain = new_domains(rng, 1)[0]
    period = float(rng.choice([1, 2, 3, 5])) / strength
    jitter = float(rng.uniform(0, 0.15))
    begin, end = span(rng, int(rng.integers(540, 1100)))
    of = seeded(rng)
    text = rng.random() < 0.3

    def put(day: Day) -> None:
        r = of(day)
        name = day.world.names.add([f"c2.{domain}"])[0]
        day.queries.append(
            Queries.of(_times(r, period, jitter, begin, end), client, name, TXT if text else A)
        )

    note = f"one domain every {period:.0f} minutes, ± {100 * jitter:.0f} %"
    may = ("beacon", "flat_curve", "ripple", "step_change")
    subjects = (cast.text(client), domain)
    return Planned(put, NAME, "positive", may, subjects, cast.server_of(client), begin, end, strength, note)


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """An updater."""
    habit = rng.random() < 0.5
    count = 1 if habit else int(rng.integers(40, 200))
    clients = [
        cast.address(int(d))
        for d in cast.devices("pc", "server", count=min(count, cast.world.parameters.clients // 20))
    ]
    domain = new_domains(rng, 1)[0]
    period = float(rng.choice([2, 5, 10, 15]))
    begin, end = (0, 1440) if habit else span(rng, 700)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        name = day.world.names.add([f"update.{domain}"])[0]
        for client in clients:
            first = begin + int(r.integers(0, max(1, int(period))))
            day.queries.append(Queries.of(_times(r, period, 0.03, first, end), client, name, A))

    note = f"an updater every {period:.0f} minutes on {len(clients)} hosts, {'for weeks' if habit else 'since today'}"
    subjects = (*(cast.text(c) for c in clients), domain)
    server = cast.server_of(clients[0])
    return Planned(put, NAME, "lookalike", (), subjects, server, begin, end, 1.0, note, habit=habit)
