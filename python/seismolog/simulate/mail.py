"""Messages, their deliveries and retries, POP sessions, and the look-ups that these cause.

What it is for
    The heart of the discrete model: what a mail server of 2002 does for each message, with every count known.

How it works
    A message's envelope names *n* domains: its sender's (nine messages in ten have one that counts) and
    those of its recipients (one, at times several). Each is the campus's own with the receive rate *q*,
    so *n(1-q)* are foreign on average. The server looks up

    - the client that connects: PTR of its address, A of its host name (2 look-ups),
    - each foreign domain: A and MX to complete the address, MX and A of the mail host to hand over (4
      look-ups).

    Hence m_S = 2 + 4 n (1 - q), equation 2 of the 2003 study; the choice of the four is ours. Every
    recipient domain is one delivery (one ``to=`` line). A delivery to a foreign domain may be deferred:
    it is tried again at each queue run until it goes through. By default a retry asks nothing (sendmail
    keeps host status and its addresses); with ``m_sd`` every deferral causes that many queries on
    average.

Limits
    No message is ever given up, no delivery outlives the simulated time, and domains within a message are
    drawn independently.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seismolog.simulate.names import Names, zipf

__all__ = [
    "AAAA",
    "ANY",
    "MX",
    "PTR",
    "SRV",
    "TXT",
    "TYPE_TEXT",
    "A",
    "Deliveries",
    "Lookups",
    "Mail",
    "messages",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

A, MX, PTR, AAAA, SRV, TXT, ANY = range(7)
TYPE_TEXT = ("A", "MX", "PTR", "AAAA", "SRV", "TXT", "ANY")

SENT, DEFERRED, UNKNOWN = range(3)
OWN = -1  # a domain number that means: one of the campus's own
NULL_SENDER = -2

QUEUE_INTERVAL = 900.0  # seconds between queue runs (sendmail -q15m)
_RETRY_FAILS = 0.5


@dataclass(frozen=True)
class Lookups:
    """Look-ups of one client: seconds, name number (see Names), query type."""

    times: Floats
    names: Ints
    types: Ints

    @staticmethod
    def join(parts: list[Lookups]) -> Lookups:
        """All look-ups of several."""
        return Lookups(
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.names for part in parts]),
            np.concatenate([part.types for part in parts]),
        )

    def where(self, keep: Bools) -> Lookups:
        """Those look-ups that ``keep`` marks."""
        return Lookups(self.times[keep], self.names[keep], self.types[keep])


@dataclass(frozen=True)
class Deliveries:
    """Delivery attempts, one row a ``to=`` line; ``recipient`` is a row of Mail's recipients."""

    recipient: Ints
    times: Floats
    status: Ints  # SENT, DEFERRED or UNKNOWN
    delays: Floats  # seconds since the message came


@dataclass(frozen=True)
class Mail:
    """Messages (one row a ``from=`` line), their recipient domains, attempts and look-ups."""

    times: Floats
    clients: Ints  # address numbers
    senders: Ints  # domain number, OWN or NULL_SENDER
    worm: Bools
    rejected: Bools  # nothing was accepted: no recipients follow
    recipient_message: Ints
    recipient_domain: Ints  # domain number or OWN
    recipient_addresses: Ints
    deliveries: Deliveries
    lookups: Lookups

    def addresses_of_messages(self) -> Ints:
        """Number of recipient addresses of each message (``nrcpts``)."""
        totals = np.bincount(self.recipient_message, self.recipient_addresses, minlength=len(self.times))
        return totals.astype(np.int64)


