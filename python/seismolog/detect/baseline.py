"""What is usual for each client, learnt day by day and kept in the store.

No training day is needed: without a past, a client is compared with its group and with itself earlier in the view, and the
expectation says that it knows 0 days. Each day that is over is learnt (:meth:`Baseline.learn`): by client and hour of
the week how much it asked for, with what is older fading away; its busiest half hour; on how many days it was there. The
expectation of a bin is the client's own mean of that hour of the week where it was seen at least twice, else of that
hour of the day (workdays and free days apart), else its level in the shape of its group.

Bins under an incident teach nothing, so that an incident does not become what is usual; after ``accept_after`` it does.

*Jumps.* An address changes hands, a lecture begins: on every campus some clients rise to a multiple of what they
did. Of each day the heights of such rises are kept, so that a detector can tell how often a rise like this one happens
here (:meth:`Baseline.jump_rate`), and keep quiet where it happens every day. A week knows few high ones: the smaller ones
tell how much rarer these are.

Limits: one series (kind of event) a table of clients × 168 hours, 4 bytes each and the same again for what was covered: 27
MB for 20,000 clients. Clients that have not been seen for :data:`FORGET` days are dropped.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from seismolog.detect.view import Before, Curves

__all__ = ["FORGET", "SLOTS", "Baseline", "PastMean", "slots_of"]

SLOTS = 168
FORGET = 60
"""Days after which a client that was not seen is forgotten."""
FADE = 0.9
"""What a week that is one week older weighs."""
PEAK_FADE = 0.985
"""What the busiest half hour shrinks by a day, so that one day of long ago does not excuse for ever."""
JUMP_DAYS = 28
SWITCH = 4.0
"""Multiple of its busiest half hour that a user hardly reaches: a rise beyond it is that of another host.

