"""Results of many worlds as one table: a line a row, with exact intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seismolog.evaluate import intervals

__all__ = ["STUDY", "Clean", "Count", "Row", "Summary", "summarize"]

STUDY = {
    "deferral_surge": "Frethem.K: deferrals",
    "mail_server_mimic": "IP-A: shape of a mail server",
    "study_firewall": "IP-B: step and ripples",
    "study_trojan": "IP-C: plateau, then silence",
    "synchronized_clients": "IP-D and IP-E: in step",
    "study_outside": "clients outside in step",
    "study_slammer": "W32/Slammer: one port",
    "silence": "dead forwarder",
    "cache_collapse": "cache crash",
}
"""Rows that are incidents of the 2003 study, and what they are there."""
BINS = 20.0
"""Minutes within which a start has to be dated: two bins of ten minutes."""


@dataclass
class Count:
    """Hits in trials, with the interval of their share."""

    hits: int = 0
    trials: int = 0

    def add(self, hit: bool) -> None:
        """One more trial."""
        self.trials += 1
        self.hits += hit

    @property
    def share(self) -> float | None:
        """None without trials."""
        return self.hits / self.trials if self.trials else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, Clopper and Pearson."""
        return intervals.share(self.hits, self.trials)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        low, high = self.interval
        return {"hits": self.hits, "trials": self.trials, "share": self.share, "low": low, "high": high}


@dataclass
class Row:
    """One row: its recall by strength, its look-alike, its dating and delay."""

    name: str
    recall: dict[float, Count] = field(default_factory=dict)
    """Found by the row's own detector (of the study's incidents: by one of theirs)."""
    any: dict[float, Count] = field(default_factory=dict)
    """Found by any detector that may fire on it."""
    dated: Count = field(default_factory=Count)
    """Of those found at normal strength, those dated within two bins."""
    lookalike: Count = field(default_factory=Count)
    """Look-alikes on which the row's detector fires."""
    lookalike_any: Count = field(default_factory=Count)
    """Look-alikes on which any detector fires."""
    late: list[float] = field(default_factory=list)
    """Minutes from the true start to the one told, at normal strength."""
    delays: list[float] = field(default_factory=list)
    """Minutes from the true start to the first look that tells it, at normal strength."""


@dataclass
class Clean:
    """Incidents of clean days."""

    days: int = 0
    incidents: int = 0
    by_detector: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """A day."""
        return self.incidents / self.days if self.days else 0.0


@dataclass
class Summary:
    """Everything that is told of an evaluation."""

    rows: dict[str, Row] = field(default_factory=dict)
    clean: Clean = field(default_factory=Clean)
    study: int = 0
    """False incidents of clean days that a detector of the 2003 incidents has part in."""
    successors: int = 0
    precision: dict[float, Count] = field(default_factory=dict)
    worlds: int = 0
    queries: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Processor seconds of all detectors on a clean day."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        low, high = intervals.rate(self.clean.incidents, self.clean.days)
        return {
            "worlds": self.worlds,
            "clean": {
                "days": self.clean.days,
                "incidents": self.clean.incidents,
                "per_day": self.clean.rate,
                "low": low,
                "high": high,
                "of_study": self.study,
                "of_successors": self.successors,
                "by_detector": dict(self.clean.by_detector.most_common()),
            },
            "precision": {f"{s:g}": c.plain() for s, c in self.precision.items()},
            "rows": {
                name: {
                    "recall": {f"{s:g}": c.plain() for s, c in sorted(row.recall.items(), reverse=True)},
                    "any": {f"{s:g}": c.plain() for s, c in sorted(row.any.items(), reverse=True)},
                    "dated": row.dated.plain(),
                    "lookalike": row.lookalike.plain(),
                    "lookalike_any": row.lookalike_any.plain(),
                    "late_median": _median(row.late),
                    "delay_median": _median(row.delays),
                    "delay_90": _quantile(row.delays, 0.9),
                }
                for name, row in sorted(self.rows.items())
            },
            "detector_seconds_median": _median(self.seconds),
        }


STUDY_DETECTORS = frozenset(
    {
        "deferral_surge",
        "cache_collapse",
        "model_residual",
        "mail_server_mimic",
        "mass_mailer",
        "step_change",
        "ripple",
        "flat_curve",
        "silence",
        "synchronized_clients",
        "log_gap",
    }
)
"""Detectors of the 2003 incidents; false incidents are counted apart from those of the successors."""


def summarize(results: Iterable[dict[str, Any]]) -> Summary:
    """The results of all worlds as one."""
    made = Summary()
    for result in results:
        made.worlds += 1
        made.queries.append(int(result.get("queries", 0)))
        made.seconds.append(sum(result.get("detector_seconds", {}).values()))
        made.clean.days += int(result["plan"]["clean"])
        for incident in result["clean"]:
            if incident["of"] is not None:
                continue
            made.clean.incidents += 1
            made.clean.by_detector.update(incident["detectors"])
            if set(incident["detectors"]) & STUDY_DETECTORS:
                made.study += 1
            else:
                made.successors += 1
            told = f"{'+'.join(incident['detectors'])}: {incident['explanation']}"
            made.clean.examples.append((int(result["seed"]), incident["start"], told))
        for strength, incidents in result["incidents"].items():
            count = made.precision.setdefault(float(strength), Count())
            for incident in incidents:
                count.add(incident["of"] == "positive")
        for truth in result["truths"]:
            _add(made.rows.setdefault(truth["row"], Row(truth["row"])), truth)
    return made


def _add(row: Row, truth: dict[str, Any]) -> None:
    found = truth["by"]
    own = truth["row"]
    if truth["kind"] == "lookalike":
        # A row of the study has the detectors of its incident.
        row.lookalike.add(own in found)
        row.lookalike_any.add(bool(found))
        return
    strength = float(truth["strength"])
    mine = _primary(own)
    hit = any(d in found for d in mine)
    row.recall.setdefault(strength, Count()).add(hit)
    may = [found[d] for d in truth["detectors"] if d in found]
    row.any.setdefault(strength, Count()).add(bool(may))
    if strength == 1.0 and may:
        best = min((f["late"] for f in may), key=abs)
        row.late.append(best)
        row.dated.add(abs(best) <= BINS)
    if strength == 1.0 and truth.get("delays"):
        row.delays.append(min(truth["delays"].values()))


PRIMARY: dict[str, tuple[str, ...]] = {
    "study_firewall": ("step_change", "ripple"),
    "study_trojan": ("flat_curve", "ripple", "silence"),
    "study_outside": ("synchronized_clients", "entropy_shift"),
    "study_slammer": ("step_change", "entropy_shift"),
    "silence": ("silence", "step_change"),
}
"""Detectors of the study's incidents, after DESIGN section 7; of any other row, its own."""


def _primary(row: str) -> Sequence[str]:
    return PRIMARY.get(row, (row,))


def _median(values: Sequence[float]) -> float | None:
    return _quantile(values, 0.5)


def _quantile(values: Sequence[float], at: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(at * len(ordered)))]
