"""``account_spread``: an account is used from many networks.

Positive: logins from 40 networks of the world within a few hours. Look-alike: its owner travels: three to six networks.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day, Services
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span

NAME = "account_spread"


def _networks(cast: Cast, rng: np.random.Generator, count: int) -> np.ndarray:
    """Addresses of the world in that many different /24."""
    people = cast.world.people
    order = people.world + rng.permutation(people.addresses - people.world)
    _, first = np.unique(people.numbers[order] >> 8, return_index=True)
    found: np.ndarray = order[np.sort(first)][:count]
    return found


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A stolen account that many use."""
    number = int(rng.integers(2))
    account = cast.account()
    clients = _networks(cast, rng, max(2, int(40 * strength)))
    begin, end = span(rng, int(rng.integers(180, 480)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = np.concatenate([r.integers(begin, end, len(clients)), at_rate(r, 4, begin, end)])
        who = np.concatenate([clients, clients[r.integers(0, len(clients), len(minute) - len(clients))]])
        day.services.append(Services.of(minute, number, "imap_access", who, account))

    may = ("account_spread", "account_send_surge", "login_attack")
    note = f"logins of one account from {len(clients)} networks"
    subjects = (cast.world.accounts[account],)
    return Planned(
        put, NAME, "positive", may, subjects, cast.world.mail_names[number], begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A traveller: hotel, train, mobile network."""
    number = int(rng.integers(2))
    account = cast.account()
    clients = _networks(cast, rng, int(rng.integers(3, 7)))
    begin, end = span(rng, 700)
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 2, begin, end)
        day.services.append(
            Services.of(
                minute, number, "imap_access", clients[r.integers(0, len(clients), len(minute))], account
            )
        )

    note = f"the owner of an account travels through {len(clients)} networks"
    subjects = (cast.world.accounts[account],)
    return Planned(put, NAME, "lookalike", (), subjects, cast.world.mail_names[number], begin, end, 1.0, note)
