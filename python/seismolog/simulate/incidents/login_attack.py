"""``login_attack``: passwords are tried.

Positive: 120 failures in ten minutes from one client over many accounts, or on one account from 40 clients. Look-alike: a
phone that still has last month's password.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day, Services
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span

NAME = "login_attack"


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """Spraying from one host, or a botnet on one account."""
    number = int(rng.integers(2))
    server = cast.world.mail_names[number]
    spread = rng.random() < 0.5
    clients = cast.outside(max(2, int(40 * strength)) if spread else 1)
    account = cast.account()
    begin, end = span(rng, int(rng.integers(40, 180)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = at_rate(r, 120 * strength, begin, end)
        who = clients[r.integers(0, len(clients), len(minute))]
        accounts = (
            np.full(len(minute), account) if spread else r.integers(0, len(day.world.accounts), len(minute))
        )
        day.services.append(Services.of(minute, number, "auth_failure", who, accounts))

    texts = tuple(cast.text(int(c)) for c in clients)
    subjects = (cast.world.accounts[account], *texts) if spread else texts
    may = ("login_attack", "step_change", "account_spread")
    accounts = "one account" if spread else "many accounts"
    note = f"{120 * strength:.0f} failures in ten minutes, {len(clients)} clients, {accounts}"
    return Planned(put, NAME, "positive", may, subjects, server, begin, end, strength, note)


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A phone with an old password tries every minute or two."""
    number = int(rng.integers(2))
    client = cast.address(int(cast.devices("phone", "pc")[0]))
    account = cast.account()
    rate = float(rng.uniform(3, 12))
    begin, end = span(rng, int(rng.integers(300, 900)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        day.services.append(
            Services.of(at_rate(r, rate, begin, end), number, "auth_failure", client, account)
        )

    subjects = (cast.text(client), cast.world.accounts[account])
    note = f"a phone with an old password, {rate:.0f} failures in ten minutes"
    return Planned(put, NAME, "lookalike", (), subjects, cast.world.mail_names[number], begin, end, 1.0, note)
