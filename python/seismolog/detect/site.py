"""What is known about the site: which addresses are what, which days are like Sundays, what need not be told.

A :class:`Site` is made from the configuration (:meth:`Site.from_config`) or by hand in tests. Known mail servers, DNS
servers, resolvers and scanners are not judged as ordinary clients are; a suppression silences incidents of some
subjects until a day, for a reason that is shown.

Limits: the calendar is read for whole days (``DTSTART``, ``DTEND``, and ``RRULE`` with ``FREQ=YEARLY`` or ``WEEKLY``);
other rules of iCalendar are told by :attr:`Site.notes` and left out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seismolog.errors import ConfigError

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["MailHost", "Networks", "Site", "Suppression", "holidays_of"]


@dataclass(frozen=True, slots=True)
class MailHost:
    """A mail server: its name in tables, its addresses as a DNS client, n and q where they are known."""

    name: str
    addresses: tuple[str, ...] = ()
    domains_per_message: float | None = None
    receive_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """Incidents that are known and need not be told until a day.

    Parameters
    ----------
    detectors
        Names, empty for all.
    subjects
        Networks, addresses, servers or accounts; an incident is silenced if *every* subject of it is one of them.
    until
        Last day (site time) on which it holds, None for ever.
    reason
        Why; shown wherever the incident is.
    """

    subjects: tuple[str, ...]
    reason: str
    detectors: tuple[str, ...] = ()
    until: date | None = None


class Networks:
    """A set of networks that many addresses are looked up in.

    Addresses of IPv4 are found in two binary searches for all of them together; those of IPv6 one by one.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        four: list[tuple[int, int]] = []
        self._six: list[ipaddress.IPv6Network] = []
        for text in networks:
            network = ipaddress.ip_network(text, strict=False)
            if isinstance(network, ipaddress.IPv4Network):
                four.append((int(network.network_address), int(network.broadcast_address)))
            else:
                self._six.append(network)
        merged: list[list[int]] = []
        for low, high in sorted(four):
            if merged and low <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], high)
            else:
                merged.append([low, high])
        self._low = np.array([m[0] for m in merged], dtype=np.int64)
        self._high = np.array([m[1] for m in merged], dtype=np.int64)

    def __bool__(self) -> bool:
        return bool(len(self._low) or self._six)

    def __contains__(self, address: str) -> bool:
        return bool(self.contain([address])[0])

    def contain(self, addresses: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each address whether it lies in one of the networks; what is no address lies in none."""
        inside = np.zeros(len(addresses), dtype=np.bool_)
        if not self:
            return inside
        numbers = np.array([_number(a) for a in addresses], dtype=np.int64)
        if len(self._low):
            place = np.searchsorted(self._low, numbers, side="right") - 1
            inside = (place >= 0) & (numbers >= 0) & (numbers <= self._high[np.maximum(place, 0)])
        if self._six:
            for i in np.flatnonzero(numbers == _SIX).tolist():
                address = ipaddress.IPv6Address(addresses[i].split("/")[0])
                inside[i] = any(address in network for network in self._six)
        return inside


_NONE, _SIX = -1, -2


@lru_cache(maxsize=1 << 18)
def _number(text: str) -> int:
    """An IPv4 address as a number, _SIX for one of IPv6, _NONE for anything else."""
    parts = text.split(".")
    if len(parts) == 4 and all(p.isdigit() and len(p) <= 3 and int(p) < 256 for p in parts):
        return int(parts[0]) << 24 | int(parts[1]) << 16 | int(parts[2]) << 8 | int(parts[3])
    if ":" in text:
        try:
            ipaddress.IPv6Address(text.split("/")[0])
        except ValueError:
            return _NONE
        return _SIX
    return _NONE


@dataclass(frozen=True)
class Site:
    """Facts of a site that detectors go by.

    Parameters
    ----------
    timezone
        Name of the zone that days and weeks are of.
    inside
        Networks of the site; empty where they are not known, then every client counts as inside.
    mail_servers
        The known mail servers.
    dns_servers
        Addresses of the site's DNS servers as clients of one another.
    resolvers, scanners
        Networks of clients that ask for many others, and of those that look at hosts with the site's consent.
    holidays
        Days that are like Sundays.
    suppressions
        What need not be told.
    notes
        What of the calendar was not understood.
    """

    timezone: str = "UTC"
    inside: tuple[str, ...] = ()
    mail_servers: tuple[MailHost, ...] = ()
    dns_servers: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    scanners: tuple[str, ...] = ()
    holidays: frozenset[date] = frozenset()
    suppressions: tuple[Suppression, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def from_config(
        cls, config: Config, *, mail_addresses: Mapping[str, Sequence[str]] | None = None
    ) -> Site:
        """The site of a configuration.

        Parameters
        ----------
        mail_addresses
            Mail server -> addresses that were found in the logs, for servers whose addresses are not configured.

        Raises
        ------
        ConfigError
            The calendar cannot be read.
        """
        found = dict(mail_addresses or {})
        hosts = []
        for server in config.mail_server:
            addresses = tuple(str(a) for a in server.addresses) or tuple(found.pop(server.name, ()))
            found.pop(server.name, None)
            hosts.append(MailHost(server.name, addresses, server.domains_per_message, server.receive_rate))
        hosts += [MailHost(name, tuple(addresses)) for name, addresses in found.items()]
        detect = config.detect
        holidays: frozenset[date] = frozenset()
        notes: tuple[str, ...] = ()
        if config.site.holidays:
            path = config.path(config.site.holidays)
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise ConfigError(
                    f"cannot read the calendar: {error.strerror}",
                    file=path,
                    key="site.holidays",
                    mend="name an iCalendar file, or remove the key",
                ) from error
            holidays, notes = holidays_of(text)
        return cls(
            timezone=config.site.timezone or "UTC",
            inside=tuple(config.site.inside),
            mail_servers=tuple(hosts),
            dns_servers=tuple(str(a) for s in config.dns_server for a in s.addresses),
            resolvers=tuple(detect.resolvers),
            scanners=tuple(detect.scanners),
            holidays=holidays,
            suppressions=tuple(
                Suppression(tuple(s.subjects), s.reason, tuple(s.detectors), s.until) for s in detect.suppress
            ),
            notes=notes,
        )

    @cached_property
    def mail_addresses(self) -> frozenset[str]:
        """Addresses of the known mail servers."""
        return frozenset(a for host in self.mail_servers for a in host.addresses)

    @cached_property
    def _inside(self) -> Networks:
        return Networks(self.inside)

    @cached_property
    def _known(self) -> Networks:
        return Networks([*self.mail_addresses, *self.dns_servers, *self.resolvers, *self.scanners])

    @cached_property
    def _resolvers(self) -> Networks:
        return Networks([*self.dns_servers, *self.resolvers])

    @cached_property
    def _scanners(self) -> Networks:
        return Networks(self.scanners)

    def is_inside(self, addresses: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each address whether it is of the site; all are where the site's networks are not known."""
        return self._inside.contain(addresses) if self._inside else np.ones(len(addresses), dtype=np.bool_)

    def is_known_server(self, addresses: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each address whether it is a known mail server, DNS server, resolver or scanner."""
        return self._known.contain(addresses)

    def is_resolver(self, addresses: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each address whether it is a known resolver or DNS server."""
        return self._resolvers.contain(addresses)

    def is_scanner(self, addresses: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each address whether it is a known scanner."""
        return self._scanners.contain(addresses)

    def suppressed(self, detector: str, subjects: Sequence[str], when: datetime) -> Suppression | None:
        """The suppression that covers all these subjects at that time, None where there is none."""
        from zoneinfo import ZoneInfo

        day = when.astimezone(ZoneInfo(self.timezone)).date()
        for one in self.suppressions:
            if one.detectors and detector not in one.detectors:
                continue
            if one.until is not None and day > one.until:
                continue
            networks = Networks([s for s in one.subjects if _is_network(s)])
            inside = networks.contain(list(subjects))
            if all(i or s in one.subjects for i, s in zip(inside, subjects, strict=True)):
                return one
        return None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


_DAY = timedelta(days=1)
_WEEKDAYS = {"MO": 0, "TU": 1, "WE": 2, "TH": 3, "FR": 4, "SA": 5, "SU": 6}


def holidays_of(text: str, *, years: int = 60) -> tuple[frozenset[date], tuple[str, ...]]:
    """The whole days of the events of an iCalendar text, and what of it was not understood.

    Events with a time count for each day that they touch. A yearly or weekly rule is followed for at most `years`.
    """
    unfolded = re.sub(r"\r?\n[ \t]", "", text)
    days: set[date] = set()
    notes: list[str] = []
    for body in re.findall(r"BEGIN:VEVENT\r?\n(.*?)END:VEVENT", unfolded, re.DOTALL):
        fields = {}
        for line in body.splitlines():
            name, colon, value = line.partition(":")
            if colon:
                fields[name.split(";")[0].upper()] = value.strip()
        first = _ical_date(fields.get("DTSTART", ""))
        if first is None:
            notes.append(f"an event without a start was left out: {fields.get('SUMMARY', '')[:60]}")
            continue
        last = _ical_date(fields.get("DTEND", "")) or first + _DAY
        span = max(1, (last - first).days)
        starts, note = _repeated(first, fields.get("RRULE", ""), years)
        if note:
            notes.append(f"{note}: {fields.get('SUMMARY', '')[:60]}")
        days.update(start + _DAY * i for start in starts for i in range(min(span, 366)))
    return frozenset(days), tuple(notes)


def _ical_date(text: str) -> date | None:
    match = re.match(r"(\d{4})(\d{2})(\d{2})", text)
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None


def _repeated(first: date, rule: str, years: int) -> tuple[list[date], str]:
    if not rule:
        return [first], ""
    parts = dict(p.split("=", 1) for p in rule.split(";") if "=" in p)
    until = _ical_date(parts.get("UNTIL", "")) or date(min(first.year + years, 9999), 12, 31)
    step = int(parts["INTERVAL"]) if parts.get("INTERVAL", "").isdigit() else 1
    most = int(parts["COUNT"]) if parts.get("COUNT", "").isdigit() else 10_000
    simple = set(parts) <= {"FREQ", "UNTIL", "COUNT", "INTERVAL", "WKST"}
    found: list[date] = []
    if parts.get("FREQ") == "YEARLY" and simple and step:
        for year in range(first.year, until.year + 1, step):
            try:
                found.append(first.replace(year=year))
            except ValueError:  # 29 February
                continue
    elif (
        parts.get("FREQ") == "WEEKLY"
        and step
        and (simple or set(parts) <= {"FREQ", "UNTIL", "COUNT", "BYDAY", "WKST"})
    ):
        wanted = {_WEEKDAYS[d] for d in parts.get("BYDAY", "").split(",") if d in _WEEKDAYS} or {
            first.weekday()
        }
        day = first
        while day <= until and len(found) < most:
            if day.weekday() in wanted and (day - first).days // 7 % step == 0:
                found.append(day)
            day += _DAY
    else:
        return [first], f"the rule {rule} was not followed"
    return [d for d in found if d <= until][:most], ""
