"""W32/Slammer: hosts inside send to one port of random addresses, all at once.

The normal strength is 10,000 dropped packets in ten minutes, of five hosts together.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day, Drops
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span

NAME = "study_slammer"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """Infected servers."""
    clients = [cast.address(int(d)) for d in cast.devices("server", "pc", count=5)]
    begin, end = span(rng, int(rng.integers(60, 180)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        for client in clients:
            minute = at_rate(r, 2000 * strength, begin, end)
            target = r.integers(1 << 24, 223 << 24, len(minute))
            day.drops.append(Drops.of(minute, client, target, 1434))

    may = ("step_change", "entropy_shift", "synchronized_clients", "host_search")
    subjects = (*(cast.text(c) for c in clients), cast.world.wall_name)
    note = f"{10_000 * strength:.0f} packets in ten minutes to port 1434 of random addresses"
    return Planned(put, NAME, "positive", may, subjects, cast.world.wall_name, begin, end, strength, note)
