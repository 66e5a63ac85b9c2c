"""IP-C of the 2003 study, a Trojan: a plateau with a faint ripple that falls to zero when the host is filtered."""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, new_domains, seeded

NAME = "study_trojan"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """The host asks for its masters until it is filtered; then for nothing at all."""
    client = cast.address(int(cast.devices("pc", "server")[0]))
    begin = int(rng.integers(120, 420))
    end = int(rng.integers(900, 1100))
    domains = new_domains(rng, 3)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.add([f"{h}.{d}" for d in domains for h in ("irc", "www")])
        at = np.arange(end - begin)
        minute = at_rate(r, 300 * strength * (1 + 0.08 * np.sin(2 * np.pi * at / 40)), begin, end)
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))
        day.remove(end, 1440, client=client)

    may = ("flat_curve", "silence", "step_change", "ripple", "beacon", "client_profile")
    note = f"a plateau of {300 * strength:.0f} in ten minutes that falls to zero when the host is filtered"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )
