"""``client_profile``: a client does by the hour what no person does.

Positive: 2500 look-ups in ten minutes, of many names, of one domain, or in reverse. Look-alike: a crawler that has run for
weeks at the same rate.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import PTR, A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span, wander

NAME = "client_profile"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A bot at work."""
    client = cast.address(int(cast.devices("pc", "server")[0]))
    begin, end = span(rng, int(rng.integers(90, 240)))
    style = str(rng.choice(["names", "domain", "reverse"]))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups
        minute = at_rate(r, 2500 * strength * wander(r, end - begin, 0.2), begin, end)
        pick = r.integers(0, 1 << 31, len(minute))
        if style == "names":
            name, kind = names["web"][pick % len(names["web"])], A
        elif style == "domain":
            name, kind = names["cdn"][pick % 12], A
        else:
            name, kind = names["pointer"][pick % len(names["pointer"])], PTR
        day.queries.append(Queries.of(minute, client, name, kind))

    may = ("client_profile", "step_change", "host_search", "flat_curve", "entropy_shift")
    note = f"{2500 * strength:.0f} look-ups in ten minutes ({style})"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A crawler."""
    client = cast.address(int(cast.devices("server")[0]))
    rate = float(rng.uniform(1200, 2500))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups["web"]
        minute = at_rate(r, rate * wander(r, 1440, 0.2), 0, 1440)
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    note = f"a crawler with {rate:.0f} look-ups in ten minutes, as on every day before"
    subjects = (cast.text(client),)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(client), 0, 1440, 1.0, note, habit=True
    )
