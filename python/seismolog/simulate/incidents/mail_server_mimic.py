"""``mail_server_mimic``: a quiet client takes on the shape of a mail server's curve (IP-A of the study).

Positive: a fifth of the first mail server's curve, MX and A of ever new domains. Look-alike: a mail server that was
installed this morning, with mail of its own.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day
from seismolog.simulate.campus.mail import arrivals, intensity
from seismolog.simulate.incidents.base import (
    Cast,
    Planned,
    at_rate,
    curve,
    mail_lookups,
    seeded,
    span,
    wander,
)

NAME = "mail_server_mimic"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """An infected PC whose worm follows the mail that comes in."""
    client = cast.address(int(cast.devices("pc")[0]))
    begin, end = span(rng, int(rng.integers(480, 720)), earliest=240)
    model = cast.world.people.mail[0]
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        shape = np.convolve(curve(day, model), np.ones(15) / 15, mode="same")[begin:end]
        level = 10 * 0.2 * strength * shape * wander(r, end - begin, 0.08)
        day.queries.append(mail_lookups(day.world, r, at_rate(r, level, begin, end), client))

    may = (
        "mail_server_mimic",
        "mass_mailer",
        "step_change",
        "mail_name_probe",
        "flat_curve",
        "client_profile",
    )
    note = f"{20 * strength:.0f} % of the curve of {cast.world.mail_names[0]}"
    return Planned(
        put,
        NAME,
        "positive",
        may,
        (cast.text(client),),
        cast.server_of(client),
        begin,
        end,
        strength,
        note,
        follows=True,
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A new mail server of a department."""
    client = cast.address(int(cast.devices("server")[0]))
    begin = int(rng.integers(480, 700))
    messages = float(rng.uniform(1500, 5000))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        shape = intensity(r, day.world.parameters.is_free(day.number))
        minute = arrivals(r, messages / 1440 * shape)
        minute = np.repeat(minute[minute >= begin], 4)
        day.queries.append(mail_lookups(day.world, r, minute, client, pointers=0.25, flat=False))

    note = f"a mail server that was installed this morning, {messages:.0f} messages a day"
    return Planned(
        put, NAME, "lookalike", (), (cast.text(client),), cast.server_of(client), begin, 1440, 1.0, note
    )
