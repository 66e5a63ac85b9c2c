"""What is told about an incident: one message for each thing that happened to it.

A message's id is a hash of the incident's id and of what happened (opened, risen to a severity, closed at a
time), so the same change gives the same message however often a detector looks, after a restart, and on
another machine: an outbox takes it once, and a receiver can tell a repetition by it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from seismolog.detect.base import SEVERITIES

if TYPE_CHECKING:
    from seismolog.detect.incidents import Changes, Incident
    from seismolog.privacy import Pseudonymizer

__all__ = ["Event", "Message", "message_of", "messages_of", "plain"]

Event = Literal["opened", "risen", "closed"]
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def plain(text: str, most: int = 2000) -> str:
    """A text on one line in which nothing is hidden: control, bidirectional and invisible characters by number, cut."""

    def shown(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    made = _UNSEEN.sub(shown, text)
    return made if len(made) <= most else made[: most - 1] + "…"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to be told. Times are ISO 8601, UTC; texts are plain (:func:`plain`)."""

    id: str
    event: Event
    incident: str
    detector: str
    detectors: tuple[str, ...]
    cause: str
    severity: str
    subjects: tuple[str, ...]
    server: str | None
    start: str
    end: str | None
    score: float
    threshold: float
    explanation: str
    evidence: dict[str, Any]

    @property
    def title(self) -> str:
        """One short line: ``critical: worm, 192.0.2.7 (mass_mailer)``."""
        what = {"opened": "", "risen": "risen: ", "closed": "closed: "}[self.event]
        more = f" and {len(self.subjects) - 1} more" if len(self.subjects) > 1 else ""
        return plain(f"{what}{self.severity}: {self.cause}, {self.subjects[0]}{more} ({self.detector})", 200)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        made = asdict(self)
        return {**made, "detectors": list(self.detectors), "subjects": list(self.subjects)}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Message:
        """What :meth:`document` gave, read again; KeyError or TypeError where it is none."""
        values = {name: document[name] for name in cls.__dataclass_fields__}
        values["detectors"], values["subjects"] = tuple(values["detectors"]), tuple(values["subjects"])
        return cls(**values)


def message_of(incident: Incident, event: Event, names: Pseudonymizer | None = None) -> Message:
    """The message that something happened to an incident, with pseudonyms where `names` is given."""
    at = incident.end.isoformat() if event == "closed" and incident.end is not None else ""
    what = f"{incident.id}\n{event}\n{incident.severity if event == 'risen' else ''}\n{at}"
    subjects = names.subjects(incident.subjects) if names else incident.subjects
    explanation = names.text(incident.explanation) if names else incident.explanation
    evidence = names.value(incident.evidence) if names else incident.evidence
    return Message(
        id=hashlib.sha256(what.encode()).hexdigest()[:32],
        event=event,
        incident=incident.id,
        detector=incident.detector,
        detectors=tuple(plain(d, 100) for d in incident.detectors),
        cause=incident.cause,
        severity=incident.severity,
        subjects=tuple(plain(s, 255) for s in subjects),
        server=None if incident.server is None else plain(incident.server, 255),
        start=incident.start.isoformat(),
        end=None if incident.end is None else incident.end.isoformat(),
        score=float(incident.score),
        threshold=float(incident.threshold),
        explanation=plain(explanation),
        evidence=_clean(json.loads(json.dumps(evidence, default=str))),
    )


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(k, 255): _clean(v) for k, v in value.items()}
    return [_clean(v) for v in value] if isinstance(value, list) else value


def messages_of(
    changes: Changes, before: Mapping[str, str] | None = None, names: Pseudonymizer | None = None
) -> list[Message]:
    """The messages of a round of detection; suppressed incidents are not told.

    Parameters
    ----------
    before
        Incident id -> severity that was told last; an update is told where the severity has risen above it.
    """
    told = before or {}
    made = [message_of(i, "opened", names) for i in _spoken(changes.opened)]
    for incident in _spoken(changes.updated):
        known = told.get(incident.id)
        if known is not None and SEVERITIES.index(incident.severity) > SEVERITIES.index(known):
            made.append(message_of(incident, "risen", names))
    return made + [message_of(i, "closed", names) for i in _spoken(changes.closed)]


def _spoken(incidents: Iterable[Incident]) -> list[Incident]:
    return [i for i in incidents if i.suppressed is None]
