"""``mass_mailer``: a client that is no mail server asks for the MX of many domains.

Positive: 40 MX names in ten minutes and the mail hosts' addresses, from a worm (no PTR) or a relay (with PTR). Look-alike: a
mail server that nobody told of and that has been there for weeks, or a host that watches the MX of a few domains.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import MX, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, mail_lookups, seeded, span, wander

NAME = "mass_mailer"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A worm with a mail engine of its own, or an open relay."""
    client = cast.address(int(cast.devices("pc")[0]))
    relay = rng.random() < 0.4
    begin, end = span(rng, int(rng.integers(90, 300)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        pointers = 0.15 if relay else 0.0
        level = 80 * strength / (1 - pointers) * wander(r, end - begin, 0.15)
        minute = at_rate(r, level, begin, end)
        day.queries.append(mail_lookups(day.world, r, minute, client, pointers=pointers))

    may = (
        "mass_mailer",
        "mail_server_mimic",
        "step_change",
        "outbreak_growth",
        "flat_curve",
        "client_profile",
    )
    note = (
        f"{40 * strength:.0f} MX names in ten minutes, {'with PTR: a relay' if relay else 'no PTR: a worm'}"
    )
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """An undeclared mail server, or monitoring of a few domains."""
    client = cast.address(int(cast.devices("server")[0]))
    watch = rng.random() < 0.5
    rate = float(rng.uniform(30, 120))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        if watch:
            names = day.world.names.groups["apex"][np.arange(8) * 11 + int(rate)]
            minute = np.repeat(np.arange(0, 1440, 2), 8)
            day.queries.append(Queries.of(minute, client, np.tile(names, 720), MX))
        else:
            minute = at_rate(r, rate, 0, 1440)
            day.queries.append(mail_lookups(day.world, r, minute, client, pointers=0.2, flat=False))

    note = (
        "monitoring of the MX of eight domains"
        if watch
        else f"an undeclared mail server, {rate:.0f} in ten minutes"
    )
    subjects = (cast.text(client),)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(client), 0, 1440, 1.0, note, habit=True
    )
