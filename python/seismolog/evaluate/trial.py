"""One world tried: the detectors on clean days, and on the first of them with incidents of each strength.

The world's past is simulated first (in bins of ten minutes, the last days by the minute), with the habits of the hosts that
look like incidents; the detectors learn from it what is usual. Then each variant of the day is looked at with a copy of what
was learnt. Clean days follow one another, and each is learnt before the next is looked at, as in a daemon. The result is
plain data, one JSON file a world, from which everything else is computed.

Delay is measured by looking again and again at the day up to a moment, as the daemon does: the first moment at which an
incident is told. That costs a run for each moment, so it is asked for apart.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.evaluate.matching import best, matches, part_of_traffic
from seismolog.simulate import campus, incidents
from seismolog.simulate.campus.events import Injected
from seismolog.store.schema import TABLES

if TYPE_CHECKING:
    from seismolog.detect.base import Raised, Settings
    from seismolog.detect.baseline import Baseline
    from seismolog.detect.incidents import Incident
    from seismolog.detect.run import Outcome
    from seismolog.detect.site import Site
    from seismolog.simulate.incidents import Planned

__all__ = ["Plan", "trial", "wanted_columns"]

Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Plan:
    """How a world is tried; results of different plans are not mixed.

    Parameters
    ----------
    clients
        Of the campus.
    history, fine
        Days of the past, and how many of them (the last) by the minute.
    strengths
        Each gets variants of the day of its own.
    each
        Variants of the day for each strength, each with one incident of a row.
    lookalikes
        Look-alikes of a row in a variant.
    clean
        Clean days, one after the other; incidents are planted on the first.
    rows, detectors
        Which are planted and which run; empty for all.
    delays
        Minutes between the moments at which the day is looked at for the delay; 0 for never.
    """

    clients: int = 20_000
    history: int = 8
    fine: int = 1
    strengths: tuple[float, ...] = (1.0, 0.25)
    each: int = 1
    lookalikes: int = 1
    clean: int = 1
    rows: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    delays: int = 0

    def key(self) -> str:
        """Stands for the plan."""
        return json.dumps(asdict(self), sort_keys=True)


def wanted_columns(detectors: Iterable[str]) -> dict[str, list[str]]:
    """Table -> columns that the detectors read, with those that they are computed from."""
    from seismolog.detect import registry

    wanted: dict[str, set[str]] = {
        "traffic": {"bin_start", "server", "kind", "query_type", "side", "count", "recipients"},
        "client_traffic": {"bin_start", "server", "kind", "client", "count"},
    }
    for name in detectors:
        for table, columns in registry.detector(name).TABLES.items():
            wanted.setdefault(table, set()).update(columns)
    made = {}
    for table, chosen in wanted.items():
        declared = TABLES[table]
        keys = set(declared.keys) if table != "client_traffic" else set()
        made[table] = [c for c in declared.names if c in chosen | keys]
    return made


def trial(
    seed: int,
    plan: Plan,
    number: int = 0,
    *,
    settings: Mapping[str, Settings] | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Try one world on one of its days.

    Parameters
    ----------
    seed, number
        World, and day of it.
    settings
        Of the detectors; the defaults where left out.
    progress
        Told what is done, step by step.

    Returns
    -------
    dict
        ``seed``, ``day``, ``plan``, ``clean`` (incidents of the clean days), ``truths`` (each with what
        found it), ``incidents`` by strength, ``seconds``.
    """
    from seismolog.detect import registry

    tell = progress or (lambda _: None)
    names = plan.detectors or registry.names()
    settings = settings if settings is not None else registry.settings_of({})
    wanted = wanted_columns(names)
    seconds: dict[str, float] = {}
    world = campus.World(seed, plan.clients)
    site = world.site()

    day = world.day(number)
    variants = _variants(world, day, plan)
    habits = [p for v in variants for p in v.planned if p.habit]

    began = time.process_time()
    past = _past(world, number, plan, habits, wanted, tell)
    seconds["past"] = time.process_time() - began
    start = day.start
    begin = start - timedelta(days=plan.history)
    began = time.process_time()
    baseline = _learnt(past, begin, start, site, settings)
    seconds["learning"] = time.process_time() - began

    result: dict[str, Any] = {
        "seed": seed,
        "day": number,
        "plan": asdict(plan),
        "date": start.isoformat(),
        "free": world.parameters.is_free(number),
        "timezone": site.timezone,
        "clean": [],
        "truths": [],
        "incidents": {},
        "seconds": seconds,
    }
    tried = _Tried(world, number, plan, site, settings, names, wanted, tell)
    _clean_days(tried, result, habits, past, baseline)
    for variant in variants:
        tell(variant.name)
        cast = variant.planned
        others = [h for h in habits if h not in cast]
        truth_of_others = [h.truth(day) for h in others]
        made = incidents.put([*cast, *others], world.day(number))
        truths = made.truth[: len(cast)]
        chosen = [n for n in names if not variant.detectors or n in variant.detectors]
        read = wanted if not variant.detectors else wanted_columns(chosen)
        tables = _joined(past, _counted(made, read, seconds), read)
        began = time.process_time()
        outcome = _look(tables, start, begin, site, settings, baseline, chosen)
        raised = [r for _, r in outcome.raised]
        seconds["detecting"] = seconds.get("detecting", 0.0) + time.process_time() - began
        delays: dict[int, dict[str, float]] = {}
        if plan.delays:
            delays = _delays(tables, truths, start, begin, site, settings, baseline, chosen, plan.delays)
        everything = [*truths, *truth_of_others]
        result["truths"] += [_found(t, raised, delays.get(i), everything) for i, t in enumerate(truths)]
        if not variant.detectors:
            told = [_told(i, everything) for i in outcome.incidents]
            result["incidents"].setdefault(f"{variant.strength:g}", []).extend(told)
    return result


