"""``entropy_shift``: the entropies of who asks and of what is asked move together.

Positive: an attack on the DNS server for strangers, of one of three classes: one source and one name (both fall),
thousands of spoofed sources and one name (sources rise, names fall), one source that searches (sources fall, names rise);
the normal one is 3000 look-ups in ten minutes. Look-alike: a part of the campus goes dark for an hour or two, and fewer
ask for less.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import MX, PTR, A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded

NAME = "entropy_shift"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A denial of service, or a search, from outside."""
    world = cast.world
    length = int(rng.integers(60, 150))
    place = cast.stretch([world.dns_names[1]], length)
    server, begin = place
    end = min(begin + length, 1440)
    style = str(rng.choice(["targeted", "distributed", "search"]))
    source = int(cast.outside(1)[0])
    of = seeded(rng)
    level = 3000 * strength

    def put(day: Day) -> None:
        r = of(day)
        people, names = world.people, world.names
        minute = at_rate(r, level, begin, end)
        count = len(minute)
        spoofed = r.integers(people.world, people.addresses, count)
        client = spoofed if style == "distributed" else np.full(count, source)
        if style == "search":
            target = r.permutation(people.devices)[np.arange(count) % people.devices]
            day.queries.append(Queries.of(minute, client, names.groups["pointer"][target], PTR))
        else:
            name = names.groups["campus"][0]
            day.queries.append(
                Queries.of(minute, client, name, MX if style == "targeted" and source % 2 else A)
            )

    notes = {
        "targeted": "one source asks for one name",
        "distributed": "thousands of sources ask for one name",
        "search": "one source searches through the addresses",
    }
    may = ("entropy_shift", "step_change", "host_search", "client_profile", "flat_curve", "random_subdomain")
    subjects: tuple[str, ...] = (server,) if style == "distributed" else (server, cast.text(source))
    note = f"{level:.0f} look-ups in ten minutes: {notes[style]}"
    return Planned(put, NAME, "positive", may, subjects, server, begin, end, strength, note)


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A power cut in a third of the buildings."""
    world = cast.world
    length = int(rng.integers(60, 150)) // 10 * 10
    place = cast.stretch([world.dns_names[0]], length, earliest=540, latest=1140)
    server, begin = place[0], place[1] // 10 * 10
    end = begin + length
    pcs = np.concatenate([world.people.members(k) for k in ("pc", "lab", "device")])
    dark = pcs[(pcs // 400) % 3 == int(rng.integers(3))]
    dark = np.array([d for d in dark.tolist() if d not in cast.taken], np.int64)

    def put(day: Day) -> None:
        day.quieten(dark, begin, end)

    note = f"{len(dark)} clients are without power"
    return Planned(put, NAME, "lookalike", (), (server,), server, begin, end, 1.0, note)
