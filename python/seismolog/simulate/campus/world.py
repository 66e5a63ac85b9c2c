"""A simulated campus over some days: its population, names, programs and servers, and its days one by one.

>>> world = World(seed=1, clients=500)
>>> day = world.day(0)
>>> tables = count(day)

Days are independent draws from the seed: any can be made without those before it. Day 0 is the first that is looked at; days
with negative numbers are its past. Nothing is kept but the population and its names (about 100 bytes a name).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from seismolog.simulate.campus import agents as programs
from seismolog.simulate.campus import mail, parameters, population
from seismolog.simulate.campus.activity import rates
from seismolog.simulate.campus.events import AAAA, ANY, MX, NS, PTR, TXT, A, Day, Drops, Queries
from seismolog.simulate.campus.names import Names, campus_names, quantiles
from seismolog.simulate.campus.ordinary import Mixture
from seismolog.simulate.campus.parameters import CLASSES

if TYPE_CHECKING:
    from seismolog.detect.site import Site

__all__ = ["World"]

_PORTS = (22, 23, 80, 443, 445, 1433, 3306, 3389, 5060, 5900, 6379, 8080, 8443)


class World:
    """One campus; see the module.

    Parameters
    ----------
    seed
        What everything follows from.
    clients
        Devices inside, 200 to 200,000.
    """

    dns_names = ("1dns", "2dns")
    wall_name = "1fw"

    def __init__(self, seed: int, clients: int = 20_000) -> None:
        self.parameters = parameters.draw(seed, clients)
        self.people = population.populate(self.parameters)
        self.names: Names = campus_names(self.parameters, self.people)
        self.programs = programs.agents(self.parameters, self.people, self.names)
        self.names.settle()
        self.mixture = Mixture.of(seed)
        self.mail_names = tuple(m.name for m in self.parameters.mail)
        self.steady_classes = np.array([CLASSES.index("monitor")], np.int8)

    @cached_property
    def owner(self) -> np.ndarray:
        """Device of each mail account: PCs, one account each."""
        rng = np.random.default_rng([self.parameters.seed, 2025, 11])
        return rng.permutation(self.people.members("pc"))

    @cached_property
    def accounts(self) -> list[str]:
        """Name of each account."""
        return [f"u{n:05d}" for n in range(len(self.owner))]

    @property
    def servers(self) -> tuple[str, ...]:
        """All servers that write logs."""
        return (*self.dns_names, *self.mail_names, self.wall_name)

    @property
    def midnight(self) -> datetime:
        """Start of day 0 in UTC."""
        return self.parameters.midnight(0).astimezone(UTC)

    def site(self) -> Site:
        """What the operators of this campus would have configured."""
        from seismolog.detect.site import MailHost, Site

        people, p = self.people, self.parameters
        return Site(
            timezone=p.timezone,
            inside=population.INSIDE,
            mail_servers=tuple(
                MailHost(m.name, (people.texts[people.mail[i]],), m.domains_per_message, m.receive_rate)
                for i, m in enumerate(p.mail)
            ),
            dns_servers=tuple(people.texts[a] for a in people.dns),
            resolvers=tuple(people.texts[a] for a in people.members("resolver")),
            scanners=tuple(people.texts[a] for a in people.members("monitor")),
            holidays=p.holidays,
        )

    def day(self, number: int) -> Day:
        """A day without incidents; number 0 is the first one, negative ones are before it."""
        p, people = self.parameters, self.people
        self.names.forget()
        address = people.addresses_of(p, number)
        rate = rates(p, people, number)
        rng = np.random.default_rng([p.seed, 2025, 12, number + 1000])
        counts = rng.poisson(rate).astype(np.int32)
        start = self.midnight + timedelta(number)
        made = Day(self, number, start, address, counts)
        made.queries.append(programs.asked(self.programs, rng, rate > 0, address, number))
        for server in range(len(p.mail)):
            mailed = mail.mail_day(p, people, self.names, server, number, address, self.owner)
            made.services.append(mailed.services)
            made.queries.append(mailed.queries)
            made.cached.append(mailed.cached)
        made.queries.append(self._outside(rng))
        made.drops.append(self._dropped(rng))
        for name in self.servers:
            # Now and then a log daemon is started again, by night, and some minutes are lost.
            if rng.random() < 0.15:
                begin = int(rng.integers(120, 360))
                made.remove(begin, begin + int(rng.integers(1, 5)), server=name)
        return made

    def _outside(self, rng: np.random.Generator) -> Queries:
        """Resolvers of the world that ask the second server for the campus's own names."""
        people = self.people
        size = int(rng.poisson(self.parameters.outside_queries))
        world = people.addresses - people.world
        minute = np.sort(rng.integers(0, 1440, size))
        client = (
            people.world
            + quantiles(np.arange(1.0, world + 1) ** -0.8, 1 << 16)[rng.integers(0, 1 << 16, size)]
        )
        kind = rng.choice(
            [A, AAAA, MX, PTR, TXT, NS, ANY], size, p=[0.45, 0.2, 0.12, 0.17, 0.04, 0.018, 0.002]
        )
        groups = self.names.groups
        some = (rng.random(size) ** 3 * people.devices).astype(np.int64)
        name = np.where(rng.random(size) < 0.6, groups["campus"][some % 20], groups["host"][some])
        name = np.where(kind == PTR, groups["pointer"][some], name)
        name = np.where((kind == MX) | (kind == TXT) | (kind == NS), groups["campus"][0], name)
        return Queries.of(minute, client, name, kind)

    def _dropped(self, rng: np.random.Generator) -> Drops:
        """The noise of the world at the firewall: many sources, a few ports, random targets."""
        people = self.people
        size = int(rng.poisson(self.parameters.drops))
        world = people.addresses - people.world
        minute = np.sort(rng.integers(0, 1440, size))
        client = (
            people.world
            + quantiles(np.arange(1.0, world + 1) ** -0.9, 1 << 16)[rng.integers(0, 1 << 16, size)]
        )
        target = people.numbers[rng.integers(0, people.devices, size)]
        port = np.array(_PORTS)[(rng.random(size) ** 2 * len(_PORTS)).astype(int)]
        wild = rng.random(size) < 0.2
        return Drops.of(minute, client, target, np.where(wild, rng.integers(1, 65536, size), port))
