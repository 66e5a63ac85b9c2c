"""``log_gap``: a server that always writes writes nothing.

Positive: no line of a server for half an hour or more. There is no look-alike; "a quarter" is a quarter of an hour.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day
from seismolog.simulate.incidents.base import Cast, Planned

NAME = "log_gap"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """The log of a DNS server or the busier mail server ends for a while."""
    length = 15 if strength < 1 else int(rng.integers(30, 90))
    place = cast.stretch(
        [cast.world.dns_names[1], *cast.world.mail_names], length, earliest=420, latest=1320, apart=20
    )
    server, begin = place
    end = begin + length

    def put(day: Day) -> None:
        day.remove(begin, end, server=server)

    # Where a log has a gap, everything it would have told is missing, and its end is a step.
    may = ("log_gap", "silence", "cache_collapse", "model_residual", "step_change")
    return Planned(
        put, NAME, "positive", may, (server,), server, begin, end, strength, f"no line for {length} minutes"
    )
