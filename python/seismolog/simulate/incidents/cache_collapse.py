"""``cache_collapse``: a mail server's resolver cache answers no more, and every look-up reaches the DNS server.

Positive: for two hours or more a share of what the cache answered is asked for; the normal one is all of it. Look-alike: the
resolver is restarted: its cache is empty, and full again within minutes.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day
from seismolog.simulate.incidents.base import Cast, Planned, seeded

NAME = "cache_collapse"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """The cache is lost."""
    length = int(rng.integers(120, 240))
    place = cast.stretch(cast.world.mail_names, length, earliest=480)
    server, begin = place
    number = cast.world.mail_names.index(server)
    end = min(begin + length, 1440)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        lost = day.cached[number]
        inside = (lost.minute >= begin) & (lost.minute < end) & (r.random(len(lost)) < strength)
        day.queries.append(lost.where(inside))

    may = ("cache_collapse", "model_residual", "step_change")
    note = f"{100 * strength:.0f} % of what the cache of {server} answered reaches the DNS server"
    subjects = (server, cast.text(cast.world.people.mail[number]))
    return Planned(put, NAME, "positive", may, subjects, server, begin, end, strength, note)


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A restart: what was cached is asked for once more, and then known again."""
    place = cast.stretch(cast.world.mail_names, 30, earliest=480)
    server, begin = place
    number = cast.world.mail_names.index(server)
    end = begin + 30
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        lost = day.cached[number]
        since = lost.minute - begin
        again = (since >= 0) & (since < 30) & (r.random(len(lost)) < np.exp(-since / 8.0))
        day.queries.append(lost.where(again))

    note = f"the resolver of {server} is restarted"
    return Planned(
        put,
        NAME,
        "lookalike",
        (),
        (server, cast.text(cast.world.people.mail[number])),
        server,
        begin,
        end,
        1.0,
        note,
    )
