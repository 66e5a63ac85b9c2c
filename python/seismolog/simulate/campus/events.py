"""A day of a simulated campus before it is counted: what happened, in arrays.

A :class:`Day` holds the counts of the clients' ordinary look-ups by ten minutes, which are spread over minutes and names
only when the day is counted (:mod:`seismolog.simulate.campus.ordinary`), and *explicit* events: look-ups with a name of
mail servers, programs and incidents, lines of mail servers, dropped packets. Incidents add to these, or take away
(:class:`Removal`).

Times are minutes since local midnight. Of events of one client in one minute the order of the arrays is that of the lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seismolog.store.schema import QTYPES

if TYPE_CHECKING:
    from seismolog.simulate.campus.world import World

__all__ = [
    "AAAA",
    "ANY",
    "HTTPS",
    "KINDS",
    "MINUTES",
    "MX",
    "NS",
    "PTR",
    "SRV",
    "TXT",
    "A",
    "Day",
    "Drops",
    "Injected",
    "Queries",
    "Removal",
    "Services",
]

MINUTES = 1440
A, AAAA, MX, PTR, TXT, NS, SRV, HTTPS, ANY, OTHER = range(len(QTYPES))
KINDS = (
    "smtp_accepted",
    "smtp_sent",
    "smtp_deferred",
    "smtp_bounced",
    "smtp_rejected",
    "smtp_connection",
    "pop_access",
    "imap_access",
    "auth_failure",
)
"""Kinds of the lines of mail servers, by number."""

Ints = npt.NDArray[np.int64]


def _columns(*parts: npt.ArrayLike) -> list[Ints]:
    wide = np.broadcast_arrays(*[np.asarray(p, np.int64) for p in parts])
    return [np.ascontiguousarray(np.atleast_1d(w)) for w in wide]


@dataclass(frozen=True)
class Queries:
    """Look-ups: minute, client (address number), name, query type."""

    minute: Ints
    client: Ints
    name: Ints
    qtype: Ints

    @classmethod
    def of(
        cls, minute: npt.ArrayLike, client: npt.ArrayLike, name: npt.ArrayLike, qtype: npt.ArrayLike
    ) -> Queries:
        """Columns of equal length from arrays or single values."""
        return cls(*_columns(minute, client, name, qtype))

    @classmethod
    def join(cls, parts: Sequence[Queries]) -> Queries:
        """All of several, each in its order."""
        if not parts:
            return cls.of([], [], [], [])
        return cls(
            *(np.concatenate([getattr(p, n) for p in parts]) for n in ("minute", "client", "name", "qtype"))
        )

    def where(self, chosen: npt.NDArray[Any]) -> Queries:
        """Some of them."""
        return Queries(self.minute[chosen], self.client[chosen], self.name[chosen], self.qtype[chosen])

    def __len__(self) -> int:
        return len(self.minute)


@dataclass(frozen=True)
class Services:
    """Lines of mail servers: minute, server (0, 1 …), kind (of :data:`KINDS`), client and account (-1: none), recipients."""

    minute: Ints
    server: Ints
    kind: Ints
    client: Ints
    account: Ints
    recipients: Ints

    @classmethod
    def of(
        cls,
        minute: npt.ArrayLike,
        server: npt.ArrayLike,
        kind: str,
        client: npt.ArrayLike = -1,
        account: npt.ArrayLike = -1,
        recipients: npt.ArrayLike = 0,
    ) -> Services:
        """Lines of one kind."""
        return cls(*_columns(minute, server, KINDS.index(kind), client, account, recipients))

    @classmethod
    def join(cls, parts: Sequence[Services]) -> Services:
        """All of several."""
        fields = ("minute", "server", "kind", "client", "account", "recipients")
        if not parts:
            return cls(*_columns(*([] for _ in fields)))
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in fields))

    def where(self, chosen: npt.NDArray[Any]) -> Services:
        """Some of them."""
        return Services(
            self.minute[chosen],
            self.server[chosen],
            self.kind[chosen],
            self.client[chosen],
            self.account[chosen],
            self.recipients[chosen],
        )

    def __len__(self) -> int:
        return len(self.minute)


@dataclass(frozen=True)
class Drops:
    """Dropped packets: minute, source (address number), destination (IPv4 as a number), port."""

    minute: Ints
    client: Ints
    target: Ints
    port: Ints

    @classmethod
    def of(
        cls, minute: npt.ArrayLike, client: npt.ArrayLike, target: npt.ArrayLike, port: npt.ArrayLike
    ) -> Drops:
        """Columns of equal length from arrays or single values."""
        return cls(*_columns(minute, client, target, port))

    @classmethod
    def join(cls, parts: Sequence[Drops]) -> Drops:
        """All of several."""
        if not parts:
            return cls.of([], [], [], [])
        return cls(
            *(np.concatenate([getattr(p, n) for p in parts]) for n in ("minute", "client", "target", "port"))
        )

    def where(self, chosen: npt.NDArray[Any]) -> Drops:
        """Some of them."""
        return Drops(self.minute[chosen], self.client[chosen], self.target[chosen], self.port[chosen])

    def __len__(self) -> int:
        return len(self.minute)


@dataclass(frozen=True)
class Removal:
    """What does not happen: look-ups of a client, or all lines of a server, from one minute to another."""

    begin: int
    end: int
    client: int | None = None
    server: str | None = None


@dataclass(frozen=True)
class Injected:
    """One incident or look-alike that was put in: the truth.

    Parameters
    ----------
    row
        Detector (row of the list of detectors) that it is of.
    kind
        ``positive`` or ``lookalike``.
    detectors
        Those that may fire on it; the first is that of the row.
    subjects
        Addresses, servers or accounts concerned.
    server
        The server whose log shows it.
    start, end
        Moments in UTC, half open.
    strength
        1 for the normal one, a fraction for a weaker one.
    note
        One sentence on what was done.
    """

    row: str
    kind: str
    detectors: tuple[str, ...]
    subjects: tuple[str, ...]
    server: str
    start: datetime
    end: datetime
    strength: float
    note: str


@dataclass
class Day:
    """One day of a world; see the module."""

    world: World
    number: int
    start: datetime
    address: Ints
    """Address of each device on this day."""
    counts: npt.NDArray[np.int32]
    """(devices, 144) ordinary look-ups."""
    queries: list[Queries] = field(default_factory=list)
    cached: list[Queries] = field(default_factory=list)
    """Look-ups of each mail server that its cache answered: they are not counted, unless an incident lets them through."""
    services: list[Services] = field(default_factory=list)
    drops: list[Drops] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    truth: list[Injected] = field(default_factory=list)

    def copy(self) -> Day:
        """The same day to put other incidents into."""
        return replace(
            self,
            queries=list(self.queries),
            cached=list(self.cached),
            services=list(self.services),
            drops=list(self.drops),
            removals=list(self.removals),
            truth=list(self.truth),
        )

    def quieten(self, devices: npt.NDArray[Any], begin: int, end: int) -> None:
        """Devices ask for nothing of the ordinary in these minutes (whole ten minutes)."""
        self.counts = self.counts.copy()
        self.counts[devices, begin // 10 : end // 10] = 0

    def moment(self, minute: float) -> datetime:
        """A minute of this day as a moment."""
        return self.start + timedelta(minutes=float(minute))

    def remove(self, begin: int, end: int, *, client: int | None = None, server: str | None = None) -> None:
        """Take away what a client asks, or all that a server writes, in these minutes."""
        self.removals.append(Removal(begin, end, client, server))

    def kept_queries(self, queries: Queries) -> Queries:
        """The look-ups that no removal takes away."""
        keep = np.ones(len(queries), bool)
        servers = self.world.people.server
        for one in self.removals:
            gone = (queries.minute >= one.begin) & (queries.minute < one.end)
            if one.client is not None:
                gone &= queries.client == one.client
            if one.server is not None:
                if one.server not in self.world.dns_names:
                    continue
                gone &= servers[queries.client] == self.world.dns_names.index(one.server)
            keep &= ~gone
        return queries if keep.all() else queries.where(keep)

    def kept_services(self) -> Services:
        """Lines of mail servers that no removal takes away, in order of time."""
        made = Services.join(self.services)
        keep = (made.minute >= 0) & (made.minute < MINUTES)
        for one in self.removals:
            if one.server in self.world.mail_names:
                place = self.world.mail_names.index(one.server)
                keep &= ~((made.server == place) & (made.minute >= one.begin) & (made.minute < one.end))
        made = made.where(keep)
        return made.where(np.argsort(made.minute, kind="stable"))

    def kept_drops(self) -> Drops:
        """Dropped packets that no removal takes away, in order of time."""
        made = Drops.join(self.drops)
        keep = (made.minute >= 0) & (made.minute < MINUTES)
        for one in self.removals:
            if one.server == self.world.wall_name:
                keep &= ~((made.minute >= one.begin) & (made.minute < one.end))
        made = made.where(keep)
        return made.where(np.argsort(made.minute, kind="stable"))
