"""What incidents and look-alikes are made of: a cast that keeps them apart, and events at a rate.

A module of this package is one row of the detectors: ``NAME``, ``positive(cast, rng, strength) -> Planned`` and
``lookalike(cast, rng) -> Planned``; with ``ALONE`` it is tried on days of its own. What is planned is put into a day
(:attr:`Planned.put`), or into every day where it is a habit of a host that was always there. Strengths are per ten minutes;
1 is the normal one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seismolog.simulate.campus.events import MX, Day, Injected, Queries
from seismolog.simulate.campus.names import domain_words
from seismolog.simulate.campus.world import World
from seismolog.simulate.shape import ar1

__all__ = [
    "Cast",
    "NoRoomError",
    "Planned",
    "at_rate",
    "curve",
    "mail_lookups",
    "new_domains",
    "seeded",
    "span",
    "wander",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class NoRoomError(Exception):
    """The campus is too small, or its day too short, for one more incident."""


@dataclass
class Cast:
    """Who plays: each device, outside address, account and stretch of a server's time is given out once.

    Devices are those that are there on the day that is looked at.
    """

    world: World
    day: Day
    rng: np.random.Generator
    taken: set[int] = field(default_factory=set)
    accounts: set[int] = field(default_factory=set)
    stretches: list[tuple[str, int, int]] = field(default_factory=list)

    def devices(self, *kinds: str, count: int = 1, most: float = 12.0, whole_day: bool = False) -> Ints:
        """Devices of these classes that ask on this day, at most `most` in ten minutes on average while they are on.

        Nine in ten of the PCs in use are as quiet as that, or quieter.

        `whole_day` asks for those that are hardly ever silent.
        """
        people, counts = self.world.people, self.day.counts
        pool = np.concatenate([people.members(k) for k in kinds])
        on = (counts[pool] > 0).sum(axis=1)
        mean = counts[pool].sum(axis=1) / np.maximum(on, 1)
        fit = (on > (136 if whole_day else 6)) & (mean <= most)
        free = [d for d in pool[fit].tolist() if d not in self.taken]
        if len(free) < count:
            free = [d for d in pool.tolist() if d not in self.taken]
        if not free:
            raise NoRoomError(f"no {' or '.join(kinds)} is left to play a part")
        chosen = self.rng.choice(np.array(free), min(count, len(free)), replace=False)
        self.taken.update(chosen.tolist())
        return chosen.astype(np.int64)

    def outside(self, count: int = 1) -> Ints:
        """Addresses of the world that ask little."""
        people = self.world.people
        low = people.world + (people.addresses - people.world) // 3
        free = np.array([a for a in range(low, people.addresses) if a not in self.taken])
        if len(free) < count:
            raise NoRoomError("no address of the world is left to play a part")
        chosen = self.rng.choice(free, count, replace=False)
        self.taken.update(chosen.tolist())
        return chosen.astype(np.int64)

    def account(self) -> int:
        """An account of a PC's owner that is in use but is not among the busiest."""
        count = len(self.world.accounts)
        while True:
            chosen = int(self.rng.integers(count // 10, count))
            if chosen not in self.accounts or len(self.accounts) > count // 2:
                self.accounts.add(chosen)
                return chosen

    def stretch(
        self, servers: Sequence[str], length: int, *, earliest: int = 60, latest: int = 1420, apart: int = 60
    ) -> tuple[str, int]:
        """One of these servers and the begin of a stretch of its day, apart from all others.

        Raises
        ------
        NoRoomError
            The day has no such stretch left.
        """
        for _ in range(400):
            server = servers[int(self.rng.integers(len(servers)))]
            begin = int(self.rng.integers(earliest, max(earliest + 1, latest - length)))
            taken = [(b, e) for s, b, e in self.stretches if s == server]
            if all(begin + length + apart <= b or e + apart <= begin for b, e in taken):
                self.stretches.append((server, begin, begin + length))
                return server, begin
        raise NoRoomError(f"no stretch of {length} minutes is left")

    def address(self, device: int) -> int:
        """Address of a device on the day that is looked at."""
        return int(self.day.address[device])

    def text(self, address: int) -> str:
        """An address as text."""
        return self.world.people.texts[address]

    def server_of(self, address: int) -> str:
        """The DNS server that an address asks."""
        return self.world.dns_names[int(self.world.people.server[address])]


@dataclass(frozen=True)
class Planned:
    """One incident or look-alike with its cast and times.

    Parameters
    ----------
    put
        Adds its events to a day.
    truth
        What it is; None for what is put in without being looked for.
    habit
        Whether it is there on the days before as well.
    follows
        Whether it is put in when all others are: it follows a curve that they may bend.
    """

    put: Callable[[Day], None]
    row: str
    kind: str
    detectors: tuple[str, ...]
    subjects: tuple[str, ...]
    server: str
    begin: int
    end: int
    strength: float
    note: str
    habit: bool = False
    follows: bool = False

    def truth(self, day: Day) -> Injected:
        """The truth of it on a day."""
        return Injected(
            self.row,
            self.kind,
            self.detectors,
            self.subjects,
            self.server,
            day.moment(self.begin),
            day.moment(self.end),
            self.strength,
            self.note,
        )


def span(rng: np.random.Generator, length: int, *, earliest: int = 40, latest: int = 1430) -> tuple[int, int]:
    """Begin and end of a stretch of minutes somewhere in the day."""
    begin = int(rng.integers(earliest, max(earliest + 1, latest - length)))
    return begin, min(begin + length, 1440)


def at_rate(rng: np.random.Generator, per_ten: float | Floats, begin: int, end: int) -> Ints:
    """Minutes of a Poisson process of that many events in ten minutes, between two minutes."""
    mean = np.broadcast_to(np.asarray(per_ten, float) / 10, (end - begin,))
    return begin + np.repeat(np.arange(end - begin), rng.poisson(mean))


def wander(rng: np.random.Generator, minutes: int, sd: float, step: int = 10, rho: float = 0.7) -> Floats:
    """A factor of mean 1 by minute that keeps its value for `step` minutes and remembers the one before."""
    log = ar1(rng, minutes // step + 2, rho, sd) - sd * sd / 2
    return np.exp(np.repeat(log, step))[:minutes]


def curve(day: Day, client: int) -> Floats:
    """(1440,) explicit look-ups of an address by minute: the curve of a mail server."""
    made = np.zeros(1440)
    for part in day.queries:
        mine = part.minute[part.client == client]
        made += np.bincount(mine[(mine >= 0) & (mine < 1440)], minlength=1440)
    return made


def new_domains(rng: np.random.Generator, count: int) -> list[str]:
    """Registered domains that nobody has asked for before: words and a number."""
    return [f"{w}{int(rng.integers(100, 99999))}.example" for w in domain_words(rng, count)]


def mail_lookups(
    world: World,
    rng: np.random.Generator,
    minutes: Ints,
    client: int,
    *,
    pointers: float = 0.0,
    flat: bool = True,
) -> Queries:
    """MX of domains and A of their mail hosts, one or the other at each of the minutes, and a share of PTR."""
    groups = world.names.groups
    count = len(groups["apex"])
    domain = (
        rng.integers(0, count, len(minutes))
        if flat
        else (rng.random(len(minutes)) ** 4 * count).astype(np.int64)
    )
    mx = rng.random(len(minutes)) < 0.5
    name = np.where(mx, groups["apex"][domain], groups["mx"][domain])
    kind = np.where(mx, MX, 0)
    if pointers:
        back = rng.random(len(minutes)) < pointers
        who = rng.integers(world.people.world, world.people.addresses, len(minutes))
        name = np.where(back, groups["pointer"][who], name)
        kind = np.where(back, 3, kind)
    return Queries.of(minutes, client, name, kind)


def seeded(rng: np.random.Generator) -> Callable[[Day], np.random.Generator]:
    """A generator for each day, fixed when the incident is planned."""
    seed = int(rng.integers(1 << 31))
    return lambda day: np.random.default_rng([seed, day.number + 1000])
