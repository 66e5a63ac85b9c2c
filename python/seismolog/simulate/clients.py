"""DNS clients other than the mail server: quiet PCs, outside resolvers, small mail servers, and culprits.

What it is for
    The background against which the curves of the 2003 study stand out, and those curves themselves.

How it works
    Every client has a rate per second over time; its queries are a Poisson process with that rate, drawn as
    counts per minute and uniform times within a minute. PCs are busy after the hours of an
    office, each with its own start of the day; their totals follow Zipf's law.

Limits
    The curves of the culprits are drawn by hand after the study's figures, not fitted to its data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seismolog.simulate.mail import AAAA, ANY, MX, PTR, SRV, TXT, A
from seismolog.simulate.names import Names, zipf
from seismolog.simulate.shape import ar1, office_shape

__all__ = ["Queries", "arrivals", "outside", "pcs", "scanner", "talker", "worm"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Queries:
    """Queries as the DNS server sees them: seconds, client (address number), name number, query type."""

    times: Floats
    clients: Ints
    names: Ints
    types: Ints

    @staticmethod
    def join(parts: list[Queries]) -> Queries:
        """All queries of several, in time order."""
        times = np.concatenate([part.times for part in parts])
        order = np.argsort(times, kind="stable")
        return Queries(
            times[order],
            np.concatenate([part.clients for part in parts])[order],
            np.concatenate([part.names for part in parts])[order],
            np.concatenate([part.types for part in parts])[order],
        )

    def between(self, first: float, last: float) -> Queries:
        """Those from ``first`` (inclusive) to ``last`` (exclusive), in seconds."""
        keep = (self.times >= first) & (self.times < last)
        return Queries(self.times[keep], self.clients[keep], self.names[keep], self.types[keep])


def arrivals(rng: np.random.Generator, per_minute: Floats, origin: float) -> Floats:
    """Ascending times (seconds) of a Poisson process with these mean counts per minute from ``origin`` on."""
    counts = rng.poisson(per_minute)
    minute = np.repeat(np.arange(len(counts)), counts)
    times: Floats = np.sort(origin + 60.0 * (minute + rng.random(len(minute))))
    return times


def pcs(
    rng: np.random.Generator, names: Names, minutes: Floats, activity: Floats, origin: float, per_day: float
) -> Queries:
    """Office PCs: mostly A of web hosts.

    Parameters
    ----------
    minutes
        Local seconds of the day at each minute.
    activity
        Relative level of that minute's day (weekends are quiet).
    per_day
        Mean queries of all PCs on a working day.
    """
    share = 1.0 / np.arange(1, names.pcs + 1) ** 0.8
    share *= per_day / share.sum()
    late = rng.normal(0, 1200, names.pcs)  # each PC's own start of the day
    # Days are drawn per PC and hour, then spread over the hour: enough detail for 10-minute curves.
    blocks = len(minutes) // 10
    at = minutes[: blocks * 10 : 10]
    level = activity[: blocks * 10 : 10]
    rate = office_shape((at[None, :] - late[:, None]) % 86400) * level[None, :] * share[:, None] / 144
    # Users come and go: a gamma factor of variance 1/3 per block (the negative binomial, k = 3).
    counts = rng.poisson(rate * rng.gamma(3.0, 1 / 3.0, rate.shape))
    client, block = np.nonzero(counts)
    repeat = counts[client, block]
    who, when = np.repeat(client, repeat), np.repeat(block, repeat)
    size = len(who)
    times = origin + 600.0 * (when + rng.random(size))
    domain = zipf(rng, names.domains, 1.0, size)
    kind = rng.choice(
        np.array([A, PTR, AAAA, SRV, MX, TXT, ANY]), size, p=[0.84, 0.07, 0.03, 0.04, 0.01, 0.005, 0.005]
    )
    name = np.where(kind == PTR, names.pointer(domain), names.web_host(domain))
    name = np.where((kind == MX) | (kind == TXT), domain, name)
    return Queries(times, names.pc(who), name, kind)


def outside(
    rng: np.random.Generator, names: Names, minutes: int, origin: float, per_day: float, resolvers: int = 400
) -> Queries:
    """Resolvers of the world asking for the campus's own hosts, at all hours alike."""
    times = arrivals(rng, np.full(minutes, per_day / 1440), origin)
    size = len(times)
    client = names.domains - 1 - zipf(rng, resolvers, 0.6, size)
    target = names.pc(zipf(rng, names.pcs, 0.9, size))
    kind = rng.choice(np.array([A, PTR, MX]), size, p=[0.6, 0.3, 0.1])
    return Queries(times, client, np.where(kind == PTR, names.pointer(target), names.host(target)), kind)


def _of_one(times: Floats, client: int, name: Ints, kind: Ints) -> Queries:
    return Queries(times, np.full(len(times), client, np.int64), name, kind)


def relay(rng: np.random.Generator, names: Names, client: int, per_minute: Floats, origin: float) -> Queries:
    """A small mail server: PTR and A of its peers, MX and A of domains, at the given counts per minute."""
    times = arrivals(rng, per_minute, origin)
    domain = zipf(rng, names.domains, 1.05, len(times))
    kind = rng.choice(np.array([PTR, A, MX]), len(times), p=[0.12, 0.53, 0.35])
    name = np.where(kind == PTR, names.pointer(domain), np.where(kind == MX, domain, names.mail_host(domain)))
    return _of_one(times, client, name, kind)


def worm(rng: np.random.Generator, names: Names, client: int, per_minute: Floats, origin: float) -> Queries:
    """A mass-mailing worm with a mail engine of its own: MX and A of ever new domains, hardly a PTR."""
    times = arrivals(rng, per_minute, origin)
    domain = zipf(rng, names.domains, 0.3, len(times))
    mx = rng.random(len(times)) < 0.5
    return _of_one(times, client, np.where(mx, domain, names.mail_host(domain)), np.where(mx, MX, A))


def scanner(
    rng: np.random.Generator, names: Names, client: int, per_minute: Floats, origin: float
) -> Queries:
    """A hijacked host that scans: A of web hosts and PTR of addresses, all over the world."""
    times = arrivals(rng, per_minute, origin)
    target = rng.integers(0, names.domains, len(times))
    reverse = rng.random(len(times)) < 0.4
    name = np.where(reverse, names.pointer(target), names.web_host(target))
    return _of_one(times, client, name, np.where(reverse, PTR, A))


def talker(rng: np.random.Generator, names: Names, client: int, per_minute: Floats, origin: float) -> Queries:
    """A Trojan that looks for its few masters: A of a handful of names, again and again."""
    times = arrivals(rng, per_minute, origin)
    name = names.web_host(names.domains - 1 - rng.integers(0, 6, len(times)))
    return _of_one(times, client, name, np.full(len(times), A))


def shared_curve(rng: np.random.Generator, blocks: int, shared: Floats, private_sd: float) -> Floats:
    """A factor of mean 1 per 10-minute block: ``shared`` (a log-factor) plus private noise."""
    log = shared + rng.normal(0, private_sd, blocks)
    factor: Floats = np.exp(log - log.var() / 2)
    return factor


def smooth_log(rng: np.random.Generator, blocks: int, sd: float, rho: float = 0.6) -> Floats:
    """A log-factor that wanders from block to block."""
    return ar1(rng, blocks, rho, sd)
