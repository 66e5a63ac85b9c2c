"""Mail servers of a simulated campus: messages, deliveries, sessions, and the look-ups that these cause.

A message makes its server look up the client that connects (PTR of its address, A of its name) and, for each foreign domain
of its envelope, the four look-ups of :mod:`seismolog.simulate.mail`: m_S = 2 + 4 n (1 − q) of the 2003 study; a session asks
for the PTR of its client, m_P = 1. Between the server and the DNS server stands a resolver cache with times to live, or one
that answers a constant share. A blocklist is asked about strangers, as a mail server of today does; the study's server did
not, and it is counted apart.

Deferrals follow :func:`seismolog.simulate.worlds.world`: a small share of first attempts is put off and tried again every
quarter of an hour, with an even chance each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seismolog.simulate import cache as resolver
from seismolog.simulate.campus.events import MX, PTR, A, Queries, Services
from seismolog.simulate.campus.names import Names, hash32, quantiles
from seismolog.simulate.campus.parameters import MailParameters, Parameters
from seismolog.simulate.campus.population import Population
from seismolog.simulate.shape import ar1, day_shape

__all__ = ["MailDay", "deliveries", "mail_day", "message_lookups"]

Ints = npt.NDArray[np.int64]
_RETRY = 15


@dataclass(frozen=True)
class MailDay:
    """What one mail server did on a day, and the look-ups of it that reached the DNS server."""

    services: Services
    queries: Queries
    cached: Queries
    """Look-ups that the cache answered."""


def intensity(rng: np.random.Generator, free: bool) -> npt.NDArray[np.float64]:
    """(1440,) relative intensity of a day: its shape, times a factor that wanders over an hour or two."""
    minutes = np.arange(1440)
    log = ar1(rng, 146, 0.9, 0.25) - 0.25**2 / 2
    wander = np.exp(np.interp(minutes, np.arange(146) * 10.0, log))
    shape: npt.NDArray[np.float64] = day_shape(minutes * 60.0) * (0.45 if free else 1.0) * wander
    return shape


def arrivals(rng: np.random.Generator, per_minute: npt.NDArray[np.float64]) -> Ints:
    """Minutes of a Poisson process."""
    return np.repeat(np.arange(len(per_minute)), rng.poisson(per_minute))


def message_lookups(
    rng: np.random.Generator,
    names: Names,
    minute: Ints,
    client: Ints,
    foreign: Ints,
    by_rank: npt.NDArray[np.integer[Any]],
) -> tuple[Ints, Ints, Ints]:
    """Minute, name and type of the look-ups of messages; `foreign` is the number of foreign domains of each."""
    groups = names.groups
    rows = np.repeat(np.arange(len(minute)), foreign)
    domain = by_rank[rng.integers(0, len(by_rank), len(rows))]
    apex, mx = groups["apex"][domain], groups["mx"][domain]
    when = minute[rows]
    return (
        np.concatenate([minute, minute, when, when, when, when]),
        np.concatenate([groups["pointer"][client], groups["host"][client], apex, apex, apex, mx]),
        np.concatenate(
            [np.full(len(minute), PTR), np.full(len(minute), A)]
            + [np.full(len(rows), k) for k in (A, MX, MX, A)]
        ),
    )


def deliveries(
    rng: np.random.Generator,
    first: Ints,
    deferred: npt.NDArray[np.float64],
    server: int,
    bounced: float = 0.01,
) -> Services:
    """Delivery lines of first attempts at these minutes, of which a share (by minute) is put off and tried again."""
    fate = rng.random(len(first))
    lost = fate < bounced
    late = ~lost & (fate < bounced + deferred[np.clip(first, 0, 1439)])
    parts = [
        Services.of(first[lost], server, "smtp_bounced", recipients=1),
        Services.of(first[~lost & ~late], server, "smtp_sent", recipients=1),
        Services.of(first[late], server, "smtp_deferred", recipients=1),
    ]
    waiting = first[late]
    while len(waiting):
        waiting = (waiting // _RETRY + 1) * _RETRY + rng.integers(0, 10, len(waiting))
        waiting = waiting[waiting < 1440]
        again = rng.random(len(waiting)) < 0.5
        parts.append(Services.of(waiting[~again], server, "smtp_sent", recipients=1))
        parts.append(Services.of(waiting[again], server, "smtp_deferred", recipients=1))
        waiting = waiting[again]
    return Services.join(parts)


def mail_day(
    parameters: Parameters,
    people: Population,
    names: Names,
    server: int,
    day: int,
    address: Ints,
    owner: Ints,
) -> MailDay:
    """One day of a mail server; `owner` is the device of each account."""
    mail: MailParameters = parameters.mail[server]
    rng = np.random.default_rng([parameters.seed, 2025, 10, day + 1000, server])
    free = parameters.is_free(day)
    shape = intensity(rng, free)
    minute = arrivals(rng, mail.messages / 1440 * shape)
    count = len(minute)
    world = people.addresses - people.world
    # Strangers by Zipf's law; a third comes from inside, with the account of its sender.
    relays = (
        people.world + quantiles(np.arange(1.0, world + 1) ** -0.9, 1 << 16)[rng.integers(0, 1 << 16, count)]
    )
    inside = rng.random(count) < 0.3
    busy = quantiles(np.arange(1.0, len(owner) + 1) ** -0.5, 1 << 17)
    account = np.where(inside, busy[rng.integers(0, 1 << 17, count)], -1)
    client = np.where(inside, address[owner[account]], relays)
    n, q = mail.domains_per_message, mail.receive_rate
    recipients = 1 + np.where(rng.random(count) < (n - 1.9) * 0.7, rng.geometric(0.7, count), 0)
    foreign = rng.binomial(1, 0.9 * (1 - q), count) + rng.binomial(recipients, 1 - q)
    rejected = minute[rng.random(count) < 0.04]
    refused = people.world + rng.integers(0, world, len(rejected))
    trouble = np.exp(np.repeat(ar1(rng, 144, 0.95, 0.5), 10)) * mail.deferred
    work = deliveries(rng, np.repeat(minute, recipients), trouble, server)

    session = arrivals(rng, mail.sessions / 1440 * intensity(rng, free))
    whose = busy[rng.integers(0, 1 << 17, len(session))]
    away = rng.random(len(session)) < 0.25
    # From home an account comes from one of two addresses of its own.
    home = people.world + hash32(whose.astype(np.int64) * 2 + (rng.random(len(session)) < 0.2)) % np.uint32(
        world
    )
    at = np.where(away, home, address[owner[whose]])
    imap = hash32(whose) % np.uint32(1000) < mail.imap_share * 1000
    failed = rng.random(len(session)) < 0.006
    services = Services.join(
        [
            Services.of(minute, server, "smtp_connection", client),
            Services.of(rejected, server, "smtp_connection", refused),
            Services.of(rejected, server, "smtp_rejected", refused),
            Services.of(minute, server, "smtp_accepted", client, account),
            work,
            Services.of(session[imap], server, "imap_access", at[imap], whose[imap]),
            Services.of(session[~imap], server, "pop_access", at[~imap], whose[~imap]),
            Services.of(session[failed], server, "auth_failure", at[failed], whose[failed]),
        ]
    )
    by_rank = quantiles(np.arange(1.0, len(names.groups["apex"]) + 1) ** -1.05, 1 << 18)
    look = message_lookups(rng, names, minute, client, foreign, by_rank)
    pop = session[~imap]
    when = np.concatenate([look[0], pop])
    name = np.concatenate([look[1], names.groups["pointer"][at[~imap]]])
    kind = np.concatenate([look[2], np.full(len(pop), PTR)])
    stranger = client >= people.world
    per_zone = len(names.groups["blocklist"]) // 2
    listed = names.groups["blocklist"][(server * per_zone) + client[stranger] - people.world]
    if server == 1:
        # The second server asks a blocklist about strangers.
        when = np.concatenate([when, minute[stranger]])
        name = np.concatenate([name, listed])
        kind = np.concatenate([kind, np.full(len(listed), A)])
    asked = Queries.of(when, people.mail[server], name, kind)
    reached = passed(rng, mail, when, name, kind)
    return MailDay(services, asked.where(reached), asked.where(~reached))


def passed(
    rng: np.random.Generator, mail: MailParameters, minute: Ints, name: Ints, kind: Ints
) -> npt.NDArray[np.bool_]:
    """Which look-ups the cache of a mail server does not answer."""
    if mail.cache == "constant":
        return rng.random(len(minute)) >= mail.hit_rate
    times = minute * 60.0 + 60.0 * rng.random(len(minute)) + 86400.0
    # The cache is warm at midnight: what this day's evening asks stands for the evening before.
    late = np.flatnonzero(minute >= 960)
    both = np.concatenate([late, np.arange(len(minute))])
    when = np.concatenate([times[late] - 86400.0, times])
    missed = resolver.misses(when, (name * 16 + kind)[both], resolver.times_to_live(name)[both])
    return missed[len(late) :]