def messages(
    rng: np.random.Generator,
    names: Names,
    times: Floats,
    worm: Bools,
    *,
    infected: Ints,
    domains_per_message: float,
    receive_rate: float,
    deferred: Floats,
    rejected_share: float,
    unknown_share: float,
    m_sd: float,
    until: float,
    popularity: float = 1.05,
) -> Mail:
    """Draw the envelopes of messages that arrive at ``times`` and follow them to their delivery.

    Parameters
    ----------
    times, worm
        Arrival in seconds, ascending, and whether it is mass mail of a worm.
    infected
        Address numbers of the infected clients, the busiest first.
    domains_per_message, receive_rate
        n (at least 1.9) and q of equation 2.
    deferred
        Probability, per message, that the first attempt at a foreign domain is put off.
    rejected_share, unknown_share
        Share of messages whose recipients are all refused; of own recipients found unknown at delivery.
    m_sd
        Mean queries caused by one deferral.
    until
        End of the simulated time in seconds.
    popularity
        Zipf exponent of the domains that ordinary mail goes to; mass mail goes to a much flatter choice.
    """
    count = len(times)
    rejected = (rng.random(count) < rejected_share) & ~worm

    # Envelope: the sender's domain, if it counts, and one or more recipient domains.
    has_sender = rng.random(count) < 0.9
    extra_mean = domains_per_message - 1.9
    several = rng.random(count) < extra_mean * 0.7
    recipients = 1 + np.where(several, rng.geometric(0.7, count), 0)
    recipients[rejected] = 0
    ordinary = zipf(rng, names.domains, popularity, count)
    foreign_sender = rng.random(count) >= receive_rate
    senders = np.where(has_sender, np.where(foreign_sender, ordinary, OWN), NULL_SENDER)

    # Who connects: the mail host of the sender's domain, or a PC when the sender is one of us.
    inside = (senders == OWN) | ((senders == NULL_SENDER) & (rng.random(count) < 0.3))
    pcs = names.pc(zipf(rng, names.pcs, 0.7, count))
    relays = np.where(senders >= 0, senders, zipf(rng, names.domains, popularity, count))
    clients = np.where(inside, pcs, relays)
    busiest = infected[zipf(rng, len(infected), 0.8, count)]
    clients = np.where(worm, busiest, clients)

    message = np.repeat(np.arange(count), recipients)
    lines = len(message)
    flat = zipf(rng, names.domains, 0.3, lines)
    domain = np.where(worm[message], flat, zipf(rng, names.domains, popularity, lines))
    domain = np.where(rng.random(lines) < receive_rate, OWN, domain)
    addresses = 1 + rng.poisson(0.15, lines)

    deliveries = _deliver(rng, times, message, domain, deferred, unknown_share, until)
    parts = [
        _of_connections(rng, names, times, clients),
        _of_domains(rng, names, times, np.flatnonzero((senders >= 0) & ~rejected), senders),
        _of_domains(rng, names, times[message], np.flatnonzero(domain >= 0), domain),
    ]
    if m_sd > 0:
        parts.append(_of_deferrals(rng, names, deliveries, domain, m_sd))
    return Mail(
        times, clients, senders, worm, rejected, message, domain, addresses, deliveries, Lookups.join(parts)
    )


def _deliver(
    rng: np.random.Generator,
    times: Floats,
    message: Ints,
    domain: Ints,
    deferred: Floats,
    unknown_share: float,
    until: float,
) -> Deliveries:
    """Every attempt of every recipient: the first soon after arrival, the others at queue runs."""
    lines = len(message)
    arrival = times[message]
    foreign = domain >= 0
    first = arrival + 1.0 + rng.exponential(1.0, lines)
    status = np.full(lines, SENT)
    status[foreign & (rng.random(lines) < deferred[message])] = DEFERRED
    status[~foreign & (rng.random(lines) < unknown_share)] = UNKNOWN
    who, when, what = [np.arange(lines)], [first], [status]
    waiting = np.flatnonzero(status == DEFERRED)
    at = first[waiting]
    while waiting.size:
        # A queue run takes minutes: each entry has its turn somewhere in the first ten.
        at = (np.floor(at / QUEUE_INTERVAL) + 1) * QUEUE_INTERVAL + rng.uniform(0, 600, waiting.size)
        in_time = at < until
        waiting, at = waiting[in_time], at[in_time]
        again = rng.random(waiting.size) < _RETRY_FAILS
        who.append(waiting)
        when.append(at)
        what.append(np.where(again, DEFERRED, SENT))
        waiting, at = waiting[again], at[again]
    recipient, attempt = np.concatenate(who), np.concatenate(when)
    return Deliveries(recipient, attempt, np.concatenate(what), attempt - arrival[recipient])


def _of_connections(rng: np.random.Generator, names: Names, times: Floats, clients: Ints) -> Lookups:
    """PTR of the client's address and A of its host name, for each connection."""
    start = times - 0.2 * rng.random(len(times))
    return Lookups(
        np.concatenate([start, start + 0.1]),
        np.concatenate([names.pointer(clients), names.host(clients)]),
        np.concatenate([np.full(len(times), PTR), np.full(len(times), A)]),
    )


def _of_domains(rng: np.random.Generator, names: Names, times: Floats, rows: Ints, domains: Ints) -> Lookups:
    """The four look-ups of each foreign domain: A and MX of the domain, then MX and A of its mail host."""
    start = times[rows] + 0.2 * rng.random(len(rows))
    domain = domains[rows]
    size = len(rows)
    return Lookups(
        np.concatenate([start, start + 0.1, start + 0.5, start + 0.6]),
        np.concatenate([domain, domain, domain, names.mail_host(domain)]),
        np.concatenate([np.full(size, kind) for kind in (A, MX, MX, A)]),
    )


def _of_deferrals(
    rng: np.random.Generator, names: Names, deliveries: Deliveries, domain: Ints, m_sd: float
) -> Lookups:
    """Queries of deferrals, when they are made to cause any: a Poisson number each, of mean ``m_sd``."""
    put_off = np.flatnonzero(deliveries.status == DEFERRED)
    row = np.repeat(put_off, rng.poisson(m_sd, len(put_off)))
    asked = domain[deliveries.recipient[row]]
    mx = rng.random(len(row)) < 0.5
    return Lookups(
        deliveries.times[row] - rng.random(len(row)),
        np.where(mx, asked, names.mail_host(asked)),
        np.where(mx, MX, A),
    )
