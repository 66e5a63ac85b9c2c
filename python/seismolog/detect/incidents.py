"""The life of an incident: what detectors see becomes one incident a cause, which opens, changes and closes.

Detectors are pure: each time they look they say what they see in the whole of their view. A :class:`Book` compares that with
what it knows.

- *One cause, one incident.* What concerns the same subject in overlapping time (``bridge`` apart at most) is one
  incident with a piece of evidence from each detector; a group in step draws the incidents of its members together.
  The cause class is the most telling of those named (:data:`RANKS`), the sentence is that detector's.
- *No flapping.* An incident that is no longer seen stays open for ``close_after``; one that is seen again within
  ``bridge`` after its end goes on.
- *One name.* The id is a hash of detector, first subject and start as first seen, so that a second run over the same
  logs gives the same ids; it stays when the incident grows.

Limits: a book holds what is open and what closed within ``bridge``; what closed before that is no longer changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.detect.base import CAUSES, SEVERITIES, Cause, Raised, Severity
from seismolog.store.schema import table_of

if TYPE_CHECKING:
    from seismolog.detect.site import Site

__all__ = ["RANKS", "Book", "Changes", "Incident", "incident_id", "incidents_frame", "incidents_of"]

RANKS: tuple[Cause, ...] = (
    "stolen account",
    "tunnel",
    "worm",
    "spam relay",
    "brute force",
    "host search",
    "remote-controlled",
    "hijacked",
    "attack from outside",
    "spam wave",
    "cache lost",
    "dead forwarder",
    "logging broken",
    "new activity",
    "unknown",
)
"""Causes from the most telling to the least: of several that detectors name, the first holds."""

SEPARATE = frozenset({"outbreak_growth"})
"""Detectors whose incidents are about a multitude and are not joined with those of its members."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident, with what each detector saw of it.

    ``evidence`` maps a detector's name to what it raised last: score, threshold, start, end (ISO 8601 or None), cause,
    explanation and its numbers. ``end`` is None while it is open. ``updated_at`` is the end of the last bin in which
    something of it changed. ``suppressed`` is the reason why it is not told, None where it is.
    """

    id: str
    detector: str
    cause: Cause
    severity: Severity
    subjects: tuple[str, ...]
    server: str | None
    start: datetime
    end: datetime | None
    score: float
    threshold: float
    explanation: str
    evidence: dict[str, Any]
    updated_at: datetime
    suppressed: str | None = None

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.end is None

    @property
    def detectors(self) -> tuple[str, ...]:
        """Every detector that saw it, the main one first."""
        return (self.detector, *sorted(d for d in self.evidence if d != self.detector))


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update of a book did."""

    opened: tuple[Incident, ...] = ()
    updated: tuple[Incident, ...] = ()
    closed: tuple[Incident, ...] = ()
    absorbed: tuple[str, ...] = ()
    """Ids of incidents that turned out to be part of another one."""


@dataclass
class _Entry:
    """An incident while the book works on it."""

    id: str
    born: Raised
    seen: dict[str, Raised] = field(default_factory=dict)
    looked: dict[str, datetime] = field(default_factory=dict)
    """Detector -> end of the last view in which it saw it."""
    last: datetime = field(default_factory=lambda: datetime.min.replace(tzinfo=UTC))
    end: datetime | None = None
    updated_at: datetime = field(default_factory=lambda: datetime.min.replace(tzinfo=UTC))
    told: Incident | None = None

    @property
    def start(self) -> datetime:
        return min(r.start for r in self.seen.values())

    @property
    def subjects(self) -> tuple[str, ...]:
        main = _main(self.seen.values())
        rest = (s for r in self.seen.values() for s in r.subjects)
        return tuple(dict.fromkeys((*main.subjects, *rest)))


