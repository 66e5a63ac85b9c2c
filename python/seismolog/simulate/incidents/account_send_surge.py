"""``account_send_surge``: an account sends as no person does.

Positive: 400 messages an hour. Look-alike: the account of a mailing, which sends as many every day.
"""

from __future__ import annotations

import numpy as np

from seismolog.simulate.campus.events import Day, Queries, Services
from seismolog.simulate.campus.mail import message_lookups
from seismolog.simulate.campus.names import quantiles
from seismolog.simulate.incidents.base import Cast, Planned, at_rate, seeded, span

NAME = "account_send_surge"


def _send(
    day: Day, r: np.random.Generator, number: int, minute: np.ndarray, client: int, account: int
) -> None:
    world = day.world
    day.services += [
        Services.of(minute, number, "smtp_connection", client),
        Services.of(minute, number, "smtp_accepted", client, account),
        Services.of(minute, number, "smtp_sent", recipients=1),
    ]
    by_rank = quantiles(np.arange(1.0, len(world.names.groups["apex"]) + 1) ** -0.7, 1 << 16)
    who = np.full(len(minute), client)
    look = message_lookups(r, world.names, minute, who, np.ones(len(minute), np.int64), by_rank)
    # The server's cache knows the client, and half of the domains.
    first = np.unique(look[1] * 16 + look[2], return_index=True)[1]
    day.queries.append(Queries.of(look[0][first], world.people.mail[number], look[1][first], look[2][first]))


def positive(cast: Cast, rng: np.random.Generator, strength: float) -> Planned:
    """A stolen account sends spam."""
    number = int(rng.integers(2))
    account = cast.account()
    client = int(cast.outside(1)[0])
    begin, end = span(rng, int(rng.integers(60, 200)))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        _send(day, r, number, at_rate(r, 400 / 6 * strength, begin, end), client, account)

    may = ("account_send_surge", "account_spread", "step_change", "deferral_surge", "model_residual")
    note = f"{400 * strength:.0f} messages an hour from one account"
    subjects = (cast.world.accounts[account], cast.text(client))
    return Planned(
        put, NAME, "positive", may, subjects, cast.world.mail_names[number], begin, end, strength, note
    )


def lookalike(cast: Cast, rng: np.random.Generator) -> Planned:
    """A mailing, one message for each reader, every day at the same hour."""
    number = int(rng.integers(2))
    account = cast.account()
    client = cast.address(int(cast.devices("pc")[0]))
    size = int(rng.integers(100, 400))
    begin = int(rng.integers(480, 960))
    of = seeded(rng)

    def put(day: Day) -> None:
        r = of(day)
        minute = np.sort(begin + r.integers(0, 40, size))
        _send(day, r, number, minute, client, account)

    note = f"a mailing of {size} messages, as on every day before"
    subjects = (cast.world.accounts[account], cast.text(client))
    return Planned(
        put,
        NAME,
        "lookalike",
        (),
        subjects,
        cast.world.mail_names[number],
        begin,
        begin + 40,
        1.0,
        note,
        habit=True,
    )