def _counted(day: campus.Day, wanted: Mapping[str, Sequence[str]], seconds: dict[str, float]) -> Tables:
    began = time.process_time()
    counted = campus.count(day, wanted=wanted)
    seconds["counting"] = seconds.get("counting", 0.0) + time.process_time() - began
    return counted


@dataclass(frozen=True)
class _Tried:
    """A world on one of its days, and how it is looked at."""

    world: campus.World
    number: int
    plan: Plan
    site: Site
    settings: Mapping[str, Settings]
    names: Sequence[str]
    wanted: Mapping[str, Sequence[str]]
    tell: Callable[[str], None]


def _clean_days(
    tried: _Tried,
    result: dict[str, Any],
    habits: Sequence[Planned],
    past: Sequence[Tables],
    baseline: Baseline,
) -> None:
    """Look at the clean days, each with what was learnt up to it, and put what they told into the result."""
    seconds, plan, wanted = result["seconds"], tried.plan, tried.wanted
    before = list(past)
    for later in range(plan.clean):
        tried.tell(f"clean day {later + 1} of {plan.clean}")
        day = tried.world.day(tried.number + later)
        truths = [h.truth(day) for h in habits]
        counted = _counted(incidents.put(habits, day), wanted, seconds)
        began = time.process_time()
        outcome = _look(
            _joined(before, counted, wanted),
            day.start,
            day.start - timedelta(days=plan.history),
            tried.site,
            tried.settings,
            baseline,
            tried.names,
        )
        seconds["clean"] = seconds.get("clean", 0.0) + time.process_time() - began
        if not later:
            asked = counted["client_traffic"].filter(pl.col("kind").cast(pl.String) == "dns_query")
            result["queries"] = int(asked["count"].sum())
            result["detector_seconds"] = outcome.seconds
        result["clean"] += [_told(i, truths) for i in outcome.incidents]
        baseline = outcome.baseline
        before = [*before[1:], {t: f.select(wanted[t]) for t, f in counted.items()}]


@dataclass(frozen=True)
class _Variant:
    """One version of the day: what is planted, and the detectors that look (none given: all)."""

    name: str
    strength: float
    planned: list[Planned]
    detectors: tuple[str, ...] = ()


def _variants(world: campus.World, day: campus.Day, plan: Plan) -> list[_Variant]:
    """`each` variants for each strength, and for each row that is to be alone; nobody is cast twice.

    A variant has one incident of a row: two of them at once on one server would be another incident.
    """
    rows = plan.rows or incidents.rows()
    alone = [r for r in rows if getattr(incidents.row(r), "ALONE", False)]
    together = [r for r in rows if r not in alone]
    taken: set[int] = set()
    made = []
    for strength in plan.strengths:
        for turn in range(plan.each):
            for names, detectors in ((together, ()), *(([r], (r,)) for r in alone)):
                planned = incidents.plan(
                    world,
                    day,
                    strength=strength,
                    lookalikes=plan.lookalikes,
                    names=names,
                    taken=taken,
                    turn=turn,
                )
                for one in planned:
                    taken |= _cast_of(world, day, one)
                label = f"strength {strength:g}, {turn + 1} of {plan.each}"
                label += f", {names[0]}" if detectors else ""
                made.append(_Variant(label, strength, planned, detectors))
    return made


def _cast_of(world: campus.World, day: campus.Day, planned: Planned) -> set[int]:
    """Device or address numbers of a plan's subjects."""
    numbers = {text: i for i, text in enumerate(world.people.texts)}
    device = {int(a): d for d, a in enumerate(day.address.tolist())}
    found = {numbers[s] for s in planned.subjects if s in numbers}
    return {device.get(a, a) for a in found}


def _past(
    world: campus.World,
    number: int,
    plan: Plan,
    habits: Sequence[Planned],
    wanted: Mapping[str, Sequence[str]],
    tell: Callable[[str], None],
) -> list[Tables]:
    """The days before, the oldest first."""
    made = []
    for before in range(plan.history, 0, -1):
        tell(f"day {-before} of the past")
        day = incidents.put(habits, world.day(number - before), habits_only=True)
        counted = (campus.count if before <= plan.fine else campus.count_coarsely)(day, wanted=wanted)
        made.append({t: f.select(wanted[t]) for t, f in counted.items()})
    return made