def incident_id(detector: str, subject: str, start: datetime) -> str:
    """The id of an incident: 16 hexadecimal digits of a hash of detector, subject and start."""
    text = f"{detector}\n{subject}\n{start.astimezone(UTC).isoformat()}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Book:
    """Open incidents and those that closed lately.

    Parameters
    ----------
    bridge, close_after
        See the module.
    site
        Whose suppressions hold.
    """

    def __init__(
        self,
        *,
        bridge: timedelta = timedelta(minutes=60),
        close_after: timedelta = timedelta(minutes=30),
        site: Site | None = None,
    ) -> None:
        self._bridge = bridge
        self._close_after = close_after
        self._site = site
        self._entries: list[_Entry] = []

    # -- asking

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """All incidents that the book still holds, in order of their start."""
        told = [e.told for e in self._entries if e.told is not None]
        return tuple(sorted(told, key=lambda i: (i.start, i.id)))

    # -- working

    def update(self, raised: Iterable[Raised], until: datetime) -> Changes:
        """Take in what the detectors see in a view that ends at `until`.

        What is raised need not be new; what is known and not raised any more closes after its time.
        """
        absorbed: list[str] = []
        touched: set[str] = set()
        for one in sorted(raised, key=lambda r: (r.start, r.detector, r.subjects[0])):
            matching = [e for e in self._entries if self._same(e, one)]
            if matching:
                entry = matching[0]
                for other in matching[1:]:
                    absorbed.append(other.id)
                    self._join(entry, other)
            else:
                entry = _Entry(incident_id(one.detector, one.subjects[0], one.start), one)
                self._entries.append(entry)
            self._add(entry, one, until)
            touched.add(entry.id)
        opened: list[Incident] = []
        updated: list[Incident] = []
        closed: list[Incident] = []
        for entry in self._entries:
            before = entry.told
            self._settle(entry, until, seen=entry.id in touched)
            now = self._tell(entry)
            if before is None:
                opened.append(now)
            elif _differs(before, now):
                entry.updated_at = until
                now = replace(now, updated_at=until)
                (closed if before.open and not now.open else updated).append(now)
            else:
                now = before
            entry.told = now
        return Changes(tuple(opened), tuple(updated), tuple(closed), tuple(absorbed))

    def forget(self, before: datetime) -> tuple[Incident, ...]:
        """Let go of incidents that closed before a moment, and return them."""
        gone = [e for e in self._entries if e.end is not None and e.end < before]
        self._entries = [e for e in self._entries if e.end is None or e.end >= before]
        return tuple(e.told for e in gone if e.told is not None)

    def close_all(self, until: datetime) -> Changes:
        """At the end of an archive: what has ended is closed; what goes on to the last bin stays open."""
        closed = []
        for entry in self._entries:
            if entry.end is None and all(r.end is not None for r in _living(entry)):
                entry.end = entry.last
                entry.told = replace(self._tell(entry), updated_at=until)
                closed.append(entry.told)
        return Changes(closed=tuple(closed))

    def resume(self, incidents: Iterable[Incident]) -> None:
        """Take up incidents that a store holds: those that are open."""
        for incident in incidents:
            seen = {name: _raised_of(incident, name, part) for name, part in incident.evidence.items()}
            if not seen:
                continue
            main = seen.get(incident.detector) or next(iter(seen.values()))
            last = incident.end or incident.updated_at
            entry = _Entry(
                incident.id,
                main,
                seen=seen,
                last=last,
                end=incident.end,
                updated_at=incident.updated_at,
                told=incident,
            )
            self._entries.append(entry)

    def _same(self, entry: _Entry, one: Raised) -> bool:
        if (one.detector in SEPARATE) != (entry.born.detector in SEPARATE):
            return False
        if not _related(entry.subjects, one.subjects):
            return False
        end = entry.end or entry.last
        return one.start <= end + self._bridge and (one.end is None or one.end + self._bridge >= entry.start)

    def _join(self, entry: _Entry, other: _Entry) -> None:
        """`other` turned out to be part of `entry`."""
        for name, raised in other.seen.items():
            entry.seen[name] = _stronger(entry.seen.get(name), raised)
            looked = [e.looked[name] for e in (entry, other) if name in e.looked]
            if looked:
                entry.looked[name] = max(looked)
        entry.last = max(entry.last, other.last)
        if other.end is None:
            entry.end = None
        elif entry.end is not None:
            entry.end = max(entry.end, other.end)
        self._entries.remove(other)

    def _add(self, entry: _Entry, one: Raised, until: datetime) -> None:
        known = entry.seen.get(one.detector)
        if known is not None:
            one = _grown(known, one)
        entry.seen[one.detector] = one
        entry.looked[one.detector] = until
        if _living([one]):
            entry.last = max(entry.last, one.end or until)
        else:
            # The end of an incident is evidence of it, and does not make it longer.
            entry.last = max(entry.last, one.start)

    def _settle(self, entry: _Entry, until: datetime, *, seen: bool) -> None:
        for name, raised in entry.seen.items():
            # What a detector does not see any more ended when it last saw it.
            looked = entry.looked.get(name, entry.last)
            if raised.end is None and looked < until:
                entry.seen[name] = replace(raised, end=max(looked, raised.start))
        goes_on = seen and any(r.end is None or r.end >= until for r in _living(entry))
        if goes_on or until - entry.last < self._close_after:
            entry.end = None
        elif entry.end is None or seen:
            entry.end = entry.last

    def _tell(self, entry: _Entry) -> Incident:
        main = _main(entry.seen.values())
        causes = [r.cause for r in entry.seen.values()]
        severity = max((r.severity for r in entry.seen.values()), key=SEVERITIES.index)
        if len(entry.seen) >= 3 and severity == "warning":
            severity = "critical"
        subjects = entry.subjects
        explanation = main.explanation
        others = sorted(n for n in entry.seen if n != main.detector)
        if others:
            explanation += f" Also seen by {', '.join(others)}."
        suppression = None
        if self._site is not None and self._site.suppressions:
            found = self._site.suppressed(main.detector, subjects, entry.start)
            suppression = found.reason if found else None
        return Incident(
            id=entry.id,
            detector=main.detector,
            cause=min(causes, key=RANKS.index),
            severity=severity,
            subjects=subjects,
            server=main.server,
            start=entry.start,
            end=entry.end,
            score=main.score,
            threshold=main.threshold,
            explanation=explanation,
            evidence={name: _piece(raised) for name, raised in sorted(entry.seen.items())},
            updated_at=max(entry.updated_at, entry.last),
            suppressed=suppression,
        )


