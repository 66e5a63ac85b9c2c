"""A university campus in 2002, after the 2003 study: one DNS server, one mail server, their clients.

What it is for
    Logs on which the study can be repeated with the truth known: any days of 2002; Monday 15 July is the
    evening of the mass-mailing worm Frethem.K, when the study's other culprits show their curves as well.

How it works
    ``1mx`` (sendmail 8.9.3, qpopper 4.0) accepts messages and POP sessions, whose look-ups
    (:mod:`seismolog.simulate.mail`) reach ``1dns`` (iplog 1.2, BIND 9.2), all of them or what a resolver
    cache (:mod:`seismolog.simulate.cache`) lets through. PCs, outside resolvers and two small mail
    servers ask beside it (:mod:`seismolog.simulate.clients`). Six hours before the start are simulated
    and thrown away, so that queue and cache are in their steady state when the logs begin.

Limits
    The study spread its culprits over a year; here all of them act on 15 July, so that one day shows them
    all. Volumes (20,000 messages, 20,000 POP sessions, 300,000 queries on a working day) are plausible
    for a campus of the time, not the study's own, which it does not print as numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from seismolog.simulate import cache as resolver
from seismolog.simulate import clients, formats
from seismolog.simulate.clients import Queries
from seismolog.simulate.mail import DEFERRED, PTR, SENT, TYPE_TEXT, UNKNOWN, Lookups, Mail, messages
from seismolog.simulate.names import Names, zipf
from seismolog.simulate.shape import ar1, day_shape, office_shape
from seismolog.simulate.truth import BIN_SECONDS, Incident, Truth

NAME = "campus-2002"
SUMMARY = "a campus DNS and mail server of 2002, with the Frethem.K evening of 15 July and other culprits"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TIMEZONE = "Asia/Tokyo"
DNS_ADDRESS = "133.95.10.1"
MAIL_ADDRESS = "133.95.10.2"
SMALL_MAIL = ("133.95.11.2", "133.95.12.2")
NAMED = {
    "IP-A": "133.95.132.17",
    "IP-B": "133.95.164.1",
    "IP-C": "133.95.196.45",
    "IP-D": "133.95.228.9",
    "IP-E": "198.51.100.5",
}
_EXTRA = {
    MAIL_ADDRESS: "1mx.campus.example",
    SMALL_MAIL[0]: "2mx.campus.example",
    SMALL_MAIL[1]: "3mx.campus.example",
    NAMED["IP-A"]: "lab-132-17.campus.example",
    NAMED["IP-B"]: "wall-164-1.campus.example",
    NAMED["IP-C"]: "room-196-45.campus.example",
    NAMED["IP-D"]: "desk-228-9.campus.example",
    NAMED["IP-E"]: "dial-100-5.example",
}

_WARM_UP = 6 * 3600
_DOMAINS, _PCS, _INFECTED = 12000, 800, 40
_MESSAGES, _SESSIONS, _PC_QUERIES, _OUTSIDE_QUERIES, _SMALL_QUERIES = (
    20_000,
    20_000,
    60_000,
    15_000,
    (4000, 3000),
)
_WEEKEND = 0.45

_DAY = datetime.fromisoformat("2002-07-15")
_OUTBREAK = _DAY.replace(hour=18), _DAY + timedelta(days=1)
_IP_A = _DAY.replace(hour=8), _DAY + timedelta(days=1)
_IP_B = _DAY.replace(hour=10, minute=30), _DAY + timedelta(days=1)
_IP_C = _DAY.replace(hour=6), _DAY.replace(hour=16, minute=40)
_IP_DE = _DAY.replace(hour=9), _DAY + timedelta(days=1)


@dataclass(frozen=True)
class _Clock:
    """Local time of the run: seconds are counted from ``start``; the first ``_WARM_UP`` ones are negative."""

    start: datetime
    seconds: int

    @property
    def minutes(self) -> int:
        return -(-(self.seconds + _WARM_UP) // 60)

    @property
    def minute_starts(self) -> Floats:
        starts: Floats = np.arange(self.minutes, dtype=np.float64) * 60.0 - _WARM_UP
        return starts

    @property
    def since_midnight(self) -> Floats:
        midnight = self.start.replace(hour=0, minute=0, second=0)
        return self.minute_starts + (self.start - midnight).total_seconds()

    def activity(self) -> Floats:
        """Level of each minute's day of the week."""
        day = (self.start.weekday() + np.floor(self.since_midnight / 86400)) % 7
        level: Floats = np.where(day >= 5, _WEEKEND, 1.0)
        return level

    def of(self, moment: datetime) -> float:
        return (moment - self.start).total_seconds()

    def during(self, span: tuple[datetime, datetime]) -> npt.NDArray[np.bool_]:
        """Minutes within a span of local time."""
        at = self.minute_starts
        return (at >= self.of(span[0])) & (at < self.of(span[1]))

    def utc(self, moment: datetime) -> str:
        return moment.replace(tzinfo=ZoneInfo(TIMEZONE)).astimezone(UTC).isoformat()


