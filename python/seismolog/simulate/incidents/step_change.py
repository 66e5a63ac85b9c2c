"""``step_change``: a client asks for a multiple of what it did, from one minute to the next.

Positive: 300 look-ups in ten minutes, with an unrest of its own. Look-alike: new software, which asks for a few times the
client's own, at working hours.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import PTR, A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span, wander

NAME = "step_change"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A hijacked PC or server that looks up addresses and web hosts all over the world."""
    device = int(cast.devices("pc", "server", "device")[0])
    client = cast.address(device)
    begin, end = span(rng, int(rng.integers(120, 420)))
    of = seeded(rng)
    back = float(rng.uniform(0, 0.5))

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups
        minute = at_rate(r, 300 * strength * wander(r, end - begin, 0.25), begin, end)
        kind = np.where(r.random(len(minute)) < back, PTR, A)
        pick = r.integers(0, 1 << 31, len(minute))
        name = np.where(
            kind == PTR,
            names["pointer"][pick % len(names["pointer"])],
            names["web"][pick % len(names["web"])],
        )
        day.queries.append(Queries.of(minute, client, name, kind))

    may = ("step_change", "host_search", "client_profile", "flat_curve", "dga", "ripple")
    note = f"{300 * strength:.0f} look-ups in ten minutes from a client that is quiet otherwise"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """New software: three to six times the client's own, spread like its use."""
    device = int(cast.devices("pc")[0])
    client = cast.address(device)
    counts = cast.day.counts[device]
    factor = float(rng.uniform(2, 5))
    awake = np.flatnonzero(counts)
    begin, end = int(awake[0]) * 10, int(awake[-1] + 1) * 10
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups["web_by_rank"]
        mine = np.repeat(day.counts[device].astype(float), 10)[begin:end]
        smooth = np.convolve(mine, np.ones(30) / 30, mode="same") * factor
        minute = at_rate(r, smooth, begin, end)
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    note = f"new software that makes a client ask {1 + factor:.1f} times as much"
    return Planned(
        put, NAME, "lookalike", (), (cast.text(client),), cast.server_of(client), begin, end, 1.0, note
    )
