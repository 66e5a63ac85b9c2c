"""``deferral_surge``: peers put off what a mail server sends (Frethem.K of the study).

Positive: mass mail on top of the usual, and deferrals that climb from 2 % to 40 % of all deliveries within an hour.
Look-alike: one large remote domain is down.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day, Queries, Services
from seismolog.simulate.campus.mail import deliveries, message_lookups
from seismolog.simulate.campus.names import quantiles
from seismolog.simulate.incidents.base import Cast, Planned, seeded

NAME = "deferral_surge"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A worm sends through the mail server."""
    length = int(rng.integers(200, 330))
    place = cast.stretch(cast.world.mail_names, length, earliest=480)
    server, begin = place
    number = cast.world.mail_names.index(server)
    end = min(begin + length, 1440)
    infected = np.array([cast.address(int(d)) for d in cast.devices("pc", count=20)])
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        world = day.world
        mail = world.parameters.mail[number]
        since = np.clip((np.arange(1440) - begin) / 60, 0, 1) * (
            (np.arange(1440) >= begin) & (np.arange(1440) < end)
        )
        minute = np.repeat(np.arange(1440), r.poisson(1.2 * mail.messages / 1440 * np.sqrt(since)))
        client = infected[(r.random(len(minute)) ** 2 * len(infected)).astype(int)]
        # With the retries, a first attempt that is put off makes two deferrals.
        share = 0.02 + 0.55 * strength * since
        day.services += [
            Services.of(minute, number, "smtp_connection", client),
            Services.of(minute, number, "smtp_accepted", client),
            deliveries(r, minute, share, number),
        ]
        foreign = 1 + r.binomial(1, 0.7, len(minute))
        flat = quantiles(np.ones(len(world.names.groups["apex"])), 1 << 16)
        look = message_lookups(r, world.names, minute, client, foreign, flat)
        # Ordinary mail meets the same peers: what it sends is put off as well.
        usual = _first_attempts(day, number)
        extra = usual[r.random(len(usual)) < (0.4 * strength * since)[usual]]
        day.services.append(Services.of(extra, number, "smtp_deferred", recipients=1))
        day.queries.append(Queries.of(look[0], world.people.mail[number], look[1], look[2]))

    may = (
        "deferral_surge",
        "cache_collapse",
        "model_residual",
        "step_change",
        "mail_server_mimic",
        "client_profile",
    )
    note = f"mass mail; deferrals climb to {2 + 38 * strength:.0f} % of the deliveries within an hour"
    subjects = (server, cast.text(cast.world.people.mail[number]))
    return Planned(put, NAME, "positive", may, subjects, server, begin, end, strength, note)


def _first_attempts(day: Day, server: int) -> np.ndarray:
    made = day.services[0 if server == 0 else 1]
    found: np.ndarray = made.minute[(made.kind == 1) & (made.server == server)]
    return found


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A tenth of the mail goes to a domain that is down, and waits."""
    length = int(rng.integers(90, 240))
    place = cast.stretch(cast.world.mail_names, length, earliest=480)
    server, begin = place
    number = cast.world.mail_names.index(server)
    end = begin + length
    share = float(rng.uniform(0.05, 0.12))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        first = _first_attempts(day, number)
        waits = first[(first >= begin) & (first < end) & (r.random(len(first)) < share)]
        # Tried again with a growing pause until the domain is back.
        parts = [waits]
        pause = 15
        while len(waits):
            waits = waits + pause + r.integers(0, 10, len(waits))
            waits = waits[waits < end]
            parts.append(waits)
            pause *= 2
        day.services.append(Services.of(np.concatenate(parts), number, "smtp_deferred", recipients=1))

    note = f"one remote domain with {100 * share:.0f} % of the deliveries is down"
    return Planned(put, NAME, "lookalike", (), (server,), server, begin, end, 1.0, note)
