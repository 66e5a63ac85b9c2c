"""``host_search``: a client looks up many addresses in reverse, one after the other or at random.

Positive: 256 targets in ten minutes. Look-alike: a log analyser that looks up who has come, every night.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import PTR, Day, Queries
from seismolog.simulate.campus.names import reverse
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span

NAME = "host_search"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A worm or a stranger looks for hosts."""
    outside = rng.random() < 0.5
    client = int(cast.outside(1)[0]) if outside else cast.address(int(cast.devices("pc", "server")[0]))
    sequential = rng.random() < 0.5
    begin, end = span(rng, int(rng.integers(60, 180)))
    network = int(rng.integers(20, 120)) if outside else int(rng.integers(0, 60_000))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 256 * strength, begin, end)
        base = (133 << 24 | 95 << 16 | network << 8) if outside else (172 << 24) + (network << 8)
        step = np.arange(len(minute))
        target = base + (step if sequential else r.integers(0, 1 << 14, len(minute)))
        names = day.world.names.add([reverse(int(t)) for t in target.tolist()])
        day.queries.append(Queries.of(minute, client, names, PTR))

    may = (
        "host_search",
        "step_change",
        "client_profile",
        "entropy_shift",
        "flat_curve",
        "dictionary_attack",
        "outbreak_growth",
    )
    note = f"{256 * strength:.0f} addresses in ten minutes, {'one after the other' if sequential else 'at random'}"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A web server's log is analysed at night: each stranger once, in the order of the log."""
    client = cast.address(int(cast.devices("server")[0]))
    size = int(rng.integers(800, 4000))
    begin = int(rng.integers(60, 300))
    end = begin + int(rng.integers(15, 90))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        people = day.world.people
        who = people.world + r.permutation(people.addresses - people.world)[:size]
        minute = np.sort(r.integers(begin, end, len(who)))
        day.queries.append(Queries.of(minute, client, day.world.names.groups["pointer"][who], PTR))

    note = f"a log analyser looks up {size} addresses, as on every night before"
    subjects = (cast.text(client),)
    return Planned(
        put, NAME, "lookalike", (), subjects, cast.server_of(client), begin, end, 1.0, note, habit=True
    )
