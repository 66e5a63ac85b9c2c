"""``tunnel``: data in names below one domain.

Positive: 100 names of 50 characters in ten minutes. Look-alike: an antivirus that asks for a hash of each file of a disk,
below a domain that many ask for.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import TXT, A, Day, Queries
from seismolog.simulate.campus.names import hexes
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, new_domains, seeded, span, wander

NAME = "tunnel"
_BASE32 = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", np.uint8)


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A tunnel with base32 or hexadecimal names."""
    client = cast.address(int(cast.devices("pc", "server", "phone")[0]))
    domain = new_domains(rng, 1)[0]
    begin, end = span(rng, int(rng.integers(60, 240)))
    of = seeded(rng)
    kind = int(rng.choice([TXT, A]))
    coded = rng.random() < 0.6

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 100 * strength * wander(r, end - begin, 0.3), begin, end)
        if coded:
            raw = _BASE32[r.integers(0, 32, (len(minute), 50))].tobytes().decode()
            labels = [raw[50 * i : 50 * i + 50] for i in range(len(minute))]
        else:
            labels = hexes(r, len(minute), 50)
        names = day.world.names.add([f"{h}.{domain}" for h in labels], [domain] * len(labels))
        day.queries.append(Queries.of(minute, client, names, kind))

    may = ("tunnel", "random_subdomain", "step_change", "client_profile", "flat_curve", "beacon", "dga")
    note = f"{100 * strength:.0f} names of 50 characters in ten minutes"
    subjects = (cast.text(client), domain)
    return Planned(put, NAME, "positive", may, subjects, cast.server_of(client), begin, end, strength, note)


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A scan of a disk by the antivirus that many hosts have."""
    client = cast.address(int(cast.devices("pc", "server")[0]))
    begin, end = span(rng, int(rng.integers(60, 180)), earliest=500)
    rate = float(rng.uniform(30, 100))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        names = day.world.names.groups["antivirus"]
        names = names[: len(names) // 2] if begin % 2 else names[len(names) // 2 :]
        minute = at_rate(r, rate, begin, end)
        day.queries.append(Queries.of(minute, client, names[r.integers(0, len(names), len(minute))], A))

    note = f"an antivirus asks for {rate:.0f} hashes in ten minutes"
    return Planned(
        put, NAME, "lookalike", (), (cast.text(client),), cast.server_of(client), begin, end, 1.0, note
    )
