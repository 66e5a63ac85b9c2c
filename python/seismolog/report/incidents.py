"""The incidents of a report: each with its sentence, its curve with the stretch marked, and what each detector saw.

Limits: the curves of the first few subjects of an incident are drawn, and the first :data:`MOST` incidents; the JSON
document has them all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

from seismolog.report.analysis import KIND_LABELS, SEVERITIES
from seismolog.report.charts import Figure, Mark, Panel, Series, figure
from seismolog.report.curves import choose_axis
from seismolog.report.text import duration, html, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seismolog.report.analysis import Analysis, Incident

__all__ = ["incidents", "ordered"]

MOST = 40
_COLOURS = ("dns", "smtp", "pop", "imap")
_SERVER_KINDS: Mapping[str, tuple[str, ...]] = {
    "deferral_surge": ("smtp_accepted", "smtp_deferred"),
    "cache_collapse": ("smtp_accepted",),
    "model_residual": ("smtp_accepted",),
}
_HIDDEN = frozenset({"cause", "severity", "subjects", "start", "end", "score", "threshold", "explanation"})


def ordered(found: Sequence[Incident]) -> list[Incident]:
    """Incidents as they are listed: the urgent first, then by time; those that are not told last."""
    rank = {name: place for place, name in enumerate(reversed(SEVERITIES))}
    return sorted(found, key=lambda i: (i.suppressed is not None, rank[i.severity], i.start, i.id))


def incidents(analysis: Analysis) -> str:
    """The section as HTML; empty without an incident."""
    if not analysis.incidents or analysis.start is None or analysis.end is None:
        return ""
    listed = ordered(analysis.incidents)
    items = "".join(_item(analysis, incident, place) for place, incident in enumerate(listed[:MOST], 1))
    rest = f"<p>{len(listed) - MOST} more are in the JSON document.</p>" if len(listed) > MOST else ""
    return (
        '<p class="section-lead">What the detectors found, one cause an incident: against the past of each client, and '
        f'against the others. The stretch is marked on the curve.</p><ol class="findings incidents">{items}</ol>{rest}'
    )


def _item(analysis: Analysis, incident: Incident, place: int) -> str:
    zone = ZoneInfo(analysis.timezone)
    first = incident.start.astimezone(zone)
    if incident.end is None:
        until = "goes on"
    else:
        last = incident.end.astimezone(zone)
        until = f"{last:%H:%M}" if last.date() == first.date() else f"{last.day} {last:%b} {last:%H:%M}"
    when = (
        f'<p class="time"><time datetime="{incident.start.astimezone(UTC):%Y-%m-%dT%H:%MZ}">{first.day} {first:%b} '
        f"{first:%H:%M}</time>–{until}</p>"
    )
    subjects = ", ".join(html(s) for s in incident.subjects[:4])
    if len(incident.subjects) > 4:
        subjects += f" and {len(incident.subjects) - 4} more"
    level = html(incident.severity) if incident.suppressed is None else "not told"
    note = f"<p>Not told: {html(incident.suppressed)}</p>" if incident.suppressed else ""
    return (
        f'<li class="finding {incident.severity}" id="incident-{place}"><span class="no" aria-hidden="true">{place}</span>'
        f'<div><h3>{html(incident.cause[:1].upper() + incident.cause[1:])}: <span class="whole">{subjects}</span></h3>'
        f'<p class="level"><span class="dot"></span>{level}</p>{when}<p>{html(incident.explanation)}</p>{note}'
        f"{_evidence(incident)}</div></li>{_figure(analysis, incident, place)}"
    )


def _evidence(incident: Incident) -> str:
    """What each detector measured, as a list."""
    rows = ""
    for name, piece in _pieces(incident).items():
        shown = [f"score {_value(piece.get('score'))} against {_value(piece.get('threshold'))}"]
        shown += [
            f"{k.replace('_', ' ')} {_value(v)}"
            for k, v in piece.items()
            if k not in _HIDDEN and v is not None
        ]
        rows += f"<li><code>{html(name)}</code> {html('; '.join(shown))}</li>"
    return f'<ul class="notes">{rows}</ul>' if rows else ""


def _pieces(incident: Incident) -> dict[str, Mapping[str, Any]]:
    """Detector -> what it measured."""
    return {name: piece for name, piece in incident.evidence.items() if isinstance(piece, dict)}


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in list(value.items())[:6])
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value[:6])
    return str(value)[:200]


def _figure(analysis: Analysis, incident: Incident, place: int) -> str:
    """The curves of the first subjects, with the stretch marked; nothing where none is counted by name."""
    assert analysis.start is not None and analysis.end is not None
    curves = analysis.incident_curves
    if curves is None or not curves.height:
        return ""
    axis = choose_axis(analysis.start, analysis.end, analysis.timezone, analysis.curve_bin)
    wanted = _SERVER_KINDS.get(incident.detector, (_kind(incident),))
    series: list[Series] = []
    for subject in incident.subjects[: len(_COLOURS)]:
        own = curves.filter(pl.col("subject") == subject)
        if incident.detector == "log_gap":
            kinds: tuple[str, ...] = ("",)
        else:
            kinds = tuple(k for k in wanted if own.filter(pl.col("kind") == k).height)
        for kind in kinds:
            part = own.filter(pl.col("kind") == kind) if kind else own
            if not part.height or len(series) >= len(_COLOURS):
                continue
            what = KIND_LABELS.get(kind, kind) if kind else "lines"
            colour = _COLOURS[len(series)]
            label = f"{subject} {what}"
            series.append(Series(colour, label, html(label), axis.band(part, "count", analysis.curve_bin)))
    if not series:
        return ""
    end = incident.end or analysis.end
    mark = Mark(
        max(incident.start, analysis.start), min(end, analysis.end), place, incident.severity, "incident"
    )
    return figure(
        Figure(
            f"chart-incident-{place}",
            f"Incident {place}: {html(', '.join(incident.subjects[:2]))}",
            f"{_length(incident, analysis)}.",
            axis,
            [Panel(series, f"in {duration(analysis.curve_bin)}", 140)],
            [mark],
        )
    )


def _kind(incident: Incident) -> str:
    for piece in _pieces(incident).values():
        kind = piece.get("kind")
        if isinstance(kind, str):
            return kind
    return "auth_failure" if incident.detector == "login_attack" else "dns_query"


def _length(incident: Incident, analysis: Analysis) -> str:
    end: datetime | None = incident.end or analysis.end
    assert end is not None
    lasted = duration(max(end - incident.start, analysis.curve_bin))
    return f"{lasted}{' so far' if incident.end is None else ''}"