def _related(known: Sequence[str], new: Sequence[str]) -> bool:
    """Whether two lists of subjects speak of the same: at least half of the shorter one is in the other."""
    if known[0] == new[0]:
        return True
    common = len(set(known) & set(new))
    return common > 0 and 2 * common >= min(len(set(known)), len(set(new)))


def _living(entry: _Entry | Sequence[Raised]) -> list[Raised]:
    """What shows that an incident goes on; the silence of a host after its incident shows that it does not."""
    parts = entry.seen.values() if isinstance(entry, _Entry) else entry
    return [r for r in parts if not r.evidence.get("under_incident")]


def _main(raised: Iterable[Raised]) -> Raised:
    """The most telling piece: by cause, then severity, then how far its score lies beyond its threshold."""
    return min(
        raised,
        key=lambda r: (
            RANKS.index(r.cause),
            -SEVERITIES.index(r.severity),
            -(r.score / r.threshold if r.threshold > 0 else r.score),
            r.detector,
        ),
    )


def _stronger(known: Raised | None, new: Raised) -> Raised:
    return new if known is None or new.score >= known.score else known


def _grown(known: Raised, new: Raised) -> Raised:
    """The newer look at the same thing, which never begins later; an older, longer look keeps its beginning."""
    subjects = tuple(dict.fromkeys((*new.subjects, *known.subjects)))
    end = None if new.end is None else max(new.end, known.end or new.end)
    if new.start < known.start or new.score >= known.score:
        return replace(new, start=min(new.start, known.start), end=end, subjects=subjects)
    return replace(known, end=end, subjects=subjects)