def run(
    out_dir: Path,
    *,
    seed: int = 1,
    start: str | datetime = "2002-07-15",
    days: float = 1.0,
    scale: float = 1.0,
    cache: str = "off",
    hit_rate: float = 0.3,
    m_sd: float = 0.0,
    domains_per_message: float = 2.0,
    receive_rate: float = 0.175,
    worm: bool = True,
    culprits: bool = True,
    dns_log: str = "iplog",
    compress: bool = False,
) -> Truth:
    """Write ``1dns.messages``, ``1mx.syslog``, ``site.toml`` and ``truth.json``.

    Parameters
    ----------
    out_dir
        An existing folder.
    start, days
        First moment in Japanese time, and length; ``days=0.5`` is twelve hours.
    scale
        Multiplies every rate.
    cache
        ``off``: every look-up of the mail server reaches the DNS server. ``on``: a resolver cache with
        time to live stands between. ``constant``: each look-up is answered on the way with probability
        ``hit_rate``, whatever the load.
    m_sd
        Mean queries that one deferral causes; none by default.
    domains_per_message, receive_rate
        n (1.9 to 3.3) and q of m_S = 2 + 4 n (1 - q); the defaults give 8.6.
    worm
        Frethem.K on 15 July: the mass mail after 18:00 and the infected client IP-A.
    culprits
        IP-B to IP-E on 15 July.
    dns_log
        ``iplog``, ``bind`` (the same queries as a BIND query log, ``1dns.querylog``) or ``both``. Reading
        both counts every query twice.
    compress
        Write ``.gz`` files.

    Raises
    ------
    ValueError
        For a value out of range; the message names it.
    OSError
        When a file cannot be written.
    """
    parameters = {
        "start": str(start),
        "days": days,
        "scale": scale,
        "cache": cache,
        "hit_rate": hit_rate,
        "m_sd": m_sd,
        "domains_per_message": domains_per_message,
        "receive_rate": receive_rate,
        "worm": worm,
        "culprits": culprits,
        "dns_log": dns_log,
    }
    _check(parameters)
    clock = _clock(start, days)
    names = Names(_DOMAINS, _PCS, _EXTRA)

    def stream(number: int) -> np.random.Generator:
        """Independent streams, so that switching one part off leaves the others as they were."""
        return np.random.default_rng([seed, 2002, number])

    mail = _mail(stream, names, clock, scale, worm, domains_per_message, receive_rate, m_sd)
    pop_times, pop_clients = _sessions(stream(3), names, clock, scale)
    asked, from_mail = _mail_server_lookups(stream(4), names, mail, pop_times, pop_clients)
    missed = _reaching(stream(5), asked, cache, hit_rate)
    index = names.index(MAIL_ADDRESS)
    mail_queries = Queries(
        asked.times[missed], np.full(int(missed.sum()), index), asked.names[missed], asked.types[missed]
    )
    queries = Queries.join(
        [mail_queries, *_background(stream, names, clock, scale, mail_queries, worm, culprits)]
    ).between(0, clock.seconds)

    suffix = ".gz" if compress else ""
    end = (clock.start + timedelta(seconds=clock.seconds)).replace(tzinfo=ZoneInfo(TIMEZONE))
    files: dict[str, dict[str, int]] = {}

    def put(name: str, parts: list[formats.Lines]) -> None:
        path = out_dir / f"{name}{suffix}"
        lines = formats.write(path, [_cut(part, clock.seconds) for part in parts], end)
        files[path.name] = {"lines": lines, "bytes": path.stat().st_size}

    if dns_log != "bind":
        put(
            "1dns.messages",
            [
                formats.iplog_lines(clock.start, names, queries),
                formats.marks(clock.start, "1dns", clock.seconds),
            ],
        )
    if dns_log != "iplog":
        put("1dns.querylog", [formats.bind_lines(clock.start, names, queries)])
    session_end = pop_times + 1.0 + stream(6).exponential(5.0, len(pop_times))
    put(
        "1mx.syslog",
        [
            formats.sendmail_lines(clock.start, names, mail),
            formats.qpopper_lines(clock.start, names, session_end, pop_clients),
            formats.marks(clock.start, "1mx", clock.seconds),
        ],
    )
    (out_dir / "site.toml").write_text(_SITE.format(n=domains_per_message, q=receive_rate), encoding="utf-8")

    truth = _truth(clock, names, queries, mail, session_end, pop_clients, seed, parameters, files)
    truth.incidents = _incidents(clock, worm, culprits, cache)
    truth.lookups = _per_bin(asked.times, clock.seconds)
    truth.coefficients["realized"] = _realized(clock, asked, from_mail, missed, truth)
    truth.save(out_dir / "truth.json")
    return truth


