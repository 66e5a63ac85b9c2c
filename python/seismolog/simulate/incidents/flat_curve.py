"""``flat_curve``: a plateau that varies less than people do (IP-C of the study, a Trojan that calls its masters).

Positive: 300 in ten minutes, Poisson, for six hours and more. Look-alike: telemetry of a server, flat as well, but as it has
been for weeks.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, new_domains, seeded, span

NAME = "flat_curve"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A handful of names, again and again, at an even rate."""
    client = cast.address(int(cast.devices("pc", "server")[0]))
    begin, end = span(rng, int(rng.integers(400, 720)))
    domains = new_domains(rng, 3)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.add([f"{h}.{d}" for d in domains for h in ("irc", "www")])
        minute = at_rate(r, 300 * strength, begin, end)
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    may = ("flat_curve", "step_change", "beacon", "silence", "client_profile", "ripple")
    note = f"an even {300 * strength:.0f} look-ups in ten minutes"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A server that reports every few seconds, every day."""
    client = cast.address(int(cast.devices("server", "device")[0]))
    rate = float(rng.uniform(60, 300))
    domains = new_domains(rng, 1)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.add([f"ingest{i}.{domains[0]}" for i in range(3)])
        minute = at_rate(r, rate, 0, 1440)
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    note = f"telemetry: an even {rate:.0f} in ten minutes, as on every day before"
    subjects = (cast.text(client),)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(client), 0, 1440, 1.0, note, habit=True
    )
