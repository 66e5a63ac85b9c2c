"""``dga``: a client asks for domains whose names a program made up.

Positive: 20 domains of random letters in ten minutes. Look-alike: a browser's probes for names that do not exist, and a
reader of pages in other scripts.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import A, Day, Queries
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span

NAME = "dga"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A bot that looks for its master."""
    client = cast.address(int(cast.devices("pc", "phone")[0]))
    begin, end = span(rng, int(rng.integers(60, 300)))
    of = seeded(rng)
    low, high = sorted(rng.integers(9, 20, 2).tolist())

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 20 * strength, begin, end)
        letters = r.integers(97, 123, (len(minute), 20)).astype(np.uint8).tobytes().decode()
        sizes = r.integers(low, high + 1, len(minute)).tolist()
        texts = [f"{letters[20 * i : 20 * i + n]}.example" for i, n in enumerate(sizes)]
        day.queries.append(Queries.of(minute, client, day.world.names.add(texts, texts), A))

    may = ("dga", "step_change", "flat_curve")
    note = f"{20 * strength:.0f} domains of random letters in ten minutes"
    return Planned(
        put, NAME, "positive", may, (cast.text(client),), cast.server_of(client), begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """Chrome's probes by the dozen, or domains in other scripts."""
    client = cast.address(int(cast.devices("pc")[0]))
    begin, end = span(rng, 180)
    probes = rng.random() < 0.5
    rate = float(rng.uniform(10, 30))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, rate, begin, end)
        if probes:
            pool = day.world.names.groups["probe"]
            names = pool[r.integers(0, len(pool), len(minute))]
        else:
            codes = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)
            raw = codes[r.integers(0, 36, (len(minute), 9))].tobytes().decode()
            texts = [f"xn--{raw[9 * i : 9 * i + 9]}.example" for i in range(len(minute))]
            names = day.world.names.add(texts, texts)
        day.queries.append(Queries.of(minute, client, names, A))

    note = f"{rate:.0f} {'probes of a browser' if probes else 'domains in other scripts'} in ten minutes"
    return Planned(
        put, NAME, "lookalike", (), (cast.text(client),), cast.server_of(client), begin, end, 1.0, note
    )