_SITE = f"""[site]
timezone = "{TIMEZONE}"
inside = ["133.95.0.0/16"]

[[mail_server]]
name = "1mx"
hostnames = ["1mx"]
addresses = ["{MAIL_ADDRESS}"]
domains_per_message = {{n}}
receive_rate = {{q}}

[[dns_server]]
name = "1dns"
hostnames = ["1dns"]
"""


def _check(parameters: dict[str, Any]) -> None:
    """Raise ValueError for a parameter out of range."""
    limits: list[tuple[str, float, float]] = [
        ("days", 1 / 144, 366),
        ("scale", 1e-3, 100),
        ("hit_rate", 0, 1),
        ("m_sd", 0, 100),
        ("domains_per_message", 1.9, 3.3),
        ("receive_rate", 0, 1),
    ]
    for name, low, high in limits:
        if not low <= parameters[name] <= high:
            raise ValueError(f"{name} = {parameters[name]}: expected {low:g} to {high:g}")
    for name, choices in (("cache", ("off", "on", "constant")), ("dns_log", ("iplog", "bind", "both"))):
        if parameters[name] not in choices:
            raise ValueError(f"{name} = {parameters[name]!r}: expected one of {', '.join(choices)}")


def _clock(start: str | datetime, days: float) -> _Clock:
    try:
        moment = start if isinstance(start, datetime) else datetime.fromisoformat(start)
    except ValueError as error:
        raise ValueError(
            f"start = {start!r}: expected a date such as 2002-07-15 or 2002-07-15T12:00"
        ) from error
    if moment.tzinfo is not None:
        moment = moment.astimezone(ZoneInfo(TIMEZONE)).replace(tzinfo=None)
    # Whole ten minutes, so that bins of the truth are bins of the clock.
    moment = moment.replace(minute=moment.minute // 10 * 10, second=0, microsecond=0)
    return _Clock(moment, round(days * 144) * BIN_SECONDS)


def _ramp(clock: _Clock) -> Floats:
    """Strength of the outbreak at each minute: 0 before 18:00, 1 from 19:00 on."""
    since = clock.minute_starts - clock.of(_OUTBREAK[0])
    ramp: Floats = np.clip(since / 3600, 0.0, 1.0) * clock.during(_OUTBREAK)
    return ramp


def _wander(rng: np.random.Generator, clock: _Clock, sd: float) -> Floats:
    """A factor of mean 1 per minute that wanders over an hour or two."""
    blocks = clock.minutes // 10 + 2
    log = ar1(rng, blocks, 0.9, sd) - sd * sd / 2
    factor: Floats = np.exp(np.interp(np.arange(clock.minutes), np.arange(blocks) * 10.0, log))
    return factor


def _mail(
    stream: Callable[[int], np.random.Generator],
    names: Names,
    clock: _Clock,
    scale: float,
    worm: bool,
    domains_per_message: float,
    receive_rate: float,
    m_sd: float,
) -> Mail:
    """Ordinary mail, and the worm's on top of it."""
    shape = day_shape(clock.since_midnight % 86400) * clock.activity()
    rate = scale * _MESSAGES / 1440 * shape * _wander(stream(1), clock, 0.25)
    ramp = _ramp(clock) if worm else np.zeros(clock.minutes)
    mass = scale * _MESSAGES / 1440 * 1.5 * np.sqrt(ramp) * _wander(stream(2), clock, 0.15)
    ordinary = clients.arrivals(stream(7), rate, -_WARM_UP)
    extra = clients.arrivals(stream(8), mass, -_WARM_UP)
    times = np.concatenate([ordinary, extra])
    order = np.argsort(times, kind="stable")
    is_worm = np.concatenate([np.zeros(len(ordinary), bool), np.ones(len(extra), bool)])[order]
    times = times[order]
    minute = np.clip(((times + _WARM_UP) // 60).astype(np.int64), 0, clock.minutes - 1)
    trouble = np.exp(2 * np.log(_wander(stream(9), clock, 0.25)))
    deferred = np.where(is_worm, 0.02 + 0.58 * ramp[minute], 0.012 * trouble[minute])
    return messages(
        stream(10),
        names,
        times,
        is_worm,
        infected=names.pc(np.arange(_INFECTED) * 17 % _PCS),
        domains_per_message=domains_per_message,
        receive_rate=receive_rate,
        deferred=deferred,
        rejected_share=0.003,
        unknown_share=0.03,
        m_sd=m_sd,
        until=clock.seconds,
    )


def _sessions(rng: np.random.Generator, names: Names, clock: _Clock, scale: float) -> tuple[Floats, Ints]:
    """POP sessions: when, and from which PC."""
    shape = day_shape(clock.since_midnight % 86400) * clock.activity()
    times = clients.arrivals(rng, scale * _SESSIONS / 1440 * shape * _wander(rng, clock, 0.25), -_WARM_UP)
    return times, names.pc(zipf(rng, names.pcs, 0.6, len(times)))


def _mail_server_lookups(
    rng: np.random.Generator, names: Names, mail: Mail, pop_times: Floats, pop_clients: Ints
) -> tuple[Lookups, npt.NDArray[np.bool_]]:
    """All look-ups of the mail server, and which mail causes; a POP session asks for its client's name."""
    start = pop_times + 0.05 * rng.random(len(pop_times))
    pop = Lookups(start, names.pointer(pop_clients), np.full(len(start), PTR))
    asked = Lookups.join([mail.lookups, pop])
    from_mail = np.arange(len(asked.times)) < len(mail.lookups.times)
    return asked, from_mail


def _reaching(rng: np.random.Generator, asked: Lookups, cache: str, hit_rate: float) -> npt.NDArray[np.bool_]:
    """Which look-ups reach the DNS server."""
    if cache == "off":
        return np.ones(len(asked.times), dtype=bool)
    if cache == "constant":
        return rng.random(len(asked.times)) >= hit_rate
    return resolver.misses(
        asked.times + _WARM_UP + 60.0,
        asked.names * len(TYPE_TEXT) + asked.types,
        resolver.times_to_live(asked.names),
    )


def _background(
    stream: Callable[[int], np.random.Generator],
    names: Names,
    clock: _Clock,
    scale: float,
    mail_queries: Queries,
    worm: bool,
    culprits: bool,
) -> list[Queries]:
    """Everybody but the mail server."""
    origin = -float(_WARM_UP)
    day, activity = clock.since_midnight % 86400, clock.activity()
    shape = day_shape(day) * activity
    parts = [
        clients.pcs(stream(20), names, day, activity, origin, scale * _PC_QUERIES),
        clients.outside(stream(21), names, clock.minutes, origin, scale * _OUTSIDE_QUERIES),
    ]
    for i, (address, per_day) in enumerate(zip(SMALL_MAIL, _SMALL_QUERIES, strict=True)):
        rng = stream(22 + i)
        rate = scale * per_day / 1440 * shape * _wander(rng, clock, 0.3)
        parts.append(clients.relay(rng, names, names.index(address), rate, origin))

    office = office_shape(day) * activity
    # On ordinary days each of them is a quiet host; the firewall is silent at night.
    quiet = {"IP-A": 15, "IP-B": 200, "IP-C": 60, "IP-D": 80, "IP-E": 40}
    awake = (day >= 8 * 3600) & (day < 22 * 3600)
    for i, (label, per_day) in enumerate(quiet.items()):
        rate = scale * per_day / 1440 * office * (awake if label == "IP-B" else 1.0)
        parts.append(clients.scanner(stream(30 + i), names, names.index(NAMED[label]), rate, origin))
    if worm:
        rate = _shadow(stream(40), clock, mail_queries) * clock.during(_IP_A)
        parts.append(clients.worm(stream(41), names, names.index(NAMED["IP-A"]), rate, origin))
    if culprits:
        parts += _culprits(stream, names, clock, scale, origin)
    return parts


def _shadow(rng: np.random.Generator, clock: _Clock, mail_queries: Queries) -> Floats:
    """IP-A's rate: a fifth of the mail server's curve, smoothed over 15 minutes, with noise of its own."""
    minute = ((mail_queries.times + _WARM_UP) // 60).astype(np.int64)
    counts = np.bincount(np.clip(minute, 0, clock.minutes - 1), minlength=clock.minutes).astype(float)
    smooth = np.convolve(counts, np.ones(15) / 15, mode="same")
    return 0.2 * smooth * _wander(rng, clock, 0.08)


def _culprits(
    stream: Callable[[int], np.random.Generator], names: Names, clock: _Clock, scale: float, origin: float
) -> list[Queries]:
    """IP-B to IP-E; levels of 300 and 200 queries per ten minutes at scale 1."""
    at = clock.minute_starts
    # B: straight up from 10:30 to 11:00, then ripples of half its level with a period of an hour.
    since = at - clock.of(_IP_B[0])
    rise = np.clip(since / 1800, 0, 1)
    ripple = np.where(since >= 1800, 1 + 0.5 * np.sin(2 * np.pi * (since - 1800) / 3600), 1.0)
    parts = [
        clients.scanner(
            stream(50),
            names,
            names.index(NAMED["IP-B"]),
            scale * 30 * rise * ripple * clock.during(_IP_B),
            origin,
        )
    ]
    # C: a plateau with a faint ripple until the filter.
    faint = 1 + 0.08 * np.sin(2 * np.pi * at / 2400)
    parts.append(
        clients.talker(
            stream(51), names, names.index(NAMED["IP-C"]), scale * 30 * faint * clock.during(_IP_C), origin
        )
    )
    # D and E: one hand moves both, in steps of ten minutes.
    blocks = clock.minutes // 10 + 1
    shared = clients.smooth_log(stream(52), blocks, 0.7)
    for i, label in enumerate(("IP-D", "IP-E")):
        factor = np.repeat(clients.shared_curve(stream(53 + i), blocks, shared, 0.2), 10)[: clock.minutes]
        parts.append(
            clients.scanner(
                stream(55 + i),
                names,
                names.index(NAMED[label]),
                scale * 20 * factor * clock.during(_IP_DE),
                origin,
            )
        )
    return parts


def _cut(lines: formats.Lines, seconds: int) -> formats.Lines:
    """The lines within the run."""
    times, text = lines
    keep = (times >= 0) & (times < seconds)
    if keep.all():
        return lines
    return times[keep], [text[i] for i in np.flatnonzero(keep).tolist()]


def _per_bin(times: Floats, seconds: int) -> list[int]:
    inside = times[(times >= 0) & (times < seconds)]
    counts: list[int] = np.bincount(
        (inside // BIN_SECONDS).astype(np.int64), minlength=seconds // BIN_SECONDS
    ).tolist()
    return counts


def _truth(
    clock: _Clock,
    names: Names,
    queries: Queries,
    mail: Mail,
    pop_times: Floats,
    pop_clients: Ints,
    seed: int,
    parameters: dict[str, Any],
    files: dict[str, dict[str, int]],
) -> Truth:
    """Count the arrays."""
    seconds = clock.seconds
    work = mail.deliveries
    addresses = mail.recipient_addresses[work.recipient]

    def within(times: Floats) -> npt.NDArray[np.bool_]:
        return (times >= 0) & (times < seconds)

    accepted = within(mail.times) & ~mail.rejected
    attempts = {
        kind: within(work.times) & (work.status == status)
        for kind, status in (("smtp_sent", SENT), ("smtp_deferred", DEFERRED), ("smtp_bounced", UNKNOWN))
    }
    times = {
        "smtp_accepted": mail.times[accepted],
        **{kind: work.times[chosen] for kind, chosen in attempts.items()},
        "smtp_rejected": mail.times[within(mail.times) & mail.rejected],
        "pop_access": pop_times[within(pop_times)],
    }
    bins = {
        "1dns": {"dns_query": _per_bin(queries.times, seconds)},
        "1mx": {kind: _per_bin(moments, seconds) for kind, moments in times.items()},
    }
    totals = {server: {kind: sum(counts) for kind, counts in kinds.items()} for server, kinds in bins.items()}

    def by_client(numbers: Ints) -> dict[str, int]:
        found, counts = np.unique(numbers, return_counts=True)
        pairs = zip(found.tolist(), counts.tolist(), strict=True)
        ranked = sorted(((names.address_text[i], n) for i, n in pairs), key=lambda pair: (-pair[1], pair[0]))
        return dict(ranked)

    curve_of = {"1mx": MAIL_ADDRESS, **NAMED}
    mailbox_counts = mail.addresses_of_messages()
    return Truth(
        scenario=NAME,
        seed=seed,
        start=clock.utc(clock.start),
        end=clock.utc(clock.start + timedelta(seconds=seconds)),
        timezone=TIMEZONE,
        parameters=parameters,
        servers={
            "1dns": {"role": "dns", "addresses": [DNS_ADDRESS]},
            "1mx": {"role": "mail", "addresses": [MAIL_ADDRESS]},
        },
        files=files,
        paper={
            "D_q": len(queries.times),
            "N_from": int(within(mail.times).sum()),
            "N_SS": totals["1mx"]["smtp_sent"],
            "N_SD": totals["1mx"]["smtp_deferred"],
            "N_P": totals["1mx"]["pop_access"],
        },
        totals=totals,
        recipients={
            "1mx": {
                "smtp_accepted": int(mailbox_counts[accepted].sum()),
                **{kind: int(addresses[chosen].sum()) for kind, chosen in attempts.items()},
            }
        },
        query_types={
            text.lower(): int(count)
            for text, count in zip(
                TYPE_TEXT, np.bincount(queries.types, minlength=len(TYPE_TEXT)), strict=True
            )
        },
        coefficients={
            "m_s": 2 + 4 * parameters["domains_per_message"] * (1 - parameters["receive_rate"]),
            "m_p": 1.0,
            "m_sd": parameters["m_sd"],
            "domains_per_message": parameters["domains_per_message"],
            "receive_rate": parameters["receive_rate"],
        },
        bins=bins,
        clients={
            "1dns": {"dns_query": by_client(queries.clients)},
            "1mx": {
                "smtp_accepted": by_client(mail.clients[accepted]),
                "pop_access": by_client(pop_clients[within(pop_times)]),
            },
        },
        curves={
            address: _per_bin(queries.times[queries.clients == names.index(address)], seconds)
            for address in curve_of.values()
        },
        names=curve_of,
        lookups=[],
    )


def _realized(
    clock: _Clock,
    asked: Lookups,
    from_mail: npt.NDArray[np.bool_],
    missed: npt.NDArray[np.bool_],
    truth: Truth,
) -> dict[str, float]:
    """Queries per message and per session in this run, after the cache, and the cache's hit rate."""
    within = (asked.times >= 0) & (asked.times < clock.seconds)
    totals = truth.totals["1mx"]
    return {
        "m_s": round(int((within & missed & from_mail).sum()) / max(1, totals["smtp_accepted"]), 4),
        "m_p": round(int((within & missed & ~from_mail).sum()) / max(1, totals["pop_access"]), 4),
        "hit_rate": round(1 - int((within & missed).sum()) / max(1, int(within.sum())), 4),
    }


def _incidents(clock: _Clock, worm: bool, culprits: bool, cache: str) -> list[Incident]:
    """The labels whose time lies in the run, at least in part."""
    first, last = clock.start, clock.start + timedelta(seconds=clock.seconds)
    found: list[Incident] = []

    def label(
        name: str,
        cause: str,
        detectors: tuple[str, ...],
        subjects: tuple[str, ...],
        server: str,
        span: tuple[datetime, datetime],
        explanation: str,
    ) -> None:
        begin, end = max(span[0], first), min(span[1], last)
        if begin < end:
            found.append(
                Incident(
                    name, cause, detectors, subjects, server, clock.utc(begin), clock.utc(end), explanation
                )
            )

    if worm:
        collapse = ("cache_collapse",) if cache == "on" else ()
        label(
            "Frethem.K",
            "mass mail of a worm through the mail server",
            ("deferral_surge", *collapse),
            ("1mx",),
            "1mx",
            _OUTBREAK,
            "after 18:00 deliveries outnumber messages, deferrals and DNS queries climb together",
        )
        label(
            "IP-A",
            "infected PC with a mail engine of its own",
            ("mail_server_mimic", "mass_mailer", "step_change"),
            (NAMED["IP-A"],),
            "1dns",
            _IP_A,
            "a quiet client takes on the shape of the mail server's curve",
        )
    if culprits:
        label(
            "IP-B",
            "hijacked firewall",
            ("step_change", "ripple"),
            (NAMED["IP-B"],),
            "1dns",
            _IP_B,
            "zero by night, straight up from 10:30 to 11:00, ripples of an hour after",
        )
        label(
            "IP-C",
            "Trojan that calls its masters",
            ("flat_curve", "silence", "step_change"),
            (NAMED["IP-C"],),
            "1dns",
            _IP_C,
            "a flat plateau that falls to zero when the host is filtered",
        )
        label(
            "IP-D and IP-E",
            "two hijacked hosts, inside and outside, moved by one hand",
            ("synchronized_clients", "step_change"),
            (NAMED["IP-D"], NAMED["IP-E"]),
            "1dns",
            _IP_DE,
            "the two curves resemble each other",
        )
    return found
