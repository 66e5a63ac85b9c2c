"""Detectors over a stretch of time, day by day, or at the close of a bin: the same code.

:func:`detect` walks over the site's days. Each day is looked at together with the hours before it, so that an
incident over midnight is seen whole; then it is learnt (:mod:`seismolog.detect.baseline`), less what lay under an
incident. :class:`Watch` does the same for a daemon: at the close of a bin it looks at the last day up to now.

Limits: memory is that of one day and its context.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from seismolog.detect import registry
from seismolog.detect.baseline import Baseline
from seismolog.detect.incidents import Book, Changes, Incident
from seismolog.detect.recent import Recent
from seismolog.detect.site import Site
from seismolog.detect.view import View

if TYPE_CHECKING:
    from seismolog.config.models import Detect
    from seismolog.detect.base import Raised, Settings
    from seismolog.detect.view import Curves, Tables

__all__ = ["LEARNT", "Outcome", "Rules", "Watch", "days_of", "detect", "look"]

LEARNT = ("dns_query", "firewall_drop")
"""Kinds whose clients' usual is learnt."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a run goes about it; see the section ``[detect]`` of the configuration."""

    history: timedelta = timedelta(days=28)
    context: timedelta = timedelta(hours=12)
    bridge: timedelta = timedelta(minutes=60)
    close_after: timedelta = timedelta(minutes=30)
    accept_after: timedelta = timedelta(days=7)

    @classmethod
    def of_config(cls, section: Detect) -> Rules:
        """The rules that a configuration sets."""
        return cls(
            section.history, section.context, section.bridge, section.close_after, section.accept_after
        )