def _differs(before: Incident, now: Incident) -> bool:
    return (
        (before.end, before.severity, before.cause, before.subjects, before.start, before.suppressed)
        != (now.end, now.severity, now.cause, now.subjects, now.start, now.suppressed)
        or before.evidence.keys() != now.evidence.keys()
        or before.explanation != now.explanation
    )


def _piece(raised: Raised) -> dict[str, Any]:
    return {
        "cause": raised.cause,
        "severity": raised.severity,
        "subjects": list(raised.subjects),
        "start": raised.start.astimezone(UTC).isoformat(),
        "end": None if raised.end is None else raised.end.astimezone(UTC).isoformat(),
        "score": raised.score,
        "threshold": raised.threshold,
        "explanation": raised.explanation,
        **{k: v for k, v in raised.evidence.items() if k not in _OWN},
    }


_OWN = frozenset({"cause", "severity", "subjects", "start", "end", "score", "threshold", "explanation"})


def _raised_of(incident: Incident, name: str, part: dict[str, Any]) -> Raised:
    cause = part.get("cause")
    end = part.get("end")
    return Raised(
        detector=name,
        cause=cause if cause in CAUSES else incident.cause,
        severity=part.get("severity", incident.severity),
        subjects=tuple(part.get("subjects") or incident.subjects),
        server=incident.server,
        start=datetime.fromisoformat(part["start"]) if part.get("start") else incident.start,
        end=datetime.fromisoformat(end) if end else None,
        score=float(part.get("score", incident.score)),
        threshold=float(part.get("threshold", incident.threshold)),
        explanation=str(part.get("explanation", incident.explanation)),
        evidence={k: v for k, v in part.items() if k not in _OWN},
    )


def incidents_frame(incidents: Iterable[Incident]) -> pl.DataFrame:
    """Incidents as rows of the store's table ``incident``."""
    declared = table_of("incident")
    rows = [
        {
            "id": i.id,
            "detector": i.detector,
            "cause": i.cause,
            "severity": i.severity,
            "start": i.start,
            "end": i.end,
            "score": i.score,
            "threshold": i.threshold,
            "subjects": list(i.subjects),
            "evidence": json.dumps(i.evidence, allow_nan=False, default=_plain),
            "explanation": i.explanation,
            "server": i.server,
            "detectors": list(i.detectors),
            "updated_at": i.updated_at,
            "suppressed": i.suppressed,
        }
        for i in incidents
    ]
    return pl.DataFrame(rows, schema={c.name: c.dtype for c in declared.columns}, orient="row")


def _plain(value: Any) -> Any:
    """Numbers of numpy as JSON has them."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"evidence holds a {type(value).__name__}, which is no JSON")


def incidents_of(frame: pl.DataFrame) -> list[Incident]:
    """What :func:`incidents_frame` gave, read again, in order of start."""
    return [
        Incident(
            id=row["id"],
            detector=row["detector"],
            cause=row["cause"] if row["cause"] in CAUSES else "unknown",
            severity=row["severity"] if row["severity"] in SEVERITIES else "notice",
            subjects=tuple(row["subjects"] or ()),
            server=row["server"],
            start=row["start"],
            end=row["end"],
            score=row["score"],
            threshold=row["threshold"],
            explanation=row["explanation"],
            evidence=json.loads(row["evidence"] or "{}"),
            updated_at=row["updated_at"] or row["end"] or row["start"],
            suppressed=row["suppressed"],
        )
        for row in frame.sort("start", "id").iter_rows(named=True)
    ]
