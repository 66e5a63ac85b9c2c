"""Thresholds tried before they are turned on: how many incidents a day, and which.

Each day of the archive is looked at once with every setting on a ladder of values, everything else as it is configured.
What a detector raises is put together as a run would (:mod:`seismolog.detect.incidents`), so that one that lasts
three days is one. :func:`suggest` reads the least strict value off it that keeps a wanted rate.

Limits: one setting is varied at a time. What is usual is learnt with the settings as configured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from seismolog.detect import registry
from seismolog.detect.baseline import Baseline
from seismolog.detect.incidents import Book, Incident
from seismolog.detect.run import Rules, days_of, learn, look
from seismolog.detect.view import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from seismolog.detect.base import Settings
    from seismolog.detect.site import Site
    from seismolog.detect.view import Tables

__all__ = ["LADDER", "Trial", "backtest", "suggest"]

LADDER = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
"""Multiples of a configured value that are tried, from the least strict to the strictest."""


@dataclass
class Trial:
    """One setting of one detector at one value.

    ``rate`` is incidents a day over ``days``; ``setting`` is "" for the detector as it is configured.
    """

    detector: str
    setting: str
    value: float | None
    days: float
    incidents: list[Incident] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Incidents a day."""
        return len(self.incidents) / max(self.days, 1e-9)


def variants(settings: Settings) -> list[tuple[str, float, Settings]]:
    """(setting, value, settings) of each value to try; those that the configuration would refuse are left out."""
    from pydantic import ValidationError

    made = []
    for name, direction in settings.THRESHOLDS.items():
        now = getattr(settings, name)
        for factor in LADDER:
            if factor == 1.0:
                continue
            value: Any = now * (factor if direction > 0 else 1 / factor)
            if isinstance(now, int):
                value = max(1, round(value))
                if value == now:
                    continue
            try:
                changed = type(settings).model_validate({**settings.model_dump(), name: value})
            except ValidationError:
                continue
            made.append((name, float(value), changed))
    return made


def backtest(
    tables: Tables,
    *,
    since: datetime,
    until: datetime,
    site: Site,
    settings: Mapping[str, Settings],
    rules: Rules | None = None,
    baseline: Baseline | None = None,
    begin: datetime | None = None,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Trial]:
    """What each detector would have raised in [since, until), as configured and at each value of its ladder."""
    rules, baseline = rules or Rules(), baseline or Baseline()
    zone = ZoneInfo(site.timezone)
    first = min(since, max(begin, since - rules.history)) if begin is not None else since
    chosen = list(names if names is not None else registry.names())
    length = (until - since) / timedelta(days=1)
    trials: list[tuple[Trial, Settings, Book]] = []

    def book() -> Book:
        return Book(bridge=rules.bridge, close_after=rules.close_after, site=site)

    for name in chosen:
        # A detector that is turned off is what a back-test is for.
        base = settings[name].model_copy(update={"enabled": True})
        trials.append((Trial(name, "", None, length), base, book()))
        trials += [(Trial(name, s, v, length), changed, book()) for s, v, changed in variants(base)]
    together = book()
    days = list(days_of(first, until, zone))
    for number, (day, end) in enumerate(days):
        view = View(
            tables,
            since=max(first, day - rules.context),
            until=end,
            site=site,
            history=max(first, day - rules.history),
            baseline=baseline,
        )
        seen = []
        for trial, changed, held in trials:
            raised = look(view, {trial.detector: changed}, names=[trial.detector])
            raised = [r for r in raised if r.end is None or r.end > day]
            if not trial.setting:
                seen += raised
            held.update(raised, end)
            trial.incidents += held.forget(end - rules.bridge - rules.context)
        together.update(seen, end)
        learn(view, baseline, together.incidents, day, rules, settings)
        together.forget(end - rules.bridge - rules.context)
        if progress is not None:
            progress(number + 1, len(days))
    for trial, _, held in trials:
        trial.incidents += held.incidents
        trial.incidents = [i for i in trial.incidents if (i.end is None or i.end > since) and i.start < until]
    return [trial for trial, _, _ in trials]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A value for one setting, and the rate that it would have had; ``value`` None where none on the ladder keeps it."""

    detector: str
    setting: str
    configured: float
    value: float | None
    rate: float


def suggest(trials: Sequence[Trial], wanted: float, settings: Mapping[str, Settings]) -> list[Suggestion]:
    """For each setting the least strict value tried that would have raised at most `wanted` incidents a day."""
    found = []
    as_configured = {t.detector: t for t in trials if not t.setting}
    for name, base in as_configured.items():
        for setting, direction in settings[name].THRESHOLDS.items():
            now = float(getattr(settings[name], setting))
            tried = [(now, base.rate)]
            tried += [
                (t.value, t.rate)
                for t in trials
                if (t.detector, t.setting) == (name, setting) and t.value is not None
            ]
            tried.sort(key=lambda pair: pair[0] * direction)
            kept = next(((v, r) for v, r in tried if r <= wanted), None)
            least = min(r for _, r in tried)
            found.append(
                Suggestion(name, setting, now, kept[0] if kept else None, kept[1] if kept else least)
            )
    return found
