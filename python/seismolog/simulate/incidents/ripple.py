"""``ripple``: a curve that swings with a period, as IP-B of the study did.

Positive: 300 in ten minutes ± 50 %, period 60 minutes, at times 10. Look-alike: a job that runs every quarter of an hour, or
every hour, and has done so for weeks.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import PTR, A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span, wander

NAME = "ripple"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A hijacked host that scans in waves."""
    client = cast.address(int(cast.devices("pc", "server")[0]))
    period = 60 if rng.random() < 0.7 else 10
    begin, end = span(rng, int(rng.integers(480, 720)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups
        at = np.arange(end - begin)
        level = 300 * strength * (1 + 0.5 * np.sin(2 * np.pi * at / period)) * wander(r, end - begin, 0.1)
        minute = at_rate(r, level, begin, end)
        kind = np.where(r.random(len(minute)) < 0.4, PTR, A)
        pick = r.integers(0, 1 << 31, len(minute))
        name = np.where(
            kind == PTR,
            names["pointer"][pick % len(names["pointer"])],
            names["web"][pick % len(names["web"])],
        )
        day.queries.append(Queries.of(minute, client, name, kind))

    may = ("ripple", "step_change", "host_search", "client_profile")
    note = f"{300 * strength:.0f} look-ups in ten minutes, half of it up and down every {period} minutes"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A scheduled job: a burst at fixed minutes, every day."""
    client = cast.address(int(cast.devices("server", whole_day=True)[0]))
    period = int(rng.choice([10, 15, 30, 60]))
    size = float(rng.uniform(20, 200))
    phase = int(rng.integers(period))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups["campus"]
        times = np.arange(phase, 1440, period)
        minute = np.repeat(times, r.poisson(size, len(times)))
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    note = f"a job every {period} minutes with {size:.0f} look-ups, as on every day before"
    subjects = (cast.text(client),)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(client), 0, 1440, 1.0, note, habit=True
    )
