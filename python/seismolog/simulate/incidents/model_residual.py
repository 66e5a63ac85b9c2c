"""``model_residual``: a mail server asks for more than its mail explains.

Positive: something on the mail server sends mail past its log; the normal strength is as many look-ups again as the mail
causes. Look-alikes: a newsletter with thousands of recipients, or a queue run.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day, Queries, Services
from seismolog.simulate.campus.names import quantiles
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, curve, mail_lookups, seeded, wander

NAME = "model_residual"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """Spam through a script: look-ups without messages."""
    length = int(rng.integers(90, 240))
    place = cast.stretch(cast.world.mail_names, length, earliest=420)
    server, begin = place
    number = cast.world.mail_names.index(server)
    client = cast.world.people.mail[number]
    end = min(begin + length, 1440)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        mean = float(curve(day, client)[begin:end].mean())
        level = 10 * mean * strength * wander(r, end - begin, 0.15)
        day.queries.append(mail_lookups(day.world, r, at_rate(r, level, begin, end), client))

    may = ("model_residual", "cache_collapse", "step_change")
    note = f"{100 * strength:.0f} % more look-ups of {server} than its mail causes"
    return Planned(
        put, NAME, "positive", may, (server, cast.text(client)), server, begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """One message to thousands of recipients, whose domains the cache knows in part; or retries that ask again."""
    letter = rng.random() < 0.6
    place = cast.stretch(cast.world.mail_names, 30, earliest=420)
    server, begin = place
    number = cast.world.mail_names.index(server)
    client = cast.world.people.mail[number]
    end = begin + 30
    size = int(rng.integers(500, 3000) * max(0.05, cast.world.parameters.clients / 20_000))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        world = day.world
        minute = np.sort(begin + (r.random(size) ** 2 * 25).astype(np.int64))
        kind = "smtp_sent" if letter else "smtp_deferred"
        if letter:
            day.services.append(Services.of(begin, number, "smtp_accepted", cast.address(0)))
        day.services.append(Services.of(minute, number, kind, recipients=1))
        # Recipients share domains: of those asked for in the last hour the cache knows all.
        by_rank = quantiles(np.arange(1.0, len(world.names.groups["apex"]) + 1) ** -1.0, 1 << 16)
        domain = by_rank[r.integers(0, len(by_rank), size)]
        _, first = np.unique(domain, return_index=True)
        first = first[r.random(len(first)) < (0.7 if letter else 0.3)]
        for group, types in (("apex", (2, 0)), ("mx", (0,))):
            for one in types:
                day.queries.append(
                    Queries.of(minute[first], client, world.names.groups[group][domain[first]], one)
                )

    note = f"a newsletter to {size} recipients" if letter else f"a queue run of {size} deferred messages"
    return Planned(put, NAME, "lookalike", (), (server, cast.text(client)), server, begin, end, 1.0, note)