@dataclass
class Outcome:
    """What a run found.

    ``raised`` is what each detector saw on each day, before it was put together; ``seconds`` the processor time of each.
    """

    incidents: tuple[Incident, ...] = ()
    baseline: Baseline = field(default_factory=Baseline)
    raised: list[tuple[datetime, Raised]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    days: int = 0


def look(
    view: View,
    settings: Mapping[str, Settings],
    *,
    names: Sequence[str] | None = None,
    seconds: dict[str, float] | None = None,
) -> list[Raised]:
    """What the detectors that are enabled see in a view."""
    found: list[Raised] = []
    for name in names if names is not None else registry.names():
        chosen = settings[name]
        if not chosen.enabled:
            continue
        began = time.process_time()
        found += registry.detector(name).find(view, chosen)
        if seconds is not None:
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - began
    return found


def days_of(since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """The site's days that [since, until) touches, cut to it, in UTC."""
    midnight = since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight < until:
        # The next midnight on the wall: a day may have 23 or 25 hours.
        following = (midnight.replace(tzinfo=None) + _DAY).replace(tzinfo=zone)
        first, last = max(midnight, since), min(following, until)
        if first < last:
            yield first.astimezone(UTC), last.astimezone(UTC)
        midnight = following


def detect(
    tables: Tables,
    *,
    since: datetime,
    until: datetime,
    site: Site | None = None,
    settings: Mapping[str, Settings] | None = None,
    rules: Rules | None = None,
    baseline: Baseline | None = None,
    begin: datetime | None = None,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Find the incidents of [since, until).

    Parameters
    ----------
    tables
        A store, a snapshot, or frames.
    settings
        By detector; the defaults where it is left out.
    baseline
        What is usual already; it learns on.
    begin
        First moment of which the tables hold anything. Days from there on, at most ``rules.history`` back, that the
        baseline does not know are looked at first.
    names
        Detectors to run; all by default.
    progress
        Called with days done and days in all.
    """
    site, rules, baseline = site or Site(), rules or Rules(), baseline or Baseline()
    settings = settings if settings is not None else registry.settings_of({})
    zone = ZoneInfo(site.timezone)
    first = max(begin, since - rules.history) if begin is not None else since
    known = baseline.last_day("dns_query")
    if known is not None:
        after = datetime(known.year, known.month, known.day, tzinfo=zone) + _DAY
        first = min(since, max(first, after.astimezone(UTC)))
    start_of_all = min(begin or first, first)
    book = Book(bridge=rules.bridge, close_after=rules.close_after, site=site)
    outcome = Outcome(baseline=baseline)
    finished: list[Incident] = []
    days = list(days_of(first, until, zone))
    for number, (day, end) in enumerate(days):
        view = View(
            tables,
            since=max(start_of_all, day - rules.context),
            until=end,
            site=site,
            history=max(start_of_all, day - rules.history),
            baseline=baseline,
        )
        seen = [
            r
            for r in look(view, settings, names=names, seconds=outcome.seconds)
            if r.end is None or r.end > day
        ]
        outcome.raised += [(day, r) for r in seen]
        book.update(seen, end)
        learn(view, baseline, book.incidents, day, rules, settings)
        finished += book.forget(end - rules.bridge - rules.context)
        outcome.days += 1
        if progress is not None:
            progress(number + 1, len(days))
    book.close_all(until)
    everything = [*finished, *book.incidents]
    outcome.incidents = tuple(
        sorted(
            (i for i in everything if (i.end is None or i.end > since) and i.start < until),
            key=lambda i: (i.start, i.id),
        )
    )
    return outcome


def learn(
    view: View,
    baseline: Baseline,
    incidents: Iterable[Incident],
    day: datetime,
    rules: Rules,
    settings: Mapping[str, Settings],
) -> None:
    """Learn the day that a view ends with, from `day` on; a day that is not mostly there teaches nothing."""
    held = list(incidents)
    for kind in LEARNT:
        curves = view.curves(kind)
        first = max(0, curves.place(day))
        covered = curves.covered[first:]
        if not len(curves) or covered.sum() * curves.bin < timedelta(hours=16):
            continue
        step = settings.get("step_change")
        jumps: list[tuple[str, datetime, float, float, float]] = []
        if step is not None and baseline.days(kind):
            from seismolog.detect import step_change

            jumps = [j for j in step_change.rises(view, step, kind) if j[1] >= day]  # type: ignore[arg-type]
        ignored = under_incident(curves, held, rules.accept_after)
        baseline.learn(curves, view.zone, view.site.holidays, since=day, ignore=ignored, jumps=jumps)


def under_incident(
    curves: Curves, incidents: Iterable[Incident], accept_after: timedelta
) -> npt.NDArray[np.bool_] | None:
    """(rows, bins) bins under an incident of the client that is younger than `accept_after`; None without any."""
    mask: npt.NDArray[np.bool_] | None = None
    place: dict[str, int] | None = None
    for incident in incidents:
        if curves.end(curves.bins - 1) - incident.start > accept_after:
            continue
        if place is None:
            place = {name: i for i, name in enumerate(curves.names)}
        rows = [place[s] for s in incident.subjects if s in place]
        if not rows:
            continue
        if mask is None:
            mask = np.zeros(curves.values.shape, np.bool_)
        low = max(0, curves.place(incident.start))
        high = curves.bins if incident.end is None else min(curves.bins, curves.place(incident.end) + 1)
        mask[rows, low:high] = True
    return mask


class Watch:
    """Detectors beside a daemon: at the close of a bin, what is new, what has changed, what is over.

    Parameters
    ----------
    site, settings, rules
        As for :func:`detect`.
    baseline
        What is usual; :meth:`close` learns a day when it is over.
    incidents
        Those that were open when the daemon stopped.
    """

    def __init__(
        self,
        *,
        site: Site,
        settings: Mapping[str, Settings],
        rules: Rules | None = None,
        baseline: Baseline | None = None,
        incidents: Iterable[Incident] = (),
    ) -> None:
        self.site, self.settings, self.rules = site, settings, rules or Rules()
        self.baseline = baseline or Baseline()
        self.book = Book(bridge=self.rules.bridge, close_after=self.rules.close_after, site=site)
        self.book.resume(incidents)
        self._recent = Recent()
        self.seconds: dict[str, float] = {}

    def close(
        self,
        tables: Tables,
        until: datetime,
        *,
        begin: datetime | None = None,
        names: Sequence[str] | None = None,
    ) -> Changes:
        """Look at the last day up to the end of the bin that closed.

        Parameters
        ----------
        begin
            First moment that the tables hold.
        names
            Detectors to run: those of ten minutes at the close of ten minutes, those of an hour at its close; all by
            default.
        """
        view = self._view(tables, until, begin)
        changes = self.book.update(look(view, self.settings, names=names, seconds=self.seconds), until)
        zone = ZoneInfo(self.site.timezone)
        local = until.astimezone(zone)
        if local.hour == 0 and local.minute < 10:
            midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
            day = (midnight.replace(tzinfo=None) - _DAY).replace(tzinfo=zone).astimezone(UTC)
            learn(view, self.baseline, self.book.incidents, max(day, view.since), self.rules, self.settings)
        self.book.forget(until - self.rules.bridge - self.rules.context)
        return changes

    def rehearse(
        self,
        tables: Tables,
        until: datetime,
        *,
        begin: datetime | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Look as :meth:`close` would have at an earlier close, and tell nothing.

        What a look reads of the hours that are over is kept, and what it imports is imported: the next look of these
        detectors has the newest hour to read only.
        """
        look(self._view(tables, until, begin), self.settings, names=names)

    def _view(self, tables: Tables, until: datetime, begin: datetime | None) -> View:
        first = until - _DAY if begin is None else max(begin, until - _DAY)
        return View(
            self._recent.of(tables),
            since=first,
            until=until,
            site=self.site,
            history=first if begin is None else max(begin, until - self.rules.history),
            baseline=self.baseline,
            closing=True,
        )

    @property
    def kept_bytes(self) -> int:
        """Size of what is kept of the hours that the last look read."""
        return self._recent.bytes

    def state(self) -> dict[str, Any]:
        """What the daemon shows of it: open incidents, days learnt, seconds by detector."""
        return {
            "open": sum(i.open for i in self.book.incidents),
            "days": self.baseline.days("dns_query"),
            "seconds": dict(self.seconds),
        }
