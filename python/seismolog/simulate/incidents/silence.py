"""``silence``: a server that always asks asks no more (the study's dead forwarder of January 2003).

Positive: a resolver of a department falls silent; "a quarter" is the one that asks least. Look-alike: a PC that is switched
off in the middle of the day.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day
from seismolog.simulate.incidents.base import Cast, Planned

NAME = "silence"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A forwarder that ends: its clients ask somebody else."""
    people = cast.world.people
    free = [d for d in people.members("resolver").tolist() if d not in cast.taken] or people.members(
        "resolver"
    ).tolist()
    order = sorted(free, key=lambda d: people.level[d])
    device = order[0] if strength < 1 else order[int(rng.integers(len(order) // 2, len(order)))]
    cast.taken.add(device)
    client = cast.address(device)
    begin = int(rng.integers(480, 1200))
    end = min(1440, begin + int(rng.integers(120, 600)))

    def put(day: Day) -> None:
        day.remove(begin, end, client=client)

    note = f"a resolver that asks {people.level[device]:.0f} times a day falls silent"
    may = ("silence", "step_change")
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A PC in use that is switched off at noon."""
    device = int(cast.devices("pc")[0])
    client = cast.address(device)
    awake = np.flatnonzero(cast.day.counts[device])
    # Somewhere in the middle third of its day.
    begin = int(awake[int(len(awake) * rng.uniform(0.4, 0.6))]) * 10

    def put(day: Day) -> None:
        day.remove(begin, 1440, client=client)

    subjects = (cast.text(client),)
    note = "a PC that is switched off in the middle of the day"
    return Planned(put, NAME, "lookalike", (), subjects, cast.server_of(client), begin, 1440, 1.0, note)
