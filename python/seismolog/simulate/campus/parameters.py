"""What differs from one simulated campus to the next: every number is drawn from the seed.

A threshold that fits one world only would be found out by the next. Ranges are wide where campuses differ (volumes,
shapes of the day, caches, how much of a client's traffic is its own), and none of them is fitted to data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

__all__ = ["CLASSES", "MailParameters", "Parameters", "draw"]

CLASSES = ("pc", "phone", "lab", "server", "monitor", "device", "gateway", "resolver")
"""Kinds of clients inside: office PCs, phones and laptops without wires, PCs of class rooms, servers, hosts that watch
others, printers and the like, gateways with many users behind one address, resolvers of departments."""

_ZONES = ("Asia/Tokyo", "Europe/Berlin", "America/New_York")
# Without a change of the clock in them or in the month before.
_SEASONS = ((date(2025, 5, 12), 60), (date(2025, 11, 24), 20))


@dataclass(frozen=True)
class MailParameters:
    """One mail server: volumes of a working day and what a message causes."""

    name: str
    messages: float
    sessions: float
    domains_per_message: float
    receive_rate: float
    cache: str
    hit_rate: float
    deferred: float
    imap_share: float


@dataclass(frozen=True)
class Parameters:
    """A campus, but for its population and names, which follow from the seed as well.

    Shares and volumes by class are in the order of :data:`CLASSES`.
    """

    seed: int
    clients: int
    timezone: str
    first_day: date
    holidays: frozenset[date]
    people: tuple[float, ...]
    """Share of the clients of each class."""
    volume: tuple[float, ...]
    """Share of the queries of each class."""
    queries: float
    """Queries of a working day of all clients inside, without mail servers and agents."""
    zipf: float
    """Exponent of the activity of clients within a class."""
    degrees: int
    """Twice the shape k of the gamma factor of a client and ten minutes."""
    memory: float
    """Correlation of that factor from one ten minutes to the next."""
    day_sd: float
    """Standard deviation of the log of a client's level from day to day."""
    weekend: float
    """Share of the PCs that are used on a day off."""
    night: float
    """Share of the PCs that stay on by night."""
    start: float
    """Hour at which PCs are switched on, and its spread in minutes."""
    start_sd: float
    churn: float
    """Share of the addresses without wires that change hands from one day to the next."""
    own: float
    """Share of a client's web look-ups that go to its own favourites."""
    name_zipf: float
    second_server: float
    """Share of the clients that ask the second DNS server."""
    outside_queries: float
    busy: float
    """Chance of a PC to have a stretch of unusual work on a day: many pages, a download of many parts."""
    drops: float
    """Packets dropped a day."""
    mail: tuple[MailParameters, ...] = field(default=())

    def midnight(self, day: int) -> datetime:
        """Local midnight at which a day begins; day 0 is the first that is evaluated, those before are history."""
        return datetime.combine(self.first_day, datetime.min.time(), ZoneInfo(self.timezone)) + timedelta(day)

    def is_free(self, day: int) -> bool:
        """Whether a day is a Saturday, a Sunday or a holiday."""
        when = self.first_day + timedelta(day)
        return when.weekday() >= 5 or when in self.holidays


def _shares(rng: np.random.Generator, middle: list[float], spread: float) -> tuple[float, ...]:
    drawn = np.array(middle) * np.exp(rng.normal(0, spread, len(middle)))
    return tuple((drawn / drawn.sum()).tolist())


def draw(seed: int, clients: int = 20_000) -> Parameters:
    """The parameters of a seed.

    Raises
    ------
    ValueError
        For fewer than 200 clients or more than 200,000.
    """
    if not 200 <= clients <= 200_000:
        raise ValueError(f"clients = {clients}: expected 200 to 200000")
    rng = np.random.default_rng([seed, 2025, 1])
    first, span = _SEASONS[int(rng.integers(len(_SEASONS)))]
    first_day = first + timedelta(int(rng.integers(span)))
    days = [first_day + timedelta(int(d)) for d in range(-21, 8)]
    holidays = frozenset(d for d in days if d.weekday() < 5 and rng.random() < 0.04)
    # Mail does not come from the campus alone: a small one has servers of some size.
    scale = max(clients / 20_000, 0.3)
    mail = []
    for name, share in (("1mx", 1.0), ("2mx", 0.45)):
        mail.append(
            MailParameters(
                name=name,
                messages=float(rng.uniform(35_000, 70_000) * share * scale),
                sessions=float(rng.uniform(40_000, 90_000) * share * scale),
                domains_per_message=float(rng.uniform(1.9, 2.6)),
                receive_rate=float(rng.uniform(0.1, 0.4)),
                cache=str(rng.choice(["on", "on", "constant"])),
                hit_rate=float(rng.uniform(0.25, 0.6)),
                deferred=float(rng.uniform(0.006, 0.02)),
                imap_share=float(rng.uniform(0.3, 0.8)),
            )
        )
    return Parameters(
        seed=seed,
        clients=clients,
        timezone=str(rng.choice(_ZONES)),
        first_day=first_day,
        holidays=holidays,
        people=_shares(rng, [0.46, 0.32, 0.06, 0.03, 0.0004, 0.12, 0.0006, 0.0008], 0.15),
        volume=_shares(rng, [0.44, 0.19, 0.04, 0.12, 0.02, 0.03, 0.07, 0.09], 0.15),
        queries=float(clients * rng.uniform(370, 500)),
        zipf=float(rng.uniform(0.5, 0.9)),
        degrees=int(rng.integers(5, 9)),
        memory=float(rng.uniform(0.45, 0.8)),
        day_sd=float(rng.uniform(0.2, 0.45)),
        weekend=float(rng.uniform(0.06, 0.2)),
        night=float(rng.uniform(0.08, 0.3)),
        start=float(rng.uniform(8.0, 9.3)),
        start_sd=float(rng.uniform(10, 35)),
        churn=float(rng.uniform(0.05, 0.3)),
        own=float(rng.uniform(0.35, 0.65)),
        name_zipf=float(rng.uniform(0.9, 1.1)),
        second_server=float(rng.uniform(0.05, 0.25)),
        outside_queries=float(clients * rng.uniform(10, 30)),
        busy=float(rng.uniform(0, 1.5e-4)),
        drops=float(clients * rng.uniform(2, 6)),
        mail=tuple(mail),
    )