def _joined(past: Sequence[Tables], day: Tables, wanted: Mapping[str, Sequence[str]]) -> Tables:
    return {t: pl.concat([f[t].select(wanted[t]) for f in (*past, day)]) for t in day}


def _learnt(
    past: Sequence[Tables],
    begin: datetime,
    start: datetime,
    site: Site,
    settings: Mapping[str, Settings],
) -> Baseline:
    """What the detectors know before the day, learnt from a past without incidents."""
    from seismolog.detect.baseline import Baseline
    from seismolog.detect.run import Rules, learn
    from seismolog.detect.view import View

    baseline, rules = Baseline(), Rules()
    for number, tables in enumerate(past):
        since = begin + timedelta(days=number)
        view = View(
            tables, since=since, until=since + timedelta(days=1), site=site, history=since, baseline=baseline
        )
        learn(view, baseline, (), since, rules, settings)
    assert not past or since + timedelta(days=1) == start
    return baseline


def _look(
    tables: Tables,
    start: datetime,
    begin: datetime,
    site: Site,
    settings: Mapping[str, Settings],
    baseline: Baseline,
    names: Sequence[str],
    until: datetime | None = None,
) -> Outcome:
    from seismolog.detect.run import detect

    return detect(
        tables,
        since=start,
        until=until or start + timedelta(days=1),
        site=site,
        settings=settings,
        baseline=copy.deepcopy(baseline),
        begin=begin,
        names=names,
    )


def _delays(
    tables: Tables,
    truths: Sequence[Injected],
    start: datetime,
    begin: datetime,
    site: Site,
    settings: Mapping[str, Settings],
    baseline: Baseline,
    names: Sequence[str],
    step: int,
) -> dict[int, dict[str, float]]:
    """Truth -> detector -> minutes from its start to the first look that tells it."""
    found: dict[int, dict[str, float]] = {}
    for minute in range(step, 1440 + step, step):
        until = start + timedelta(minutes=min(minute, 1440))
        part = _closed(tables, until)
        raised = [r for _, r in _look(part, start, begin, site, settings, baseline, names, until).raised]
        known = [truth for truth in truths if truth.start < until]
        for i, truth in enumerate(truths):
            if truth.kind != "positive" or truth.start >= until:
                continue
            for one in raised:
                if one.detector in truth.detectors and best(one, known) is truth:
                    mine = found.setdefault(i, {})
                    mine.setdefault(one.detector, (until - truth.start).total_seconds() / 60)
    return found


def _closed(tables: Tables, until: datetime) -> Tables:
    """The rows of bins that are over: what an hour's row holds is not known within the hour."""
    from seismolog.detect.view import bin_length

    return {
        name: frame.filter(pl.col("bin_start") <= until - bin_length(TABLES[name].bin or "1m"))
        for name, frame in tables.items()
    }


def _found(
    truth: Injected, raised: Sequence[Raised], delays: dict[str, float] | None, all_truths: Sequence[Injected]
) -> dict[str, Any]:
    """A truth, and what was raised on it: by detector the one that is dated best."""
    told = {**asdict(truth), "start": truth.start.isoformat(), "end": truth.end.isoformat()}
    told["subjects"] = list(truth.subjects[:12])
    by: dict[str, Any] = {}
    for one in raised:
        if best(one, all_truths) is not truth:
            continue
        late = (one.start - truth.start).total_seconds() / 60
        known = by.get(one.detector)
        if known is None or abs(late) < abs(known["late"]):
            by[one.detector] = {
                "late": round(late, 1),
                "early_end": None
                if one.end is None
                else round((truth.end - one.end).total_seconds() / 60, 1),
                "cause": one.cause,
                "explanation": one.explanation,
            }
    told["by"] = by
    told["delays"] = delays or {}
    told["shared"] = sum(1 for t in all_truths if set(t.subjects) & set(truth.subjects)) > 1
    return told


def _told(incident: Incident, truths: Sequence[Injected]) -> dict[str, Any]:
    """An incident that was put together, and what it is of."""
    of = [t for t in truths if matches(incident, t) or part_of_traffic(incident, incident.detectors, t)]
    kinds = sorted({t.kind for t in of}, key=lambda k: k != "positive")
    return {
        "id": incident.id,
        "detectors": sorted(incident.evidence),
        "cause": incident.cause,
        "severity": incident.severity,
        "subjects": list(incident.subjects[:6]),
        "start": incident.start.isoformat(),
        "end": None if incident.end is None else incident.end.isoformat(),
        "explanation": incident.explanation,
        "of": kinds[0] if kinds else None,
        "rows": sorted({t.row for t in of}),
    }
