"""``mail_name_probe``: A of mail., smtp., mx., ns., gate. and relay. of many domains, as Mytob asked.

Positive: 80 domains an hour, all six labels of each. Look-alike: a mail client with accounts at a few domains.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import A, Day, Queries
from seismolog.simulate.campus.names import MAIL_LABELS
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span

NAME = "mail_name_probe"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A worm that guesses the names of mail servers."""
    client = cast.address(int(cast.devices("pc")[0]))
    begin, end = span(rng, int(rng.integers(120, 300)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 80 / 6 * strength, begin, end)
        names = day.world.names
        count = len(names.groups["apex"])
        domains = [
            names.domains[names.domain[names.groups["apex"][i]]] for i in r.integers(0, count, len(minute))
        ]
        asked = names.add(
            [f"{label}.{d}" for d in domains for label in MAIL_LABELS],
            [d for d in domains for _ in MAIL_LABELS],
        )
        day.queries.append(Queries.of(np.repeat(minute, len(MAIL_LABELS)), client, asked, A))

    may = ("mail_name_probe", "mass_mailer", "step_change", "outbreak_growth", "flat_curve")
    note = f"six mail-like names of {80 * strength:.0f} domains an hour"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A mail client that looks at its accounts every few minutes."""
    client = cast.address(int(cast.devices("pc")[0]))
    few = int(rng.integers(2, 6))
    every = int(rng.choice([1, 2, 5, 10]))
    begin, end = span(rng, 480)
    first = int(rng.integers(0, 400))

    def put(day: Day) -> None:
        names = day.world.names
        chosen = [names.domains[names.domain[names.groups["apex"][first + 7 * i]]] for i in range(few)]
        labels = ("mail", "smtp", "mx")
        asked = names.add(
            [f"{label}.{d}" for d in chosen for label in labels], [d for d in chosen for _ in labels]
        )
        times = np.arange(begin, end, every)
        day.queries.append(Queries.of(np.repeat(times, len(asked)), client, np.tile(asked, len(times)), A))

    note = f"a mail client with accounts at {few} domains, every {every} minutes"
    subjects = (cast.text(client),)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(client), begin, end, 1.0, note, habit=True
    )
