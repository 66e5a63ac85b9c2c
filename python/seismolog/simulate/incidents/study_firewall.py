"""IP-B of the 2003 study, a hijacked firewall: silent by night, straight up within half an hour, rippled after."""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import PTR, A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded

NAME = "study_firewall"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """The firewall of a department scans, in waves of an hour."""
    client = cast.address(int(cast.devices("pc", "server")[0]))
    begin = int(rng.integers(420, 840))
    end = 1440
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        at = np.arange(end - begin)
        rise = np.clip(at / 30, 0, 1)
        swing = np.where(at >= 30, 1 + 0.5 * np.sin(2 * np.pi * (at - 30) / 60), 1.0)
        minute = at_rate(r, 300 * strength * rise * swing, begin, end)
        names = day.world.names.groups
        kind = np.where(r.random(len(minute)) < 0.4, PTR, A)
        pick = r.integers(0, 1 << 31, len(minute))
        name = np.where(
            kind == PTR,
            names["pointer"][pick % len(names["pointer"])],
            names["web"][pick % len(names["web"])],
        )
        day.queries.append(Queries.of(minute, client, name, kind))

    may = ("step_change", "ripple", "host_search", "client_profile", "flat_curve")
    note = f"straight up within half an hour to {300 * strength:.0f} in ten minutes, then ripples of an hour"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )
