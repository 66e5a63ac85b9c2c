"""Which raised incident is of which truth: one subject in common, and times that overlap.

A network (``10.1.2.0/24``) has an address in common with those in it, and a part of a server's traffic (``2dns/A/outside``)
is of that server. Half an hour on both sides is allowed for, since
tables of an hour date to the hour.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from seismolog.simulate.campus.events import Injected

__all__ = ["SLACK", "Seen", "best", "common", "matches", "part_of_traffic"]

SLACK = timedelta(minutes=30)
"""Tolerance on both sides of the truth's time for tables of ten minutes."""


class Seen(Protocol):
    """What is matched: a :class:`~seismolog.detect.base.Raised` or an incident that was put together."""

    @property
    def detector(self) -> str:
        """Who saw it, or the first of them."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Addresses, accounts, servers."""

    @property
    def start(self) -> datetime:
        """First bin."""

    @property
    def end(self) -> datetime | None:
        """End of the last bin, None while it goes on."""


def common(seen: Sequence[str], truth: Iterable[str]) -> bool:
    """Whether one subject is the same, or one lies within a network of the other side."""
    wanted = set(truth)
    if wanted & set(seen) or wanted & {s.partition("/")[0] for s in seen}:
        return True
    for subject in seen:
        if "/" not in subject:
            continue
        try:
            network = ipaddress.ip_network(subject, strict=False)
        except ValueError:
            continue
        for other in wanted:
            try:
                if ipaddress.ip_address(other) in network:
                    return True
            except ValueError:
                continue
    return False


def matches(seen: Seen, truth: Injected, slack: timedelta = SLACK) -> bool:
    """Whether what was seen is of that truth."""
    if seen.start > truth.end + slack or (seen.end is not None and seen.end < truth.start - slack):
        return False
    return common(seen.subjects, truth.subjects)


def best(seen: Seen, truths: Sequence[Injected]) -> Injected | None:
    """The truth that something is of: of several (a server has more than one a day) the one that begins nearest.

    One of those that its detector may fire on, or that are there to lead it astray, goes before others. Where what is told
    names clients, a truth of one of these clients goes before one of the server whose traffic it is (``1dns/MX/inside``):
    who asks so much is not a part of the campus that asks for nothing.
    """
    of = [t for t in truths if matches(seen, t)]
    named = {s for s in seen.subjects if "/" not in s}
    if len(named) < len(seen.subjects):
        of = [t for t in of if named & set(t.subjects)] or of
    of = [t for t in of if seen.detector in (*t.detectors, t.row)] or of
    return min(of, key=lambda t: abs(t.start - seen.start), default=None)


def part_of_traffic(seen: Seen, detectors: Sequence[str], truth: Injected, slack: timedelta = SLACK) -> bool:
    """Whether something about a part of a server's traffic (``2dns/A/outside``) is what a truth does to it.

    A client that floods a server changes the mixture of its traffic: telling that is no false alarm, though it names the
    server and not the client.
    """
    if not set(detectors) & set(truth.detectors) or not all("/" in s for s in seen.subjects):
        return False
    if seen.start > truth.end + slack or (seen.end is not None and seen.end < truth.start - slack):
        return False
    return any(s.partition("/")[0] == truth.server for s in seen.subjects)