Levels differ from day to day by a log standard deviation of up to 0.45 or so. The greatest of ten thousand users in ten days
then lies 3.1 of these above the busiest of a week: exp(3.1 × 0.45) = 4.
"""
RESTLESS = 4e-4
"""Share of the addresses of a network that rise so far on a day, above which addresses change hands there."""
LEAST_KNOWN = 2
"""Days that a client has to be known for its rise to say anything: many were only away on the first."""
WEEK = 2
"""Working days that have to be compared before anybody can say how often clients rise here."""
STAY = 60
"""Minutes that a rise has to last to be that of a host that came and stayed."""
LEAST_NETWORK = 50
"""Addresses from which a network is a population of its own."""
MOST_JUMPS = 4096
"""Rises that are remembered of a day."""
_PREFIXES_V6 = (48, 56, 64)
"""Networks in which addresses change hands alike, from wide to narrow; of IPv4 /16, /20, /24."""
TAIL = 10
"""Rises by which it is told how much rarer higher ones are."""
ALIKE = 0.7
"""Share of the height of a rise from which another one is about as high."""
_STEEP, _STEEP_WEIGHT = 3.0, 6.0
"""Exponent of the tail of rises where none are known, and the rises that it weighs as much as."""


@dataclass(frozen=True)
class PastMean:
    """Expected counts of curves from their own past, and the days that they rest on."""

    mean: npt.NDArray[np.float64]
    days: npt.NDArray[np.float64]


class Jump(NamedTuple):
    """A rise of a client: which, in which hour of the day, to how many counts in ten minutes, for how many minutes.

    ``excess`` is its height over the busiest half hour that the client had before.
    """

    client: str
    hour: int
    height: float
    minutes: float
    excess: float


class _Rises(NamedTuple):
    """Rises as columns; ``networks`` are the narrow ones, from wide to narrow."""

    client: npt.NDArray[np.object_]
    hour: npt.NDArray[np.int64]
    height: npt.NDArray[np.float64]
    minutes: npt.NDArray[np.float64]
    excess: npt.NDArray[np.float64]
    networks: tuple[npt.NDArray[np.object_], ...]


@dataclass
class _Series:
    """What is known of the clients of one kind; rows of the arrays are clients."""

    names: list[str] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)
    total: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, SLOTS), np.float32))
    hours: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, SLOTS), np.float32))
    peak: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    first_day: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    last_day: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    seen: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    full: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """Share of the covered bins of its days in which a client asked, faded."""
    days: list[int] = field(default_factory=list)
    """Ordinals of the days learnt."""
    jumps: dict[int, list[Jump]] = field(default_factory=dict)
    """Day -> rises, of the days that could be compared with one before."""
    free: set[int] = field(default_factory=set)
    """Those of the days in `jumps` that are no working days."""
    sizes: dict[str, int] | None = None
    """Clients by network, counted when it is wanted."""
    told: dict[str, _Rises] = field(default_factory=dict)
    """Wide network (or nothing, for all) -> its rises."""
    pools: dict[str, float] = field(default_factory=dict)
    """Wide network -> see :meth:`Baseline.pool_peak`."""

    def find(self, names: Sequence[str], *, add: bool = False) -> npt.NDArray[np.int64]:
        """Rows of these clients, -1 for those that are not known (or, with `add`, new rows)."""
        found = np.fromiter((self.place.get(n, -1) for n in names), np.int64, len(names))
        new = np.flatnonzero(found < 0)
        if add and len(new):
            start = len(self.names)
            for offset, i in enumerate(new.tolist()):
                self.names.append(names[i])
                self.place[names[i]] = start + offset
            found[new] = np.arange(start, start + len(new))
            more = len(new)
            self.total = np.concatenate([self.total, np.zeros((more, SLOTS), np.float32)])
            self.hours = np.concatenate([self.hours, np.zeros((more, SLOTS), np.float32)])
            for name in ("peak", "full"):
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(more, np.float32)]))
            for name in ("first_day", "last_day", "seen"):
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(more, np.int32)]))
        return found

    def size(self, network: str) -> int:
        """Clients in a network."""
        if self.sizes is None:
            self.sizes = {}
            for name in self.names:
                for prefix in _networks(name):
                    self.sizes[prefix] = self.sizes.get(prefix, 0) + 1
        return self.sizes.get(network, 0)

    def rises(self, wide: str) -> _Rises:
        """The rises of the clients of a wide network, of all with an empty one."""
        if wide not in self.told:
            held = [
                j
                for day in self.jumps.values()
                for j in day
                if not wide or _networks(j.client)[:1] == (wide,)
            ]
            narrow = [_networks(j.client)[1:] or ("", "") for j in held]
            self.told[wide] = _Rises(
                np.array([j.client for j in held], dtype=object),
                np.array([j.hour for j in held], dtype=np.int64),
                np.array([j.height for j in held]),
                np.array([j.minutes for j in held]),
                np.array([j.excess for j in held]),
                tuple(np.array([n[place] for n in narrow], dtype=object) for place in (0, 1)),
            )
        return self.told[wide]

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        """Drop the other rows."""
        places = np.flatnonzero(rows)
        self.names = [self.names[i] for i in places]
        self.place = {n: i for i, n in enumerate(self.names)}
        for name in ("total", "hours", "peak", "first_day", "last_day", "seen", "full"):
            setattr(self, name, getattr(self, name)[places])


class Baseline:
    """What is usual; an empty one knows nothing.

    >>> Baseline().days("dns_query")
    0
    """

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}

    # -- asking

    def days(self, kind: str) -> int:
        """Number of days learnt of a kind."""
        return len(self._series[kind].days) if kind in self._series else 0

    def last_day(self, kind: str) -> date | None:
        """The last day learnt of a kind."""
        series = self._series.get(kind)
        return date.fromordinal(max(series.days)) if series and series.days else None

    def profile(self, kind: str, names: Sequence[str]) -> npt.NDArray[np.float64] | None:
        """(clients, 24) mean counts by hour of the day, None before a day was learnt; unknown clients have zeros."""
        series = self._series.get(kind)
        if series is None or not series.days:
            return None
        rows = series.find(names)
        total = np.zeros((len(names), 24))
        known = rows >= 0
        total[known] = series.total[rows[known]].reshape(-1, 7, 24).sum(axis=1)
        return total

    def known(
        self, kind: str, names: Sequence[str], *, work: bool = False, holidays: frozenset[date] = frozenset()
    ) -> npt.NDArray[np.float64]:
        """Days of its own past that each client has; 0 for one that was never seen.

        With `work` only working days count: a weekend says nothing of a Monday.
        """
        series = self._series.get(kind)
        if series is None or not series.days:
            return np.zeros(len(names))
        rows = series.find(names)
        counted = [d for d in series.days if not work or _works(d, holidays)]
        days = np.sort(np.array(counted, dtype=np.int64))
        since = np.where(rows >= 0, series.first_day[np.maximum(rows, 0)], np.iinfo(np.int32).max)
        result: npt.NDArray[np.float64] = (len(days) - np.searchsorted(days, since)).astype(np.float64)
        return np.where(rows >= 0, result, 0.0)

    def expected(self, curves: Curves, zone: ZoneInfo, holidays: frozenset[date]) -> PastMean | None:
        """Expected counts of curves from their own past; rows without one have 0 days and a mean of 0."""
        series = self._series.get(curves.kind)
        if series is None or not series.days:
            return None
        rows = series.find(curves.names)
        known = rows >= 0
        at = np.maximum(rows, 0)
        slot = slots_of(curves, zone, holidays)
        weight_of_slot = series.hours[at]
        total_of_slot = series.total[at]
        by_day = weight_of_slot.reshape(-1, 7, 24)
        total_by_day = total_of_slot.reshape(-1, 7, 24)
        work, free = slice(0, 5), slice(5, 7)
        mean_of_slot = np.zeros((len(rows), SLOTS))
        for days, columns in ((work, np.arange(0, 120)), (free, np.arange(120, 168))):
            pooled = by_day[:, days].sum(axis=1)
            pooled_total = total_by_day[:, days].sum(axis=1)
            # Where that kind of day was not seen at all, the whole week says something.
            none = pooled < 0.5
            pooled = np.where(none, by_day.sum(axis=1), pooled)
            pooled_total = np.where(none, total_by_day.sum(axis=1), pooled_total)
            pooled_mean = pooled_total / np.maximum(pooled, 1e-6)
            hour = columns % 24
            own, own_total = weight_of_slot[:, columns], total_of_slot[:, columns]
            # A slot of the week weighs as the weeks that it was seen in against two of the pooled hour.
            mean_of_slot[:, columns] = (own_total + 2.0 * pooled_mean[:, hour]) / (own + 2.0)
        # Neighbouring hours resemble each other: a PC that starts ten minutes early is no surprise.
        spread = np.maximum(
            mean_of_slot, 0.5 * (np.roll(mean_of_slot, 1, axis=1) + np.roll(mean_of_slot, -1, axis=1))
        )
        per_bin = curves.bin / timedelta(hours=1)
        today = curves.start(curves.bins - 1).astimezone(zone).date().toordinal()
        works = _works(today, holidays)
        days_known = np.where(
            known, self.known(curves.kind, curves.names, work=works, holidays=holidays), 0.0
        )
        mean = np.where(known[:, None], spread[:, slot] * per_bin, 0.0)
        return PastMean(mean, days_known)

    def past(self, curves: Curves) -> Before | None:
        """Level and highest half hour (as counts a bin) of curves in the days before, None before a day was learnt."""
        from seismolog.detect.view import Before

        series = self._series.get(curves.kind)
        if series is None or not series.days:
            return None
        rows = series.find(curves.names)
        known, at = rows >= 0, np.maximum(rows, 0)
        if not len(series.names):
            nothing = np.zeros(len(rows))
            return Before(nothing, nothing, nothing)
        hours = series.hours[at].sum(axis=1)
        mean = series.total[at].sum(axis=1) / np.maximum(hours, 1e-6) * (curves.bin / timedelta(hours=1))
        bins = np.minimum(hours, 24.0 * 28) * (timedelta(hours=1) / curves.bin)
        peak = series.peak[at] * curves.scale
        return Before(*(np.where(known, a, 0.0).astype(np.float64) for a in (mean, peak, bins)))

    def quietest(self, curves: Curves) -> npt.NDArray[np.float64] | None:
        """Counts a bin in the quietest hour of each client's day, on average of its days; None before one was learnt."""
        series = self._series.get(curves.kind)
        if series is None or not series.names:
            return None
        rows = series.find(curves.names)
        at = np.maximum(rows, 0)
        total = series.total[at].reshape(-1, 7, 24).sum(axis=1)
        hours = series.hours[at].reshape(-1, 7, 24).sum(axis=1)
        a_bin = total / np.maximum(hours, 1e-6) * (curves.bin / timedelta(hours=1))
        lowest = np.where(hours > 0.1, a_bin, np.inf).min(axis=1)
        return np.where((rows >= 0) & np.isfinite(lowest), lowest, 0.0).astype(np.float64)

    def regular(
        self, kind: str, names: Sequence[str]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """For each client the share of covered bins of its days in which it asked, and the days it was seen on."""
        series = self._series.get(kind)
        if series is None:
            return np.zeros(len(names)), np.zeros(len(names))
        rows = series.find(names)
        at, known = np.maximum(rows, 0), rows >= 0
        if not len(series.names):
            return np.zeros(len(names)), np.zeros(len(names))
        return (
            np.where(known, series.full[at], 0.0).astype(np.float64),
            np.where(known, series.seen[at], 0).astype(np.float64),
        )

    def names(self, kind: str) -> tuple[str, ...]:
        """Clients that are known."""
        return tuple(self._series[kind].names) if kind in self._series else ()

    def jump_rate(
        self,
        kind: str,
        height: float,
        minutes: float,
        excess: float,
        *,
        hour: int | None = None,
        client: str | None = None,
    ) -> float | None:
        """Rises about as high and as long as this one, or more so, a day, were all addresses like this client's.

        None before :data:`WEEK` working days could be compared with days before them. Where less than :data:`TAIL` such
        rises are known, the rate is that of the :data:`TAIL` highest ones, continued to this height by a power law whose
        exponent they tell (Hill, 1975): what was not seen in a week is not impossible.

        Parameters
        ----------
        height, minutes, excess
            Counts in ten minutes, how long it lasted, and the height over the client's busiest half hour before: rises of
            seven tenths of height and excess and of half of the time are about like it.
        hour
            Hour of the day in which it begins: hosts that change address do so when their users come.
        client
            Whose network counts: addresses without wires change hands all day, those of offices never do. The rises are
            those of its wide network; the narrow ones in it count as far as they are known to be more restless or less.
        """
        series = self._series.get(kind)
        if series is None or len(series.jumps.keys() - series.free) < WEEK:
            return None
        everyone = max(len(series.names), 1)
        networks = _networks(client) if client is not None else ()
        wide = networks[0] if networks and series.size(networks[0]) >= LEAST_NETWORK else ""
        exposure = len(series.jumps) * (series.size(wide) if wide else everyone)
        rises = series.rises(wide)
        # What a client did yesterday does not make it usual that it does so today.
        chosen = (rises.client != client) & (rises.minutes >= 0.5 * minutes)
        if not chosen.any():
            return 0.0
        reach = np.minimum(rises.height / max(height, 1e-9), rises.excess / max(excess, 1e-9))[chosen]
        rate = _beyond(reach) / exposure
        whole = len(reach) / exposure
        for place, prefix in enumerate(networks[1:]):
            # As many as the wider network lets expect weigh like one that was seen.
            seen = int((rises.networks[place][chosen] == prefix).sum())
            rate *= (seen + 1) / (whole * len(series.jumps) * series.size(prefix) + 1)
        factor = 1.0
        alike = rises.hour[chosen][reach >= ALIKE]
        if hour is not None and len(alike) >= TAIL:
            near = int(((alike - hour + 1) % 24 <= 2).sum())
            factor = min(max(8.0 * near / len(alike), 1.0), 4.0)
        return rate * everyone * factor

    def pool_peak(self, kind: str, client: str) -> float:
        """What a client may do that its address had never done, where addresses change hands.

        That is the busiest half hour (in ten minutes) that one in a hundred addresses of its wide network has had, if more
        than :data:`RESTLESS` of them rise to :data:`SWITCH` times their own on a day, and stay; 0 elsewhere: the address
        has a past of its own.
        """
        series = self._series.get(kind)
        wide = _networks(client)[:1]
        if series is None or not series.jumps or not wide:
            return 0.0
        if wide[0] not in series.pools:
            rows = [i for i, name in enumerate(series.names) if _networks(name)[:1] == wide]
            rises = sum(
                _networks(j.client)[:1] == wide and j.minutes >= STAY and j.excess >= SWITCH
                for day in series.jumps.values()
                for j in day
            )
            rate = rises / (len(series.jumps) * max(len(rows), 1))
            peak = (
                float(np.quantile(series.peak[rows], 0.99))
                if rate >= RESTLESS and len(rows) >= LEAST_NETWORK
                else 0.0
            )
            series.pools[wide[0]] = peak
        return series.pools[wide[0]]

    # -- learning

    def learn(
        self,
        curves: Curves,
        zone: ZoneInfo,
        holidays: frozenset[date] = frozenset(),
        *,
        since: datetime | None = None,
        ignore: npt.NDArray[np.bool_] | None = None,
        jumps: Sequence[tuple[str, datetime, float, float, float]] = (),
    ) -> None:
        """Learn a day that is over.

        Parameters
        ----------
        curves
            All clients of a kind, in bins of ten minutes.
        since
            Bins before it were learnt with the day before.
        ignore
            (rows, bins) bins under an incident.
        jumps
            Client, start, height (in ten minutes), minutes and excess of the rises of this day.
        """
        series = self._series.setdefault(curves.kind, _Series())
        first = max(0, curves.place(since)) if since is not None else 0
        day = (curves.start(first) + timedelta(hours=12)).astimezone(zone).date().toordinal()
        if day in series.days:
            return
        values = curves.values[:, first:]
        covered = curves.covered[first:]
        used = np.broadcast_to(covered, values.shape)
        if ignore is not None:
            used = used & ~ignore[:, first:]
        slot = slots_of(curves, zone, holidays)[first:]
        rows = series.find(curves.names, add=True)
        new = series.seen[rows] == 0
        series.first_day[rows[new]] = day
        series.last_day[rows] = day
        series.seen[rows] += 1
        # What is a week older weighs less; done by day so that each day fades alike.
        fade = np.float32(FADE ** (1 / 7))
        series.total *= fade
        series.hours *= fade
        series.peak *= np.float32(PEAK_FADE)
        per_hour = curves.bin / timedelta(hours=1)
        everyone = covered.astype(np.float32) * per_hour
        by_slot = np.zeros(SLOTS, np.float32)
        np.add.at(by_slot, slot, everyone)
        # Clients that were not there asked for nothing, and that is known too.
        series.hours += by_slot
        counted = np.where(used, values, 0.0)
        lost = (~used & covered) if ignore is not None else None
        order = np.argsort(slot, kind="stable")
        cuts = np.flatnonzero(np.diff(slot[order], prepend=-1))
        present = slot[order][cuts]
        series.total[np.ix_(rows, present)] += np.add.reduceat(counted[:, order], cuts, axis=1)
        if lost is not None and lost.any():
            series.hours[np.ix_(rows, present)] -= np.add.reduceat(
                lost[:, order].astype(np.float32) * np.float32(per_hour), cuts, axis=1
            )
            np.maximum(series.hours, 0, out=series.hours)
        half_hour = max(1, round(timedelta(minutes=30) / curves.bin))
        if counted.shape[1] >= half_hour:
            window = np.lib.stride_tricks.sliding_window_view(counted, half_hour, axis=1)
            top = window.mean(axis=2).max(axis=1) / curves.scale
            series.peak[rows] = np.maximum(series.peak[rows], top)
        share = ((counted > 0).sum(axis=1) / np.maximum(used.sum(axis=1), 1)).astype(np.float32)
        series.full[rows] = np.where(new, share, 0.8 * series.full[rows] + 0.2 * share)
        absent = np.ones(len(series.names), np.bool_)
        absent[rows] = False
        series.full[absent] *= 0.8
        like = sum(_works(d, holidays) or not _works(day, holidays) for d in series.days)
        series.days.append(day)
        series.sizes, series.pools, series.told = None, {}, {}
        if like >= LEAST_KNOWN:
            highest = sorted(jumps, key=lambda jump: -jump[2])[:MOST_JUMPS]
            if not _works(day, holidays):
                series.free.add(day)
            series.jumps[day] = [
                Jump(name, begun.astimezone(zone).hour, float(height), float(minutes), float(excess))
                for name, begun, height, minutes, excess in highest
            ]
        for old in [d for d in series.jumps if d <= day - JUMP_DAYS]:
            del series.jumps[old]
            series.free.discard(old)
        stale = series.last_day < day - FORGET
        if stale.any():
            series.keep(~stale)

    # -- keeping

    def frame(self, now: datetime | None = None) -> pl.DataFrame:
        """Everything as rows of the store's table ``baseline``."""
        now = now or datetime.now(UTC)
        parts = []
        for kind, s in self._series.items():
            parts.append(
                pl.DataFrame(
                    {
                        "series": [kind] * len(s.names),
                        "client": s.names,
                        "total": pl.Series(s.total, dtype=pl.Array(pl.Float32, SLOTS)).cast(
                            pl.List(pl.Float32)
                        ),
                        "hours": pl.Series(s.hours, dtype=pl.Array(pl.Float32, SLOTS)).cast(
                            pl.List(pl.Float32)
                        ),
                        "peak": s.peak,
                        "first_day": s.first_day,
                        "last_day": s.last_day,
                        "seen": s.seen,
                        "full": s.full,
                    }
                )
            )
            # The days themselves stand in a row without a client; `total` has those learnt, `hours` those compared.
            days = sorted(s.days)[-400:]
            schema = parts[-1].schema
            head = (
                [kind],
                [None],
                [days],
                [[-d if d in s.free else d for d in sorted(s.jumps)]],
                [0.0],
                [0],
                [max(days, default=0)],
                [len(days)],
                [0.0],
            )
            parts.append(pl.DataFrame(dict(zip(schema, head, strict=True)), schema=schema, strict=False))
            jumps = [(day, jump) for day, held in s.jumps.items() for jump in held]
            if jumps:
                parts.append(
                    pl.DataFrame(
                        {
                            "series": [kind + _RISES] * len(jumps),
                            "client": [jump.client for _, jump in jumps],
                            "total": [None] * len(jumps),
                            "hours": [None] * len(jumps),
                            "peak": [jump.height for _, jump in jumps],
                            "first_day": [day for day, _ in jumps],
                            "last_day": [round(jump.minutes) for _, jump in jumps],
                            "seen": [jump.hour for _, jump in jumps],
                            "full": [jump.excess for _, jump in jumps],
                        },
                        schema=schema,
                        strict=False,
                    )
                )
        if not parts:
            return pl.DataFrame()
        return pl.concat(parts, how="vertical_relaxed").with_columns(
            pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("learned_at")
        )

    @classmethod
    def of_frame(cls, frame: pl.DataFrame) -> Baseline:
        """What :meth:`frame` gave, read again."""
        made = cls()
        for (kind,), part in frame.group_by("series"):
            head = part.filter(pl.col("client").is_null())
            rows = part.filter(pl.col("client").is_not_null()).sort("client")
            if not head.height:
                continue
            series = _Series(
                names=rows["client"].to_list(),
                total=_matrix(rows["total"]),
                hours=_matrix(rows["hours"]),
                peak=rows["peak"].cast(pl.Float32).to_numpy().copy(),
                first_day=rows["first_day"].cast(pl.Int32).to_numpy().copy(),
                last_day=rows["last_day"].cast(pl.Int32).to_numpy().copy(),
                seen=rows["seen"].cast(pl.Int32).to_numpy().copy(),
                full=rows["full"].cast(pl.Float32).to_numpy().copy(),
                days=[int(d) for d in head["total"][0]],
            )
            series.place = {n: i for i, n in enumerate(series.names)}
            compared = head["hours"][0]
            held = [int(d) for d in (compared.to_list() if compared is not None else [])]
            series.jumps = {abs(d): [] for d in held}
            series.free = {-d for d in held if d < 0}
            rises = frame.filter(pl.col("series") == str(kind) + _RISES)
            columns = ("client", "first_day", "seen", "peak", "last_day", "full")
            for client, day, hour, height, minutes, excess in rises.select(columns).iter_rows():
                series.jumps.setdefault(int(day), []).append(
                    Jump(client, int(hour), float(height), float(minutes), float(excess))
                )
            made._series[str(kind)] = series
        return made


def _matrix(column: pl.Series) -> npt.NDArray[np.float32]:
    if not len(column):
        return np.zeros((0, SLOTS), np.float32)
    return np.array(column.cast(pl.Array(pl.Float32, SLOTS)).to_numpy(), dtype=np.float32)


def _beyond(reach: npt.NDArray[np.float64]) -> float:
    """Number of rises that reach about as far as one, given how far each does as a multiple of it."""
    alike = int((reach >= ALIKE).sum())
    if alike >= TAIL:
        return float(alike)
    top = np.sort(reach)[::-1][:TAIL]
    floor = min(float(top[-1]), ALIKE)
    if floor <= 0:
        return float(alike)
    above = np.log(np.maximum(top / floor, 1.0))
    steep = (len(top) + _STEEP_WEIGHT) / (float(above.sum()) + _STEEP_WEIGHT / _STEEP)
    continued: float = len(top) * (floor / ALIKE) ** steep
    return max(continued, float(alike) if alike > 1 else 0.0)


_RISES = "/rises"
"""What the name of a series has behind it in rows of rises."""


@lru_cache(maxsize=1 << 18)
def _networks(name: str) -> tuple[str, ...]:
    """The networks of an address from wide to narrow; of what is no address none."""
    parts = name.split(".")
    if len(parts) == 4 and all(part.isdigit() for part in parts):
        # Read without a library: a hundred thousand of them are asked for at once.
        one, two, three, _ = parts
        return f"{one}.{two}/16", f"{one}.{two}.{int(three) & 0xF0}/20", f"{one}.{two}.{three}/24"
    try:
        address = ipaddress.IPv6Address(name.split("/")[0])
    except ValueError:
        return ()
    return tuple(str(ipaddress.IPv6Network((address, width), strict=False)) for width in _PREFIXES_V6)


def _works(day: int, holidays: frozenset[date]) -> bool:
    """Whether a day (its ordinal) is a working day."""
    when = date.fromordinal(day)
    return when.weekday() < 5 and when not in holidays


def slots_of(
    curves: Curves, zone: ZoneInfo, holidays: frozenset[date] = frozenset()
) -> npt.NDArray[np.int64]:
    """Hour of the week (0 is Monday 0:00) of each bin of curves, in the site's time; holidays are like Sundays."""
    slot = np.empty(curves.bins, dtype=np.int64)
    for i in range(curves.bins):
        local = curves.start(i).astimezone(zone)
        weekday = 6 if local.date() in holidays else local.weekday()
        slot[i] = weekday * 24 + local.hour
    return slot
