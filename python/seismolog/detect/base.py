"""What a detector is, and what it raises.

A detector is a module of this package with

``NAME``
    As in the configuration (``[detect.<name>]``), the store and the documentation; the name of its file.
``SUMMARY``
    One sentence for lists.
``TABLES``
    Table of the store -> the columns that it reads.
``Settings``
    A subclass of :class:`Settings`, every field documented and with a default.
``find(view, settings) -> list[Raised]``
    A pure function. It looks at the whole of ``[view.since, view.until)`` and returns what it finds there; whether
    an incident is new, goes on or has been seen before is for :mod:`seismolog.detect.incidents` to tell.

Every alarm needs three things: *significance* (corrected for all that was looked at in a day), *effect* (a multiple of
the expected, and a minimum count) and *novelty* (against the past of the same client).

Limits: times are aware datetimes in UTC, starts and ends of bins; ``end`` is None where the last bin of the view still
shows the incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import Field

from seismolog.config.models import Section
from seismolog.config.values import Network

if TYPE_CHECKING:
    from seismolog.detect.view import View

__all__ = ["CAUSES", "SEVERITIES", "Cause", "Detector", "Raised", "Settings", "Severity"]

Severity = Literal["notice", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("notice", "warning", "critical")

Cause = Literal[
    "worm",
    "spam relay",
    "spam wave",
    "hijacked",
    "remote-controlled",
    "attack from outside",
    "host search",
    "brute force",
    "stolen account",
    "tunnel",
    "dead forwarder",
    "cache lost",
    "logging broken",
    "new activity",
    "unknown",
]
CAUSES: dict[Cause, str] = {
    "worm": "a host that sends mass mail or spreads by itself",
    "spam relay": "a host that relays mail for others",
    "spam wave": "more mail than usual through a mail server, or mail that its peers refuse",
    "hijacked": "a host that works for somebody else",
    "remote-controlled": "hosts that obey one command, or ask for orders at regular times",
    "attack from outside": "hosts outside act upon the site's servers",
    "host search": "addresses are searched through",
    "brute force": "passwords are tried",
    "stolen account": "an account is used by others than its owner",
    "tunnel": "data are carried in DNS queries",
    "dead forwarder": "a server that should ask does not",
    "cache lost": "a resolver cache no longer answers for its clients",
    "logging broken": "a log ended or has a gap",
    "new activity": "a host does something that it did not do before",
    "unknown": "nothing more is known",
}
"""Cause class of an incident -> what it means."""


@dataclass(frozen=True, slots=True)
class Raised:
    """What one detector saw, once.

    Parameters
    ----------
    detector
        Its ``NAME``.
    cause, severity
        Presumed cause class (:data:`CAUSES`), and how urgent it is by itself.
    subjects
        Addresses, accounts or servers concerned, the most telling first; at least one. The first is the one that
        the incident's id is made of.
    server
        The server whose log shows it, None where several do.
    start, end
        Start of the first bin and end of the last one (half open), UTC; ``end`` None while it goes on.
    score, threshold
        The statistic and what it was compared with; larger is stronger.
    explanation
        One sentence with the numbers in it, for an operator who is tired.
    evidence
        Numbers by name; values must be JSON (numbers, strings, lists, dicts).
    """

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
    evidence: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.subjects:
            raise ValueError(f"{self.detector}: an incident without a subject")
        if self.start.tzinfo is None or (self.end is not None and self.end.tzinfo is None):
            raise ValueError(f"{self.detector}: a time without a zone")


class Settings(Section):
    """What every detector can be told; each adds its own.

    ``THRESHOLDS`` names the fields that a back-test may vary, each with the direction in which fewer incidents are
    raised: +1 where a larger value is stricter, -1 where a smaller one is.
    """

    THRESHOLDS: ClassVar[Mapping[str, int]] = {}

    enabled: bool = Field(default=True, description="Whether it runs.")
    exclude: list[Network] = Field(
        default=[],
        description="Clients that this detector leaves alone.",
        examples=[["192.0.2.10/32"]],
    )


class Detector(Protocol):
    """The shape of a detector's module."""

    NAME: str
    SUMMARY: str
    TABLES: Mapping[str, Sequence[str]]
    Settings: type[Settings]

    @staticmethod
    def find(view: View, settings: Any) -> list[Raised]:
        """What it sees in the view."""
        ...
